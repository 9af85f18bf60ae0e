//! A share of the keys: their slots, and the lines before them.
//!
//! The way in and out without a wait is one compare-and-swap and one subtraction on the key's
//! state word. Everything else happens under the shard's lock: the first sight of a key, waiting,
//! handing over, timing out, giving up, a new limit, closing.
//!
//! Invariant: under the lock, a slot says `queued` if and only if its line is not empty.
//! Invariant: wakers are called, and foreign code is run, only without the lock.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::AcquireError;
use super::keeper::{Expire, Keeper};
use super::queue::{Outcome, Queues, Ticket};
use super::slot::State;
use super::slots::Slots;
use super::terms::{Ask, PermitTerms};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

// What calls without the lock need of the terms: | queue_max 31 | closed 1 | limit 32 |
/// Nobody is let in any more.
const CLOSED: u64 = 1 << 32;
const QUEUE_SHIFT: u32 = 33;
/// No line can be longer: a waiter takes more memory than that leaves.
const QUEUE_MAX: u32 = u32::MAX >> 1;

/// What came of a try.
enum Try {
    /// The permits, in this slot.
    Taken(u32),
    /// Too few are free by this state of this slot, or others wait already.
    Busy(u32, State),
    /// The key has no slot.
    Unknown,
}

/// What came of asking for permits with a readiness to wait.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Entered {
    /// The permits, in this slot.
    Taken(u32),
    /// In line; `first` if no deadline of the shard is earlier.
    Queued { entry: u32, first: bool },
}

/// How many run and wait, and under how many keys.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Load {
    pub(super) running: u64,
    pub(super) waiting: u64,
    pub(super) keys: u64,
}

pub(super) struct Shard {
    /// The limit where nothing says otherwise, `CLOSED`, and the longest line. Written under the
    /// lock.
    word: AtomicU64,
    slots: Slots,
    queues: Mutex<Queues>,
    keeper: Arc<Keeper>,
}

impl Shard {
    /// A shard of `slots`, a power of two, each for one key at a time.
    pub(super) fn new(slots: usize, terms: Arc<PermitTerms>, keeper: Arc<Keeper>) -> Self {
        Self {
            word: AtomicU64::new(word(&terms)),
            slots: Slots::new(slots),
            queues: Mutex::new(Queues::new(slots, terms)),
            keeper,
        }
    }

