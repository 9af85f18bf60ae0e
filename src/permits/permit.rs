//! The guard that holds permits, and the future that waits for them.

use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::AcquireError;
use super::queue::Ticket;
use super::shard::{Entered, Shard};
use super::terms::Ask;
use crate::sync::{park, thread};

/// Where permits go back to.
#[derive(Clone)]
enum Owner<'a> {
    Borrowed(&'a Arc<Shard>),
    Owned(Arc<Shard>),
}

impl Owner<'_> {
    fn into_owned(self) -> Owner<'static> {
        match self {
            Self::Borrowed(shard) => Owner::Owned(Arc::clone(shard)),
            Self::Owned(shard) => Owner::Owned(shard),
        }
    }
}

impl Deref for Owner<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        match self {
            Self::Borrowed(shard) => shard,
            Self::Owned(shard) => shard,
        }
    }
}

/// Permits taken; returned when this is dropped, be it by a panic or with a cancelled task.
///
/// A guard that is leaked (as by [`std::mem::forget`]) never returns its permits.
#[must_use = "the permits are returned as soon as this is dropped"]
pub struct Permit<'a> {
    owner: Owner<'a>,
    slot: u32,
    /// Zero once another guard has taken over.
    weight: u32,
}

impl<'a> Permit<'a> {
    /// A guard for permits just taken.
    #[inline]
    pub(super) fn new(shard: &'a Arc<Shard>, slot: u32, weight: u32) -> Self {
        Self {
            owner: Owner::Borrowed(shard),
            slot,
            weight,
        }
    }

    /// The same permits in a guard that borrows nothing.
    pub fn into_owned(mut self) -> Permit<'static> {
        Permit {
            owner: self.owner.clone().into_owned(),
            slot: self.slot,
            weight: mem::take(&mut self.weight),
        }
    }

    /// How many permits this holds.
    pub fn weight(&self) -> u32 {
        self.weight
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.weight != 0 {
            self.owner.release(self.slot, self.weight);
        }
    }
}

impl fmt::Debug for Permit<'_> {
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
pub struct Acquire<'a> {
    /// `None` once the answer was given.
    owner: Option<Owner<'a>>,
    ask: Ask,
    wait: Duration,
    place: Option<Place>,
}

/// Who ends a wait that has become too long.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timer {
    Keeper,
    Caller,
}

impl<'a> Acquire<'a> {
    #[inline]
    pub(super) fn new(shard: &'a Arc<Shard>, ask: Ask, wait: Duration) -> Self {
        Self {
            owner: Some(Owner::Borrowed(shard)),
            ask,
            wait,
            place: None,
        }
    }

    /// The same with a wait of its own where that is shorter; to be set before the first poll.
    pub fn within(mut self, wait: Duration) -> Self {
        self.wait = self.wait.min(wait);
        self
    }

    /// The same future, its place in line kept, borrowing nothing; so does its permit.
    pub fn into_owned(mut self) -> Acquire<'static> {
        Acquire {
            owner: self.owner.take().map(Owner::into_owned),
            ask: self.ask,
            wait: self.wait,
            place: self.place,
        }
    }

    /// Waits on this thread, after a try without a wait has failed.
    #[cold]
    pub(crate) fn block(mut self) -> Result<Permit<'a>, AcquireError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(result) = self.advance(&waker, Timer::Caller) {
                return result;
            }
            let deadline = self.place.and_then(|place| place.deadline);
            park(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())));
        }
    }

    #[cold]
    fn advance(&mut self, waker: &Waker, timer: Timer) -> Poll<Result<Permit<'a>, AcquireError>> {
        let Some(owner) = &self.owner else {
            return Poll::Ready(Err(AcquireError::Closed));
        };
        if let Some(place) = self.place {
            return match ask(owner, place, waker) {
                Some(answer) => self.finish(answer),
                None => Poll::Pending,
            };
        }
        // Without a longest wait there is no need to know the time, and a wait that ends beyond
        // what the clock can tell does not end.
        let deadline = match self.wait {
            Duration::MAX => None,
            wait => Instant::now().checked_add(wait),
        };
        let ticket = Ticket {
            ask: self.ask,
            waker: waker.clone(),
            deadline: deadline.filter(|_| timer == Timer::Keeper),
        };
        let (entry, first) = match owner.enter(ticket) {
            Ok(Entered::Queued { entry, first }) => (entry, first),
            Ok(Entered::Taken(slot)) => return self.finish(Ok(slot)),
            Err(error) => return self.finish(Err(error)),
        };
        self.place = Some(Place { entry, deadline });
        if let (true, Some(deadline)) = (first, deadline) {
            owner.watch_from(deadline);
        }
        Poll::Pending
    }

    #[inline]
    fn finish(
        &mut self,
        answer: Result<u32, AcquireError>,
    ) -> Poll<Result<Permit<'a>, AcquireError>> {
        self.place = None;
        let Some(owner) = self.owner.take() else {
            return Poll::Ready(Err(AcquireError::Closed));
        };
        Poll::Ready(answer.map(|slot| Permit {
            owner,
            slot,
            weight: self.ask.weight,
        }))
    }
}

/// Asks what has become of a place in line.
fn ask(shard: &Shard, place: Place, waker: &Waker) -> Option<Result<u32, AcquireError>> {
    let answer = shard.poll(place.entry, waker);
    let late = || {
        place
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    };
    if answer.is_some() || !late() {
        return answer;
    }
    shard.expire_one(place.entry);
    shard.poll(place.entry, waker)
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<Permit<'a>, AcquireError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let (Some(owner), None) = (&self.owner, self.place)
            && let Some(answer) = owner.try_take(self.ask).transpose()
        {
            return self.finish(answer);
        }
        self.advance(context.waker(), Timer::Keeper)
    }
}

impl Drop for Acquire<'_> {
    #[inline]
    fn drop(&mut self) {
        if let (Some(owner), Some(place)) = (&self.owner, self.place) {
            owner.cancel(place.entry);
        }
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("key", &self.ask.key)
            .field("weight", &self.ask.weight)
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
