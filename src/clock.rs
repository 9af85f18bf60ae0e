//! Time that never runs backwards.
//!
//! The system's time is monotonic progress (suspend included) on a wall-clock base. A background
//! thread compares the two now and then:
//!
//! - the wall is ahead: its step is taken at once, which refills a limit at most once;
//! - the wall is behind by up to [`HOLD_MAX`]: time goes on, a thirty-second part slower, until
//!   the wall has caught up; nothing refills twice and nobody is locked out;
//! - the wall is behind by more: the earlier time was an error. The wall is believed, and words
//!   from the future are healed as they are met.

mod counter;
mod line;
#[cfg(all(test, tollgate_loom))]
mod loom;
mod manual;
mod system;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;
mod timeline;

pub use manual::ManualClock;
pub use system::ClockHealth;
pub(crate) use system::SystemClock;
#[cfg(not(tollgate_loom))]
pub(crate) use timeline::slow_wait;

use crate::sync::Arc;
use crate::time::{HOLD_MAX, Timestamp};

/// Where limits get their time from.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    System(Arc<SystemClock>),
    Manual(ManualClock),
}

impl Clock {
    /// The time now. Never earlier than any time it gave before, but for the last case above.
    #[inline(always)]
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System(clock) => clock.now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// The time now, read after every load that stands before it in the program. A word that was
    /// loaded before is never later than this, unless a clock was once wrong.
    #[inline]
    pub(crate) fn now_in_order(&self) -> Timestamp {
        match self {
            Self::System(clock) => clock.now_in_order(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// True while it waits for the wall, and its spans take a little longer than they say.
    #[inline]
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            Self::System(clock) => clock.is_slow(),
            Self::Manual(_) => false,
        }
    }

    /// How the system's clock is read; `None` for one that is moved by hand.
    pub(crate) fn health(&self) -> Option<ClockHealth> {
        match self {
            Self::System(clock) => Some(clock.health()),
            Self::Manual(_) => None,
        }
    }

    /// Compares with the wall and follows it where it must. To be called ten times a second.
    pub(crate) fn adjust(&self) {
        if let Self::System(clock) = self {
            clock.adjust();
        }
    }

    /// Believes that it was `latest` once, and so is not earlier now, within [`HOLD_MAX`].
    pub(crate) fn resume_from(&self, latest: Timestamp) {
        match self {
            Self::System(clock) => clock.resume_from(latest),
            Self::Manual(clock) if latest.since(clock.now()) <= HOLD_MAX => clock.set(latest),
            Self::Manual(_) => {}
        }
    }
}
