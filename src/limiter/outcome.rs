//! What one limit says to one check.

use std::fmt;
use std::time::Duration;

use crate::algorithm::{Pair, Period, Retry, Rule, Status, Step, Word};
use crate::counter::{Counter, Seen};
use crate::key::Tag;
use crate::time::Timestamp;

/// What a limit says to a cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// There is room.
    Allowed,
    /// A request with the same id was charged before, and nothing is charged again.
    Repeated,
    /// There is none, but the limit is in shadow: it only says that it would have refused.
    Shadowed,
    /// Not now; [`Outcome::retry_after`] says when.
    Refused,
    /// Not ever: the cost is more than the limit holds, or than one request may ask for.
    Impossible,
    /// Not now: the table has no room for another counter, and the limit refuses newcomers then.
    TableFull,
    /// Not now: the limit is strict, and the disk refuses, or is too slow, to make durable what it
    /// would admit.
    Unwritable,
    /// The request lacks what the limit's key is made of, and the limit refuses such requests.
    KeyMissing,
    /// The attribute that carries the request's cost is not a whole number.
    CostUnreadable,
    /// Not now: as many run at a time as may, and as many wait for one of them to end as may.
    QueueFull,
    /// Not now: as many run at a time as may, and none ended while the request waited.
    WaitedTooLong,
    /// Not any more: the limiter was closed, before the call or while the request waited.
    Closed,
    /// The limit says how many run at a time, so it must be asked for a permit, and was not: see
    /// [`Limiter::acquire`](crate::Limiter::acquire).
    NeedsPermit,
    /// The limit is no longer in the policy.
    Unknown,
    /// The request was put together wrongly, so no limit was asked.
    Malformed,
}

impl Verdict {
    /// What a limit that is not in shadow says to this step.
    #[inline]
    fn of_step(step: Step) -> Self {
        match step {
            Step::Admit(_) => Self::Allowed,
            Step::Refuse | Step::Future | Step::Foreign => Self::Refused,
            Step::Never => Self::Impossible,
        }
    }

    /// True if the limit lets the request pass.
    #[inline]
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed | Self::Repeated | Self::Shadowed)
    }

    /// The verdict of the same limit if that is in shadow, and only says what it would have done.
    #[inline]
    pub(super) fn in_shadow(self, is_shadow: bool) -> Self {
        match is_shadow && !self.is_allowed() {
            true => Self::Shadowed,
            false => self,
        }
    }

    /// True if no wait makes the same request pass.
    pub(super) fn is_hopeless(self) -> bool {
        match self {
            Self::Impossible
            | Self::KeyMissing
            | Self::CostUnreadable
            | Self::Closed
            | Self::NeedsPermit
            | Self::Unknown
            | Self::Malformed => true,
            Self::Allowed
            | Self::Repeated
            | Self::Shadowed
            | Self::Refused
            | Self::TableFull
            | Self::Unwritable
            | Self::QueueFull
            | Self::WaitedTooLong => false,
        }
    }
}

impl Verdict {
    /// The verdict alone, without the numbers behind it; no word of it needs escaping anywhere.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Repeated => "allowed, charged before",
            Self::Shadowed => "would be refused",
            Self::Refused => "refused, there is no room",
            Self::Impossible => "impossible, more is asked for than there is",
            Self::TableFull => "refused, no room for another counter",
            Self::Unwritable => "refused, the disk cannot be written",
            Self::KeyMissing => "refused, the request lacks the limit's key",
            Self::CostUnreadable => "refused, its cost is not a whole number",
            Self::QueueFull => "refused, no more may wait",
            Self::WaitedTooLong => "refused, waited too long",
            Self::Closed => "refused, the limiter is closed",
            Self::NeedsPermit => "refused, a limit on how many run must be asked by acquire",
            Self::Unknown => "refused, the limit is no longer in the policy",
            Self::Malformed => "refused, the request is put together wrongly",
        }
    }
}

/// The verdict alone, without the numbers behind it.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// One limit's numbers after a check.
///
/// If the check was allowed the numbers are those after its cost was taken; if not, nothing was
/// taken and they are those it was refused on. Where there was no counter to ask, there are none:
/// for a limit asked directly by a key of another shape ([`Verdict::KeyMissing`]) or that is gone
/// ([`Verdict::Unknown`]) all are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub(super) rule: Rule,
    pub(super) words: Pair,
    pub(super) period: Period,
    pub(super) now: Timestamp,
    /// True while the clock waits for the wall: a span of its time takes a little longer.
    pub(super) is_slow: bool,
    pub(super) cost: u64,
    pub(super) verdict: Verdict,
    /// Where the cost was taken, if it was: only there can it be given back or settled.
    pub(super) taken: Option<Source>,
}

/// The counter that a cost was taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Source {
    pub(super) tag: Tag,
    pub(super) is_shared: bool,
}

impl Outcome {
    /// What a look came to; the words are those before it.
    #[inline]
    pub(super) fn of_look(counter: &Counter<'_>, seen: Seen, cost: u64, is_shadow: bool) -> Self {
        let verdict = Verdict::of_step(seen.step).in_shadow(is_shadow);
        Self::judged(counter, seen, seen.words.main, cost, verdict, None)
    }

