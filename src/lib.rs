//! Tollgate: an embedded, persistent rate limiter.

mod algorithm;
mod permits;
mod sync;
mod time;

pub use permits::{
    Acquire, AcquireError, Permit, PermitRule, PermitRuleError, PermitUsage, Permits,
};
pub use time::Timestamp;
