//! Room for more: how far a table may grow, who makes it, and who waits for it.
//!
//! Files are made and mapped by a thread of their own, ahead of need: it is called when a shard is
//! six tenths full. Should newcomers be faster than the system makes files, or than words move, one
//! that finds no slot waits, rather than to be judged as if the table could not grow.

use std::sync::OnceLock;
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::sync::{AtomicU64, Ordering};

/// The longest wait of one that finds no slot while room is being made.
// Bound: after it the key counts as having no slot. Room for a shard takes less than a tenth.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long such a one sleeps before it looks again.
const PAUSE: Duration = Duration::from_micros(50);

/// Lines below which a shard is small: 128 KiB.
const SMALL_LINES: usize = 2048;

pub(super) struct Room {
    /// Lines that a shard may grow to.
    most_lines: usize,
    /// One while that fails, else zero.
    is_failing: AtomicU64,
    /// The thread that makes room. There is none yet while a directory is opened: who finds no
    /// slot then makes room, and waits for nobody.
    maker: OnceLock<Thread>,
}

/// How long one has been waiting.
#[derive(Default)]
pub(super) struct Waiting(Option<Instant>);

impl Room {
    pub(super) fn new(most_lines: usize) -> Self {
        Self {
            most_lines,
            is_failing: AtomicU64::new(0),
            maker: OnceLock::new(),
        }
    }

    /// Lines that a shard of so many may grow to in one step; none if it is as large as it may be.
    pub(super) fn next_lines(&self, lines: usize) -> Option<usize> {
        // A small table outgrows its files faster than they are made: it skips some sizes.
        let factor = if lines < SMALL_LINES { 8 } else { 2 };
        let next = lines.saturating_mul(factor);
        // The last step is one to the most, not to a little less.
        let is_last = next.saturating_add(next / 8) >= self.most_lines;
        let next = if is_last { self.most_lines } else { next };
        (next > lines).then_some(next)
    }

    /// Names the thread that makes room.
    #[cfg(not(tollgate_loom))]
    pub(super) fn set_maker(&self, maker: Thread) {
        // There is one in the life of a table.
        let _ = self.maker.set(maker);
    }

    /// Notes whether room cannot be made just now.
    #[cfg(not(tollgate_loom))]
    pub(super) fn set_failing(&self, is_failing: bool) {
        // Ordering: relaxed; who reads an old one waits a little, or not.
        let is_failing = u64::from(is_failing);
        self.is_failing.store(is_failing, Ordering::Relaxed);
    }

    pub(super) fn call(&self) {
        if let Some(maker) = self.maker.get() {
            maker.unpark();
        }
    }

    /// Waits a little for room that will be made; false if it is not to be waited for any more.
    #[cold]
    pub(super) fn wait(&self, waiting: &mut Waiting) -> bool {
        // Ordering: relaxed, as above.
        let is_failing = self.is_failing.load(Ordering::Relaxed) != 0;
        if is_failing || self.maker.get().is_none() {
            return false;
        }
        let since = *waiting.0.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            return false;
        }
        std::thread::sleep(PAUSE);
        true
    }
}
