//! Who is told of what: of decisions, of changes, of what cannot be written.

#[cfg(feature = "watch")]
use super::{Change, Reservations, Trouble};
use super::{Decision, Inner, Key, Limit, Outcome};
use crate::policy::Request;
#[cfg(feature = "watch")]
use crate::sync::{Ordering, lock};

impl Inner {
    /// Tells who wants to know.
    #[inline]
    pub(super) fn tell(&self, request: &Request<'_>, decision: &Decision) {
        if self.live.is_on() {
            self.live.decided(request, decision);
        }
        #[cfg(feature = "watch")]
        self.watches.tell(request, decision);
        #[cfg(not(feature = "watch"))]
        let _ = (request, decision);
    }

    /// Whether anybody is told of decisions.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        #[cfg(feature = "watch")]
        let is_watched = !self.watches.is_empty();
        #[cfg(not(feature = "watch"))]
        let is_watched = false;
        is_watched || self.live.is_on()
    }

    /// Tells who wants to know of a limit that was asked directly.
    #[inline]
    pub(super) fn tell_of(&self, limit: &Limit, key: Key<'_>, outcome: &Outcome) {
        if self.live.is_on() {
            self.live.asked(limit, key, outcome);
        }
        #[cfg(feature = "watch")]
        self.watches.tell_of(limit, key, outcome);
        #[cfg(not(feature = "watch"))]
        let _ = (limit, key, outcome);
    }

    /// Tells those who watch what an administrator changed.
    pub(super) fn tell_of_change(&self, who: &str, what: &str, limit: Option<&str>) {
        #[cfg(feature = "watch")]
        self.watches.tell_of_change(&Change { who, what, limit });
        #[cfg(not(feature = "watch"))]
        let _ = (who, what, limit);
    }

    /// Tells those who watch when something begins to fail, and when nothing does any more.
    #[cfg(feature = "watch")]
    pub(super) fn tell_of_trouble(&self) {
        if self.watches.is_empty() {
            return;
        }
        let marks = || {
            let why = lock(&self.trouble).clone()?;
            Some(Trouble::after(None, why))
        };
        let ceilings = || Reservations::of(&self.counters.ceilings).trouble;
        let trouble = self
            .writer
            .writing()
            .trouble
            .or_else(ceilings)
            .or_else(marks);
        // Ordering: relaxed; only the keeper's thread looks at it.
        let was_told = self.told_trouble.swap(trouble.is_some(), Ordering::Relaxed);
        if was_told != trouble.is_some() {
            self.watches.tell_of_trouble(trouble.as_ref());
        }
    }
}
