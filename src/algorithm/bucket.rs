//! Token bucket by the generic cell rate algorithm (GCRA).
//!
//! Source: ITU-T I.371, annex A, in its virtual-scheduling form. The whole state is the
//! *theoretical arrival time*: the instant at which the bucket will be full again.
//!
//! The rate stays a fraction, `count` per `period`, and the arithmetic is in *ticks*, of which a
//! token always takes a whole number: a unit of a word's arrival time where `count` divides
//! `period`, else the least longer span that fits, under two units. On the clock that ticks so, the
//! bucket is exact: no take is ever rounded, a full bucket gives `burst` at one instant, and a
//! whole period brings back `count`, however the takes were spread and for however long. Seen from
//! a clock of nanoseconds, a take can come early or late by less than one tick, 100 ns, which never
//! adds up.
//!
//! Rounding each take up instead would never be early, but it adds up: three a second could not
//! be taken in each of two seconds, and a bucket of three would not give its third at once.
//!
//! A word that was written at another rate of the limit is converted first, see
//! [`Bucket::converted`].

use super::word::{BucketWord, NO_PACE, UNIT_NANOS, UNITS_MAX};
use super::{Retry, RuleError, Status, Step, Word};
use crate::time::Timestamp;

/// The longest a bucket may take to fill: ten years of 365 days.
// Bound: a full debt behind `Timestamp::MAX` stays far below what 64 bits of ticks can hold.
const FILL_NANOS_MAX: u64 = 10 * 365 * 86_400 * 1_000_000_000;
const FILL_UNITS_MAX: u64 = FILL_NANOS_MAX / UNIT_NANOS;

/// `count` tokens a `period`, at most `burst` at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bucket {
    burst: u64,
    period_units: u64,
    /// How many ticks the clock makes in a period; more than half its units.
    period_ticks: u64,
    /// How many ticks bring one token.
    token_ticks: u64,
    /// How far ahead an arrival time can lie if no clock was wrong.
    horizon_ticks: u64,
    /// Ticks a unit, in 2^-64; where a tick is longer than a unit.
    ticks_a_unit: u64,
    /// Units a tick, in 2^-63; likewise.
    units_a_tick: u64,
    /// The number by which words name this rate.
    pace: u8,
    /// Since when an override has given this rate to a key; the epoch if none has, or if that is
    /// not known.
    own_since: Timestamp,
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

