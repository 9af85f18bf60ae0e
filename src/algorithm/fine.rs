//! Windows that open or end between two seconds: those that a key's first hit opens, and those that
//! are shorter than a second or no whole number of seconds long.
//!
//! A window from the first hit ends at the first hundredth of a second that is at least its length
//! after the hit, so it may last up to 10 ms longer than it says. What a fixed window admits across
//! an edge, these do.

use super::RuleError;
use super::grain::{Grain, Hundredths, Open};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// The longest window, ten years of 365 days, in hundredths of a second.
const SPAN_MAX: u64 = 10 * 365 * 86_400 * NANOS_PER_SEC / Hundredths::NANOS;

/// At most `amount` in each window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FineWindow {
    amount: u32,
    /// In hundredths of a second.
    span: u64,
    from_first_hit: bool,
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
        let span = span_nanos / Hundredths::NANOS;
        if amount == 0 || span == 0 {
            return Err(RuleError::Zero);
        }
        if span > SPAN_MAX {
            let longest_secs = SPAN_MAX * Hundredths::NANOS / NANOS_PER_SEC;
            return Err(RuleError::WindowTooLong { longest_secs });
        }
        let largest = Hundredths::COUNT_MAX;
        match u32::try_from(amount) {
            Ok(amount) if amount <= largest => Ok(Self {
                amount,
                span,
                from_first_hit,
            }),
            _ => Err(RuleError::AmountTooLarge {
                largest: u64::from(largest),
            }),
        }
    }

    pub(crate) const fn amount(&self) -> u64 {
        self.amount as u64
    }

    pub(crate) const fn span_nanos(&self) -> u64 {
        self.span * Hundredths::NANOS
    }

    /// The window that is open at `now`, or that a hit opens then.
    pub(super) fn open(&self, now: Timestamp) -> Open {
        let nanos = now.as_nanos();
        let end = match self.from_first_hit {
            true => nanos.div_ceil(Hundredths::NANOS) + self.span,
            false => (nanos / Hundredths::NANOS / self.span + 1) * self.span,
        };
        Open {
            amount: self.amount,
            end,
            latest: end,
        }
    }
}
