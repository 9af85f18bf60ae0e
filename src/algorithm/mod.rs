//! The algorithms: pure arithmetic over words. No clock, no memory, no locks.
//!
//! A rule looks at a counter's words at an instant and answers: admit (and this is the word
//! afterwards), refuse, never, or *this word is from the future*, see [`Step::Future`].

mod bucket;
mod calendar;
mod fine;
mod grain;
mod pace;
mod sliding;
#[cfg(test)]
mod tests;
mod window;
pub(crate) mod word;

pub(crate) use bucket::Bucket;
pub(crate) use calendar::{Calendar, CalendarUnit};
pub(crate) use fine::FineWindow;
use grain::{Grain, Hundredths, Seconds};
pub(crate) use pace::{Named, Paces};
pub(crate) use sliding::Sliding;
use sliding::Windows;
pub(crate) use window::{Frame, Window};
pub(crate) use word::{NO_PACE, PACE_MAX, Word};

use std::fmt;
use std::time::Duration;

use crate::time::{NANOS_PER_SEC, Timestamp};

/// What a limit allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// Everything, and nothing is counted.
    Unlimited,
    /// Nothing.
    Deny,
    /// Token bucket.
    Bucket(Bucket),
    /// Fixed window of whole seconds, epoch-aligned, or a calendar's.
    Window(Window),
    /// Fixed window that opens or ends between two seconds.
    Fine(FineWindow),
    /// Sliding window.
    Sliding(Sliding),
}

/// The words of one counter: one for most rules, two for a sliding window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    /// The word that a take changes.
    pub(crate) main: Word,
    /// The previous window's, where the rule has one.
    pub(crate) other: Word,
}

impl Pair {
    pub(crate) const ABSENT: Self = Self {
        main: Word::ABSENT,
        other: Word::ABSENT,
    };

    #[cfg(test)]
    pub(crate) const fn single(main: Word) -> Self {
        Self {
            main,
            other: Word::ABSENT,
        }
    }

    /// Both as windows; a dead word left by a reset is none.
    #[inline(always)]
    const fn as_windows(self) -> Windows {
        Windows {
            main: self.main.as_window(),
            other: self.other.as_window(),
        }
    }
}

/// A window's place in time, in seconds since 1970: from `start_secs` until just before `end_secs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Period {
    pub(crate) start_secs: u32,
    pub(crate) end_secs: u32,
}

impl Period {
    /// The multiple of `span_secs` that `now` is in.
    pub(crate) fn aligned(now: Timestamp, span_secs: u32) -> Self {
        let now_secs = secs(now.as_secs());
        let start_secs = now_secs - now_secs % span_secs.max(1);
        Self {
            start_secs,
            end_secs: start_secs.saturating_add(span_secs),
        }
    }
}

/// Seconds as a word holds them; `Timestamp::MAX` makes sure that they fit.
fn secs(secs: u64) -> u32 {
    u32::try_from(secs).unwrap_or(u32::MAX)
}

/// What one look at a counter comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Admitted if this word can be put in the place of the main one.
    Admit(Word),
    /// Refused for now.
    Refuse,
    /// No wait can help: the cost is more than the limit ever holds.
    Never,
    /// The word was written at another rate, see [`Rule::converted`]. If that function does not
    /// know the rate either, a policy that is newer than the caller's has named it. The caller is
    /// out of date and takes nothing.
    Foreign,
    /// A word lies further ahead than the rule could have put it by `now`: either `now` was read
    /// before another thread's take and must be read again, or the clock has once been wrong and
    /// the word is to be taken for absent.
    Future,
}

/// When a cost would be admitted if nobody else took anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retry {
    Now,
    At(Timestamp),
    Never,
}

impl Retry {
    /// At `ready`; never, if that is the end of time, where whatever is closed stays closed.
    fn at(ready: Timestamp, now: Timestamp) -> Self {
        if ready == Timestamp::MAX {
            Self::Never
        } else if ready <= now {
            Self::Now
        } else {
            Self::At(ready)
        }
    }
}

