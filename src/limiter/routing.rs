//! Whether requests meet the policy's routes at all.
//!
//! A service that sees other paths than the policy names passes over every route's limits. A layer
//! under a nested router was once such a service. This is how an operator finds out.

use std::fmt;

use crate::policy::RouteIndex;
use crate::sync::{AtomicU64, Ordering};

/// How requests meet the routes of the policy in force. `Display` says it in a sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RouteUse {
    /// How many routes the policy has.
    pub routes: usize,
    /// True once a request has met one of them.
    pub is_any_met: bool,
    /// HTTP requests that met no route before any did. They are no longer counted once one did.
    pub missed: u64,
}

impl RouteUse {
    /// True if the policy has routes, requests were judged, and none of them met a route. Then the
    /// paths that the service judges are probably not those that the policy names.
    pub fn is_suspicious(&self) -> bool {
        self.routes > 0 && !self.is_any_met && self.missed > 0
    }
}

impl fmt::Display for RouteUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routes, missed, .. } = self;
        match (routes, self.is_any_met, missed) {
            (0, ..) => write!(f, "the policy has no routes"),
            (_, true, _) => write!(f, "requests meet the policy's routes"),
            (_, false, 0) => write!(f, "no request was judged yet"),
            (_, false, _) => write!(
                f,
                "none of {missed} requests met any of the policy's {routes} routes: compare the \
                 paths that the service judges with those that the policy names"
            ),
        }
    }
}

/// Counts for [`RouteUse`], under one policy.
#[derive(Debug)]
pub(super) struct RouteCount {
    routes: usize,
    /// Not 0 once a route was met.
    met: AtomicU64,
    missed: AtomicU64,
}

impl RouteCount {
    pub(super) fn new(routes: usize) -> Self {
        Self {
            routes,
            met: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }

    /// Notes the route that an HTTP request met. Once a route was met nothing is written any more,
    /// so that threads do not contend for the count.
    #[inline]
    pub(super) fn note(&self, route: Option<RouteIndex>) {
        // Ordering: relaxed, here and below; these are numbers to look at, and guard nothing.
        if self.routes == 0 || self.met.load(Ordering::Relaxed) != 0 {
            return;
        }
        match route {
            Some(_) => self.met.store(1, Ordering::Relaxed),
            None => {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn get(&self) -> RouteUse {
        // Ordering: relaxed; numbers to look at.
        RouteUse {
            routes: self.routes,
            is_any_met: self.met.load(Ordering::Relaxed) != 0,
            missed: self.missed.load(Ordering::Relaxed),
        }
    }
}
