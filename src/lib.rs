//! Tollgate: an embedded, persistent rate limiter.

mod algorithm;
mod clock;
mod codec;
mod directory;
mod key;
mod sync;
mod table;
mod time;

pub use clock::ManualClock;
pub use time::Timestamp;
