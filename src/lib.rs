//! Tollgate: an embedded, persistent rate limiter.

mod algorithm;
mod policy;
mod sync;
mod time;

pub use policy::{
    Explanation, LimitExplanation, Policy, PolicyFault, PolicyFaults, Request, RequestError,
};
pub use time::Timestamp;
