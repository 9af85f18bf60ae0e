//! Tollgate: an embedded, persistent rate limiter.

mod algorithm;
mod clock;
mod codec;
mod counter;
mod directory;
#[cfg(not(tollgate_loom))]
mod error;
mod key;
mod sync;
mod table;
mod time;

pub use clock::ManualClock;
#[cfg(not(tollgate_loom))]
pub use error::Error;
pub use time::Timestamp;
