//! A line in which one at a time is first, the others wait behind in the order they came.

use std::time::Duration;

use crate::permits::{AcquireError, Permit, PermitKey, PermitRule, PermitWeight, Permits};

/// Only the first in line looks whether it may go, so nobody overtakes, and a crowd that waits
/// costs one look and not one each.
#[derive(Debug)]
pub(super) struct Line(Permits);

/// Permits are for one key here.
const KEY: u64 = 0;

impl Line {
    /// A line with room for so many behind the first.
    #[allow(
        clippy::expect_used,
        reason = "a rule for one key is the least there is, and always kept"
    )]
    pub(super) fn new(waiting_max: u32) -> Self {
        let permits = Permits::new(PermitRule {
            queue_max: waiting_max,
            wait_max: Duration::MAX,
            keys_max: 1,
            ..PermitRule::new(1)
        });
        Self(permits.expect("permits for one key"))
    }

    /// How many are in it.
    pub(super) fn len(&self) -> u64 {
        let usage = self.0.usage_of(PermitKey(KEY));
        usage.running + usage.waiting
    }

    /// Ends when all who came before are gone; whoever drops it, or what it gives, is gone.
    pub(super) async fn first(&self) -> Result<Permit<'_>, AcquireError> {
        self.0
            .acquire_async(PermitKey(KEY), PermitWeight::ONE)
            .await
    }
}
