//! Who is told of every decision, for numbers, log lines and the like.

use std::fmt;
use std::sync::Arc;

use super::Decision;
#[cfg(feature = "dashboard")]
use crate::policy::Policy;
use crate::policy::Request;

/// Is told of every request that a limiter judges: see
/// [`Builder::watch`](crate::Builder::watch).
///
/// A function of a request and a decision is one. Requests with a wait are told of when it is over;
/// a limit asked directly ([`Limiter::limit`](crate::Limiter::limit)), and a look at the usage, are
/// not.
pub trait Watch: Send + Sync {
    /// A request was judged so. Called on the thread that asked, which waits for it: it should be
    /// quick, and not panic.
    fn decided(&self, request: &Request<'_>, decision: &Decision);
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
    pub(super) fn tell(&self, request: &Request<'_>, decision: &Decision) {
        if !self.0.is_empty() {
            self.tell_all(request, decision);
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

#[cfg(feature = "dashboard")]
impl Decision {
    /// The policy that it was made under.
    pub(crate) fn policy(&self) -> &Policy {
        &self.law.policy
    }
}
