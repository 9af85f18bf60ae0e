//! A clock that is moved by hand.

use std::time::Duration;

use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Timestamp;

/// A clock that stands still until it is moved: for tests, and for replaying the past.
///
/// Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{ManualClock, Timestamp};
///
/// let clock = ManualClock::new(Timestamp::from_secs(1_700_000_000));
/// clock.advance(Duration::from_secs(60));
/// clock.set(Timestamp::from_secs(5)); // earlier: time never runs backwards
/// assert_eq!(clock.now(), Timestamp::from_secs(1_700_000_060));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
    /// By how much each reading moves it on.
    step_nanos: u64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self::ticking(start, Duration::ZERO)
    }

    /// A clock that shows `start` and moves on by `step` at each reading, so that no two readings
    /// are alike, as with a real clock. It shows what goes wrong when time passes in the middle of
    /// a call.
    pub fn ticking(start: Timestamp, step: Duration) -> Self {
        Self {
            nanos: Arc::new(AtomicU64::new(start.as_nanos())),
            step_nanos: u64::try_from(step.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        // Ordering: acquire, pairs with the release below: who sees the time also sees what was
        // done before it was set.
        if self.step_nanos == 0 {
            return Timestamp::from_nanos(self.nanos.load(Ordering::Acquire));
        }
        let moved = |nanos: u64| Some(nanos.saturating_add(self.step_nanos));
        let before = self
            .nanos
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, moved);
        Timestamp::from_nanos(before.unwrap_or(u64::MAX))
    }

    /// Moves it to `to`; an earlier time than it shows changes nothing.
    pub fn set(&self, to: Timestamp) {
        // Ordering: release, as above; the largest of concurrent settings stays.
        self.nanos.fetch_max(to.as_nanos(), Ordering::AcqRel);
    }

    /// Moves it on by `span`.
    pub fn advance(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let moved =
            |before: u64| Some(Timestamp::from_nanos(before.saturating_add(nanos)).as_nanos());
        // Ordering: as above. It cannot fail: there is always a next time.
        let _ = self
            .nanos
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, moved);
    }
}
