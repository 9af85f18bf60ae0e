//! Lines and slots as they lie in memory, and the header that stands before them in a file.

use crate::sync::AtomicU64;

/// Slots in a line; fewer in a model, where every load of a tag is a place to be interrupted at.
pub(crate) const SLOTS: usize = if cfg!(tollgate_loom) { 2 } else { 4 };

/// Bytes before the first line of a shard file: one page.
pub(crate) const HEADER_LEN: usize = 4096;

/// Where the notes stand in that page: behind what is written once and sealed.
pub(crate) const NOTES_AT: usize = 64;

/// Bytes in a line.
pub(crate) const LINE_LEN: usize = 64;

/// Lines that a search looks at, from the home line on, before it gives up.
// Bound: no lookup reads more than this, whatever keys an attacker chose. With 68 slots used of a
// hundred a key finds none in 16 lines once in thirty thousand, in 64 less than once in 10^11 (each
// eight lines more make it some fourteen times rarer); nine in ten are found in the first.
pub(super) const PROBE_LINES: usize = 64;

/// One counter word and whose it is.
#[repr(C)]
pub(crate) struct Slot {
    pub(super) tag: AtomicU64,
    pub(super) word: AtomicU64,
}

/// What a shard is told while it is in use.
#[repr(C)]
pub(crate) struct Notes {
    /// Drawn anew whenever the table is opened or closed; the directory's mark has the same.
    pub(super) stamp: AtomicU64,
    /// Slots that were ever used; they never become empty again. May be one short after a kill.
    pub(super) used: AtomicU64,
    /// Lines of the generation that this one is being copied into; zero if it is not. From before
    /// the first word moves.
    pub(super) next_lines: AtomicU64,
    /// The file's own device and inode number, which a copy does not share.
    pub(super) identity: [AtomicU64; 2],
}

/// A cache line of slots.
#[repr(C, align(64))]
pub(crate) struct Line {
    pub(super) slots: [Slot; SLOTS],
}

#[cfg(not(tollgate_loom))]
const _: () = assert!(size_of::<Line>() == LINE_LEN && HEADER_LEN.is_multiple_of(LINE_LEN));
#[cfg(not(tollgate_loom))]
const _: () = assert!(NOTES_AT + size_of::<Notes>() <= HEADER_LEN);

#[cfg(any(test, tollgate_loom))]
impl Notes {
    pub(super) fn empty() -> Self {
        Self {
            stamp: AtomicU64::new(0),
            used: AtomicU64::new(0),
            next_lines: AtomicU64::new(0),
            identity: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }
}

#[cfg(any(test, tollgate_loom))]
impl Line {
    fn empty() -> Self {
        let slot = || Slot {
            tag: AtomicU64::new(0),
            word: AtomicU64::new(0),
        };
        Self {
            slots: std::array::from_fn(|_| slot()),
        }
    }

    /// So many empty lines on the heap.
    pub(super) fn heap(lines: usize) -> Box<[Self]> {
        (0..lines).map(|_| Self::empty()).collect()
    }
}