/// The rate that a word was written at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    pub(crate) at: Bucket,
    /// Since when the limit has that rate no more.
    pub(crate) until: Option<Timestamp>,
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
        // The same rate over a period of whole units.
        let (count, period_units) = match period_nanos.is_multiple_of(UNIT_NANOS) {
            true => (count, period_nanos / UNIT_NANOS),
            false => (count.saturating_mul(UNIT_NANOS), period_nanos),
        };
        if count > period_units {
            return Err(RuleError::TooFast);
        }
        let fill_units = (u128::from(burst) * u128::from(period_units)).div_ceil(u128::from(count));
        if fill_units > u128::from(FILL_UNITS_MAX) {
            return Err(RuleError::FillsTooSlowly {
                longest_nanos: FILL_NANOS_MAX,
            });
        }
        let token_ticks = period_units / count;
        let period_ticks = period_units - period_units % count;
        Ok(Self {
            burst,
            period_units,
            period_ticks,
            token_ticks,
            horizon_ticks: 2 * burst * token_ticks,
            ticks_a_unit: fraction(period_ticks, period_units, 64),
            units_a_tick: fraction(period_units, period_ticks, 63),
            pace: NO_PACE,
            own_since: Timestamp::EPOCH,
        })
    }

    /// The same, whose words name the rate by this number.
    pub(crate) fn with_pace(self, pace: u8) -> Self {
        Self { pace, ..self }
    }

    pub(crate) const fn pace(&self) -> u8 {
        self.pace
    }

    /// The same for a limit whose words may name a rate with a burst of `most_burst`: as many
    /// tokens may be missing.
    pub(crate) fn among(self, most_burst: u64) -> Self {
        let debt_ticks = most_burst
            .saturating_mul(2)
            .saturating_mul(self.token_ticks);
        Self {
            horizon_ticks: self.horizon_ticks.max(debt_ticks),
            ..self
        }
    }

    /// The same for single keys that have had this rate since `since`.
    pub(crate) fn own_since(self, since: Timestamp) -> Self {
        Self {
            own_since: since,
            ..self
        }
    }

    /// How far ahead this rule itself can put an arrival time: a full debt on an empty bucket.
    pub(crate) fn horizon_nanos(&self) -> u64 {
        self.units(self.debt_ticks()) * UNIT_NANOS
    }

    /// How long it takes to fill.
    pub(crate) fn fill_nanos(&self) -> u64 {
        self.units(self.ticks_of(self.burst)) * UNIT_NANOS
    }

    pub(crate) const fn burst(&self) -> u64 {
        self.burst
    }

    /// So many tokens in so many nanoseconds.
    pub(crate) const fn rate(&self) -> (u64, u64) {
        let count = self.period_ticks / self.token_ticks;
        // Bound: a token comes within ten years, but a period may bring many.
        match self.period_units.checked_mul(UNIT_NANOS) {
            Some(period_nanos) => (count, period_nanos),
            None => (count / UNIT_NANOS, self.period_units),
        }
    }

    /// True if a tick is a unit.
    #[inline(always)]
    const fn ticks_are_units(&self) -> bool {
        self.period_ticks == self.period_units
    }

    /// Ticks since the epoch, the unfinished one left out.
    #[inline]
    fn ticks(&self, at_units: u64) -> u64 {
        match self.ticks_are_units() {
            true => at_units,
            false => self.scaled_ticks(at_units),
        }
    }

    /// `floor(units * period_ticks / period_units)`, without a division: the product with the
    /// fraction is at most one too small, and the remainder tells.
    #[inline]
    fn scaled_ticks(&self, units: u64) -> u64 {
        let mut ticks = (wide(units, self.ticks_a_unit) >> 64) as u64;
        let exact = wide(units, self.period_ticks);
        let mut left = exact - wide(ticks, self.period_units);
        while left >= u128::from(self.period_units) {
            left -= u128::from(self.period_units);
            ticks += 1;
        }
        ticks
    }

    /// The first unit at which so many ticks have passed.
    #[inline]
    fn units(&self, ticks: u64) -> u64 {
        match self.ticks_are_units() {
            true => ticks,
            false => self.scaled_units(ticks),
        }
    }

    /// `ceil(ticks * period_units / period_ticks)`, in the same way.
    #[inline]
    fn scaled_units(&self, ticks: u64) -> u64 {
        let ticks = ticks.min(u64::MAX / 2);
        let mut units = (wide(ticks, self.units_a_tick) >> 63) as u64;
        let exact = wide(ticks, self.period_units);
        let mut left = exact - wide(units, self.period_ticks);
        while left > 0 {
            left = left.saturating_sub(u128::from(self.period_ticks));
            units += 1;
        }
        units
    }

    /// The instant at which so many ticks have passed.
    fn instant(&self, ticks: u64) -> Timestamp {
        instant(self.units(ticks))
    }

    /// The word of this rate that is full when so many ticks have passed.
    #[inline(always)]
    fn full_at(&self, ticks: u64) -> BucketWord {
        BucketWord {
            arrival_units: self.units(ticks),
            pace: self.pace,
        }
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

    /// A word of another rate after `cost` more: it is full later by the time that `cost` takes at
    /// this rate.
    pub(super) fn delayed(&self, word: BucketWord, cost: u64) -> BucketWord {
        let later_units = self.units(self.ticks_of(cost).min(self.debt_ticks()));
        BucketWord {
            arrival_units: word.arrival_units.saturating_add(later_units),
            ..word
        }
    }

    /// True if the word still counts at `now`, and tells its tokens by another rate.
    #[inline(always)]
    pub(super) const fn is_foreign(&self, word: BucketWord, now: Timestamp) -> bool {
        word.pace != self.pace && word.arrival_units > units(now)
    }

    /// Converts a word that was written at another rate of the limit, `written`. The same number of
    /// tokens is missing afterwards, rounded up to a tick.
    ///
    /// A bucket fills at the rate of its last take. If an operator has ended that rate since, by a
    /// policy or an override, the bucket fills at the new rate from that moment on. Tokens that do
    /// not fit the new burst are then forgiven: otherwise a client that took a hundred in a minute
    /// would wait for days after its rate was lowered to ten a day.
    ///
    /// Nothing is forgiven if only the burst differs, or if both rates are in force, as those of
    /// two tiers are. Otherwise a client could empty the larger burst, take one token from the
    /// smaller, and find the larger one full.
    pub(super) fn converted(
        &self,
        word: BucketWord,
        written: Option<Written>,
        now: Timestamp,
    ) -> BucketWord {
        if !self.is_foreign(word, now) {
            return word;
        }
        let now_units = units(now);
        let most_ticks = self.ticks_of(self.burst);
        let Some(written) = written else {
            if word.pace != NO_PACE {
                // A later policy named that rate, see `Step::Foreign`.
                return word;
            }
            // How many tokens are missing is not known. The word keeps its time, up to a burst.
            let now_ticks = self.ticks(now_units);
            let missing_ticks = self.ticks(word.arrival_units) - now_ticks;
            return self.full_at(now_ticks + missing_ticks.min(most_ticks));
        };
        let ended = self.ended(written);
        let from_units = ended.map_or(now_units, |ended| units(ended).min(now_units));
        let at = written.at;
        let theirs = at.ticks(word.arrival_units) - at.ticks(from_units);
        // Bound: both factors are below 2^57.
        let exact = wide(theirs, self.token_ticks).div_ceil(u128::from(at.token_ticks));
        let missing_ticks = u64::try_from(exact).unwrap_or(u64::MAX);
        let missing_ticks = match ended.is_some() && !self.is_as_fast_as(&at) {
            true => missing_ticks.min(most_ticks),
            false => missing_ticks,
        };
        self.full_at(self.ticks(from_units).saturating_add(missing_ticks))
    }

    /// True if both bring a token in the same time.
    pub(super) const fn is_as_fast_as(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.rate(), other.rate());
        wide(ours.0, theirs.1) == wide(theirs.0, ours.1)
    }

    /// When an operator ended the rate `written` for keys that have this one.
    fn ended(&self, written: Written) -> Option<Timestamp> {
        let ended = written.until.unwrap_or_default().max(self.own_since);
        (ended != Timestamp::EPOCH).then_some(ended)
    }

    /// True if an operator ended the rate `written` for keys that have this one.
    pub(super) fn has_ended(&self, written: Written) -> bool {
        self.ended(written).is_some()
    }

    #[inline(always)]
    pub(super) fn step(&self, word: BucketWord, now: Timestamp, cost: u64) -> Step {
        if self.is_foreign(word, now) {
            return Step::Foreign;
        }
        let now_units = units(now);
        match self.ticks_are_units() {
            true => self.judge(word.arrival_units, now_units, cost),
            false => self.step_in_ticks(word, now_units, cost),
        }
    }

    #[inline(never)]
    fn step_in_ticks(&self, word: BucketWord, now_units: u64, cost: u64) -> Step {
        let now_ticks = self.scaled_ticks(now_units);
        let arrival_ticks = match word.arrival_units <= now_units {
            true => now_ticks,
            false => self.scaled_ticks(word.arrival_units),
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
        let next = self.full_at(arrival_ticks.max(now_ticks) + cost * self.token_ticks);
        if next.arrival_units >= UNITS_MAX {
            // An arrival time cut short there would be forgotten: the end of time stays closed.
            return Step::Refuse;
        }
        Step::Admit(next.into())
    }

    /// Takes `cost` whatever is left, into debt; at most one whole bucket of it.
    pub(super) fn charge(&self, word: BucketWord, now: Timestamp, cost: u64) -> Word {
        let now_ticks = self.ticks(units(now));
        let arrival_ticks = self.ticks(word.arrival_units).max(now_ticks);
        let charged = arrival_ticks
            .saturating_add(self.ticks_of(cost))
            .min(now_ticks + self.debt_ticks());
        self.later(charged, word)
    }

    /// The word that so many tokens more would leave, or that of an empty bucket, whichever is
    /// earlier; never one before `word`.
    pub(super) fn ahead(&self, word: BucketWord, now: Timestamp, tokens: u64) -> Word {
        let ticks = self.ticks(word.arrival_units);
        let empty = self
            .ticks(units(now))
            .saturating_add(self.ticks_of(self.burst));
        let ahead = ticks.saturating_add(self.ticks_of(tokens)).min(empty);
        self.later(ahead, word)
    }

    /// The word that is full when so many ticks have passed, but not before `word`.
    fn later(&self, ticks: u64, word: BucketWord) -> Word {
        let next = self.full_at(ticks);
        let arrival_units = next.arrival_units.max(word.arrival_units);
        BucketWord {
            arrival_units,
            ..next
        }
        .into()
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
        let taken_ticks = self.ticks(taken.arrival_units);
        let left_ticks = taken_ticks.saturating_sub(self.ticks(units(now)));
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
        let started_units = before.arrival_units.max(units(now));
        let taken_ticks = self.ticks(taken.arrival_units);
        self.less(word, taken_ticks.saturating_sub(self.ticks(started_units)))
    }

    /// The word with its arrival time earlier by so many ticks.
    fn less(&self, word: BucketWord, ticks: u64) -> BucketWord {
        if ticks == 0 {
            return word;
        }
        self.full_at(self.ticks(word.arrival_units).saturating_sub(ticks))
    }

    pub(super) fn status(&self, word: BucketWord, now: Timestamp) -> Status {
        if self.is_foreign(word, now) {
            // Whoever asks again is told by the rate that wrote it.
            return Status {
                limit: self.burst,
                used: self.burst,
                remaining: 0,
                reset: now,
            };
        }
        let now_ticks = self.ticks(units(now));
        let backlog_ticks = self.ticks(word.arrival_units).saturating_sub(now_ticks);
        let used = backlog_ticks.div_ceil(self.token_ticks);
        Status {
            limit: self.burst,
            used,
            remaining: self.burst.saturating_sub(used),
            reset: instant(word.arrival_units).max(now),
        }
    }

    pub(super) fn retry(&self, word: BucketWord, now: Timestamp, cost: u64) -> Retry {
        if cost > self.burst {
            return Retry::Never;
        }
        if self.is_foreign(word, now) {
            return Retry::Now;
        }
        let arrival_ticks = self.ticks(word.arrival_units);
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

/// Whole units since 1970.
#[inline(always)]
const fn units(at: Timestamp) -> u64 {
    at.as_nanos() / UNIT_NANOS
}

/// So many units after 1970.
fn instant(units: u64) -> Timestamp {
    Timestamp::from_nanos(units.saturating_mul(UNIT_NANOS))
}
