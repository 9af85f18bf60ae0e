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
use super::keeper::Keeper;
use super::queue::{Outcome, Queues, Ticket};
use super::slot::State;
use super::slots::Slots;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// In the terms word beside the limit: nobody is let in any more.
const CLOSED: u64 = 1 << 32;

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
    /// The limit, and `CLOSED`. Written under the lock.
    terms: AtomicU64,
    slots: Slots,
    queue_max: u32,
    queues: Mutex<Queues>,
    keeper: Arc<Keeper>,
}

impl Shard {
    /// A shard of `slots`, a power of two, each for one key at a time.
    pub(super) fn new(slots: usize, limit: u32, queue_max: u32, keeper: Arc<Keeper>) -> Self {
        Self {
            terms: AtomicU64::new(u64::from(limit)),
            slots: Slots::new(slots),
            queue_max,
            queues: Mutex::new(Queues::new(slots)),
            keeper,
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.terms().0
    }

    /// The limit, and whether the shard is closed.
    fn terms(&self) -> (u32, bool) {
        // Ordering: Relaxed. Without the lock a late sight of a change only means that this call
        // came before it; whoever waits has looked under the lock, which orders it.
        let terms = self.terms.load(Ordering::Relaxed);
        let limit = u32::try_from(terms & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        (limit, terms & CLOSED != 0)
    }

    /// The limit, if `weight` can be let in at all.
    fn admit(&self, weight: u32) -> Result<u32, AcquireError> {
        match self.terms() {
            (_, true) => Err(AcquireError::Closed),
            (limit, false) if weight == 0 || weight > limit => Err(AcquireError::Impossible),
            (limit, false) => Ok(limit),
        }
    }

    /// Takes permits if enough are free and nobody waits, else gives `None`.
    ///
    /// Takes the lock only at the first sight of a key.
    #[inline]
    pub(super) fn try_take(&self, key: u64, weight: u32) -> Result<Option<u32>, AcquireError> {
        match self.take(key, weight)? {
            Try::Taken(index) => Ok(Some(index)),
            Try::Busy(..) if self.queue_max == 0 => Err(AcquireError::QueueFull),
            Try::Busy(..) => Ok(None),
            Try::Unknown => self.try_settle(key, weight),
        }
    }

    #[cold]
    fn try_settle(&self, key: u64, weight: u32) -> Result<Option<u32>, AcquireError> {
        let _queues = lock(&self.queues);
        match self.take(key, weight)? {
            Try::Taken(index) => Ok(Some(index)),
            Try::Busy(..) if self.queue_max == 0 => Err(AcquireError::QueueFull),
            Try::Busy(..) => Ok(None),
            Try::Unknown => self.slots.settle(key, weight).map(Some),
        }
    }

    /// Takes permits, or joins the line if it has room.
    pub(super) fn enter(
        &self,
        key: u64,
        weight: u32,
        ticket: Ticket,
    ) -> Result<Entered, AcquireError> {
        let mut queues = lock(&self.queues);
        let index = loop {
            match self.take(key, weight)? {
                Try::Taken(index) => return Ok(Entered::Taken(index)),
                Try::Unknown => return self.slots.settle(key, weight).map(Entered::Taken),
                Try::Busy(index, _) if queues.len(index) >= self.queue_max => {
                    return Err(AcquireError::QueueFull);
                }
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
    fn take(&self, key: u64, weight: u32) -> Result<Try, AcquireError> {
        let limit = self.admit(weight)?;
        while let Some((index, mut state)) = self.slots.find(key) {
            loop {
                let next = match state.plus(weight, limit) {
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
                        Some(fresh) => Some(queues.set_waker(entry, fresh)),
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
            more = queues.len(index) != 0;
            drop(queues);
            waker.wake();
        }
    }

    /// Ends the waits whose deadline has come. Gives who must be woken, and the next deadline.
    pub(super) fn expire(&self, now: Instant) -> (Vec<Waker>, Option<Instant>) {
        let mut woken = Vec::new();
        let mut queues = lock(&self.queues);
        while let Some((deadline, entry)) = queues.earliest() {
            if deadline > now {
                return (woken, Some(deadline));
            }
            let own = self.refuse(&mut queues, entry, AcquireError::WaitedTooLong, &mut woken);
            woken.push(own);
        }
        (woken, None)
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
            woken.push(own);
        }
        drop(queues);
        wake(woken);
    }

    /// Sets the limit: a higher one serves as many waiters as now fit, a lower one takes nothing
    /// from those who run, but refuses waiters it could never serve.
    pub(super) fn set_limit(&self, limit: u32) {
        self.amend(|terms| (terms & CLOSED) | u64::from(limit));
    }

    /// Refuses all who wait and all who come.
    pub(super) fn close(&self) {
        self.amend(|terms| terms | CLOSED);
    }

    fn amend(&self, change: impl FnOnce(u64) -> u64) {
        let mut woken = Vec::new();
        let mut queues = lock(&self.queues);
        // Ordering: Relaxed. Written and, by whoever waits, read under the lock.
        let terms = change(self.terms.load(Ordering::Relaxed));
        // Ordering: as above.
        self.terms.store(terms, Ordering::Relaxed);
        let (limit, error) = match terms & CLOSED {
            0 => (self.limit(), AcquireError::Impossible),
            _ => (0, AcquireError::Closed),
        };
        for index in self.slots.indices() {
            for entry in queues.heavier(index, limit) {
                // A refusal lets those behind it be served: who was is not refused any more.
                if queues.outcome(entry) != Outcome::Waiting {
                    continue;
                }
                let own = self.refuse(&mut queues, entry, error, &mut woken);
                woken.push(own);
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
    ) -> Waker {
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

    /// Serves the first in line, if enough is free for it.
    fn grant(&self, queues: &mut Queues, index: u32) -> Option<Waker> {
        let (entry, weight) = queues.head(index)?;
        let (limit, is_closed) = self.terms();
        if is_closed {
            // Returned too late for those who wait: they are being refused.
            return None;
        }
        let slot = self.slots.at(index);
        let mut state = slot.state();
        loop {
            let next = state.plus(weight, limit)?;
            match slot.replace(state, next.with_queue(queues.len(index) > 1)) {
                Ok(()) => return Some(queues.settle(entry, Outcome::Granted)),
                Err(seen) => state = seen,
            }
        }
    }

    /// How many of this key run and wait.
    pub(super) fn load_of(&self, key: u64) -> Load {
        let queues = lock(&self.queues);
        self.slots
            .find(key)
            .map_or(Load::default(), |(index, state)| {
                self.load_at(&queues, index, state)
            })
    }

    /// How many run and wait in all, and under how many keys.
    pub(super) fn load(&self) -> Load {
        let queues = lock(&self.queues);
        self.slots.indices().fold(Load::default(), |sum, index| {
            let load = self.load_at(&queues, index, self.slots.at(index).state());
            Load {
                running: sum.running + load.running,
                waiting: sum.waiting + load.waiting,
                keys: sum.keys + load.keys,
            }
        })
    }

    fn load_at(&self, queues: &Queues, index: u32, state: State) -> Load {
        Load {
            running: u64::from(state.running()),
            waiting: u64::from(queues.len(index)),
            keys: u64::from(!state.is_idle()),
        }
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
