//! A limit's numbers as callers are told them.

#[cfg(feature = "sfv")]
use std::time::Duration;

use super::decision::LimitOutcome;
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
        match (told, self.rule) {
            (LimitTold::Rate, Rule::Bucket(bucket)) => {
                let (count, _) = bucket.rate();
                // A burst of less than a period's is all that there can be.
                if count >= all.limit {
                    return all;
                }
                Shown {
                    limit: count,
                    remaining: count.saturating_sub(all.used),
                    ..all
                }
            }
            _ => all,
        }
    }
    /// The time over which the limit that is told comes back.
    #[cfg(feature = "sfv")]
    pub(crate) fn shown_window(&self, told: LimitTold) -> Duration {
        match (told, self.rule) {
            (LimitTold::Rate, Rule::Bucket(bucket)) if bucket.rate().0 < self.limit() => {
                Duration::from_nanos(bucket.rate().1)
            }
            _ => self.window(),
        }
    }
}
