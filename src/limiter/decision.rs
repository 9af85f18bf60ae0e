//! What all limits together say to one request.

use std::fmt;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::cell::OwnLaw;
use super::outcome::{Outcome, Verdict};
use crate::key::Tag;
use crate::policy::{LimitIndex, PICKS_MAX, RequestError, RouteIndex, TierIndex};

/// One limit's part in a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) limit: LimitIndex,
    pub(super) outcome: Outcome,
    pub(super) tag: Tag,
}

/// What all limits that a request meets say to it together.
///
/// Allowed means that every one of them had room and that all were charged; refused, that at least
/// one had not and that none was. [`Display`](fmt::Display) explains it in one line.
#[derive(Clone)]
#[must_use = "a refused request must not be served"]
pub struct Decision {
    pub(super) law: OwnLaw,
    pub(super) entries: ArrayVec<Entry, PICKS_MAX>,
    pub(super) route: Option<RouteIndex>,
    pub(super) tier: Option<TierIndex>,
    pub(super) is_exempt: bool,
    /// Why the request could not be judged at all.
    pub(super) error: Option<RequestError>,
}

/// One limit's outcome, by name.
#[derive(Clone, Copy)]
pub struct LimitOutcome<'d> {
    name: &'d str,
    is_shadow: bool,
    outcome: &'d Outcome,
}

impl<'d> LimitOutcome<'d> {
    /// The limit's name in the policy.
    pub fn name(&self) -> &'d str {
        self.name
    }

    /// True for a limit that is counted and reported but never refuses.
    pub fn is_shadow(&self) -> bool {
        self.is_shadow
    }

    /// The limit's numbers.
    pub fn outcome(&self) -> &'d Outcome {
        self.outcome
    }
}

impl std::ops::Deref for LimitOutcome<'_> {
    type Target = Outcome;

    fn deref(&self) -> &Outcome {
        self.outcome
    }
}

impl fmt::Debug for LimitOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.outcome)
    }
}

impl Decision {
    fn named<'d>(&'d self, entry: &'d Entry) -> LimitOutcome<'d> {
        let limit = self.law.limit(entry.limit);
        LimitOutcome {
            name: &limit.name,
            is_shadow: limit.shadow,
            outcome: &entry.outcome,
        }
    }

    /// True if the request may be served.
    pub fn is_allowed(&self) -> bool {
        self.error.is_none() && self.refusing().next().is_none()
    }

    /// What the limits say together: the gravest of the verdicts that refuse.
    pub fn verdict(&self) -> Verdict {
        if self.error.is_some() {
            return Verdict::Malformed;
        }
        match self.refusing().next().and(self.ruling()) {
            Some(ruling) => ruling.verdict(),
            None => Verdict::Allowed,
        }
    }

    /// Every limit that the request met, strictest first.
    pub fn limits(&self) -> impl ExactSizeIterator<Item = LimitOutcome<'_>> {
        self.entries.iter().map(|entry| self.named(entry))
    }

    fn refusing(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| !entry.outcome.is_allowed())
    }

    /// The limit that rules: of those that refuse, the one to wait for longest; if none does, the
    /// one with the least remaining. None for a request that met no limit.
    pub fn ruling(&self) -> Option<LimitOutcome<'_>> {
        // Never is longer than any wait; of equal ones the first, which is the strictest.
        let wait = |entry: &&Entry| entry.outcome.retry_after().unwrap_or(Duration::MAX);
        let longest = self
            .refusing()
            .reduce(|a, b| if wait(&b) > wait(&a) { b } else { a });
        let least = || {
            let shadow = |entry: &&Entry| self.law.limit(entry.limit).shadow;
            self.entries
                .iter()
                .min_by_key(|entry| (shadow(entry), entry.outcome.remaining()))
        };
        longest.or_else(least).map(|entry| self.named(entry))
    }

    /// How long until the same request is allowed, if nobody else takes anything until then: zero
    /// if it is allowed now, `None` if it never will be.
    pub fn retry_after(&self) -> Option<Duration> {
        if self.error.is_some() {
            return None;
        }
        self.refusing().try_fold(Duration::ZERO, |longest, entry| {
            entry.outcome.retry_after().map(|wait| wait.max(longest))
        })
    }

    /// The template of the route that matched.
    pub fn route(&self) -> Option<&str> {
        self.route
            .map(|route| &*self.law.plan().routes[route.0].template)
    }

    /// The caller's tier.
    pub fn tier(&self) -> Option<&str> {
        self.tier.map(|tier| &*self.law.plan().tiers[tier.0].name)
    }

    /// True if the request's route is exempt from all limits.
    pub fn is_exempt(&self) -> bool {
        self.is_exempt
    }

    /// Why the request could not be judged; such a request is not allowed.
    pub fn error(&self) -> Option<RequestError> {
        self.error
    }
}

/// In one line: what was decided, by which limit, on which numbers.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.error {
            return write!(f, "refused: {error}");
        }
        if self.is_exempt {
            return write!(
                f,
                "allowed: {} is exempt",
                self.route().unwrap_or("the route")
            );
        }
        let Some(ruling) = self.ruling() else {
            return write!(f, "allowed: no limit applies");
        };
        let what = if self.is_allowed() {
            "allowed"
        } else {
            "refused"
        };
        write!(f, "{what} by {}: {}", ruling.name(), ruling.outcome())?;
        for other in self
            .limits()
            .filter(|other| !std::ptr::eq(other.outcome, ruling.outcome))
        {
            let shadow = if other.is_shadow() { " (shadow)" } else { "" };
            write!(f, "; {}{shadow}: {}", other.name(), other.outcome())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decision({self})")
    }
}
