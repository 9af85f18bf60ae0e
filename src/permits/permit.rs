//! The guard that holds permits, and the future that waits for them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::AcquireError;
use super::queue::Ticket;
use super::shard::{Entered, Shard};
use crate::sync::{park, thread};

/// Permits taken; returned when this is dropped, be it by a panic or with a cancelled task.
///
/// A guard that is leaked (as by [`std::mem::forget`]) never returns its permits.
#[must_use = "the permits are returned as soon as this is dropped"]
pub struct Permit {
    shard: Arc<Shard>,
    slot: u32,
    weight: u32,
}

impl Permit {
    /// Takes permits if that needs no wait.
    pub(super) fn try_new(shard: &Arc<Shard>, key: u64, weight: u32) -> Result<Self, AcquireError> {
        let slot = shard
            .try_take(key, weight)?
            .ok_or(AcquireError::QueueFull)?;
        let shard = Arc::clone(shard);
        Ok(Self {
            shard,
            slot,
            weight,
        })
    }

    /// How many permits this holds.
    pub fn weight(&self) -> u32 {
        self.weight
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shard.release(self.slot, self.weight);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

/// A place in line.
#[derive(Clone, Copy)]
struct Place {
    entry: u32,
    deadline: Option<Instant>,
}

/// The future of [`Permits::acquire_async`](super::Permits::acquire_async).
///
/// It takes its place in line when first polled. Dropping it gives up the place, or the permits if
/// they had just been granted, at once. One that is kept but not polled any more keeps what it was
/// granted. Polled again after it was ready, it answers [`AcquireError::Closed`].
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    /// `None` once the answer was given.
    shard: Option<Arc<Shard>>,
    key: u64,
    weight: u32,
    wait: Duration,
    place: Option<Place>,
}

/// Who ends a wait that has become too long.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timer {
    Keeper,
    Caller,
}

impl Acquire {
    pub(super) fn new(shard: Arc<Shard>, key: u64, weight: u32, wait: Duration) -> Self {
        Self {
            shard: Some(shard),
            key,
            weight,
            wait,
            place: None,
        }
    }

    /// The same with a wait of its own where that is shorter; to be set before the first poll.
    pub fn within(mut self, wait: Duration) -> Self {
        self.wait = self.wait.min(wait);
        self
    }

    /// Waits on this thread.
    pub(super) fn block(mut self) -> Result<Permit, AcquireError> {
        if let Some(result) = self.try_now() {
            return result;
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(result) = self.advance(&waker, Timer::Caller) {
                return result;
            }
            let deadline = self.place.and_then(|place| place.deadline);
            park(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())));
        }
    }

    /// The way without a wait; `None` if there is none.
    fn try_now(&mut self) -> Option<Result<Permit, AcquireError>> {
        let shard = self.shard.as_ref()?;
        let answer = shard.try_take(self.key, self.weight).transpose()?;
        self.finish(answer)
    }

    fn advance(&mut self, waker: &Waker, timer: Timer) -> Poll<Result<Permit, AcquireError>> {
        let answer = match self.place {
            None => self.join(waker, timer),
            Some(place) => self.ask(place, waker),
        };
        match answer.and_then(|answer| self.finish(answer)) {
            Some(result) => Poll::Ready(result),
            None if self.shard.is_none() => Poll::Ready(Err(AcquireError::Closed)),
            None => Poll::Pending,
        }
    }

    /// Takes permits or a place in line.
    fn join(&mut self, waker: &Waker, timer: Timer) -> Option<Result<u32, AcquireError>> {
        let shard = self.shard.as_ref()?;
        // A wait that ends beyond what the clock can tell does not end.
        let deadline = Instant::now().checked_add(self.wait);
        let ticket = Ticket {
            weight: self.weight,
            waker: waker.clone(),
            deadline: deadline.filter(|_| timer == Timer::Keeper),
        };
        let (entry, first) = match shard.enter(self.key, self.weight, ticket) {
            Ok(Entered::Queued { entry, first }) => (entry, first),
            Ok(Entered::Taken(slot)) => return Some(Ok(slot)),
            Err(error) => return Some(Err(error)),
        };
        self.place = Some(Place { entry, deadline });
        if let (true, Some(deadline)) = (first, deadline) {
            shard.watch_from(deadline);
        }
        None
    }

    /// Asks what has become of the place in line.
    fn ask(&self, place: Place, waker: &Waker) -> Option<Result<u32, AcquireError>> {
        let shard = self.shard.as_ref()?;
        if place
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            shard.expire_one(place.entry);
        }
        shard.poll(place.entry, waker)
    }

    fn finish(
        &mut self,
        answer: Result<u32, AcquireError>,
    ) -> Option<Result<Permit, AcquireError>> {
        self.place = None;
        let shard = self.shard.take()?;
        Some(answer.map(|slot| Permit {
            shard,
            slot,
            weight: self.weight,
        }))
    }
}

impl Future for Acquire {
    type Output = Result<Permit, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.place.is_none() {
            if let Some(result) = self.try_now() {
                return Poll::Ready(result);
            }
        }
        self.advance(context.waker(), Timer::Keeper)
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let (Some(shard), Some(place)) = (&self.shard, self.place) {
            shard.cancel(place.entry);
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("key", &self.key)
            .field("weight", &self.weight)
            .field("waiting", &self.place.is_some())
            .finish_non_exhaustive()
    }
}

/// Wakes a thread that waits for permits.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
