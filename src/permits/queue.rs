//! Who waits, in which order and until when: one shard's waiters, all under its one lock.
//!
//! Waiters live in one vector and are linked by index, a line per slot, so joining, leaving and
//! being served take constant time and, once the vector has grown, no allocation. Deadlines stand
//! in a heap beside them; those of waiters who left early stay in it until they come up or have
//! become too many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::AcquireError;
use super::slots::position;
use super::terms::{Ask, PermitTerms};

/// The end of a line, or of the list of free entries.
const NONE: u32 = u32::MAX;

/// Entries kept allocated while nobody waits.
const KEPT_ENTRIES: usize = 1024;

/// Deadlines of waiters gone that are kept beside as many as still wait.
const STALE_DEADLINES: usize = 256;

/// What has become of a waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Still in its line.
    Waiting,
    /// Out of its line with its permits, which it has not collected yet.
    Granted,
    /// Out of its line with nothing.
    Refused(AcquireError),
}

/// A waiter about to join a line.
pub(super) struct Ticket {
    pub(super) ask: Ask,
    pub(super) waker: Waker,
    /// When the keeper must end the wait; `None` where the waiter sees to that itself.
    pub(super) deadline: Option<Instant>,
}

struct Entry {
    slot: u32,
    ask: Ask,
    prev: u32,
    next: u32,
    outcome: Outcome,
    /// Tells this waiter from others that had or will have the same entry.
    number: u64,
    timed: bool,
    /// None once it is out of its line.
    waker: Option<Waker>,
}

/// When a waiter's wait ends: the waiter by number and entry.
type Deadline = Reverse<(Instant, u64, u32)>;

#[derive(Clone, Copy)]
struct Line {
    head: u32,
    tail: u32,
    len: u32,
}

/// A line for each slot of a shard.
pub(super) struct Queues {
    /// What all who wait go by.
    pub(super) terms: Arc<PermitTerms>,
    lines: Box<[Line]>,
    // Bound: as many as waited at one time, at most a queue's bound for each slot; given back when
    // nobody waits any more.
    entries: Vec<Entry>,
    free: u32,
    used: u32,
    joined: u64,
    // Bound: twice the entries and `STALE_DEADLINES`.
    deadlines: BinaryHeap<Deadline>,
}

impl Queues {
    pub(super) fn new(slots: usize, terms: Arc<PermitTerms>) -> Self {
        let line = Line {
            head: NONE,
            tail: NONE,
            len: 0,
        };
        Self {
            terms,
            lines: vec![line; slots].into_boxed_slice(),
            entries: Vec::new(),
            free: NONE,
            used: 0,
            joined: 0,
            deadlines: BinaryHeap::new(),
        }
    }

    /// How many wait in this slot's line.
    pub(super) fn len(&self, slot: u32) -> u32 {
        self.line(slot).len
    }

    /// The limit that is in force for who asks.
    pub(super) fn limit(&self, ask: Ask) -> u32 {
        self.terms.limit(ask.key, ask.level)
    }

    /// The first in line and what it asks for.
    pub(super) fn head(&self, slot: u32) -> Option<(u32, Ask)> {
        let head = self.line(slot).head;
        (head != NONE).then(|| (head, self.entry(head).ask))
    }

    /// Those in line whom `is_hopeless` says yes to, first come first.
    pub(super) fn hopeless(&self, slot: u32, is_hopeless: impl Fn(Ask) -> bool) -> Vec<u32> {
        let mut found = Vec::new();
        let mut index = self.line(slot).head;
        while index != NONE {
            let entry = self.entry(index);
            if is_hopeless(entry.ask) {
                found.push(index);
            }
            index = entry.next;
        }
        found
    }

    /// Puts a waiter at the end of a line.
    pub(super) fn join(&mut self, slot: u32, ticket: Ticket) -> u32 {
        let tail = self.line(slot).tail;
        let entry = Entry {
            slot,
            ask: ticket.ask,
            prev: tail,
            next: NONE,
            outcome: Outcome::Waiting,
            number: self.joined,
            timed: ticket.deadline.is_some(),
            waker: Some(ticket.waker),
        };
        let index = self.store(entry);
        if let Some(deadline) = ticket.deadline {
            self.deadlines.push(Reverse((deadline, self.joined, index)));
            self.drop_stale();
        }
        if tail == NONE {
            self.line_mut(slot).head = index;
        } else {
            self.entry_mut(tail).next = index;
        }
        let line = self.line_mut(slot);
        line.tail = index;
        line.len += 1;
        self.used += 1;
        self.joined += 1;
        index
    }

    /// Takes a waiter out of its line, for whatever reason, and gives its waker: none for one that
    /// is out of it.
    pub(super) fn settle(&mut self, index: u32, outcome: Outcome) -> Option<Waker> {
        let entry = self.entry_mut(index);
        entry.outcome = outcome;
        let waker = entry.waker.take();
        entry.timed = false;
        let (slot, prev, next) = (entry.slot, entry.prev, entry.next);
        if prev == NONE {
            self.line_mut(slot).head = next;
        } else {
            self.entry_mut(prev).next = next;
        }
        if next == NONE {
            self.line_mut(slot).tail = prev;
        } else {
            self.entry_mut(next).prev = prev;
        }
        self.line_mut(slot).len -= 1;
        waker
    }

    pub(super) fn outcome(&self, index: u32) -> Outcome {
        self.entry(index).outcome
    }

    /// The slot a waiter is or was in line for, and its weight.
    pub(super) fn place(&self, index: u32) -> (u32, u32) {
        let entry = self.entry(index);
        (entry.slot, entry.ask.weight)
    }

