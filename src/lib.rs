//! Tollgate: an embedded, persistent rate limiter.

mod algorithm;
mod sync;
mod time;

pub use time::Timestamp;
