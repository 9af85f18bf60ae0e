//! The inbox: which words have changed since they were last written to the journal.
//!
//! A change that makes a clean word dirty pushes the word's tag, once, however often the word
//! changes before it is written. The queue is bounded and pushing never waits: when it is full, the
//! sweep flag says that some dirty word is not in it, and the dirty bits themselves say which.

use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering, Queue};

/// Tags of words that became dirty.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Queue<Tag>,
    /// Changes that found the queue full since the last sweep began.
    missed: AtomicU64,
}

impl Inbox {
    /// An inbox for at most so many tags.
    // Bound: one tag more raises the sweep flag.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            queue: Queue::new(capacity),
            missed: AtomicU64::new(0),
        }
    }

    /// Notes that the tag's word has become dirty. Never waits, never fails.
    #[inline]
    pub(crate) fn mark(&self, tag: Tag) {
        if self.queue.push(tag).is_err() {
            // Ordering: release, pairs with the acquire in `take_missed`: who sees the flag sees
            // the dirty bit that was set before it.
            self.missed.fetch_add(1, Ordering::Release);
        }
    }

    /// The next tag.
    pub(crate) fn next(&self) -> Option<Tag> {
        self.queue.pop()
    }

    /// Tags waiting.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// True if some dirty word may not be in the queue; says so once. The caller then looks at
    /// every word.
    pub(crate) fn take_missed(&self) -> bool {
        // Ordering: acquire, pairs with the release in `mark`; and a read-modify-write, so that a
        // change missed after this one raises the flag again.
        self.missed.swap(0, Ordering::AcqRel) > 0
    }

    /// Asks for a look at every word.
    pub(crate) fn ask_for_sweep(&self) {
        // Ordering: release, as in `mark`.
        self.missed.fetch_add(1, Ordering::Release);
    }
}
