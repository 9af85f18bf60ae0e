//! The one 64-bit word that is a counter's whole state, and what can be told from it alone.
//!
//! A [`Word`] says nothing about arrival times or counts. An algorithm first asks for the view
//! of its own kind, [`Word::as_bucket`] or [`Word::as_window`], so that it cannot compute with the
//! bits of another kind.
//!
//! ```text
//! token bucket   | theoretical arrival time, 50 ns since 1970   57 | pace 5 | kind 0 | dirty 1 |
//! window         | dies at, s since 1970   32 | count           30 | kind 1 | dirty 1 |
//! ```
//!
//! *Later is larger*: for one counter at one rate a later state is a larger number. *Dead is
//! absent*: a word whose time has passed means what no word means.
//!
//! An arrival time means a number of tokens only together with a rate. So a bucket's word names its
//! rate by a number, its *pace* (`algorithm/pace.rs`). When the rate of a limit changes, the tokens
//! in its words are still read at the old rate.

use crate::time::{NANOS_PER_SEC, Timestamp};

const DIRTY: u64 = 0b01;
const WINDOW: u64 = 0b10;
const COUNT_SHIFT: u32 = 2;
const COUNT_BITS: u32 = 30;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const SECS_SHIFT: u32 = COUNT_SHIFT + COUNT_BITS;
const PACE_SHIFT: u32 = 2;
const PACE_BITS: u32 = 5;
const PACE_MASK: u64 = (1 << PACE_BITS) - 1;
const ARRIVAL_SHIFT: u32 = PACE_SHIFT + PACE_BITS;

/// How finely a bucket's word tells its arrival time, in nanoseconds.
pub(crate) const UNIT_NANOS: u64 = 50;
/// The last arrival time that a word tells: at or after [`Timestamp::MAX`].
pub(super) const UNITS_MAX: u64 = Timestamp::MAX.as_nanos().div_ceil(UNIT_NANOS);
/// The largest number that a pace can have; the least is one.
pub(crate) const PACE_MAX: u8 = PACE_MASK as u8;
/// The pace of a word that names no rate.
pub(crate) const NO_PACE: u8 = 0;

const _: () = assert!(SECS_SHIFT == 32, "seconds take the upper half");
const _: () = assert!(
    UNITS_MAX < 1 << (u64::BITS - ARRIVAL_SHIFT),
    "an arrival time fits its 57 bits"
);

/// The largest count a window word can hold; one more would be a marker.
// Bound: a policy that asks for more is refused; a debt that goes past it stays at it.
pub(crate) const COUNT_MAX: u32 = (COUNT_MASK - 1) as u32;

