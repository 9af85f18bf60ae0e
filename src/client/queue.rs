//! No more than a limit of the caller's own allows: who wants to send waits in line for it.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::line::Line;
use super::timing::Timing;
use crate::limiter::{Key, Limit, Outcome, Verdict};
use crate::time::Timestamp;

/// A wait that the limiter cannot tell the end of is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A line in front of a limit of one's own: N requests a second, or whatever the limit says.
///
/// The limit is one of a [`Limiter`](crate::Limiter), with all it can do: it may be a daily budget
/// that survives restarts, shared with other queues, changed while in use. First come, first
/// served; who gives up waiting is charged nothing. Clones are the same queue.
///
/// ```
/// use tollgate::client::{Queue, Timing};
/// use tollgate::{Limiter, Policy};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let policy = Policy::from_toml("limits.outgoing = { rate = \"2/s burst 1\" }")?;
/// let limiter = Limiter::open(dir.path().join("data"), policy)?;
/// let queue = Queue::new(limiter.limit("outgoing")?, Timing::new(tokio::time::sleep));
/// queue.turn().await?;
/// // Now it may be sent.
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    limit: Limit,
    key: Option<Box<str>>,
    timing: Timing,
    line: Line,
}

/// Why there is no turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum QueueError {
    /// As many wait as may.
    Full,
    /// No wait helps: what the limit says.
    Never(Verdict),
    /// It would wait longer than it may.
    TooLong,
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("as many wait in the queue as may"),
            Self::Never(verdict) => write!(f, "the queue's limit never lets it pass: {verdict}"),
            Self::TooLong => f.write_str("its turn would come later than it may wait"),
        }
    }
}

impl Error for QueueError {}

/// The right to send, charged to the queue's limit.
#[derive(Debug)]
#[must_use = "it was charged; give it back if nothing is sent"]
pub struct Turn {
    queue: Queue,
    outcome: Outcome,
}

impl Queue {
    /// How many may wait, unless told otherwise.
    pub const WAITING_MAX: u32 = 10_000;

    /// A queue in front of a limit that has no key. One that has needs [`Queue::keyed`].
    pub fn new(limit: Limit, timing: Timing) -> Self {
        Self::with(limit, None, timing, Self::WAITING_MAX)
    }

    /// A queue in front of a limit, for one value of its key; at most `waiting_max` wait.
    pub fn keyed(limit: Limit, key: &str, timing: Timing, waiting_max: u32) -> Self {
        Self::with(limit, Some(key.into()), timing, waiting_max)
    }

    fn with(limit: Limit, key: Option<Box<str>>, timing: Timing, waiting_max: u32) -> Self {
        Self(Arc::new(Inner {
            limit,
            key,
            timing,
            line: Line::new(waiting_max),
        }))
    }

    /// Ends when one request may be sent. Dropped before that, it has charged nothing.
    ///
    /// # Errors
    /// [`QueueError::Full`] at once, [`QueueError::Never`] when it would be this one's turn.
    pub async fn turn(&self) -> Result<Turn, QueueError> {
        self.turn_until(Timestamp::MAX).await
    }

    /// As [`turn`](Self::turn), waiting no longer than `longest`. Who could not have a turn by then
    /// is refused at once, if all who are in line before stay there.
    ///
    /// # Errors
    /// As [`turn`](Self::turn), and [`QueueError::TooLong`].
    pub async fn turn_within(&self, longest: Duration) -> Result<Turn, QueueError> {
        let Inner {
            limit,
            timing,
            line,
            ..
        } = &*self.0;
        let usage = limit.usage(self.key());
        let wait = usage.wait_behind(line.len());
        if wait.ok_or(QueueError::Never(usage.verdict()))? > longest {
            return Err(QueueError::TooLong);
        }
        let mut turn = pin!(self.turn_until(timing.now() + longest));
        // Only who has to wait needs an end of it.
        let mut end = None;
        poll_fn(|context| match turn.as_mut().poll(context) {
            Poll::Ready(turn) => Poll::Ready(turn),
            Poll::Pending => {
                let end = end.get_or_insert_with(|| timing.sleep(longest));
                let end = end.as_mut().poll(context);
                end.map(|()| Err(QueueError::TooLong))
            }
        })
        .await
    }

    async fn turn_until(&self, end: Timestamp) -> Result<Turn, QueueError> {
        let Inner {
            limit,
            timing,
            line,
            ..
        } = &*self.0;
        let _first = line.first().await.map_err(|_| QueueError::Full)?;
        loop {
            let outcome = limit.check(self.key());
            if outcome.is_allowed() {
                let queue = self.clone();
                return Ok(Turn { queue, outcome });
            }
            let Some(wait) = outcome.retry_after() else {
                return Err(QueueError::Never(outcome.verdict()));
            };
            let wait = if wait.is_zero() { LOOK_AGAIN } else { wait };
            if wait > end.since(timing.now()) {
                return Err(QueueError::TooLong);
            }
            timing.sleep(wait).await;
        }
    }

    /// Calls `send` when it may be sent.
    ///
    /// # Errors
    /// As [`Queue::turn`].
    pub async fn run<S: Future>(&self, send: impl FnOnce() -> S) -> Result<S::Output, QueueError> {
        let _charged = self.turn().await?;
        Ok(send().await)
    }

    fn key(&self) -> Key<'_> {
        match &self.0.key {
            Some(key) => Key::from(&**key),
            None => Key::from(()),
        }
    }
}

impl Turn {
    /// Gives the charge back: nothing was sent.
    pub fn give_back(self) {
        let key = self.queue.key();
        self.queue.0.limit.refund(key, self.outcome);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("limit", &self.0.limit)
            .field("key", &self.0.key)
            .finish_non_exhaustive()
    }
}