/// A counter in the limit's own units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Status {
    /// The most there can be at once: burst, or the window's amount.
    pub(crate) limit: u64,
    /// Taken and not yet back; more than `limit` where there is debt.
    pub(crate) used: u64,
    /// What a single cost could take now.
    pub(crate) remaining: u64,
    /// When all of it is back.
    pub(crate) reset: Timestamp,
}

/// Why a rule cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RuleError {
    /// A count, a period or a burst of zero.
    Zero,
    /// More than one token in 50 ns.
    TooFast,
    /// The bucket would take longer than this to fill.
    FillsTooSlowly { longest_nanos: u64 },
    /// More than a window can count.
    AmountTooLarge { largest: u64 },
    /// A window longer than any.
    WindowTooLong { longest_secs: u64 },
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => write!(f, "an amount, a period and a burst must each be at least 1"),
            Self::TooFast => write!(
                f,
                "a token bucket gains at most 20 million tokens a second; count in larger units"
            ),
            Self::FillsTooSlowly { longest_nanos } => write!(
                f,
                "the burst would take more than {} days to fill; ask for a smaller burst or a \
                 higher rate",
                longest_nanos / NANOS_PER_SEC / 86_400
            ),
            Self::AmountTooLarge { largest } => {
                write!(
                    f,
                    "a window counts to {largest} at most; a token bucket counts further"
                )
            }
            Self::WindowTooLong { longest_secs } => {
                write!(f, "a window lasts {} days at most", longest_secs / 86_400)
            }
        }
    }
}

/// `word` with its view changed; the word itself, dirty mark and all, if the view stays as it is.
fn amended<V: Copy + PartialEq + Into<Word>>(
    word: Word,
    view: impl Fn(Word) -> V,
    amend: impl Fn(V) -> V,
) -> Word {
    let before = view(word);
    let after = amend(before);
    match after == before {
        true => word,
        false => after.into(),
    }
}

impl Rule {
    /// The window that is current at `now`; nothing in particular for rules without one.
    #[inline(always)]
    pub(crate) fn period(&self, now: Timestamp, calendars: &[Calendar]) -> Period {
        match self {
            Self::Bucket(_) => Period::default(),
            _ => self.period_of_any(now, calendars),
        }
    }

    fn period_of_any(&self, now: Timestamp, calendars: &[Calendar]) -> Period {
        match self {
            Self::Unlimited | Self::Deny | Self::Bucket(_) | Self::Fine(_) => Period::default(),
            Self::Sliding(sliding) => sliding.period(now),
            Self::Window(window) => match window.frame() {
                Frame::Calendar(number) => match calendars.get(usize::from(number)) {
                    Some(calendar) => calendar.period(now),
                    None => window.period(now),
                },
                Frame::Epoch => window.period(now),
            },
        }
    }

    /// True if the rule keeps a second word, the previous window's.
    pub(crate) const fn has_pair(&self) -> bool {
        matches!(self, Self::Sliding(_))
    }

    /// Which of the limit's two slots is the main one.
    #[inline]
    pub(crate) fn parity(&self, period: Period) -> u64 {
        match self {
            Self::Sliding(sliding) => sliding.parity(period),
            _ => 0,
        }
    }

    /// True if each of the two words stands in the other's slot.
    pub(crate) fn is_crosswise(&self, period: Period, main: Word, other: Word) -> bool {
        match self {
            Self::Sliding(sliding) => {
                sliding.is_crosswise(period, Pair { main, other }.as_windows())
            }
            _ => false,
        }
    }

    /// True if the word is the previous window's. Then the current window can count in its slot.
    pub(crate) fn can_join(&self, period: Period, other: Word) -> bool {
        self.has_pair() && other.as_window().dies_at_secs == period.end_secs
    }

    /// What taking `cost` at `now` comes to. A cost of zero is always admitted, unchanged.
    #[inline(always)]
    pub(crate) fn step(&self, period: Period, words: Pair, now: Timestamp, cost: u64) -> Step {
        match self {
            Self::Bucket(bucket) if cost > 0 => bucket.step(words.main.as_bucket(), now, cost),
            _ => self.step_of_any(period, words, now, cost),
        }
    }

