//! The inbox: which words have changed since they were last written to the journal.
//!
//! A change that makes a clean word dirty pushes the word's tag, once, however often the word
//! changes before it is written. The queue is bounded and pushing never waits: when it is full, the
//! sweep flag says that some dirty word is not in it, and the dirty bits themselves say which.

#[cfg(all(test, tollgate_loom))]
mod loom;

use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering, Queue};

/// Tags of words that became dirty.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Queue<Tag>,
    /// Changes that found the queue full since the last sweep began.
    missed: AtomicU64,
    /// Looks at every word that were asked for since then.
    asked: AtomicU64,
}

impl Inbox {
    /// An inbox for at most so many tags.
    // Bound: one tag more raises the sweep flag.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            queue: Queue::new(capacity),
            missed: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }
    }

    /// Notes that the tag's word has become dirty. Never waits, never fails.
    // Not inline: most changes are to words that are dirty already.
    #[inline(never)]
    pub(crate) fn mark(&self, tag: Tag) {
        if self.queue.push(tag).is_err() {
            // Ordering: release, pairs with the acquire in `take_missed`: who sees the flag sees
            // the dirty bit that was set before it.
            self.missed.fetch_add(1, Ordering::Release);
        }
    }

    /// Words noted that nobody has fetched yet.
    pub(crate) fn waiting(&self) -> u64 {
        // Ordering: relaxed, a number to look at.
        self.queue.len() as u64 + self.missed.load(Ordering::Relaxed)
    }

    /// The tags of all words that were dirty before the call; none if some may not be in the queue,
    /// and every word is to be looked at.
    pub(crate) fn drain(&self) -> Option<Vec<Tag>> {
        // Before the queue is emptied: a change missed after this raises the flag for the next
        // time.
        let missed = self.take_missed();
        // What is marked meanwhile waits for the next time, so that this one ends.
        let queued = self.queue.len();
        let tags = (0..queued).map_while(|_| self.queue.pop()).collect();
        // What was queued was dirty before, so a look at every word finds it too.
        (!missed).then_some(tags)
    }

    /// True if some dirty word may not be in the queue; says so once.
    fn take_missed(&self) -> bool {
        // Ordering: acquire, pairs with the releases in `mark` and `ask_for_sweep`; and
        // read-modify-writes, so that a change missed after this one raises the flag again.
        let missed = self.missed.swap(0, Ordering::AcqRel);
        let asked = self.asked.swap(0, Ordering::AcqRel);
        missed > 0 || asked > 0
    }

    /// Asks for a look at every word when the inbox is drained next.
    pub(crate) fn ask_for_sweep(&self) {
        // Ordering: release, as in `mark`.
        self.asked.fetch_add(1, Ordering::Release);
    }
}
