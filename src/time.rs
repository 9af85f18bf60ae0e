//! Instants and their bounds: nanoseconds since 1970, saturating, with no clock behind them.

use std::fmt;
use std::time::Duration;

/// Nanoseconds in a second.
pub(crate) const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A step back of at most this is held against the clock; a greater one against its past. Longer
/// than a month, so that no calendar quota is handed out twice by a clock set back.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(32 * 86_400);

/// An instant: nanoseconds since the Unix epoch, from 1970 to [`Timestamp::MAX`].
///
/// All arithmetic saturates at both ends, so no clock value, however broken, can make it wrap.
///
/// ```
/// use std::time::Duration;
/// use tollgate::Timestamp;
///
/// let noon = Timestamp::from_secs(1_700_000_000);
/// assert_eq!((noon + Duration::from_millis(5)).since(noon), Duration::from_millis(5));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The last instant told apart, in February 2106: window words keep whole seconds in 32 bits,
    /// and the last few decades' worth of spans must still fit behind it.
    // Bound: at this instant time stands still, so limits stay closed instead of wrapping open.
    pub const MAX: Self = Self((u32::MAX as u64 - 1) * NANOS_PER_SEC);

    /// An instant so many nanoseconds after the epoch, or [`Timestamp::MAX`].
    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > Self::MAX.0 {
            Self::MAX
        } else {
            Self(nanos)
        }
    }

    /// An instant so many seconds after the epoch, or [`Timestamp::MAX`].
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_nanos(secs.saturating_mul(NANOS_PER_SEC))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / NANOS_PER_SEC
    }

    /// Whole seconds since the epoch, rounded up: what a header may promise.
    pub const fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(NANOS_PER_SEC)
    }

    /// The time from `earlier` to `self`, or zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self` later by so many nanoseconds, saturating.
    pub(crate) const fn plus_nanos(self, nanos: u64) -> Self {
        Self::from_nanos(self.0.saturating_add(nanos))
    }

    /// `self` earlier by so many nanoseconds, saturating at the epoch.
    pub(crate) const fn minus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_sub(nanos))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        self.plus_nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        self.minus_nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.as_secs(), self.0 % NANOS_PER_SEC)
    }
}

/// RFC 3339 in UTC, to the second or finer where there is more to tell.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(civil) => write!(f, "{civil}"),
            Err(_) => write!(f, "{self:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates_at_both_ends() {
        assert_eq!(Timestamp::from_nanos(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(
            Timestamp::from_secs(1) - Duration::from_secs(5),
            Timestamp::EPOCH
        );
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn reads_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_secs(1_700_000_000).to_string(),
            "2023-11-14T22:13:20Z"
        );
    }
}
