//! Rates and permits asked for together: look at the rates, wait for the permits, take the rates.
//!
//! A request that its rates refuse does not wait, and one that waits in vain is charged nothing.
//! Time has passed when the permits are there, so the rates are then judged anew; if they refuse,
//! the permits go back.
//!
//! No two requests wait for each other for ever: permits are taken in the order of the limits'
//! names, one key of each limit, so whoever waits at one limit is waited for at most at limits
//! before it. This holds for one `acquire` a thread; who asks for more while holding some orders
//! them himself, and the longest wait ends what he gets wrong.

use std::fmt;
use std::mem;

use arrayvec::ArrayVec;

use super::check::Want;
use super::concurrency::ConcurrencyEntry;
use super::decision::{Decision, Identity};
use super::outcome::Verdict;
use super::{Inner, Limiter};
use crate::permits::{AcquireError, OwnedAcquire, OwnedPermit};
use crate::policy::{PERMIT_PICKS_MAX, Request};

/// A decision, and the permits that go with it.
///
/// The permits are returned when this is dropped, be it by a panic or with a cancelled task: hold
/// it for as long as the request runs. A leaked one (as by [`std::mem::forget`]) never returns them
/// before the process ends.
#[derive(Debug)]
#[must_use = "the permits are returned as soon as this is dropped"]
pub struct Admission {
    decision: Decision,
    running: Running,
}

impl Admission {
    /// One in which nothing is said yet, and nothing held.
    fn new(inner: &Inner) -> Self {
        Self {
            decision: Decision::new(inner.law.read()),
            running: Running::default(),
        }
    }

    /// The decision, to be made to fit what was answered.
    #[cfg(feature = "tower")]
    pub(crate) fn decision_mut(&mut self) -> &mut Decision {
        &mut self.decision
    }

    /// The permits, once.
    #[cfg(feature = "tower")]
    pub(crate) fn take_running(&mut self) -> Running {
        mem::take(&mut self.running)
    }

    /// True if the request may be served.
    pub fn is_allowed(&self) -> bool {
        self.decision.is_allowed()
    }

    /// What was decided, with the numbers of all limits.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The decision, to be refunded or settled, and the permits, to be held until the request is
    /// done: until the last byte of a response is sent, say.
    pub fn into_parts(self) -> (Decision, Running) {
        (self.decision, self.running)
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decision.fmt(f)
    }
}

/// The permits of a request that runs; returned when this is dropped.
#[derive(Debug, Default)]
#[must_use = "the permits are returned as soon as this is dropped"]
pub struct Running {
    permits: ArrayVec<OwnedPermit, PERMIT_PICKS_MAX>,
}

impl Running {
    /// True if there is nothing to return: the request met no limit that gives permits.
    pub fn is_empty(&self) -> bool {
        self.permits.is_empty()
    }
}

/// A request on its way through its limits.
struct Asking<'a> {
    inner: &'a Inner,
    request: &'a Request<'a>,
    /// What will be answered, built where it stands: it is large.
    admission: &'a mut Admission,
    /// The limit on how many run at a time that is asked next.
    place: usize,
    has_waited: bool,
}

impl<'a> Asking<'a> {
    /// Looks at the rates, and asks for nothing yet.
    fn begin(inner: &'a Inner, request: &'a Request<'a>, admission: &'a mut Admission) -> Self {
        inner.judge(request, Want::Permits, &mut admission.decision);
        Self {
            inner,
            request,
            admission,
            place: 0,
            has_waited: false,
        }
    }

    /// Takes what can be had at once; gives what must be waited for, if anything.
    fn advance(&mut self, may_wait: bool) -> Option<OwnedAcquire> {
        while self.admission.decision.is_allowed() {
            let entry = self.admission.decision.said.concurrency.get(self.place)?;
            if entry.verdict != Verdict::Allowed {
                // In shadow, and never to be had.
                self.place += 1;
                continue;
            }
            let law = &self.admission.decision.law;
            let semaphore = law.semaphore(entry.limit);
            let spec = law.concurrency(entry.limit);
            match entry.take(semaphore) {
                Err(AcquireError::QueueFull) if may_wait && spec.queue_max != 0 => {
                    self.has_waited = true;
                    let ask = entry.ask(semaphore);
                    let acquire = semaphore.permits().ask(ask, spec.wait_max);
                    return Some(acquire.into_owned());
                }
                answer => self.answered(answer),
            }
        }
        None
    }

