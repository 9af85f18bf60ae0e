//! Slowing down before a limit is met, by what the service says remains of it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer, Service};

use super::limit::LimitNotice;
use super::line::Line;
use super::notice::Notice;
use super::timing::{BoxFuture, Timing};
use crate::permits::AcquireError;
use crate::sync::{Mutex, lock};
use crate::time::Timestamp;

/// How a [`Pacer`] slows down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    below_percent: u32,
    longest: Duration,
    waiting_max: u32,
}

impl Pace {
    /// Slows down when a fifth of a limit is left, and holds no request for more than a minute.
    pub const fn new() -> Self {
        Self {
            below_percent: 20,
            longest: Duration::from_secs(60),
            waiting_max: 10_000,
        }
    }

    /// From which share of a limit on it spreads what is left over the time until it is back; zero
    /// for using it up and waiting then, 100 for an even pace all along.
    pub const fn below_percent(mut self, percent: u32) -> Self {
        self.below_percent = percent;
        self
    }

    /// The longest that it holds the first in line, whatever the service says.
    pub const fn longest(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// How many may wait at a time.
    pub const fn waiting_max(mut self, most: u32) -> Self {
        self.waiting_max = most;
        self
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

/// Watches what responses say remains, and holds requests so that it lasts until it is back.
///
/// For one service and one credential. Requests that are under way count as used. Clones are
/// the same pacer. [`PaceLayer`] puts it in front of a client made with tower.
#[derive(Clone)]
pub struct Pacer(Arc<Inner>);

struct Inner {
    pace: Pace,
    timing: Timing,
    line: Line,
    seen: Mutex<Seen>,
}

/// What is known of the service.
#[derive(Default)]
struct Seen {
    // Bound: as many as a notice tells of; those that are back are forgotten.
    limits: Vec<Known>,
    under_way: u64,
    last: Timestamp,
    /// Until when the service said to wait.
    held_until: Timestamp,
}

struct Known {
    name: Option<String>,
    limit: Option<u64>,
    remaining: u64,
    back_at: Timestamp,
}

/// A request under way. To be given what its response says; dropped without, it counts no more.
#[must_use = "a request under way counts as used"]
pub struct UnderWay(Pacer);

impl Pacer {
    /// A pacer that knows nothing yet, and so holds nothing.
    pub fn new(pace: Pace, timing: Timing) -> Self {
        Self(Arc::new(Inner {
            pace,
            timing,
            line: Line::new(pace.waiting_max),
            seen: Mutex::default(),
        }))
    }

    /// Ends when a request may be sent, first come, first served.
    ///
    /// # Errors
    /// [`AcquireError::QueueFull`] if too many wait.
    pub async fn ready(&self) -> Result<UnderWay, AcquireError> {
        let Inner { timing, line, .. } = &*self.0;
        let _first = line.first().await?;
        let came = timing.now();
        loop {
            let now = timing.now();
            let wait = self.0.wait(now, came);
            if wait.is_zero() {
                let mut seen = lock(&self.0.seen);
                seen.under_way += 1;
                seen.last = now;
                return Ok(UnderWay(self.clone()));
            }
            timing.sleep(wait).await;
        }
    }

    /// How long a request sent now would be held, if nobody is in line before it.
    pub fn delay(&self) -> Duration {
        let now = self.0.timing.now();
        self.0.wait(now, now)
    }

    fn observe(&self, notice: &Notice) {
        let now = self.0.timing.now();
        let mut seen = lock(&self.0.seen);
        seen.limits.retain(|known| known.back_at > now);
        for limit in notice.limits() {
            seen.learn(limit, now);
        }
        if let (true, Some(wait)) = (notice.is_refusal(), notice.wait()) {
            seen.held_until = seen.held_until.max(now + wait.min(self.0.pace.longest));
        }
    }
}

impl UnderWay {
    /// The response has come, and says this.
    pub fn answered(self, notice: &Notice) {
        self.0.observe(notice);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut seen = lock(&self.0.0.seen);
        seen.under_way = seen.under_way.saturating_sub(1);
    }
}

impl Inner {
    /// How long to hold, at `now`, a request that is first in line since `came`.
    fn wait(&self, now: Timestamp, came: Timestamp) -> Duration {
        let until = lock(&self.seen).free_at(self.pace, now);
        until.min(came + self.pace.longest).since(now)
    }
}

impl Seen {
    fn learn(&mut self, limit: &LimitNotice, now: Timestamp) {
        // Without a reset the window is as long as it can take.
        let after = limit.reset_after.or(limit.window);
        let (Some(remaining), Some(after)) = (limit.remaining, after) else {
            return;
        };
        self.limits.retain(|known| known.name != limit.name);
        if self.limits.len() < Notice::LIMITS_MAX {
            self.limits.push(Known {
                name: limit.name.clone(),
                limit: limit.limit,
                remaining,
                back_at: now + after,
            });
        }
    }

    /// When the next may go, by all that is known.
    fn free_at(&self, pace: Pace, now: Timestamp) -> Timestamp {
        let limits = self.limits.iter().filter(|known| known.back_at > now);
        let free = limits.map(|known| self.free_under(known, pace));
        free.max().unwrap_or(Timestamp::EPOCH).max(self.held_until)
    }

    fn free_under(&self, known: &Known, pace: Pace) -> Timestamp {
        let left = known.remaining.saturating_sub(self.under_way);
        if left == 0 {
            return known.back_at;
        }
        let share = u128::from(pace.below_percent);
        let plenty = |limit| u128::from(left) * 100 > u128::from(limit) * share;
        // A service that does not say how much there is in all is asked with care all along.
        if known.limit.is_some_and(plenty) {
            return Timestamp::EPOCH;
        }
        // Evenly: as long a gap before the first as after the last.
        let span_nanos = known.back_at.since(self.last).as_nanos();
        let gaps = u128::from(left) + 1;
        let gap_nanos = u64::try_from(span_nanos / gaps).unwrap_or(u64::MAX);
        self.last + Duration::from_nanos(gap_nanos)
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pacer")
            .field("pace", &self.0.pace)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").finish_non_exhaustive()
    }
}

/// Puts a [`Pacer`] in front of a client.
#[derive(Clone, Debug)]
pub struct PaceLayer(pub Pacer);

impl<S> Layer<S> for PaceLayer {
    type Service = Paced<S>;

    fn layer(&self, inner: S) -> Paced<S> {
        Paced {
            inner,
            pacer: self.0.clone(),
        }
    }
}

/// A client behind a [`Pacer`].
#[derive(Clone, Debug)]
pub struct Paced<S> {
    inner: S,
    pacer: Pacer,
}

/// Errors of a client behind a [`Pacer`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PacedError<E> {
    /// As many wait as may; nothing was sent.
    QueueFull,
    /// The client's own.
    Inner(E),
}

impl<E> fmt::Display for PacedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueueFull => "as many requests wait for their turn as may",
            Self::Inner(_) => "the request could not be sent or answered",
        })
    }
}

impl<E: std::error::Error + 'static> std::error::Error for PacedError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::QueueFull => None,
            Self::Inner(error) => Some(error),
        }
    }
}

impl<S, B, R> Service<Request<B>> for Paced<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = Response<R>;
    type Error = PacedError<S::Error>;
    type Future = BoxFuture<Result<Response<R>, PacedError<S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(PacedError::Inner)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled ready is the one to call; a clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let pacer = self.pacer.clone();
        Box::pin(async move {
            let under_way = pacer.ready().await.map_err(|_| PacedError::QueueFull)?;
            let response = inner.call(request).await.map_err(PacedError::Inner)?;
            under_way.answered(&Notice::of(&response, pacer.0.timing.now()));
            Ok(response)
        })
    }
}
