//! Token bucket by the generic cell rate algorithm (GCRA).
//!
//! Source: ITU-T I.371, annex A, in its virtual-scheduling form. The whole state is the
//! *theoretical arrival time*: the instant at which the bucket will be full again.
//!
//! The rate stays a fraction, `count` per `period`, and the arithmetic is in *ticks*, of which a
//! token always takes a whole number: a nanosecond where `count` divides `period`, else the least
//! longer span that fits, under two nanoseconds. On the clock that ticks so, the bucket is exact:
//! no take is ever rounded, a full bucket gives `burst` at one instant, and a whole period brings
//! back `count`, however the takes were spread and for however long. Seen from a clock of
//! nanoseconds, a take can come early or late by less than one tick, which never adds up.
//!
//! Rounding each take up instead would never be early, but it adds up: three a second could not
//! be taken in each of two seconds, and a bucket of three would not give its third at once.

use super::word::BucketWord;
use super::{Retry, RuleError, Status, Step, Word};
use crate::time::Timestamp;

/// The longest a bucket may take to fill: ten years of 365 days.
// Bound: a full debt behind `Timestamp::MAX` stays far below what 64 bits of ticks can hold.
const FILL_NANOS_MAX: u64 = 10 * 365 * 86_400 * 1_000_000_000;

/// `count` tokens a `period`, at most `burst` at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bucket {
    burst: u64,
    period_nanos: u64,
    /// How many ticks the clock makes in a period; more than half its nanoseconds.
    period_ticks: u64,
    /// How many ticks bring one token.
    token_ticks: u64,
    /// How far ahead an arrival time can lie if no clock was wrong.
    horizon_ticks: u64,
    /// Ticks a nanosecond, in units of 2^-64; where a tick is longer than a nanosecond.
    ticks_a_nano: u64,
    /// Nanoseconds a tick, in units of 2^-63; likewise.
    nanos_a_tick: u64,
}

/// The product of two numbers.
#[inline(always)]
const fn wide(a: u64, b: u64) -> u128 {
    a as u128 * b as u128
}

