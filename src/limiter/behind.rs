//! How long it takes until a limit has room for who stands behind others.

use std::time::Duration;

use super::outcome::Outcome;
use crate::algorithm::Rule;

impl Outcome {
    /// How long one more has to wait at the least if so many others take one each before; none if
    /// it waits in vain. Of a bucket that is used up it is exact.
    pub(crate) fn wait_behind(&self, ahead: u64) -> Option<Duration> {
        let first = self.retry_after()?;
        let Some(further) = ahead.checked_sub(self.remaining()) else {
            return Some(Duration::ZERO);
        };
        let more = match self.rule {
            Rule::Bucket(bucket) => {
                let (count, nanos) = bucket.rate();
                nanos_of(u128::from(further) * u128::from(nanos) / u128::from(count.max(1)))
            }
            // All that a window has may come back at once.
            _ => {
                let windows = u128::from(further / self.limit().max(1));
                nanos_of(windows.saturating_mul(self.window().as_nanos()))
            }
        };
        Some(first.saturating_add(more))
    }
}

fn nanos_of(nanos: u128) -> Duration {
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}
