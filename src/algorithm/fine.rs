//! Windows that open or end between two seconds: those that a key's first hit opens, and those that
//! are shorter than a second or no whole number of seconds long.
//!
//! The same arithmetic as a fixed window's, in hundredths of a second. A window from the first hit
//! ends at the first hundredth that is at least its length after the hit, so it may last up to
//! 10 ms longer than it says. What a fixed window admits across an edge, these do.
//!
//! A word keeps the hundredths beside the count, so that every other room sees a window's word:
//!
//! ```text
//! | ends before this second of 1970   32 | hundredth that it ends at   7 | count   23 | ...
//! ```

use super::word::WindowWord;
use super::{Retry, RuleError, Status, Step, Word};
use crate::time::Timestamp;

/// The largest count that fits beside the hundredths.
pub(super) const FINE_COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;
const COUNT_BITS: u32 = 23;
const PER_SEC: u64 = 100;
const NANOS: u64 = 10_000_000;
/// The longest window, ten years of 365 days, in hundredths of a second.
const SPAN_MAX: u64 = 10 * 365 * 86_400 * PER_SEC;

/// At most `amount` in each window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FineWindow {
    amount: u32,
    /// In hundredths of a second.
    span: u64,
    from_first_hit: bool,
}

/// A word as this rule reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counted {
    /// In hundredths of a second since 1970.
    dies_at: u64,
    count: u32,
}

impl Counted {
    fn of(word: WindowWord) -> Self {
        let whole = u64::from(word.dies_at_secs).saturating_sub(1) * PER_SEC;
        Self {
            dies_at: whole + u64::from(word.count >> COUNT_BITS),
            count: word.count & FINE_COUNT_MAX,
        }
    }

    /// Its word: dead for others up to a second after it is dead for this rule.
    fn word(self) -> WindowWord {
        // Bound: the hundredths come to 99 at most, far from a marker's.
        let hundredths = u32::try_from(self.dies_at % PER_SEC).unwrap_or(0);
        let (dies_at_secs, hundredths) = match u32::try_from(self.dies_at / PER_SEC + 1) {
            Ok(secs) => (secs, hundredths),
            // Cut short at the last second it is after `Timestamp::MAX`, so it stays closed there.
            Err(_) => (u32::MAX, 99),
        };
        WindowWord {
            dies_at_secs,
            count: hundredths << COUNT_BITS | self.count.min(FINE_COUNT_MAX),
        }
    }
}

/// `count` and `cost` together, at most what a word can hold.
fn add(count: u32, cost: u64) -> u32 {
    let total = u64::from(count).saturating_add(cost);
    u32::try_from(total).map_or(FINE_COUNT_MAX, |total| total.min(FINE_COUNT_MAX))
}

/// An instant of hundredths of a second.
fn instant(hundredths: u64) -> Timestamp {
    Timestamp::from_nanos(hundredths.saturating_mul(NANOS))
}

impl FineWindow {
    /// A window of so many nanoseconds, a whole number of hundredths of a second.
    ///
    /// # Errors
    /// Says which number is out of range, and what would be in range.
    pub(crate) fn new(
        amount: u64,
        span_nanos: u64,
        from_first_hit: bool,
    ) -> Result<Self, RuleError> {
        let span = span_nanos / NANOS;
        if amount == 0 || span == 0 {
            return Err(RuleError::Zero);
        }
        if span > SPAN_MAX {
            let longest_secs = SPAN_MAX / PER_SEC;
            return Err(RuleError::WindowTooLong { longest_secs });
        }
        let largest = u64::from(FINE_COUNT_MAX);
        match u32::try_from(amount) {
            Ok(amount) if u64::from(amount) <= largest => Ok(Self {
                amount,
                span,
                from_first_hit,
            }),
            _ => Err(RuleError::AmountTooLarge { largest }),
        }
    }

    pub(crate) const fn amount(&self) -> u64 {
        self.amount as u64
    }

    pub(crate) const fn span_nanos(&self) -> u64 {
        self.span * NANOS
    }

    /// When a window that is open at `now`, or opens then, ends.
    fn end(&self, now: Timestamp) -> u64 {
        let nanos = now.as_nanos();
        match self.from_first_hit {
            true => nanos.div_ceil(NANOS) + self.span,
            false => (nanos / NANOS / self.span + 1) * self.span,
        }
    }

    /// The word as it counts at `now`: in its own window while that lasts, else in a new one.
    fn current(&self, word: WindowWord, now: Timestamp) -> Counted {
        let counted = Counted::of(word);
        let is_live = counted.dies_at * NANOS > now.as_nanos();
        let new = Counted {
            dies_at: self.end(now),
            count: 0,
        };
        if is_live { counted } else { new }
    }

    #[inline]
    pub(super) fn step(&self, word: WindowWord, now: Timestamp, cost: u64) -> Step {
        let current = self.current(word, now);
        if current.dies_at > self.end(now) {
            return Step::Future;
        }
        if cost > u64::from(self.amount) {
            return Step::Never;
        }
        let total = u64::from(current.count) + cost;
        match u32::try_from(total) {
            Ok(count) if count <= self.amount => {
                Step::Admit(Counted { count, ..current }.word().into())
            }
            _ => Step::Refuse,
        }
    }

    /// Takes `cost` whatever is left; the count stops at what a word can hold.
    pub(super) fn charge(&self, word: WindowWord, now: Timestamp, cost: u64) -> Word {
        let current = self.current(word, now);
        let count = add(current.count, cost);
        Counted { count, ..current }.word().into()
    }

    /// The word with `cost` more counted, at most the amount unless it is past that already.
    pub(super) fn ahead(&self, word: WindowWord, cost: u64) -> Word {
        let counted = Counted::of(word);
        let count = add(counted.count, cost).min(self.amount).max(counted.count);
        Counted { count, ..counted }.word().into()
    }

    /// The count less `cost`, if the word is still of the window that `taken` was taken in.
    pub(super) fn refund(&self, word: WindowWord, taken: WindowWord, cost: u64) -> WindowWord {
        let (counted, taken) = (Counted::of(word), Counted::of(taken));
        if counted.dies_at != taken.dies_at {
            return word;
        }
        let left = u64::from(counted.count).saturating_sub(cost);
        let count = u32::try_from(left).unwrap_or(0);
        Counted { count, ..counted }.word()
    }

    /// Undoes a take that made `taken` of `before`, and that nobody was told of.
    pub(super) fn undo(
        &self,
        word: WindowWord,
        before: WindowWord,
        taken: WindowWord,
    ) -> WindowWord {
        let (was, is) = (Counted::of(before), Counted::of(taken));
        let counted = if was.dies_at == is.dies_at {
            was.count
        } else {
            0
        };
        self.refund(word, taken, u64::from(is.count.saturating_sub(counted)))
    }

    pub(super) fn status(&self, word: WindowWord, now: Timestamp) -> Status {
        let current = self.current(word, now);
        Status {
            limit: u64::from(self.amount),
            used: u64::from(current.count),
            remaining: u64::from(self.amount.saturating_sub(current.count)),
            reset: match current.count {
                0 => now,
                _ => instant(current.dies_at),
            },
        }
    }

    pub(super) fn retry(&self, word: WindowWord, now: Timestamp, cost: u64) -> Retry {
        if cost > u64::from(self.amount) {
            return Retry::Never;
        }
        let current = self.current(word, now);
        if u64::from(current.count) + cost <= u64::from(self.amount) {
            return Retry::Now;
        }
        Retry::at(instant(current.dies_at), now)
    }
}
