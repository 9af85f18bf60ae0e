//! Tollgate: an embedded, persistent rate limiter.

mod algorithm;
mod clock;
mod codec;
mod counter;
mod directory;
#[cfg(not(tollgate_loom))]
mod error;
mod key;
mod limiter;
#[cfg(not(tollgate_loom))]
mod policy;
mod sync;
mod table;
mod time;

pub use clock::ManualClock;
#[cfg(not(tollgate_loom))]
pub use error::Error;
#[cfg(not(tollgate_loom))]
pub use limiter::{
    Builder, Decision, Health, Key, Limit, LimitOutcome, Limiter, Opened, Outcome, Override,
    OverrideKey, Verdict,
};
#[cfg(not(tollgate_loom))]
pub use policy::{
    Explanation, LimitExplanation, Policy, PolicyFault, PolicyFaults, Request, RequestError,
};
pub use time::Timestamp;
