//! Where a client gets its waits, its time and its chance from.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::time::Timestamp;

/// A future on the heap that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Sleep = dyn Fn(Duration) -> BoxFuture<()> + Send + Sync;
type Now = dyn Fn() -> Timestamp + Send + Sync;
type Random = dyn Fn(u64) -> u64 + Send + Sync;

/// How a client waits, what its clock says, and where its jitter comes from.
///
/// The wait is the runtime's own, so none is needed here; clock and jitter are the system's unless
/// others are given, as tests do to be exact. Clones are the same.
///
/// ```
/// use std::time::Duration;
/// use tollgate::client::Timing;
///
/// let timing = Timing::new(tokio::time::sleep);
/// let exact = timing.jitter(|_at_most| 0);
/// ```
#[derive(Clone)]
pub struct Timing {
    sleep: Arc<Sleep>,
    now: Arc<Now>,
    random: Arc<Random>,
}

impl Timing {
    /// Waits by `sleep`, goes by the system's clock.
    pub fn new<F, S>(sleep: F) -> Self
    where
        F: Fn(Duration) -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Self {
            sleep: Arc::new(move |span| Box::pin(sleep(span))),
            now: Arc::new(|| {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                Timestamp::EPOCH + since.unwrap_or_default()
            }),
            random: Arc::new(|most| fastrand::u64(0..=most)),
        }
    }

    /// The same with another clock.
    pub fn clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.now = Arc::new(now);
        self
    }

    /// The same with another source of jitter: asked for a number from zero to its argument.
    pub fn jitter(mut self, random: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// What the clock says.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Ends when `span` has passed.
    pub fn sleep(&self, span: Duration) -> BoxFuture<()> {
        (self.sleep)(span)
    }

    pub(super) fn random(&self, most: u64) -> u64 {
        (self.random)(most).min(most)
    }
}

impl fmt::Debug for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timing").finish_non_exhaustive()
    }
}
