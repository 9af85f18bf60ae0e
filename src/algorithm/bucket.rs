//! Token bucket by the generic cell rate algorithm (GCRA).
//!
//! Source: ITU-T I.371, annex A, in its virtual-scheduling form. The whole state is the
//! *theoretical arrival time*: the instant at which the bucket will be full again.
//!
//! The rate stays a fraction, `count` per `period`. A take is judged exactly, in integers, on the
//! state before it; only the arrival time kept afterwards is rounded, up, by less than a
//! nanosecond. So rounding can delay a check by a nanosecond and never admit one early.

use super::{Retry, RuleError, Status, Step, Word};
use crate::time::Timestamp;

/// The longest a bucket may take to fill: ten years of 365 days.
// Bound: arrival times, debts included, stay far below the end of the word's 62 bits.
const FILL_NANOS_MAX: u64 = 10 * 365 * 86_400 * 1_000_000_000;

/// `count` tokens a `period`, at most `burst` at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bucket {
    count: u64,
    period_nanos: u64,
    burst: u64,
    /// What one token adds to the arrival time, rounded up.
    token_nanos: u64,
    /// How far ahead the arrival time may lie for one more token to be there.
    slack_nanos: u64,
    /// How far ahead an arrival time may lie at all: a full debt on an empty bucket.
    horizon_nanos: u64,
}

impl Bucket {
    /// A bucket that gains `count` tokens every `period_nanos`, holds `burst` and starts full.
    ///
    /// # Errors
    /// Says which number is out of range, and what would be in range.
    pub(crate) fn new(count: u64, period_nanos: u64, burst: u64) -> Result<Self, RuleError> {
        if count == 0 || period_nanos == 0 || burst == 0 {
            return Err(RuleError::Zero);
        }
        let mut bucket = Self {
            count,
            period_nanos,
            burst,
            token_nanos: 0,
            slack_nanos: 0,
            horizon_nanos: 0,
        };
        let fill_nanos = match bucket.span_ceil(burst) {
            Some(nanos) if nanos <= FILL_NANOS_MAX => nanos,
            _ => {
                return Err(RuleError::FillsTooSlowly {
                    longest_nanos: FILL_NANOS_MAX,
                });
            }
        };
        bucket.token_nanos = bucket.span_ceil(1).unwrap_or(FILL_NANOS_MAX);
        bucket.slack_nanos = bucket.span_floor(burst - 1);
        bucket.horizon_nanos = 2 * fill_nanos;
        Ok(bucket)
    }

    pub(crate) const fn burst(&self) -> u64 {
        self.burst
    }

    /// Nanoseconds in which `tokens` accrue, rounded up; none if over the longest fill.
    fn span_ceil(&self, tokens: u64) -> Option<u64> {
        let product = u128::from(tokens) * u128::from(self.period_nanos);
        let nanos = u64::try_from(product.div_ceil(u128::from(self.count))).ok()?;
        (nanos <= FILL_NANOS_MAX).then_some(nanos)
    }

    fn span_floor(&self, tokens: u64) -> u64 {
        let product = u128::from(tokens) * u128::from(self.period_nanos);
        u64::try_from(product / u128::from(self.count)).unwrap_or(u64::MAX)
    }

    /// What a take of `cost`, at most `burst`, adds to the arrival time.
    fn charge_nanos(&self, cost: u64) -> u64 {
        if cost == 1 {
            return self.token_nanos;
        }
        self.span_ceil(cost).unwrap_or(FILL_NANOS_MAX)
    }

    /// How far ahead the arrival time may lie before a take of `cost`, at most `burst`.
    fn slack_for(&self, cost: u64) -> u64 {
        if cost == 1 {
            self.slack_nanos
        } else {
            self.span_floor(self.burst - cost)
        }
    }

    pub(crate) fn step(&self, word: Word, now: Timestamp, cost: u64) -> Step {
        let backlog_nanos = word.arrival().as_nanos().saturating_sub(now.as_nanos());
        if backlog_nanos > self.horizon_nanos {
            return Step::Future;
        }
        if cost > self.burst {
            return Step::Never;
        }
        if backlog_nanos > self.slack_for(cost) {
            return Step::Refuse;
        }
        let base = word.arrival().max(now);
        Step::Admit(Word::bucket(base.plus_nanos(self.charge_nanos(cost))))
    }

    /// Takes `cost` whatever is left, into debt; at most one whole bucket of it.
    pub(crate) fn charge(&self, word: Word, now: Timestamp, cost: u64) -> Word {
        let base = word.arrival().max(now);
        // A span too long to express is longer than the horizon it is cut to.
        let charged = base.plus_nanos(self.span_ceil(cost).unwrap_or(FILL_NANOS_MAX));
        Word::bucket(
            charged
                .min(now.plus_nanos(self.horizon_nanos))
                .max(word.arrival()),
        )
    }

    pub(crate) fn refund(&self, word: Word, cost: u64) -> Word {
        let nanos = self.span_ceil(cost).unwrap_or(u64::MAX);
        Word::bucket(word.arrival().minus_nanos(nanos))
    }

    pub(crate) fn status(&self, word: Word, now: Timestamp) -> Status {
        let backlog_nanos = word.arrival().as_nanos().saturating_sub(now.as_nanos());
        let used = (u128::from(backlog_nanos) * u128::from(self.count))
            .div_ceil(u128::from(self.period_nanos));
        let used = u64::try_from(used).unwrap_or(u64::MAX);
        Status {
            limit: self.burst,
            used,
            remaining: self.burst.saturating_sub(used),
            reset: word.arrival().max(now),
        }
    }

    pub(crate) fn retry(&self, word: Word, now: Timestamp, cost: u64) -> Retry {
        if cost > self.burst {
            return Retry::Never;
        }
        let ready = word.arrival().minus_nanos(self.slack_for(cost));
        if ready <= now {
            Retry::Now
        } else {
            Retry::At(ready)
        }
    }
}