/// One counter's state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// No state: a counter that was never touched, or is to be forgotten.
    pub(crate) const ABSENT: Self = Self(0);

    /// A slot whose tag is being changed. Never stepped on, never journalled.
    // Invariant: a window count of all ones is no count (see `COUNT_MAX`), so markers are told
    // from every state a rule can make.
    pub(crate) const CLAIMED: Self = Self(COUNT_MASK << COUNT_SHIFT | WINDOW);

    /// A marker, too: a slot whose word stands in the next generation of its shard, if anywhere.
    pub(crate) const MOVED: Self = Self(1 << SECS_SHIFT | Self::CLAIMED.0);

    /// A token bucket of no pace that is full at `arrival`, or a part of a unit before it.
    pub(crate) const fn bucket(arrival: Timestamp) -> Self {
        Self::paced_bucket(arrival.as_nanos() / UNIT_NANOS, NO_PACE)
    }

    /// A token bucket that is full so many units after 1970.
    #[inline(always)]
    pub(super) const fn paced_bucket(arrival_units: u64, pace: u8) -> Self {
        let units = if arrival_units > UNITS_MAX {
            UNITS_MAX
        } else {
            arrival_units
        };
        Self(units << ARRIVAL_SHIFT | (pace as u64 & PACE_MASK) << PACE_SHIFT)
    }

    /// A window that is over at second `dies_at` and holds `count`, at most [`COUNT_MAX`].
    pub(crate) const fn window(dies_at: u32, count: u32) -> Self {
        let count = if count > COUNT_MAX { COUNT_MAX } else { count };
        Self((dies_at as u64) << SECS_SHIFT | (count as u64) << COUNT_SHIFT | WINDOW)
    }

    /// The word as it stands in memory or on disk.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The word that stood in memory or on disk.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn is_absent(self) -> bool {
        self.0 & !DIRTY == 0
    }

    /// True for a marker: a slot in passage that has no state to read.
    pub(crate) const fn is_marker(self) -> bool {
        self.0 & WINDOW != 0 && (self.0 >> COUNT_SHIFT) & COUNT_MASK == COUNT_MASK
    }

    /// True if there is nothing to be read here: a marker, or not one bit.
    pub(crate) const fn is_void(self) -> bool {
        self.0 == 0 || self.is_marker()
    }

    /// A word of the counter that says no more than that there is one, and is no later than this:
    /// its window with nothing counted, or a bucket that is full a unit after `now`.
    pub(crate) fn floor(self, now: Timestamp) -> Self {
        if self.is_window() {
            return Self::window(self.as_window().dies_at_secs, 0);
        }
        let soon_units = now.as_nanos() / UNIT_NANOS + 1;
        Self::paced_bucket(soon_units.min(self.arrival_units()), NO_PACE)
    }

    /// True if this word may stand under `ceiling`: it is no later, and was not written at another
    /// rate.
    #[inline]
    pub(crate) const fn is_within(self, ceiling: Self) -> bool {
        let is_no_later = self.clean().0 <= ceiling.clean().0;
        is_no_later && !self.differs_in_pace(ceiling)
    }

    /// True if both name a rate, and not the same one. Then neither is later than the other.
    #[inline]
    pub(crate) const fn differs_in_pace(self, other: Self) -> bool {
        let (own, others) = (self.pace(), other.pace());
        own != NO_PACE && others != NO_PACE && own != others
    }

    const fn pace(self) -> u8 {
        if self.is_window() {
            return NO_PACE;
        }
        (self.0 >> PACE_SHIFT & PACE_MASK) as u8
    }

    const fn is_window(self) -> bool {
        self.0 & WINDOW != 0
    }

    /// The word as a token bucket's. A window's word is no bucket: it counts as a full one.
    #[inline(always)]
    pub(super) const fn as_bucket(self) -> BucketWord {
        if self.is_window() {
            BucketWord::FULL
        } else {
            BucketWord {
                arrival_units: self.arrival_units(),
                pace: self.pace(),
            }
        }
    }

    /// The word as a window's. A token bucket's word is no window: it counts as one that is over.
    #[inline(always)]
    pub(super) const fn as_window(self) -> WindowWord {
        if self.is_window() {
            WindowWord {
                dies_at_secs: (self.0 >> SECS_SHIFT) as u32,
                count: (self.0 >> COUNT_SHIFT & COUNT_MASK) as u32,
            }
        } else {
            WindowWord::OVER
        }
    }

    pub(crate) const fn is_dirty(self) -> bool {
        self.0 & DIRTY != 0
    }

    pub(crate) const fn dirty(self) -> Self {
        Self(self.0 | DIRTY)
    }

    pub(crate) const fn clean(self) -> Self {
        Self(self.0 & !DIRTY)
    }

    #[inline(always)]
    const fn arrival_units(self) -> u64 {
        self.0 >> ARRIVAL_SHIFT
    }

    /// True if the word still counts at `now`. Markers do not.
    // Bound: a window cut short at the last second a word holds outlives `Timestamp::MAX`, so it
    // stays closed there; compared as a `Timestamp` it would be dead and count for nothing.
    pub(crate) const fn is_live(self, now: Timestamp) -> bool {
        if self.is_window() {
            !self.is_marker()
                && self.as_window().dies_at_secs as u64 * NANOS_PER_SEC > now.as_nanos()
        } else {
            // Ordered by whole units, as every rule counts them.
            self.arrival_units() > now.as_nanos() / UNIT_NANOS
        }
    }
}

