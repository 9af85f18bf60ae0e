//! A limit's numbers as callers are told them.

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
    /// The time over which `limit` comes back.
    pub(crate) window: Duration,
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
            window: self.window(),
        };
        match (told, self.rule) {
            (LimitTold::Rate, Rule::Bucket(bucket)) => {
                let (count, period_nanos) = bucket.rate();
                // A burst of less than a period's is all that there can be.
                if count >= all.limit {
                    return all;
                }
                Shown {
                    limit: count,
                    remaining: count.saturating_sub(all.used),
                    window: Duration::from_nanos(period_nanos),
                    ..all
                }
            }
            _ => all,
        }
    }
}
