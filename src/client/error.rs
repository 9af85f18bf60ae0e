//! What a client is told when a service refused it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::{Response, StatusCode};

use super::notice::Notice;
use crate::time::Timestamp;

/// A service refused a request because of a limit.
///
/// ```
/// use std::time::Duration;
/// use tollgate::Timestamp;
/// use tollgate::client::RateLimited;
///
/// # fn main() -> Result<(), http::Error> {
/// let response = http::Response::builder().status(429).header("Retry-After", "42").body(())?;
/// let now = Timestamp::from_secs(1_700_000_000);
/// let error = RateLimited::check(response, now).expect_err("it was refused");
/// assert_eq!(error.retry_after(), Some(Duration::from_secs(42)));
/// assert_eq!(error.to_string(), "rate limit exceeded (429 Too Many Requests), again in 42 s");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateLimited {
    status: StatusCode,
    sent: u32,
    notice: Box<Notice>,
}

impl RateLimited {
    /// The response, unless it is a refusal ([`Notice::is_refusal`]).
    ///
    /// # Errors
    /// The refusal, with what its headers say; its body is dropped.
    pub fn check<B>(response: Response<B>, now: Timestamp) -> Result<Response<B>, Self> {
        let notice = Notice::read(response.status(), response.headers(), now);
        if notice.is_refusal() {
            Err(Self::new(notice, 1))
        } else {
            Ok(response)
        }
    }

    pub(super) fn new(notice: Notice, sent: u32) -> Self {
        Self {
            status: notice.status(),
            sent,
            notice: Box::new(notice),
        }
    }

    /// How long the service asked to wait; none if it did not say.
    pub fn retry_after(&self) -> Option<Duration> {
        self.notice.wait()
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// How many times the request was sent.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// All that the response's headers say.
    pub fn notice(&self) -> &Notice {
        &self.notice
    }
}

impl fmt::Display for RateLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rate limit exceeded ({})", self.status)?;
        if self.sent > 1 {
            write!(f, " at each of {} tries", self.sent)?;
        }
        match self.retry_after() {
            Some(wait) => write!(f, ", again in {} s", wait.as_secs_f64()),
            None => Ok(()),
        }
    }
}

impl Error for RateLimited {}

/// Why [`with_retries`](super::with_retries) came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The service refused to the end.
    RateLimited(RateLimited),
    /// The request could not be sent or answered: what the caller's own function said.
    Send(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimited(refused) => refused.fmt(f),
            Self::Send(_) => f.write_str("the request could not be sent or answered"),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::RateLimited(_) => None,
            Self::Send(error) => Some(error),
        }
    }
}