    pub(super) fn will_wake(&self, index: u32, waker: &Waker) -> bool {
        let own = self.entry(index).waker.as_ref();
        own.is_some_and(|own| own.will_wake(waker))
    }

    /// Exchanges the waker of a waiter that is still in line.
    pub(super) fn set_waker(&mut self, index: u32, waker: Waker) -> Option<Waker> {
        self.entry_mut(index).waker.replace(waker)
    }

    /// Forgets a waiter that is out of its line.
    pub(super) fn forget(&mut self, index: u32) {
        self.entry_mut(index).next = self.free;
        self.free = index;
        self.used -= 1;
        if self.used == 0 {
            self.entries.clear();
            self.entries.shrink_to(KEPT_ENTRIES);
            self.free = NONE;
        }
    }

    /// The earliest deadline of all lines, and whose it is.
    pub(super) fn earliest(&mut self) -> Option<(Instant, u32)> {
        while let Some(deadline) = self.deadlines.peek() {
            if is_live(&self.entries, deadline) {
                let Reverse((at, _, index)) = *deadline;
                return Some((at, index));
            }
            self.deadlines.pop();
        }
        None
    }

    /// Whether this waiter's deadline stands before all others, stale ones among them: those have
    /// been announced as this one would be.
    pub(super) fn is_first(&self, index: u32) -> bool {
        self.deadlines
            .peek()
            .is_some_and(|Reverse((_, _, first))| *first == index)
    }

    fn drop_stale(&mut self) {
        if self.deadlines.len() > 2 * position(self.used) + STALE_DEADLINES {
            let entries = &self.entries;
            self.deadlines.retain(|deadline| is_live(entries, deadline));
        }
    }

    fn store(&mut self, entry: Entry) -> u32 {
        if self.free != NONE {
            let index = self.free;
            self.free = self.entry(index).next;
            *self.entry_mut(index) = entry;
            return index;
        }
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
    }

    fn line(&self, slot: u32) -> &Line {
        &self.lines[position(slot)]
    }

    fn line_mut(&mut self, slot: u32) -> &mut Line {
        &mut self.lines[position(slot)]
    }

    fn entry(&self, index: u32) -> &Entry {
        &self.entries[position(index)]
    }

    fn entry_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[position(index)]
    }
}

/// Whether the waiter still waits that the deadline was set for.
fn is_live(entries: &[Entry], Reverse((_, number, index)): &Deadline) -> bool {
    entries
        .get(position(*index))
        .is_some_and(|entry| entry.timed && entry.number == *number)
}

#[cfg(test)]
#[cfg(not(tollgate_loom))]
mod tests {
    use super::*;

    fn ticket(weight: u32, deadline: Option<Instant>) -> Ticket {
        Ticket {
            ask: Ask::plain(0, weight),
            waker: Waker::noop().clone(),
            deadline,
        }
    }

    fn order(queues: &mut Queues, slot: u32) -> Vec<u32> {
        let mut weights = Vec::new();
        while let Some((index, ask)) = queues.head(slot) {
            weights.push(ask.weight);
            queues.settle(index, Outcome::Granted);
            queues.forget(index);
        }
        weights
    }

    #[test]
    fn lines_keep_their_order_whoever_leaves() {
        for leaver in 0..5 {
            let mut queues = Queues::new(2, Arc::default());
            let all: Vec<u32> = (1..=5).map(|w| queues.join(0, ticket(w, None))).collect();
            queues.join(1, ticket(9, None));
            queues.settle(all[leaver], Outcome::Granted);
            queues.forget(all[leaver]);
            assert_eq!(queues.len(0), 4);
            queues.join(0, ticket(6, None));
            let expected: Vec<u32> = (1..=6).filter(|w| position(*w) != leaver + 1).collect();
            assert_eq!(order(&mut queues, 0), expected);
            assert_eq!(order(&mut queues, 1), [9]);
            assert_eq!(queues.len(0), 0);
        }
    }

    #[test]
    fn deadlines_are_sorted_and_leave_with_their_waiter() {
        let mut queues = Queues::new(1, Arc::default());
        let start = Instant::now();
        let at = |secs| Some(start + std::time::Duration::from_secs(secs));
        let late = queues.join(0, ticket(1, at(9)));
        let soon = queues.join(0, ticket(1, at(3)));
        assert_eq!(queues.earliest(), at(3).map(|at| (at, soon)));
        queues.settle(soon, Outcome::Refused(AcquireError::WaitedTooLong));
        assert_eq!(queues.earliest(), at(9).map(|at| (at, late)));
        queues.settle(late, Outcome::Granted);
        assert_eq!(queues.earliest(), None);
        assert_eq!(queues.outcome(late), Outcome::Granted);
    }

    #[test]
    fn memory_is_given_back_when_nobody_waits() {
        let mut queues = Queues::new(1, Arc::default());
        for _ in 0..10 * KEPT_ENTRIES {
            queues.join(0, ticket(1, None));
        }
        assert_eq!(order(&mut queues, 0).len(), 10 * KEPT_ENTRIES);
        assert!(queues.entries.capacity() <= KEPT_ENTRIES);
    }

    #[test]
    fn deadlines_of_those_who_left_do_not_pile_up() {
        let mut queues = Queues::new(1, Arc::default());
        let far = Instant::now() + std::time::Duration::from_secs(3600);
        let stays = queues.join(0, ticket(1, Some(far)));
        for _ in 0..100 * STALE_DEADLINES {
            let leaves = queues.join(0, ticket(1, Some(far)));
            queues.settle(leaves, Outcome::Granted);
            queues.forget(leaves);
            assert!(queues.deadlines.len() <= STALE_DEADLINES + 4);
        }
        assert_eq!(queues.earliest(), Some((far, stays)));
    }
}
