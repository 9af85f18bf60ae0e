//! The guard that holds permits, and the future that waits for them.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::AcquireError;
use super::queue::Ticket;
use super::shard::{Entered, Shard};
use super::terms::Ask;
use crate::sync::{park, thread};

/// Where permits go back to: borrowed, or held on to.
///
/// Two kinds instead of a choice at run time: a guard and its owner are two words then, and what
/// gives one gives it in registers.
trait Owner {
    fn shard(&self) -> &Shard;
}

impl Owner for &Arc<Shard> {
    #[inline]
    fn shard(&self) -> &Shard {
        self
    }
}

impl Owner for Arc<Shard> {
    #[inline]
    fn shard(&self) -> &Shard {
        self
    }
}

/// Permits taken; returned when this is dropped, be it by a panic or with a cancelled task.
///
/// A guard that is leaked (as by [`std::mem::forget`]) never returns its permits.
#[must_use = "the permits are returned as soon as this is dropped"]
pub struct Permit<'a>(Guard<&'a Arc<Shard>>);

/// The same, borrowing nothing.
#[must_use = "the permits are returned as soon as this is dropped"]
pub struct OwnedPermit(Guard<Arc<Shard>>);

impl<'a> Permit<'a> {
    /// A guard for permits just taken.
    #[inline]
    pub(super) fn new(shard: &'a Arc<Shard>, slot: u32, weight: u32) -> Self {
        Self(Guard {
            owner: shard,
            held: Held::new(slot, weight),
        })
    }

    /// The same permits in a guard that borrows nothing.
    pub fn into_owned(mut self) -> OwnedPermit {
        OwnedPermit(Guard {
            owner: Arc::clone(self.0.owner),
            held: mem::replace(&mut self.0.held, Held::new(0, 0)),
        })
    }

    /// How many permits this holds.
    pub fn weight(&self) -> u32 {
        self.0.held.weight()
    }
}

impl OwnedPermit {
    /// How many permits this holds.
    pub fn weight(&self) -> u32 {
        self.0.held.weight()
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnedPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit")
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}

/// What both kinds of permits are.
struct Guard<O: Owner> {
    owner: O,
    held: Held,
}

impl<O: Owner> Drop for Guard<O> {
    #[inline]
    fn drop(&mut self) {
        if self.held.weight() != 0 {
            let shard = self.owner.shard();
            shard.release(self.held.slot(), self.held.weight());
        }
    }
}

/// A slot, and how many permits of its key: none once another guard has taken over.
///
/// One word: a guard is moved as soon as it is made, and a processor that has just written two
/// halves is kept waiting when it reads them as one.
#[derive(Clone, Copy)]
struct Held(u64);

impl Held {
    #[inline]
    fn new(slot: u32, weight: u32) -> Self {
        Self(u64::from(slot) << 32 | u64::from(weight))
    }

    #[inline]
    fn slot(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or_default()
    }

    #[inline]
    fn weight(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or_default()
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
pub struct Acquire<'a>(Wait<&'a Arc<Shard>>);

/// The same, borrowing nothing.
#[must_use = "futures do nothing unless polled"]
pub struct OwnedAcquire(Wait<Arc<Shard>>);

impl<'a> Acquire<'a> {
    #[inline]
    pub(super) fn new(shard: &'a Arc<Shard>, ask: Ask, wait: Duration) -> Self {
        Self(Wait {
            owner: Some(shard),
            ask,
            wait,
            place: None,
        })
    }

    /// The same with a wait of its own where that is shorter; to be set before the first poll.
    pub fn within(mut self, wait: Duration) -> Self {
        self.0.wait = self.0.wait.min(wait);
        self
    }

    /// The same future, its place in line kept, borrowing nothing; nor does its permit.
    pub fn into_owned(mut self) -> OwnedAcquire {
        OwnedAcquire(Wait {
            owner: self.0.owner.take().cloned(),
            ask: self.0.ask,
            wait: self.0.wait,
            place: self.0.place,
        })
    }

    /// Waits on this thread, after a try without a wait has failed.
    #[cold]
    pub(crate) fn block(self) -> Result<Permit<'a>, AcquireError> {
        self.0.block().map(Permit)
    }
}

impl OwnedAcquire {
    /// Waits on this thread, after a try without a wait has failed.
    #[cold]
    pub(crate) fn block(self) -> Result<OwnedPermit, AcquireError> {
        self.0.block().map(OwnedPermit)
    }
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<Permit<'a>, AcquireError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0
            .poll(context.waker())
            .map(|answer| answer.map(Permit))
    }
}

impl Future for OwnedAcquire {
    type Output = Result<OwnedPermit, AcquireError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0
            .poll(context.waker())
            .map(|answer| answer.map(OwnedPermit))
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("Acquire", f)
    }
}

impl fmt::Debug for OwnedAcquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("OwnedAcquire", f)
    }
}

/// What both kinds of futures are.
struct Wait<O: Owner> {
    /// `None` once the answer was given.
    owner: Option<O>,
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

impl<O: Owner> Wait<O> {
    /// Waits on this thread, after a try without a wait has failed.
    #[cold]
    fn block(mut self) -> Result<Guard<O>, AcquireError> {
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
    fn advance(&mut self, waker: &Waker, timer: Timer) -> Poll<Result<Guard<O>, AcquireError>> {
        let Some(shard) = self.owner.as_ref().map(Owner::shard) else {
            return Poll::Ready(Err(AcquireError::Closed));
        };
        if let Some(place) = self.place {
            return match ask(shard, place, waker) {
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
        let (entry, first) = match shard.enter(ticket) {
            Ok(Entered::Queued { entry, first }) => (entry, first),
            Ok(Entered::Taken(slot)) => return self.finish(Ok(slot)),
            Err(error) => return self.finish(Err(error)),
        };
        self.place = Some(Place { entry, deadline });
        if let (true, Some(deadline)) = (first, deadline) {
            shard.watch_from(deadline);
        }
        Poll::Pending
    }

    #[inline]
    fn poll(&mut self, waker: &Waker) -> Poll<Result<Guard<O>, AcquireError>> {
        if let (Some(owner), None) = (&self.owner, self.place)
            && let Some(answer) = owner.shard().try_take(self.ask).transpose()
        {
            return self.finish(answer);
        }
        self.advance(waker, Timer::Keeper)
    }

    fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("key", &self.ask.key)
            .field("weight", &self.ask.weight)
            .field("waiting", &self.place.is_some())
            .finish_non_exhaustive()
    }

    #[inline]
    fn finish(
        &mut self,
        answer: Result<u32, AcquireError>,
    ) -> Poll<Result<Guard<O>, AcquireError>> {
        self.place = None;
        let Some(owner) = self.owner.take() else {
            return Poll::Ready(Err(AcquireError::Closed));
        };
        Poll::Ready(answer.map(|slot| Guard {
            owner,
            held: Held::new(slot, self.ask.weight),
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

impl<O: Owner> Drop for Wait<O> {
    #[inline]
    fn drop(&mut self) {
        if let (Some(owner), Some(place)) = (&self.owner, self.place) {
            owner.shard().cancel(place.entry);
        }
    }
}

/// Wakes a thread that waits for permits.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
