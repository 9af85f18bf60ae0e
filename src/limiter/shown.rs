//! A limit's numbers as callers are told them.

#[cfg(feature = "sfv")]
use std::time::Duration;

use super::decision::LimitOutcome;
#[cfg(feature = "sfv")]
use crate::algorithm::Retry;
use crate::algorithm::Rule;
use crate::policy::LimitTold;
use crate::time::Timestamp;

/// What is told of a limit: `used` and `remaining` are `limit` together, unless more is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) remaining: u64,
    /// When all of it is back.
    pub(crate) reset: Timestamp,
}

impl LimitOutcome<'_> {
    /// The limit's numbers, as a policy wants them told.
    ///
    /// By the rate, what a bucket holds beyond a period's is told to nobody: then nothing remains
    /// while that is being used, and who goes by the headers keeps to the rate.
    pub(crate) fn shown(&self, told: LimitTold) -> Shown {
        let status = self.status();
        let all = Shown {
            limit: status.limit,
            used: status.used,
            remaining: status.remaining,
            reset: status.reset,
        };
        match self.told_rate(told, all.limit) {
            Some((count, _)) => Shown {
                limit: count,
                remaining: count.saturating_sub(all.used),
                ..all
            },
            None => all,
        }
    }

    /// How long until more remains than is told now; none if no more will, as all of it is back.
    #[cfg(feature = "sfv")]
    pub(crate) fn more_after(&self, told: LimitTold) -> Option<Duration> {
        let (status, shown) = (self.status(), self.shown(told));
        // What there must be for one more to be told: what is told to nobody comes back after it.
        let untold = status.limit.saturating_sub(shown.limit);
        let wanted = untold.saturating_add(shown.remaining).saturating_add(1);
        match self.rule.retry(self.period, self.words, self.now, wanted) {
            Retry::Now => Some(Duration::ZERO),
            Retry::At(at) => Some(self.until(at)),
            Retry::Never => None,
        }
    }

    /// The time over which the limit that is told comes back.
    #[cfg(feature = "sfv")]
    pub(crate) fn shown_window(&self, told: LimitTold) -> Duration {
        let rate = self.told_rate(told, self.limit());
        rate.map_or_else(|| self.window(), |(_, nanos)| Duration::from_nanos(nanos))
    }

    /// So many in so many nanoseconds, if that is told in the place of this limit.
    fn told_rate(&self, told: LimitTold, limit: u64) -> Option<(u64, u64)> {
        let rate = match (told, self.rule) {
            (LimitTold::Rate, Rule::Bucket(bucket)) => Some(bucket.rate()),
            _ => None,
        };
        // A burst of less than a period's is all that there can be.
        rate.filter(|(count, _)| *count < limit)
    }
}
