//! The other side: for who calls a service that has limits.
//!
//! A [`Notice`] is what a response says of the limits that it met, in any of the dialects that
//! services speak. From it follow the rest: [`RateLimited`], an error that knows how long to wait;
//! [`Backoff`], how long to wait before the next try, and whether there is one; [`Retry`], the same
//! as a [`tower::retry::Policy`], and [`with_retries`], for a plain function; a [`Pacer`], which
//! slows down before the limit is met; and a [`Queue`], which sends no more than a limit of the
//! caller's own allows.
//!
//! None of it sleeps, asks the time, or is tied to a runtime by itself: see [`Timing`].
//!
//! ```
//! use std::time::Duration;
//! use http::{HeaderMap, StatusCode};
//! use tollgate::Timestamp;
//! use tollgate::client::{Backoff, Notice};
//!
//! let mut headers = HeaderMap::new();
//! headers.insert("retry-after", "42".parse()?);
//! let now = Timestamp::from_secs(1_700_000_000);
//! let notice = Notice::read(StatusCode::TOO_MANY_REQUESTS, &headers, now);
//! assert_eq!(notice.wait(), Some(Duration::from_secs(42)));
//!
//! let backoff = Backoff::doubling(Duration::from_millis(500)).jitter_percent(0);
//! let sent = 1; // tries so far
//! assert_eq!(backoff.next_delay(sent, notice.wait(), |_| 0), Some(Duration::from_secs(42)));
//! assert_eq!(backoff.next_delay(sent, None, |_| 0), Some(Duration::from_millis(500)));
//! # Ok::<(), http::header::InvalidHeaderValue>(())
//! ```

mod backoff;
mod draft;
mod error;
mod field;
mod limit;
mod line;
mod notice;
mod pace;
mod queue;
mod retry;
mod timing;

pub use backoff::Backoff;
pub use error::{CallError, RateLimited};
pub use limit::LimitNotice;
pub use notice::{HeaderFault, Notice};
pub use pace::{Pace, PaceLayer, Paced, PacedError, Pacer, UnderWay};
pub use queue::{Queue, QueueError, Turn};
pub use retry::{Repeatable, Retry, with_retries};
pub use timing::{BoxFuture, Timing};