    /// The limit where nothing says otherwise.
    #[inline]
    pub(super) fn limit(&self) -> u32 {
        u32::try_from(self.word() & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    #[inline]
    fn word(&self) -> u64 {
        // Ordering: Relaxed. Without the lock a late sight of a change only means that this call
        // came before it; whoever waits has looked under the lock, which orders it.
        self.word.load(Ordering::Relaxed)
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.word() & CLOSED != 0
    }

    #[inline]
    fn has_queue(&self) -> bool {
        self.word() >> QUEUE_SHIFT != 0
    }

    /// Takes permits if enough are free and nobody waits, else gives `None`.
    ///
    /// Takes the lock only at the first sight of a key.
    #[inline]
    pub(super) fn try_take(&self, ask: Ask) -> Result<Option<u32>, AcquireError> {
        let limit = ask.limit.unwrap_or_else(|| self.limit());
        match self.take(ask, limit)? {
            Try::Taken(index) => Ok(Some(index)),
            Try::Busy(..) if !self.has_queue() => Err(AcquireError::QueueFull),
            Try::Busy(..) => Ok(None),
            Try::Unknown => self.try_settle(ask),
        }
    }

    #[cold]
    fn try_settle(&self, ask: Ask) -> Result<Option<u32>, AcquireError> {
        let queues = lock(&self.queues);
        match self.take(ask, queues.limit(ask))? {
            Try::Taken(index) => Ok(Some(index)),
            Try::Busy(..) if queues.terms.queue_max == 0 => Err(AcquireError::QueueFull),
            Try::Busy(..) => Ok(None),
            Try::Unknown => self.slots.settle(ask.key, ask.weight).map(Some),
        }
    }

    /// Takes permits, or joins the line if it has room.
    pub(super) fn enter(&self, ticket: Ticket) -> Result<Entered, AcquireError> {
        let mut queues = lock(&self.queues);
        let ask = ticket.ask;
        let index = loop {
            match self.take(ask, queues.limit(ask))? {
                Try::Taken(index) => return Ok(Entered::Taken(index)),
                Try::Unknown => {
                    return self.slots.settle(ask.key, ask.weight).map(Entered::Taken);
                }
                Try::Busy(index, _) if queues.len(index) >= queues.terms.queue_max => {
                    return Err(AcquireError::QueueFull);
                }
                // The mark stands, and is taken away under the lock only: every return of permits
                // that this count does not have sees it, and comes to the line after us.
                Try::Busy(index, state) if state.is_queued() => break index,
                // A compare-and-swap with the very count that was too high: a return of permits
                // comes before it and makes it fail, or comes after it and sees the mark.
                Try::Busy(index, state) => {
                    let queued = state.with_queue(true);
                    if self.slots.at(index).replace(state, queued).is_ok() {
                        break index;
                    }
                }
            }
        };
        let timed = ticket.deadline.is_some();
        let entry = queues.join(index, ticket);
        let first = timed && queues.is_first(entry);
        Ok(Entered::Queued { entry, first })
    }

    #[inline]
    fn take(&self, ask: Ask, limit: u32) -> Result<Try, AcquireError> {
        if self.is_closed() {
            return Err(AcquireError::Closed);
        }
        if ask.weight == 0 || ask.weight > limit {
            return Err(AcquireError::Impossible);
        }
        while let Some((index, mut state)) = self.slots.find(ask.key) {
            loop {
                let next = match state.plus(ask.weight, limit) {
                    Some(next) if !state.is_queued() => next,
                    _ => return Ok(Try::Busy(index, state)),
                };
                match self.slots.at(index).replace(state, next) {
                    Ok(()) => return Ok(Try::Taken(index)),
                    Err(seen) if seen.same_stay(state) => state = seen,
                    // The idle key lost its slot meanwhile: look again.
                    Err(_) => break,
                }
            }
        }
        Ok(Try::Unknown)
    }

    /// Asks after a waiter: `None` while it is in line, then once what came of it.
    pub(super) fn poll(&self, entry: u32, waker: &Waker) -> Option<Result<u32, AcquireError>> {
        let mut fresh = None;
        loop {
            let mut queues = lock(&self.queues);
            let answer = match queues.outcome(entry) {
                Outcome::Granted => Ok(queues.place(entry).0),
                Outcome::Refused(error) => Err(error),
                Outcome::Waiting => {
                    let before = match fresh.take() {
                        Some(fresh) => queues.set_waker(entry, fresh),
                        None if queues.will_wake(entry, waker) => None,
                        None => {
                            drop(queues);
                            fresh = Some(waker.clone());
                            continue;
                        }
                    };
                    drop(queues);
                    drop(before);
                    return None;
                }
            };
            queues.forget(entry);
            return Some(answer);
        }
    }

    /// Ends a wait: the waiter is forgotten, and what it was granted meanwhile goes to the next.
    pub(super) fn cancel(&self, entry: u32) {
        let mut woken = Vec::new();
        let mut queues = lock(&self.queues);
        let (index, weight) = queues.place(entry);
        let outcome = queues.outcome(entry);
        let own = (outcome == Outcome::Waiting)
            .then(|| self.refuse(&mut queues, entry, AcquireError::Closed, &mut woken));
        queues.forget(entry);
        drop(queues);
        drop(own);
        wake(woken);
        if outcome == Outcome::Granted {
            self.release(index, weight);
        }
    }

    /// Returns permits, to the first in line if there is one.
    #[inline]
    pub(super) fn release(&self, index: u32, weight: u32) {
        if self.slots.at(index).give_back(weight) {
            self.hand_on(index);
        }
    }

    /// Serves whom it can, one at a time, so that wakers need no memory to be kept in.
    #[cold]
    fn hand_on(&self, index: u32) {
        let mut more = true;
        while more {
            let mut queues = lock(&self.queues);
            let Some(waker) = self.grant(&mut queues, index) else {
                return;
            };
            // If not, whoever returns what it needs looks again.
            more = self.next_fits(&queues, index);
            drop(queues);
            waker.wake();
        }
    }

    /// Ends one wait whose deadline has come, if it is not over already.
    pub(super) fn expire_one(&self, entry: u32) {
        let mut woken = Vec::new();
        let mut queues = lock(&self.queues);
        let own = (queues.outcome(entry) == Outcome::Waiting)
            .then(|| self.refuse(&mut queues, entry, AcquireError::WaitedTooLong, &mut woken));
        drop(queues);
        drop(own);
        wake(woken);
    }

    /// Has the keeper end waits from `deadline` on. Where there is no thread to be had for that,
    /// ends all waits that rely on it: a wait without an end must not begin.
    pub(super) fn watch_from(&self, deadline: Instant) {
        if self.keeper.notice(deadline) {
            return;
        }
        let mut woken = Vec::new();
        let mut queues = lock(&self.queues);
        while let Some((_, entry)) = queues.earliest() {
            let own = self.refuse(&mut queues, entry, AcquireError::WaitedTooLong, &mut woken);
            woken.extend(own);
        }
        drop(queues);
        wake(woken);
    }

    /// Changes the terms: higher limits serve as many waiters as now fit, lower ones take nothing
    /// from those who run, but refuse waiters they could never serve. A shorter line sends nobody
    /// away.
    pub(super) fn amend_terms(&self, change: impl FnOnce(&mut Arc<PermitTerms>)) {
        let mut queues = lock(&self.queues);
        change(&mut queues.terms);
        // Ordering: Relaxed. Written and, by whoever waits, read under the lock.
        let closed = self.word() & CLOSED;
        // Ordering: as above.
        self.word
            .store(word(&queues.terms) | closed, Ordering::Relaxed);
        self.settle_all(queues);
    }

    /// Refuses all who wait and all who come.
    pub(super) fn close(&self) {
        let queues = lock(&self.queues);
        // Ordering: Relaxed, as in `amend_terms`.
        self.word.fetch_or(CLOSED, Ordering::Relaxed);
        self.settle_all(queues);
    }

    /// Refuses and serves whom the terms now want refused and served.
    fn settle_all(&self, mut queues: MutexGuard<'_, Queues>) {
        let mut woken = Vec::new();
        let is_closed = self.is_closed();
        let error = match is_closed {
            true => AcquireError::Closed,
            false => AcquireError::Impossible,
        };
        for index in self.slots.indices() {
            let is_hopeless = |ask: Ask| is_closed || ask.weight > queues.limit(ask);
            for entry in queues.hopeless(index, is_hopeless) {
                // A refusal lets those behind it be served: who was is not refused any more.
                if queues.outcome(entry) != Outcome::Waiting {
                    continue;
                }
                let own = self.refuse(&mut queues, entry, error, &mut woken);
                woken.extend(own);
            }
            self.grant_all(&mut queues, index, &mut woken);
        }
        drop(queues);
        wake(woken);
    }

    /// Takes a waiter out of its line with nothing; who comes after may fit now.
    fn refuse(
        &self,
        queues: &mut Queues,
        entry: u32,
        error: AcquireError,
        woken: &mut Vec<Waker>,
    ) -> Option<Waker> {
        let (index, _) = queues.place(entry);
        let own = queues.settle(entry, Outcome::Refused(error));
        if queues.len(index) == 0 {
            let slot = self.slots.at(index);
            let mut state = slot.state();
            while let Err(seen) = slot.replace(state, state.with_queue(false)) {
                state = seen;
            }
        }
        self.grant_all(queues, index, woken);
        own
    }

    fn grant_all(&self, queues: &mut Queues, index: u32, woken: &mut Vec<Waker>) {
        while let Some(waker) = self.grant(queues, index) {
            woken.push(waker);
        }
    }

    /// True if enough is free for the first in line.
    fn next_fits(&self, queues: &Queues, index: u32) -> bool {
        let state = self.slots.at(index).state();
        let fits = |ask: Ask| state.plus(ask.weight, queues.limit(ask)).is_some();
        queues.head(index).is_some_and(|(_, ask)| fits(ask))
    }

    /// Serves the first in line, if enough is free for it.
    fn grant(&self, queues: &mut Queues, index: u32) -> Option<Waker> {
        let (entry, ask) = queues.head(index)?;
        if self.is_closed() {
            // Returned too late for those who wait: they are being refused.
            return None;
        }
        let limit = queues.limit(ask);
        let slot = self.slots.at(index);
        let mut state = slot.state();
        loop {
            let next = state.plus(ask.weight, limit)?;
            match slot.replace(state, next.with_queue(queues.len(index) > 1)) {
                Ok(()) => return queues.settle(entry, Outcome::Granted),
                Err(seen) => state = seen,
            }
        }
    }

    /// How many of this key run and wait; takes the lock only if some wait.
    pub(super) fn load_of(&self, key: u64) -> Load {
        let Some((index, state)) = self.slots.find(key) else {
            return Load::default();
        };
        let waiting = match state.is_queued() {
            true => lock(&self.queues).len(index),
            false => 0,
        };
        load_at(state, waiting)
    }

    /// How many run and wait in all, and under how many keys.
    pub(super) fn load(&self) -> Load {
        let queues = lock(&self.queues);
        self.slots.indices().fold(Load::default(), |sum, index| {
            let load = load_at(self.slots.at(index).state(), queues.len(index));
            Load {
                running: sum.running + load.running,
                waiting: sum.waiting + load.waiting,
                keys: sum.keys + load.keys,
            }
        })
    }
}

impl Expire for Shard {
    fn expire(&self, now: Instant) -> (Vec<Waker>, Option<Instant>) {
        let mut woken = Vec::new();
        let mut queues = lock(&self.queues);
        while let Some((deadline, entry)) = queues.earliest() {
            if deadline > now {
                return (woken, Some(deadline));
            }
            let own = self.refuse(&mut queues, entry, AcquireError::WaitedTooLong, &mut woken);
            woken.extend(own);
        }
        (woken, None)
    }
}

/// What calls without the lock need of the terms.
fn word(terms: &PermitTerms) -> u64 {
    u64::from(terms.limit) | u64::from(terms.queue_max.min(QUEUE_MAX)) << QUEUE_SHIFT
}

fn load_at(state: State, waiting: u32) -> Load {
    Load {
        running: u64::from(state.running()),
        waiting: u64::from(waiting),
        keys: u64::from(!state.is_idle()),
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
