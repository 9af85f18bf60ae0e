//! How time goes on from a base, and how it follows the wall clock. Arithmetic only.

use std::time::Duration;

use crate::time::{HOLD_MAX, Timestamp};

/// Steps back below this are the jitter of reading two clocks one after the other.
const JITTER: Duration = Duration::from_millis(2);

/// While time waits for the wall it loses one part in 2^5.
pub(super) const SLOW_SHIFT: u32 = 5;

/// The real time in which a slow clock moves by `span`.
pub(crate) fn slow_wait(span: Duration) -> Duration {
    let nanos = span.as_nanos().saturating_mul(1 << SLOW_SHIFT);
    let nanos = nanos.div_ceil((1 << SLOW_SHIFT) - 1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Time over the time since boot, from a base on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timeline {
    pub(super) base_nanos: u64,
    pub(super) base_boot_nanos: u64,
    /// True while it waits for the wall.
    pub(super) is_slow: bool,
}

impl Timeline {
    #[inline]
    pub(super) fn at(self, boot_nanos: u64) -> Timestamp {
        let elapsed = boot_nanos.saturating_sub(self.base_boot_nanos);
        let lost = if self.is_slow {
            elapsed >> SLOW_SHIFT
        } else {
            0
        };
        Timestamp::from_nanos(self.base_nanos.saturating_add(elapsed - lost))
    }

    /// The timeline from `boot_nanos` on, given what the wall says then.
    pub(super) fn adjusted(self, wall: Timestamp, boot_nanos: u64) -> Self {
        let ours = self.at(boot_nanos);
        let behind = ours.since(wall);
        let on = |base: Timestamp, is_slow| Self {
            base_nanos: base.as_nanos(),
            base_boot_nanos: boot_nanos,
            is_slow,
        };
        if wall >= ours || behind > HOLD_MAX {
            on(wall, false)
        } else if behind > JITTER {
            on(ours, true)
        } else {
            on(ours, false)
        }
    }

    /// The timeline that goes on from `latest`, if that is later than this one at `boot_nanos`.
    pub(super) fn resumed(self, latest: Timestamp, boot_nanos: u64) -> Self {
        let resumed = Self {
            base_nanos: latest.as_nanos(),
            base_boot_nanos: boot_nanos,
            is_slow: false,
        };
        resumed.adjusted(self.at(boot_nanos), boot_nanos)
    }
}