    fn step_of_any(&self, period: Period, words: Pair, now: Timestamp, cost: u64) -> Step {
        if cost == 0 {
            return Step::Admit(words.main);
        }
        match self {
            Self::Unlimited => Step::Admit(words.main),
            Self::Deny => Step::Never,
            Self::Bucket(bucket) => bucket.step(words.main.as_bucket(), now, cost),
            Self::Window(window) => {
                Seconds::step(window.open(period, now), words.main.as_window(), now, cost)
            }
            Self::Fine(window) => {
                Hundredths::step(window.open(now), words.main.as_window(), now, cost)
            }
            Self::Sliding(sliding) => sliding.step(period, words.as_windows(), now, cost),
        }
    }

    /// The main word after taking `cost` whatever is left: what a settlement costs beyond its
    /// reservation. Debt has a bound: one whole bucket, or what a window can count.
    pub(crate) fn charge(&self, period: Period, words: Pair, now: Timestamp, cost: u64) -> Word {
        if cost == 0 {
            return words.main;
        }
        match self {
            Self::Unlimited | Self::Deny => words.main,
            Self::Bucket(bucket) => bucket.charge(words.main.as_bucket(), now, cost),
            Self::Window(window) => {
                Seconds::charge(window.open(period, now), words.main.as_window(), now, cost)
            }
            Self::Fine(window) => {
                Hundredths::charge(window.open(now), words.main.as_window(), now, cost)
            }
            Self::Sliding(sliding) => sliding.charge(period, words.as_windows(), cost),
        }
    }

    /// The word `amount` later than `word`, but none that the rule would never admit at `now`.
    pub(crate) fn ahead(&self, word: Word, now: Timestamp, amount: u64) -> Word {
        match self {
            Self::Unlimited | Self::Deny => word,
            Self::Bucket(bucket) => bucket.ahead(word.as_bucket(), now, amount),
            Self::Window(window) => Seconds::ahead(word.as_window(), amount, window.amount()),
            Self::Fine(window) => Hundredths::ahead(word.as_window(), amount, window.amount()),
            Self::Sliding(sliding) => Seconds::ahead(word.as_window(), amount, sliding.amount()),
        }
    }

    /// The main word of a counter of which all is used.
    pub(crate) fn spent(&self, period: Period, now: Timestamp) -> Word {
        self.charge(period, Pair::ABSENT, now, self.capacity())
    }

    /// `word` with `cost` given back at `now`, at most all that was taken and is not yet back.
    ///
    /// `taken` is the word that the take made: a window that has closed since gets nothing back,
    /// and the one that follows is not credited with what it never counted. Nor is a bucket with
    /// what it has regained by itself.
    pub(crate) fn refund(&self, word: Word, taken: Word, now: Timestamp, cost: u64) -> Word {
        if cost == 0 {
            return word;
        }
        match self {
            Self::Unlimited | Self::Deny => word,
            Self::Bucket(bucket) => amended(word, Word::as_bucket, |word| {
                bucket.refund(word, taken.as_bucket(), now, cost)
            }),
            Self::Window(_) | Self::Sliding(_) => amended(word, Word::as_window, |word| {
                Seconds::refund(word, taken.as_window(), cost)
            }),
            Self::Fine(_) => amended(word, Word::as_window, |word| {
                Hundredths::refund(word, taken.as_window(), cost)
            }),
        }
    }

    /// `word` without the take of `cost` at `now` that made `taken` of `before` and that did not
    /// come to stand: what others have taken since stays taken.
    pub(crate) fn undo(
        &self,
        word: Word,
        before: Word,
        taken: Word,
        now: Timestamp,
        cost: u64,
    ) -> Word {
        match self {
            Self::Unlimited | Self::Deny => word,
            Self::Bucket(bucket) => amended(word, Word::as_bucket, |word| {
                bucket.undo(word, before.as_bucket(), taken.as_bucket(), now)
            }),
            Self::Window(_) | Self::Sliding(_) => amended(word, Word::as_window, |word| {
                Seconds::undo(word, before.as_window(), taken.as_window(), cost)
            }),
            Self::Fine(_) => amended(word, Word::as_window, |word| {
                Hundredths::undo(word, before.as_window(), taken.as_window(), cost)
            }),
        }
    }

