//! One limit, in whatever dialect a response tells of it.

use std::time::Duration;

/// One limit as a response tells of it. What it does not tell is none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct LimitNotice {
    /// What the service calls it; only the IETF's draft has names.
    pub name: Option<String>,
    /// How much there is in all.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// How long until it is back.
    pub reset_after: Option<Duration>,
    /// In what time it may be used up.
    pub window: Option<Duration>,
}

impl LimitNotice {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
