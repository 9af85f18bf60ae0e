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
use crate::time::{LAG_MAX, LAG_MAX_NANOS, Timestamp};

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
        Ok(Self {
            burst,
            period_nanos,
            period_ticks: period_nanos - period_nanos % count,
            token_ticks,
            horizon_ticks: 2 * burst * token_ticks,
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

    /// Ticks since the epoch, the unfinished one left out.
    #[inline]
    fn ticks(&self, at: Timestamp) -> u64 {
        if self.period_ticks == self.period_nanos {
            return at.as_nanos();
        }
        self.scaled_ticks(at)
    }

    #[inline(never)]
    fn scaled_ticks(&self, at: Timestamp) -> u64 {
        let scaled = u128::from(at.as_nanos()) * u128::from(self.period_ticks);
        u64::try_from(scaled / u128::from(self.period_nanos)).unwrap_or(u64::MAX)
    }

    /// The first nanosecond at which so many ticks have passed.
    #[inline]
    fn instant(&self, ticks: u64) -> Timestamp {
        if self.period_ticks == self.period_nanos {
            return Timestamp::from_nanos(ticks);
        }
        self.scaled_instant(ticks)
    }

    #[inline(never)]
    fn scaled_instant(&self, ticks: u64) -> Timestamp {
        let scaled = u128::from(ticks) * u128::from(self.period_nanos);
        let nanos = scaled.div_ceil(u128::from(self.period_ticks));
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
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
        let now_ticks = self.ticks(now);
        let arrival_ticks = self.ticks(word.arrival).max(now_ticks);
        let backlog_ticks = arrival_ticks - now_ticks;
        if backlog_ticks > self.horizon_ticks {
            return Step::Future;
        }
        if cost > self.burst {
            return Step::Never;
        }
        if backlog_ticks > self.ticks_of(self.burst - cost) {
            return Step::Refuse;
        }
        let arrival = self.instant(arrival_ticks + self.ticks_of(cost));
        if arrival == Timestamp::MAX {
            // An arrival time cut short there would be forgotten: the end of time stays closed.
            return Step::Refuse;
        }
        Step::Admit(Word::bucket(arrival))
    }

    /// What makes it up, if its ticks are nanoseconds: if a whole number of them brings a token.
    pub(crate) fn to_words(self) -> Option<[u64; 4]> {
        let Self {
            burst,
            period_nanos,
            token_ticks,
            horizon_ticks,
            ..
        } = self;
        let words = [burst, period_nanos, token_ticks, horizon_ticks];
        (self.period_ticks == period_nanos).then_some(words)
    }

    /// The bucket that [`to_words`](Self::to_words) gave these words.
    #[inline(always)]
    pub(crate) const fn from_words(words: [u64; 4]) -> Self {
        let [burst, period_nanos, token_ticks, horizon_ticks] = words;
        Self {
            burst,
            period_nanos,
            period_ticks: period_nanos,
            token_ticks,
            horizon_ticks,
        }
    }

    /// What taking `cost`, at least 1, comes to at every instant from `now` until [`LAG_MAX`]
    /// later; none if that is not always the same, or if the bucket is at rest by then. It is
    /// what [`step`](Self::step) says where [`holds`](Self::holds) says that it is sure, in one,
    /// for a bucket whose ticks are nanoseconds.
    #[inline(always)]
    pub(crate) fn step_at_once(&self, word: Word, now: Timestamp, cost: u64) -> Option<Step> {
        debug_assert!(cost > 0 && self.period_ticks == self.period_nanos);
        let (now, arrival) = (now.as_nanos(), word.as_bucket().arrival.as_nanos());
        let latest = now + LAG_MAX_NANOS;
        if arrival <= latest || cost > self.burst {
            return None;
        }
        let slack = (self.burst - cost) * self.token_ticks;
        if arrival - now <= slack {
            let next = arrival + cost * self.token_ticks;
            let is_within = next < Timestamp::MAX.as_nanos();
            return is_within.then(|| Step::Admit(Word::bucket(Timestamp::from_nanos(next))));
        }
        let is_refused = arrival - latest > slack && arrival - now <= self.horizon_ticks;
        is_refused.then_some(Step::Refuse)
    }

    /// The same of an exact time; none if there is no word of a bucket, or it is in the future, or
    /// the cost is more than the bucket holds.
    #[inline(never)]
    pub(crate) fn step_exactly(self, word: Word, now: Timestamp, cost: u64) -> Option<Step> {
        let step = self.step(word.as_bucket(), now, cost);
        let is_plain = matches!(step, Step::Admit(_) | Step::Refuse);
        is_plain.then_some(step)
    }

    /// See [`Rule::holds`](super::Rule::holds). With more to come back than the clock can lag, a
    /// take moves the arrival time on by its cost, whenever it is; a bucket at rest starts anew
    /// from the time of the take, and that must be exact.
    #[inline(always)]
    pub(super) fn holds(&self, step: Step, word: BucketWord, now: Timestamp, cost: u64) -> bool {
        let latest = now + LAG_MAX;
        match step {
            Step::Admit(_) => word.arrival > latest,
            _ => self.step(word, latest, cost) == step,
        }
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