/// A token bucket's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BucketWord {
    /// The theoretical arrival time: when the bucket is full again, in units since 1970.
    pub(super) arrival_units: u64,
    /// The number of the rate at which it fills.
    pub(super) pace: u8,
}

impl BucketWord {
    /// A bucket of which nothing is taken.
    const FULL: Self = Self {
        arrival_units: 0,
        pace: NO_PACE,
    };
}

impl From<BucketWord> for Word {
    #[inline(always)]
    fn from(bucket: BucketWord) -> Self {
        Self::paced_bucket(bucket.arrival_units, bucket.pace)
    }
}

/// A window's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WindowWord {
    /// When the word means nothing any more, in seconds since 1970.
    pub(super) dies_at_secs: u32,
    pub(super) count: u32,
}

impl WindowWord {
    /// A window in which nothing is counted, and which is over.
    const OVER: Self = Self {
        dies_at_secs: 0,
        count: 0,
    };
}

impl From<WindowWord> for Word {
    #[inline(always)]
    fn from(window: WindowWord) -> Self {
        Self::window(window.dies_at_secs, window.count)
    }
}

/// For tests that know which kind of word they look at.
#[cfg(test)]
impl Word {
    /// A window's count; zero for no word.
    pub(crate) fn count(self) -> u32 {
        assert!(
            self.is_window() || self.is_absent(),
            "{self:?} has no count"
        );
        self.as_window().count
    }

    /// When a window's word dies, in seconds since 1970.
    pub(crate) fn dies_at_secs(self) -> u32 {
        assert!(
            self.is_window() || self.is_absent(),
            "{self:?} is no window"
        );
        self.as_window().dies_at_secs
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dirty = if self.is_dirty() { " dirty" } else { "" };
        if self.is_marker() {
            write!(f, "marker({:#x})", self.0)
        } else if self.is_absent() {
            write!(f, "absent{dirty}")
        } else if self.is_window() {
            let WindowWord {
                dies_at_secs,
                count,
            } = self.as_window();
            write!(f, "window(dies {dies_at_secs}, count {count}){dirty}")
        } else {
            let BucketWord {
                arrival_units,
                pace,
            } = self.as_bucket();
            let arrival = Timestamp::from_nanos(arrival_units * UNIT_NANOS);
            write!(f, "bucket(arrival {arrival:?}, pace {pace}){dirty}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_do_not_overlap(
            dies in any::<u32>(), count in 0..=COUNT_MAX, nanos in any::<u64>(),
            pace in 0..=PACE_MAX,
        ) {
            let window = Word::window(dies, count);
            prop_assert_eq!((window.dies_at_secs(), window.count()), (dies, count));
            prop_assert!(window.is_window() && !window.is_dirty() && !window.is_marker());
            prop_assert_eq!(window.dirty().clean(), window);
            let units = Timestamp::from_nanos(nanos).as_nanos() / UNIT_NANOS;
            let bucket = Word::paced_bucket(units, pace).dirty();
            prop_assert_eq!(bucket.as_bucket(), BucketWord { arrival_units: units, pace });
            prop_assert!(!bucket.is_window() && bucket.is_dirty() && !bucket.is_marker());
        }

        #[test]
        fn later_is_larger(dies in 0..u32::MAX - 1, count in 0..COUNT_MAX) {
            let word = Word::window(dies, count).bits();
            prop_assert!(Word::window(dies, count + 1).bits() > word);
            prop_assert!(Word::window(dies + 1, 0).bits() > word);
        }
    }

    #[test]
    fn a_dead_word_is_not_live_and_markers_never_are() {
        let word = Word::window(10, 3);
        assert!(word.is_live(Timestamp::from_nanos(9_999_999_999)));
        assert!(!word.is_live(Timestamp::from_secs(10)));
        assert!(!Word::ABSENT.is_live(Timestamp::EPOCH));
        for marker in [Word::CLAIMED, Word::MOVED] {
            assert!(marker.is_marker() && marker.is_void() && !marker.is_live(Timestamp::EPOCH));
        }
        assert_ne!(Word::CLAIMED, Word::MOVED);
        assert_eq!(Word::window(7, u32::MAX).count(), COUNT_MAX);
    }
}
