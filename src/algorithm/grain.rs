//! Counting in windows: one arithmetic for windows that end with a second and for those that end
//! between two.
//!
//! The two differ in their *grain*: how finely a word tells when its window ends, and how far it
//! can count beside that. A rule says which window is open; what is counted in it is the same for
//! all.

use super::word::{self, WindowWord};
use super::{Retry, Status, Step, Word};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// A window's word as its rule reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// When it means nothing any more, in grains since 1970.
    pub(super) dies_at: u64,
    pub(super) count: u32,
}

/// The window that is open at an instant.
#[derive(Clone, Copy)]
pub(super) struct Open {
    /// What it admits.
    pub(super) amount: u32,
    /// When it ends, in grains since 1970.
    pub(super) end: u64,
    /// The latest end that a word of the rule can have at that instant.
    pub(super) latest: u64,
}

/// How finely a word tells when its window ends.
pub(super) trait Grain {
    /// The length of a grain.
    const NANOS: u64;
    /// The largest count that a word can hold.
    const COUNT_MAX: u32;

    fn read(word: WindowWord) -> Counted;

    /// A count above [`Self::COUNT_MAX`] stays at that.
    fn write(counted: Counted) -> WindowWord;

    /// The instant so many grains after 1970.
    fn instant(grains: u64) -> Timestamp {
        Timestamp::from_nanos(grains.saturating_mul(Self::NANOS))
    }

    /// `count` and `cost` together, at most what a word can hold.
    fn add(count: u32, cost: u64) -> u32 {
        let total = u64::from(count).saturating_add(cost);
        u32::try_from(total).map_or(Self::COUNT_MAX, |total| total.min(Self::COUNT_MAX))
    }

    /// The word as it counts at `now`: in its own window while that lasts, else in the open one.
    fn current(open: Open, word: WindowWord, now: Timestamp) -> Counted {
        let counted = Self::read(word);
        match counted.dies_at * Self::NANOS > now.as_nanos() {
            true => counted,
            false => Counted {
                dies_at: open.end,
                count: 0,
            },
        }
    }

    #[inline]
    fn step(open: Open, word: WindowWord, now: Timestamp, cost: u64) -> Step {
        if Self::read(word).dies_at > open.latest {
            return Step::Future;
        }
        if cost > u64::from(open.amount) {
            return Step::Never;
        }
        let current = Self::current(open, word, now);
        let total = u64::from(current.count) + cost;
        match u32::try_from(total) {
            Ok(count) if count <= open.amount => {
                Step::Admit(Self::write(Counted { count, ..current }).into())
            }
            _ => Step::Refuse,
        }
    }

    /// Takes `cost` whatever is left; the count stops at what a word can hold.
    fn charge(open: Open, word: WindowWord, now: Timestamp, cost: u64) -> Word {
        let current = Self::current(open, word, now);
        let count = Self::add(current.count, cost);
        Self::write(Counted { count, ..current }).into()
    }

    /// The word with `cost` more counted, at most `most` unless it is past that already.
    fn ahead(word: WindowWord, cost: u64, most: u64) -> Word {
        let counted = Self::read(word);
        let most = u32::try_from(most).unwrap_or(Self::COUNT_MAX);
        let count = Self::add(counted.count, cost).min(most).max(counted.count);
        Self::write(Counted { count, ..counted }).into()
    }

    /// The count less `cost`, at least zero. `taken` is the word that the take made: a window that
    /// follows its own is not credited.
    fn refund(word: WindowWord, taken: WindowWord, cost: u64) -> WindowWord {
        let counted = Self::read(word);
        if counted.dies_at != Self::read(taken).dies_at {
            return word;
        }
        let left = u64::from(counted.count).saturating_sub(cost);
        let count = u32::try_from(left).unwrap_or(0);
        Self::write(Counted { count, ..counted })
    }

    /// Undoes a take of `cost` at most that made `taken` of `before`, and that nobody was told of.
    fn undo(word: WindowWord, before: WindowWord, taken: WindowWord, cost: u64) -> WindowWord {
        let (was, is) = (Self::read(before), Self::read(taken));
        let counted = match was.dies_at == is.dies_at {
            true => was.count,
            false => 0,
        };
        // Of a count that begins with what the window before weighed, only the cost goes.
        let added = u64::from(is.count.saturating_sub(counted)).min(cost);
        Self::refund(word, taken, added)
    }

    fn status(open: Open, word: WindowWord, now: Timestamp) -> Status {
        let current = Self::current(open, word, now);
        Status {
            limit: u64::from(open.amount),
            used: u64::from(current.count),
            remaining: u64::from(open.amount.saturating_sub(current.count)),
            reset: match current.count {
                0 => now,
                _ => Self::instant(current.dies_at),
            },
        }
    }

    fn retry(open: Open, word: WindowWord, now: Timestamp, cost: u64) -> Retry {
        if cost > u64::from(open.amount) {
            return Retry::Never;
        }
        let current = Self::current(open, word, now);
        if u64::from(current.count) + cost <= u64::from(open.amount) {
            return Retry::Now;
        }
        Retry::at(Self::instant(current.dies_at), now)
    }
}

/// Windows that end with a second.
pub(super) struct Seconds;

impl Grain for Seconds {
    const NANOS: u64 = NANOS_PER_SEC;
    const COUNT_MAX: u32 = word::COUNT_MAX;

    #[inline]
    fn read(word: WindowWord) -> Counted {
        Counted {
            dies_at: u64::from(word.dies_at_secs),
            count: word.count,
        }
    }

    #[inline]
    fn write(counted: Counted) -> WindowWord {
        WindowWord {
            dies_at_secs: u32::try_from(counted.dies_at).unwrap_or(u32::MAX),
            count: counted.count.min(Self::COUNT_MAX),
        }
    }
}

/// Windows that end with a hundredth of a second. A word keeps the hundredths beside the count, so
/// that every other room sees a window's word:
///
/// ```text
/// | ends before this second of 1970   32 | hundredth that it ends at   7 | count   23 | ...
/// ```
pub(super) struct Hundredths;

const FINE_COUNT_BITS: u32 = 23;
const PER_SEC: u64 = NANOS_PER_SEC / Hundredths::NANOS;

impl Grain for Hundredths {
    const NANOS: u64 = 10_000_000;
    const COUNT_MAX: u32 = (1 << FINE_COUNT_BITS) - 1;

    fn read(word: WindowWord) -> Counted {
        let whole = u64::from(word.dies_at_secs).saturating_sub(1) * PER_SEC;
        Counted {
            dies_at: whole + u64::from(word.count >> FINE_COUNT_BITS),
            count: word.count & Self::COUNT_MAX,
        }
    }

    /// Its word is dead for others up to a second after it is dead for its rule.
    fn write(counted: Counted) -> WindowWord {
        // Bound: the hundredths come to 99 at most, far from a marker's.
        let hundredths = u32::try_from(counted.dies_at % PER_SEC).unwrap_or(0);
        let (dies_at_secs, hundredths) = match u32::try_from(counted.dies_at / PER_SEC + 1) {
            Ok(secs) => (secs, hundredths),
            // Cut short at the last second it is after `Timestamp::MAX`, so it stays closed there.
            Err(_) => (u32::MAX, 99),
        };
        WindowWord {
            dies_at_secs,
            count: hundredths << FINE_COUNT_BITS | counted.count.min(Self::COUNT_MAX),
        }
    }
}