/// `numerator / denominator` in units of 2^-`bits`; all ones where that does not fit.
fn fraction(numerator: u64, denominator: u64, bits: u32) -> u64 {
    let scaled = (u128::from(numerator) << bits) / u128::from(denominator);
    u64::try_from(scaled).unwrap_or(u64::MAX)
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
        if count > period_nanos {
            return Err(RuleError::TooFast);
        }
        let fill_nanos = (u128::from(burst) * u128::from(period_nanos)).div_ceil(u128::from(count));
        if fill_nanos > u128::from(FILL_NANOS_MAX) {
            return Err(RuleError::FillsTooSlowly {
                longest_nanos: FILL_NANOS_MAX,
            });
        }
        let token_ticks = period_nanos / count;
        let period_ticks = period_nanos - period_nanos % count;
        Ok(Self {
            burst,
            period_nanos,
            period_ticks,
            token_ticks,
            horizon_ticks: 2 * burst * token_ticks,
            ticks_a_nano: fraction(period_ticks, period_nanos, 64),
            nanos_a_tick: fraction(period_nanos, period_ticks, 63),
        })
    }

    /// The same for a counter in which other rules count, too: arrival times up to so far ahead are
    /// theirs, and no sign of a clock that was wrong.
    pub(crate) fn with_horizon(self, nanos: u64) -> Self {
        // Bound: ticks are no shorter than nanoseconds, so that these are enough.
        let horizon_ticks = self.horizon_ticks.max(nanos);
        Self {
            horizon_ticks,
            ..self
        }
    }

    /// How far ahead this rule itself can put an arrival time: a full debt on an empty bucket.
    pub(crate) fn horizon_nanos(&self) -> u64 {
        self.instant(self.debt_ticks()).as_nanos()
    }

    /// How long it takes to fill.
    pub(crate) fn fill_nanos(&self) -> u64 {
        self.instant(self.ticks_of(self.burst)).as_nanos()
    }

    pub(crate) const fn burst(&self) -> u64 {
        self.burst
    }

    /// So many tokens in so many nanoseconds.
    pub(crate) const fn rate(&self) -> (u64, u64) {
        (self.period_ticks / self.token_ticks, self.period_nanos)
    }

    /// True if a tick is a nanosecond.
    #[inline(always)]
    const fn ticks_are_nanos(&self) -> bool {
        self.period_ticks == self.period_nanos
    }

    /// Ticks since the epoch, the unfinished one left out.
    #[inline]
    fn ticks(&self, at: Timestamp) -> u64 {
        match self.ticks_are_nanos() {
            true => at.as_nanos(),
            false => self.scaled_ticks(at),
        }
    }

    /// `floor(nanos * period_ticks / period_nanos)`, without a division: the product with the
    /// fraction is at most one too small, and the remainder tells.
    #[inline]
    fn scaled_ticks(&self, at: Timestamp) -> u64 {
        let nanos = at.as_nanos();
        let mut ticks = (wide(nanos, self.ticks_a_nano) >> 64) as u64;
        let exact = wide(nanos, self.period_ticks);
        let mut left = exact - wide(ticks, self.period_nanos);
        while left >= u128::from(self.period_nanos) {
            left -= u128::from(self.period_nanos);
            ticks += 1;
        }
        ticks
    }

    /// The first nanosecond at which so many ticks have passed.
    #[inline]
    fn instant(&self, ticks: u64) -> Timestamp {
        match self.ticks_are_nanos() {
            true => Timestamp::from_nanos(ticks),
            false => self.scaled_instant(ticks),
        }
    }

    /// `ceil(ticks * period_nanos / period_ticks)`, in the same way.
    #[inline]
    fn scaled_instant(&self, ticks: u64) -> Timestamp {
        let ticks = ticks.min(u64::MAX / 2);
        let mut nanos = (wide(ticks, self.nanos_a_tick) >> 63) as u64;
        let exact = wide(ticks, self.period_nanos);
        let mut left = exact - wide(nanos, self.period_ticks);
        while left > 0 {
            left = left.saturating_sub(u128::from(self.period_ticks));
            nanos += 1;
        }
        Timestamp::from_nanos(nanos)
    }

    /// The ticks that bring `tokens`, or far more than any horizon.
    #[inline]
    fn ticks_of(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(self.token_ticks)
    }

    /// How far ahead a charge may put an arrival time: a full debt on an empty bucket.
    fn debt_ticks(&self) -> u64 {
        2 * self.ticks_of(self.burst)
    }

    #[inline(always)]
    pub(super) fn step(&self, word: BucketWord, now: Timestamp, cost: u64) -> Step {
        match self.ticks_are_nanos() {
            true => self.judge(word.arrival.as_nanos(), now.as_nanos(), cost),
            false => self.step_in_ticks(word, now, cost),
        }
    }

    #[inline(never)]
    fn step_in_ticks(&self, word: BucketWord, now: Timestamp, cost: u64) -> Step {
        let now_ticks = self.scaled_ticks(now);
        let arrival_ticks = match word.arrival <= now {
            true => now_ticks,
            false => self.scaled_ticks(word.arrival),
        };
        self.judge(arrival_ticks, now_ticks, cost)
    }

    #[inline(always)]
    fn judge(&self, arrival_ticks: u64, now_ticks: u64, cost: u64) -> Step {
        let backlog_ticks = arrival_ticks.saturating_sub(now_ticks);
        if backlog_ticks > self.horizon_ticks {
            return Step::Future;
        }
        if cost > self.burst {
            return Step::Never;
        }
        // Bound: a burst fills in ten years, so neither product comes near 64 bits.
        if backlog_ticks > (self.burst - cost) * self.token_ticks {
            return Step::Refuse;
        }
        let next_ticks = arrival_ticks.max(now_ticks) + cost * self.token_ticks;
        let arrival = self.instant(next_ticks);
        if arrival == Timestamp::MAX {
            // An arrival time cut short there would be forgotten: the end of time stays closed.
            return Step::Refuse;
        }
        Step::Admit(Word::bucket(arrival))
    }

    /// Takes `cost` whatever is left, into debt; at most one whole bucket of it.
    pub(super) fn charge(&self, word: BucketWord, now: Timestamp, cost: u64) -> Word {
        let now_ticks = self.ticks(now);
        let arrival_ticks = self.ticks(word.arrival).max(now_ticks);
        let charged = arrival_ticks
            .saturating_add(self.ticks_of(cost))
            .min(now_ticks + self.debt_ticks());
        Word::bucket(self.instant(charged).max(word.arrival))
    }

    /// The word that so many tokens more would leave, or that of an empty bucket, whichever is
    /// earlier; never one before `word`.
    pub(super) fn ahead(&self, word: BucketWord, now: Timestamp, tokens: u64) -> Word {
        let ticks = self.ticks(word.arrival);
        let empty = self.ticks(now).saturating_add(self.ticks_of(self.burst));
        let ahead = ticks.saturating_add(self.ticks_of(tokens)).min(empty);
        Word::bucket(self.instant(ahead).max(word.arrival))
    }

    /// Gives `cost` back, less what came back by itself since the take that left `taken`: with
    /// more, a take cancelled after the bucket had filled again would let a second burst through.
    /// Takes are paid off in their order, and of this one is left what lies before its arrival.
    pub(super) fn refund(
        &self,
        word: BucketWord,
        taken: BucketWord,
        now: Timestamp,
        cost: u64,
    ) -> BucketWord {
        let left_ticks = self.ticks(taken.arrival).saturating_sub(self.ticks(now));
        self.less(word, self.ticks_of(cost).min(left_ticks))
    }

    /// Undoes a take at `now` that made `taken` of `before`, and that nobody was told of.
    pub(super) fn undo(
        &self,
        word: BucketWord,
        before: BucketWord,
        taken: BucketWord,
        now: Timestamp,
    ) -> BucketWord {
        let started = before.arrival.max(now);
        self.less(
            word,
            self.ticks(taken.arrival)
                .saturating_sub(self.ticks(started)),
        )
    }

    /// The word with its arrival time earlier by so many ticks.
    fn less(&self, word: BucketWord, ticks: u64) -> BucketWord {
        if ticks == 0 {
            return word;
        }
        let arrival_ticks = self.ticks(word.arrival).saturating_sub(ticks);
        BucketWord {
            arrival: self.instant(arrival_ticks),
        }
    }

    pub(super) fn status(&self, word: BucketWord, now: Timestamp) -> Status {
        let backlog_ticks = self.ticks(word.arrival).saturating_sub(self.ticks(now));
        let used = backlog_ticks.div_ceil(self.token_ticks);
        Status {
            limit: self.burst,
            used,
            remaining: self.burst.saturating_sub(used),
            reset: word.arrival.max(now),
        }
    }

    pub(super) fn retry(&self, word: BucketWord, now: Timestamp, cost: u64) -> Retry {
        if cost > self.burst {
            return Retry::Never;
        }
        let arrival_ticks = self.ticks(word.arrival);
        let slack_ticks = self.ticks_of(self.burst - cost);
        let ready = self.instant(arrival_ticks.saturating_sub(slack_ticks));
        let ready = ready.max(now);
        match self.step(word, ready, cost) {
            Step::Admit(_) if ready == now => Retry::Now,
            Step::Admit(_) => Retry::At(ready),
            _ => Retry::Never,
        }
    }
}