    /// What a take came to: the words are those after it.
    #[inline(always)]
    pub(super) fn of_take(counter: &Counter<'_>, seen: Seen, cost: u64, is_shadow: bool) -> Self {
        let source = Source {
            tag: counter.tag,
            is_shared: counter.is_shared,
        };
        match seen.step {
            Step::Admit(next) => {
                Self::judged(counter, seen, next, cost, Verdict::Allowed, Some(source))
            }
            _ => Self::of_look(counter, seen, cost, is_shadow),
        }
    }

    /// Makes it that of a take from `tag`'s own counter that left this word, after a look.
    #[inline]
    pub(super) fn take(&mut self, tag: Tag, after: Word) {
        self.words.main = after;
        self.taken = Some(Source {
            tag,
            is_shared: false,
        });
    }

    #[inline(always)]
    fn judged(
        counter: &Counter<'_>,
        seen: Seen,
        main: Word,
        cost: u64,
        verdict: Verdict,
        taken: Option<Source>,
    ) -> Self {
        Self {
            rule: *counter.rule,
            words: Pair {
                main,
                other: seen.words.other,
            },
            period: seen.period,
            now: seen.now,
            is_slow: counter.store.clock.is_slow(),
            cost,
            verdict,
            taken,
        }
    }

    /// A verdict that no counter had a part in.
    #[inline]
    pub(super) fn without_counter(
        rule: &Rule,
        now: Timestamp,
        cost: u64,
        verdict: Verdict,
    ) -> Self {
        let period = Period::default();
        Self {
            rule: *rule,
            words: Pair::ABSENT,
            period,
            now,
            is_slow: false,
            cost,
            verdict,
            taken: None,
        }
    }

    /// The same with another verdict.
    pub(super) fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// Makes it that of a limit in shadow, which only says what it would have done.
    #[inline]
    pub(super) fn put_in_shadow(&mut self, is_shadow: bool) {
        self.verdict = self.verdict.in_shadow(is_shadow);
    }

    /// All numbers at once.
    pub(crate) fn status(&self) -> Status {
        self.rule.status(self.period, self.words, self.now)
    }

    /// What the limit says.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// True if the limit lets the request pass.
    #[inline]
    pub fn is_allowed(&self) -> bool {
        self.verdict.is_allowed()
    }

    /// What was asked for, in the limit's units.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// The most there can be at once: a bucket's burst, a window's amount. `u64::MAX` for a limit
    /// that is unlimited.
    pub fn limit(&self) -> u64 {
        self.status().limit
    }

    /// The time over which [`limit`](Self::limit) comes back: a bucket's to fill, a window's from
    /// its start to its end; zero for a limit that is unlimited or admits nothing.
    pub fn window(&self) -> Duration {
        self.rule.window(self.period)
    }

    /// What is taken and not yet back; more than [`limit`](Self::limit) where there is debt.
    pub fn used(&self) -> u64 {
        self.status().used
    }

    /// What one more cost could take.
    pub fn remaining(&self) -> u64 {
        self.status().remaining
    }

    /// When all of it is back.
    pub fn reset_at(&self) -> Timestamp {
        self.status().reset
    }

    /// How long until all of it is back.
    pub fn reset_after(&self) -> Duration {
        self.until(self.reset_at())
    }

    /// When the same cost will be admitted, if nobody else takes anything until then: now if it
    /// would be at once, `None` if it never will. A full table or a
    /// disk that refuses gives no time; try again then.
    pub fn retry_at(&self) -> Option<Timestamp> {
        if self.verdict.is_hopeless() {
            return None;
        }
        match self
            .rule
            .retry(self.period, self.words, self.now, self.cost)
        {
            Retry::Now => Some(self.now),
            Retry::At(at) => Some(at),
            Retry::Never => None,
        }
    }

    /// How long until the same cost will be admitted, if nobody else takes anything until then:
    /// zero if it would be at once, `None` if it never will.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_at().map(|at| self.until(at))
    }

    /// The instant the limit was asked at.
    pub fn at(&self) -> Timestamp {
        self.now
    }

    /// How long until then, by a watch.
    pub(crate) fn until(&self, then: Timestamp) -> Duration {
        let span = then.since(self.now);
        match self.is_slow {
            true => crate::clock::slow_wait(span),
            false => span,
        }
    }
}

/// In one line: the verdict and the numbers behind it.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status {
            limit,
            used,
            remaining,
            ..
        } = self.status();
        match (self.verdict, self.rule) {
            (Verdict::Allowed, Rule::Unlimited) => write!(f, "allowed, unlimited"),
            (Verdict::Allowed, _) => write!(f, "allowed, {remaining} of {limit} left"),
            (Verdict::Repeated, Rule::Unlimited) => self.verdict.fmt(f),
            (Verdict::Repeated, _) => write!(f, "{}, {remaining} of {limit} left", self.verdict),
            (Verdict::Shadowed, _) => write!(f, "would be refused, {used} of {limit} used"),
            (Verdict::Refused, _) => {
                let wait = self.retry_after().unwrap_or_default();
                let wait_secs = wait.as_secs_f64();
                write!(f, "refused, {used} of {limit} used, ")?;
                write!(f, "{} can be taken in {wait_secs:.3} s", self.cost)
            }
            (Verdict::Impossible, Rule::Deny) => write!(f, "refused, it admits nothing"),
            (Verdict::Impossible, _) => {
                write!(
                    f,
                    "impossible, {} is more than one request may take",
                    self.cost
                )
            }
            (other, _) => other.fmt(f),
        }
    }
}