    /// Notes what came of asking.
    fn answered(&mut self, answer: Result<OwnedPermit, AcquireError>) {
        let answer = answer.map(|permit| {
            // Bound: a request meets no more such limits than there is room for.
            let _ = self.admission.running.permits.try_push(permit);
        });
        let Decision { law, said } = &mut self.admission.decision;
        if let Some(entry) = said.concurrency.get_mut(self.place) {
            entry.answered(law, answer);
        }
        self.place += 1;
    }

    /// Takes the rates, if all permits are there.
    fn end(self) {
        if self.admission.decision.is_allowed() {
            // A request with an id has its turn again: it may be known by now.
            let has_id = !matches!(self.admission.decision.said.identity, Identity::None);
            if self.has_waited || has_id {
                let decision = &mut self.admission.decision;
                let asked = mem::take(&mut decision.said).concurrency;
                self.inner.judge(self.request, Want::Rates, decision);
                decision.said.concurrency = asked;
            } else {
                self.inner.take_rates(&mut self.admission.decision);
            }
        }
        if !self.admission.decision.is_allowed() {
            // Those that were not asked have said nothing.
            let mut asked = 0..self.place;
            let is_asked =
                |said: &mut ConcurrencyEntry| asked.next().is_some() || !said.verdict.is_allowed();
            self.admission.decision.said.concurrency.retain(is_asked);
            self.admission.running = Running::default();
        }
        self.inner.tell(self.request, &self.admission.decision);
    }
}

impl Limiter {
    /// Asks for all that a request needs: its rates, and the permits of its limits on how many run
    /// at a time, for which it waits if it must and may. Blocks the thread; for asynchronous code
    /// there is [`acquire_async`](Self::acquire_async).
    ///
    /// All or nothing: a request that waits is charged on its rates once, when it has its permits,
    /// and not at all if it is refused: [`Verdict::QueueFull`], [`Verdict::WaitedTooLong`],
    /// [`Verdict::Closed`]. It waits for each of its limits in turn, at most as long as that limit
    /// says; if the policy is replaced meanwhile, by what the new one says of that limit.
    ///
    /// ```
    /// # use tollgate::{Limiter, Policy, Request};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let policy = Policy::from_toml(
    ///     r#"
    ///     [limits.heavy]
    ///     max_concurrent = 1
    ///     key = "user"
    ///     "#,
    /// )?;
    /// let limiter = Limiter::open(dir.path().join("data"), policy)?;
    /// let request = Request::new().attribute("user", "alice");
    /// let first = limiter.acquire(&request);
    /// assert!(first.is_allowed());
    /// assert!(!limiter.acquire(&request).is_allowed());
    /// drop(first);
    /// assert!(limiter.acquire(&request).is_allowed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self, request: &Request<'_>) -> Admission {
        let mut admission = Admission::new(&self.inner);
        let mut asking = Asking::begin(&self.inner, request, &mut admission);
        while let Some(acquire) = asking.advance(true) {
            asking.answered(acquire.block());
        }
        asking.end();
        admission
    }

    /// As [`acquire`](Self::acquire), refusing where that would wait.
    pub fn try_acquire(&self, request: &Request<'_>) -> Admission {
        let mut admission = Admission::new(&self.inner);
        let mut asking = Asking::begin(&self.inner, request, &mut admission);
        while let Some(acquire) = asking.advance(false) {
            // Nothing is given to be waited for; if it were, dropping it would end the wait.
            drop(acquire);
        }
        asking.end();
        admission
    }

    /// As [`acquire`](Self::acquire), but nothing if that would wait; a place in the line is not
    /// kept then.
    #[cfg(feature = "tower")]
    pub(crate) fn acquire_at_once(&self, request: &Request<'_>) -> Option<Box<Admission>> {
        // In a box from the beginning: it is large, and will be moved about.
        let mut admission = Box::new(Admission::new(&self.inner));
        let mut asking = Asking::begin(&self.inner, request, &mut admission);
        if asking.advance(true).is_some() {
            return None;
        }
        asking.end();
        Some(admission)
    }

    /// As [`acquire`](Self::acquire), as a future. It runs under any executor, and waits no longer
    /// than the limits say whether it is polled or not. Dropped, it gives up its place or returns
    /// what it was just given, and nothing is charged. A strict limit may make the thread that
    /// polls wait for the disk, as it does in [`check`](Self::check).
    pub async fn acquire_async(&self, request: &Request<'_>) -> Admission {
        let mut admission = Admission::new(&self.inner);
        let mut asking = Asking::begin(&self.inner, request, &mut admission);
        while let Some(acquire) = asking.advance(true) {
            let answer = acquire.await;
            asking.answered(answer);
        }
        asking.end();
        admission
    }
}
