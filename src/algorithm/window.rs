//! Fixed windows: a count that starts at nothing when its window opens.
//!
//! One arithmetic serves two frames: windows aligned to the epoch, and calendar periods. They
//! differ only in the period that is current at an instant. Windows that do not end with a second
//! are in `fine.rs`.
//!
//! A fixed window admits up to twice its amount across an edge: all of it just before and all of
//! it just after. Where that matters, the sliding window or the token bucket is the right choice.

use super::word::WindowWord;
use super::{Period, Retry, RuleError, Status, Step, Word, word};
use crate::time::Timestamp;

/// The longest window: ten years of 365 days.
// Bound: two of them still end before the seconds of a word do.
pub(super) const WINDOW_SECS_MAX: u64 = 10 * 365 * 86_400;

/// Which period is current.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    /// Multiples of the window's length since 1970.
    Epoch,
    /// A calendar's hours, days, weeks or months; the number finds the calendar.
    Calendar(u16),
}

/// At most `amount` in each window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    amount: u32,
    /// The longest the window can be, in seconds.
    span_secs: u32,
    frame: Frame,
}

/// `amount` and `span_secs`, if a window word can hold them.
pub(super) fn fit(amount: u64, span_secs: u64) -> Result<(u32, u32), RuleError> {
    if amount == 0 || span_secs == 0 {
        return Err(RuleError::Zero);
    }
    if span_secs > WINDOW_SECS_MAX {
        return Err(RuleError::WindowTooLong {
            longest_secs: WINDOW_SECS_MAX,
        });
    }
    let largest = word::COUNT_MAX;
    match (u32::try_from(amount), u32::try_from(span_secs)) {
        (Ok(amount), Ok(span_secs)) if amount <= largest => Ok((amount, span_secs)),
        _ => Err(RuleError::AmountTooLarge {
            largest: u64::from(largest),
        }),
    }
}

impl Window {
    /// A window of `span_secs` seconds: for a calendar, of its longest period.
    ///
    /// # Errors
    /// Says which number is out of range, and what would be in range.
    pub(crate) fn new(amount: u64, span_secs: u64, frame: Frame) -> Result<Self, RuleError> {
        let (amount, span_secs) = fit(amount, span_secs)?;
        Ok(Self {
            amount,
            span_secs,
            frame,
        })
    }

    pub(crate) const fn amount(&self) -> u64 {
        self.amount as u64
    }

    pub(super) const fn span_secs(&self) -> u32 {
        self.span_secs
    }

    pub(crate) const fn frame(&self) -> Frame {
        self.frame
    }

    /// The period that is current at `now`, for the frame that needs no calendar.
    pub(crate) fn period(&self, now: Timestamp) -> Period {
        Period::aligned(now, self.span_secs)
    }

    /// The word as it counts at `now`: in its own window while that lasts, else in a new one.
    fn current(period: Period, word: WindowWord, now: Timestamp) -> (u32, u32) {
        if word.is_live(now) {
            (word.dies_at_secs, word.count)
        } else {
            (period.end_secs, 0)
        }
    }

    /// True if no hit at `now` can have made this word: it closes after any window open now.
    fn is_future(&self, word: WindowWord, now: Timestamp) -> bool {
        u64::from(word.dies_at_secs) > now.as_secs_ceil() + u64::from(self.span_secs)
    }

    #[inline]
    pub(super) fn step(&self, period: Period, word: WindowWord, now: Timestamp, cost: u64) -> Step {
        if self.is_future(word, now) {
            return Step::Future;
        }
        if cost > u64::from(self.amount) {
            return Step::Never;
        }
        let (dies_at, count) = Self::current(period, word, now);
        let total = u64::from(count) + cost;
        match u32::try_from(total) {
            Ok(total) if total <= self.amount => Step::Admit(Word::window(dies_at, total)),
            _ => Step::Refuse,
        }
    }

    /// Takes `cost` whatever is left; the count stops at what a word can hold.
    pub(super) fn charge(
        &self,
        period: Period,
        word: WindowWord,
        now: Timestamp,
        cost: u64,
    ) -> Word {
        let (dies_at, count) = Self::current(period, word, now);
        Word::window(dies_at, add(count, cost))
    }

    pub(super) fn status(&self, period: Period, word: WindowWord, now: Timestamp) -> Status {
        let (dies_at, count) = Self::current(period, word, now);
        Status {
            limit: u64::from(self.amount),
            used: u64::from(count),
            remaining: u64::from(self.amount.saturating_sub(count)),
            reset: if count == 0 {
                now
            } else {
                Timestamp::from_secs(u64::from(dies_at))
            },
        }
    }

    pub(super) fn retry(
        &self,
        period: Period,
        word: WindowWord,
        now: Timestamp,
        cost: u64,
    ) -> Retry {
        if cost > u64::from(self.amount) {
            return Retry::Never;
        }
        let (dies_at, count) = Self::current(period, word, now);
        if u64::from(count) + cost <= u64::from(self.amount) {
            return Retry::Now;
        }
        Retry::at(Timestamp::from_secs(u64::from(dies_at)), now)
    }
}

/// `count` and `cost` together, at most what a word can hold.
pub(super) fn add(count: u32, cost: u64) -> u32 {
    u32::try_from(u64::from(count).saturating_add(cost))
        .map_or(word::COUNT_MAX, |total| total.min(word::COUNT_MAX))
}

/// The word with `amount` more counted, at most `most` unless it is past that already. Serves
/// every kind of window.
pub(super) fn ahead(word: WindowWord, amount: u64, most: u64) -> Word {
    let most = u32::try_from(most).unwrap_or(word::COUNT_MAX);
    let count = add(word.count, amount).min(most).max(word.count);
    Word::window(word.dies_at_secs, count)
}

/// A window's count less `cost`, at least zero. Serves every kind of window.
///
/// `taken` is the word that the take made: a window that follows its own is not credited.
pub(super) fn refund(word: WindowWord, taken: WindowWord, cost: u64) -> WindowWord {
    if word.dies_at_secs != taken.dies_at_secs {
        return word;
    }
    let left = u64::from(word.count).saturating_sub(cost);
    WindowWord {
        count: u32::try_from(left).unwrap_or(0),
        ..word
    }
}

/// Undoes a take of `cost` at most that made `taken` of `before`, and that nobody was told of.
pub(super) fn undo(
    word: WindowWord,
    before: WindowWord,
    taken: WindowWord,
    cost: u64,
) -> WindowWord {
    let counted = match before.dies_at_secs == taken.dies_at_secs {
        true => before.count,
        false => 0,
    };
    // Of a count that begins with what the window before weighed, only the cost goes.
    let added = u64::from(taken.count.saturating_sub(counted)).min(cost);
    refund(word, taken, added)
}