    /// The word in terms of this rule, if it was written at another rate that `paces` knows; else
    /// the word itself.
    pub(crate) fn converted(&self, word: Word, paces: &Paces, now: Timestamp) -> Word {
        match self {
            Self::Bucket(bucket) => amended(word, Word::as_bucket, |word| {
                bucket.converted(word, paces.get(word.pace), now)
            }),
            _ => word,
        }
    }

    /// True if the word is live and names another rate. If it still does after
    /// [`Self::converted`], only a newer policy knows that rate.
    pub(crate) fn is_foreign(&self, word: Word, now: Timestamp) -> bool {
        match self {
            Self::Bucket(bucket) => bucket.is_foreign(word.as_bucket(), now),
            _ => false,
        }
    }

    /// A word of a rate that this rule does not know, after `cost` more.
    pub(crate) fn delayed(&self, word: Word, cost: u64) -> Word {
        match self {
            Self::Bucket(bucket) => bucket.delayed(word.as_bucket(), cost).into(),
            _ => word,
        }
    }

    /// True if the word's rate has ended. The converted word then replaces it for good.
    pub(crate) fn has_ended(&self, word: Word, paces: &Paces, now: Timestamp) -> bool {
        match self {
            Self::Bucket(bucket) => {
                let word = word.as_bucket();
                let written = || paces.get(word.pace);
                bucket.is_foreign(word, now) && written().is_some_and(|at| bucket.has_ended(at))
            }
            _ => false,
        }
    }

    /// The counter's numbers at `now`.
    pub(crate) fn status(&self, period: Period, words: Pair, now: Timestamp) -> Status {
        match self {
            Self::Unlimited => Status {
                limit: u64::MAX,
                used: 0,
                remaining: u64::MAX,
                reset: now,
            },
            Self::Deny => Status {
                limit: 0,
                used: 0,
                remaining: 0,
                reset: now,
            },
            Self::Bucket(bucket) => bucket.status(words.main.as_bucket(), now),
            Self::Window(window) => {
                Seconds::status(window.open(period, now), words.main.as_window(), now)
            }
            Self::Fine(window) => Hundredths::status(window.open(now), words.main.as_window(), now),
            Self::Sliding(sliding) => sliding.status(period, words.as_windows(), now),
        }
    }

    /// When `cost` would be admitted if nobody else took anything until then.
    pub(crate) fn retry(&self, period: Period, words: Pair, now: Timestamp, cost: u64) -> Retry {
        if cost == 0 {
            return Retry::Now;
        }
        match self {
            Self::Unlimited => Retry::Now,
            Self::Deny => Retry::Never,
            Self::Bucket(bucket) => bucket.retry(words.main.as_bucket(), now, cost),
            Self::Window(window) => {
                Seconds::retry(window.open(period, now), words.main.as_window(), now, cost)
            }
            Self::Fine(window) => {
                Hundredths::retry(window.open(now), words.main.as_window(), now, cost)
            }
            Self::Sliding(sliding) => sliding.retry(period, words.as_windows(), now, cost),
        }
    }

    /// The time over which the capacity comes back; zero for rules that have none.
    pub(crate) fn window(&self, period: Period) -> Duration {
        let whole = |span: Period| Duration::from_secs(u64::from(span.end_secs - span.start_secs));
        match self {
            Self::Unlimited | Self::Deny => Duration::ZERO,
            Self::Bucket(bucket) => Duration::from_nanos(bucket.fill_nanos()),
            Self::Window(window) => match window.frame() {
                Frame::Calendar(_) => whole(period),
                Frame::Epoch => Duration::from_secs(u64::from(window.span_secs())),
            },
            Self::Fine(window) => Duration::from_nanos(window.span_nanos()),
            Self::Sliding(sliding) => Duration::from_secs(u64::from(sliding.window_secs())),
        }
    }

    /// The most one request can ever take; zero where nothing is admitted.
    pub(crate) fn capacity(&self) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            Self::Deny => 0,
            Self::Bucket(bucket) => bucket.burst(),
            Self::Window(window) => window.amount(),
            Self::Fine(window) => window.amount(),
            Self::Sliding(sliding) => sliding.amount(),
        }
    }
}
