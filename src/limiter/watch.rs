//! Who is told of every decision, for numbers, log lines and the like.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Decision, Key, Limit, Limiter, Outcome, Trouble};
use crate::policy::Request;

/// Is told of every request that a limiter judges: see
/// [`Builder::watch`](crate::Builder::watch).
///
/// A function of a request and a decision is one, which is not told of limits asked directly.
/// Requests with a wait are told of when it is over; looks at the usage, refunds and settlements
/// are not.
pub trait Watch: Send + Sync {
    /// A request was judged so. Called on the thread that asked, which waits for it: it should be
    /// quick, and not panic.
    fn decided(&self, request: &Request<'_>, decision: &Decision);

    /// A limit was asked directly ([`Limiter::limit`](crate::Limiter::limit)), as above. Of a batch
    /// each key is told of, as its outcome is given.
    fn asked(&self, asked: &Asked<'_>) {
        let _ = asked;
    }

    /// Something cannot be written that should be: the journal, reservations, the latest time. Or,
    /// with `None`, all can be written again. Told once at each change, within a second, on a
    /// thread of the limiter's; [`Health`](crate::Health) says the same at any time.
    fn trouble(&self, trouble: Option<&Trouble>) {
        let _ = trouble;
    }

    /// How it is doing, once a second, on a thread of the limiter's: for gauges.
    fn ticked(&self, limiter: &Limiter) {
        let _ = limiter;
    }

    /// The directory was opened after another process had it: told once, after a wait that
    /// [`WhenHeld::Wait`](crate::WhenHeld::Wait) asked for.
    fn took_over(&self, waited: Duration) {
        let _ = waited;
    }

    /// An administrator changed something, over the control socket or by
    /// [`Admin`](crate::Admin). What the service itself changes is not told.
    fn changed(&self, change: &Change<'_>) {
        let _ = change;
    }
}

/// What an administrator changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Change<'a> {
    /// Who it was: `uid 1000, process 4242` over the control socket; else the name that
    /// [`Admin::on_behalf_of`](crate::Admin::on_behalf_of) was given.
    pub who: &'a str,
    /// The call: `set_override`, `remove_override`, `reset`, `replace_policy`.
    pub what: &'a str,
    /// The limit, where it is about one.
    pub limit: Option<&'a str>,
}

/// What a limit that was asked directly said.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    limit: &'a Limit,
    key: Key<'a>,
    outcome: &'a Outcome,
}

impl<'a> Asked<'a> {
    /// The limit.
    pub fn limit(&self) -> &'a Limit {
        self.limit
    }

    /// The key that it was asked about.
    pub fn key(&self) -> Key<'a> {
        self.key
    }

    /// What it said.
    pub fn outcome(&self) -> &'a Outcome {
        self.outcome
    }
}

impl<F: Fn(&Request<'_>, &Decision) + Send + Sync> Watch for F {
    fn decided(&self, request: &Request<'_>, decision: &Decision) {
        self(request, decision);
    }
}

#[derive(Clone, Default)]
pub(super) struct Watches(Vec<Arc<dyn Watch>>);

impl Watches {
    pub(super) fn push(&mut self, watch: impl Watch + 'static) {
        self.0.push(Arc::new(watch));
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(super) fn tell(&self, request: &Request<'_>, decision: &Decision) {
        if !self.is_empty() {
            self.tell_all(request, decision);
        }
    }

    #[inline]
    pub(super) fn tell_of(&self, limit: &Limit, key: Key<'_>, outcome: &Outcome) {
        if !self.is_empty() {
            self.tell_all_of(&Asked {
                limit,
                key,
                outcome,
            });
        }
    }

    pub(super) fn tell_of_trouble(&self, trouble: Option<&Trouble>) {
        for watch in &self.0 {
            watch.trouble(trouble);
        }
    }

    pub(super) fn tick(&self, limiter: &Limiter) {
        for watch in &self.0 {
            watch.ticked(limiter);
        }
    }

    pub(super) fn tell_of_takeover(&self, waited: Duration) {
        for watch in &self.0 {
            watch.took_over(waited);
        }
    }

    pub(super) fn tell_of_change(&self, change: &Change<'_>) {
        for watch in &self.0 {
            watch.changed(change);
        }
    }

    #[cold]
    fn tell_all_of(&self, asked: &Asked<'_>) {
        for watch in &self.0 {
            watch.asked(asked);
        }
    }

    #[cold]
    fn tell_all(&self, request: &Request<'_>, decision: &Decision) {
        for watch in &self.0 {
            watch.decided(request, decision);
        }
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} watches", self.0.len())
    }
}
