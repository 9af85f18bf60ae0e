//! Fixed windows: a count that starts at nothing when its window opens.
//!
//! Windows aligned to the epoch and calendar periods differ only in the period that is current at
//! an instant. How either is counted in is in `grain.rs`; windows that do not end with a second are
//! in `fine.rs`.
//!
//! A fixed window admits up to twice its amount across an edge: all of it just before and all of
//! it just after. Where that matters, the sliding window or the token bucket is the right choice.

use super::grain::{Grain, Open, Seconds};
use super::{Period, RuleError};
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
    let largest = Seconds::COUNT_MAX;
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

    /// The window that is open at `now`: the one of `period`. A word that closes after any window
    /// that is open now can be of no hit until now.
    pub(super) fn open(&self, period: Period, now: Timestamp) -> Open {
        Open {
            amount: self.amount,
            end: u64::from(period.end_secs),
            latest: now.as_secs_ceil() + u64::from(self.span_secs),
        }
    }
}
