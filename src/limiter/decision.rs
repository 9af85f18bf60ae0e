//! What all limits together say to one request.

use std::fmt;
use std::ptr;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::concurrency::{ConcurrencyEntry, ConcurrencyOutcome};
use super::law::OwnLaw;
use super::outcome::{Outcome, Verdict};
use crate::key::Tag;
use crate::policy::{
    LimitIndex, PERMIT_PICKS_MAX, PICKS_MAX, Plan, RequestError, RouteIndex, TierIndex,
};

/// One limit's part in a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) limit: LimitIndex,
    pub(super) outcome: Outcome,
    pub(super) tag: Tag,
}

/// What is known of a request's id.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Identity {
    /// It has none.
    #[default]
    None,
    /// It was not seen before, and is not remembered: nothing was charged, or there was no room.
    New,
    /// It is remembered from now on.
    Kept(Entry),
    /// It was seen before; the request is judged like any other.
    Repeat,
    /// It was seen before; nothing is charged.
    FreeRepeat,
}

/// What all limits that a request meets say to it together.
///
/// Allowed means that every one of them had room and that all were charged; refused, that at least
/// one had not and that none was. [`Display`](fmt::Display) explains it in one line. Limits on how
/// many run at a time are told apart: see [`Decision::concurrency`].
#[derive(Clone)]
#[must_use = "a refused request must not be served"]
pub struct Decision {
    pub(super) law: OwnLaw,
    pub(super) said: Said,
}

/// What was decided. Apart from the law, so that it can be filled while that is looked into.
#[derive(Clone, Default)]
pub(super) struct Said {
    // Room for the most, though it is large: a check never allocates.
    pub(super) entries: ArrayVec<Entry, PICKS_MAX>,
    pub(super) concurrency: ArrayVec<ConcurrencyEntry, PERMIT_PICKS_MAX>,
    pub(super) route: Option<RouteIndex>,
    pub(super) tier: Option<TierIndex>,
    pub(super) is_exempt: bool,
    pub(super) identity: Identity,
    /// Why the request could not be judged at all.
    pub(super) error: Option<RequestError>,
}

/// One limit's outcome, by name.
#[derive(Clone, Copy)]
pub struct LimitOutcome<'d> {
    name: &'d str,
    is_shadow: bool,
    outcome: &'d Outcome,
    tag: Tag,
}

impl<'d> LimitOutcome<'d> {
    /// A number that stands for the counter that was asked: the same for the same key of the same
    /// limit as long as the limiter's directory lives, and another one in another directory. It
    /// tells nothing of the key. Zero if there was no key to ask about.
    pub fn counter(&self) -> u64 {
        match self.outcome.verdict() {
            Verdict::KeyMissing => 0,
            _ => self.tag.bits(),
        }
    }

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

impl Said {
    pub(super) fn is_allowed(&self) -> bool {
        self.error.is_none()
            && self.refusing().next().is_none()
            && self.concurrency.iter().all(|one| one.verdict.is_allowed())
    }

    pub(super) fn is_repeat(&self) -> bool {
        matches!(self.identity, Identity::Repeat | Identity::FreeRepeat)
    }

    pub(super) fn is_free_repeat(&self) -> bool {
        matches!(self.identity, Identity::FreeRepeat)
    }

    fn refusing(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| !entry.outcome.is_allowed())
    }
}

impl Decision {
    /// One in which nothing is said yet.
    #[inline]
    pub(super) fn new(law: OwnLaw) -> Self {
        Self {
            law,
            said: Said::default(),
        }
    }

    fn named<'d>(&'d self, entry: &'d Entry) -> LimitOutcome<'d> {
        let limit = self.law.limit(entry.limit);
        LimitOutcome {
            name: &limit.name,
            is_shadow: limit.shadow,
            outcome: &entry.outcome,
            tag: entry.tag,
        }
    }

    /// The plan of the policy that it was decided under.
    pub(crate) fn plan(&self) -> &Plan {
        self.law.plan()
    }

    /// True if the request may be served.
    #[inline]
    pub fn is_allowed(&self) -> bool {
        self.said.is_allowed()
    }

    /// What the limits say together: the gravest of the verdicts that refuse; of limits on how many
    /// run at a time only if all rates agree.
    pub fn verdict(&self) -> Verdict {
        if self.said.error.is_some() {
            return Verdict::Malformed;
        }
        let rate = self.said.refusing().next().and(self.ruling());
        let other = || self.concurrency_refusal().map(|other| other.verdict());
        rate.map(|rate| rate.verdict())
            .or_else(other)
            .unwrap_or(match self.said.is_free_repeat() {
                true => Verdict::Repeated,
                false => Verdict::Allowed,
            })
    }

    /// True if the same request with the same id was charged before, within the time that the
    /// policy's `[idempotency]` says. The same request has the same client (the keys of all limits
    /// that it meets), method, path, query and costs; its body is not looked at.
    ///
    /// A repeat is charged or refused like any other request, unless the policy says
    /// `repeats = "answered by the service"`: then so many repeats as it says pass uncharged, with
    /// the verdict [`Repeated`](Verdict::Repeated). Answer these with what was answered before: who
    /// does the work again does it for free.
    pub fn is_repeat(&self) -> bool {
        self.said.is_repeat()
    }

    /// Every limit on how many run at a time that the request met, in the order in which they are
    /// asked: after all rates, and none after one that refused.
    pub fn concurrency(&self) -> impl ExactSizeIterator<Item = ConcurrencyOutcome<'_>> {
        self.said.concurrency.iter().map(|entry| {
            let limit = self.law.concurrency(entry.limit);
            ConcurrencyOutcome {
                name: &limit.name,
                is_shadow: limit.shadow,
                entry,
            }
        })
    }

    /// The limit on how many run at a time that refused, if one did.
    pub fn concurrency_refusal(&self) -> Option<ConcurrencyOutcome<'_>> {
        self.concurrency().find(|one| !one.is_allowed())
    }

    /// Every rate limit that the request met, strictest first.
    pub fn limits(&self) -> impl ExactSizeIterator<Item = LimitOutcome<'_>> {
        self.said.entries.iter().map(|entry| self.named(entry))
    }

    /// The rate limit that rules: of those that refuse, the one to wait for longest; if none does,
    /// the one with the least remaining. None for a request that met no rate limit.
    pub fn ruling(&self) -> Option<LimitOutcome<'_>> {
        // Never is longer than any wait; of equal ones the first, which is the strictest.
        let wait = |entry: &&Entry| entry.outcome.retry_after().unwrap_or(Duration::MAX);
        let longest = self
            .said
            .refusing()
            .reduce(|a, b| if wait(&b) > wait(&a) { b } else { a });
        let least = || {
            // What is left of a limit on new keys says nothing of the next request.
            let says_little = |entry: &&Entry| {
                let limit = self.law.limit(entry.limit);
                limit.shadow || limit.is_for_new_keys
            };
            self.said
                .entries
                .iter()
                .min_by_key(|entry| (says_little(entry), entry.outcome.remaining()))
        };
        longest.or_else(least).map(|entry| self.named(entry))
    }

    /// How long until the same request is allowed, if nobody else takes anything until then: zero
    /// if it is allowed now, `None` if it never will be. Nobody knows how long those run who hold
    /// the permits: where only these are lacking it is zero, for one may be returned at any time.
    pub fn retry_after(&self) -> Option<Duration> {
        let is_hopeless = |one: &ConcurrencyEntry| one.verdict.is_hopeless();
        if self.said.error.is_some() || self.said.concurrency.iter().any(is_hopeless) {
            return None;
        }
        self.said
            .refusing()
            .try_fold(Duration::ZERO, |longest, entry| {
                entry.outcome.retry_after().map(|wait| wait.max(longest))
            })
    }

    /// After a request that was allowed, how long until the rates would admit another like it;
    /// `None` if they never will.
    pub(crate) fn next_after(&self) -> Option<Duration> {
        let mut entries = self.said.entries.iter();
        entries.try_fold(Duration::ZERO, |longest, entry| {
            let limit = self.law.limit(entry.limit);
            // These refuse nobody, or only one whose key is new again.
            if limit.shadow || limit.is_for_new_keys {
                return Some(longest);
            }
            entry.outcome.retry_after().map(|wait| wait.max(longest))
        })
    }

    /// The template of the route that matched.
    pub fn route(&self) -> Option<&str> {
        self.said
            .route
            .map(|route| &*self.law.plan().routes[route.0].template)
    }

    /// The caller's tier.
    pub fn tier(&self) -> Option<&str> {
        self.said
            .tier
            .map(|tier| &*self.law.plan().tiers[tier.0].name)
    }

    /// True if the request's route is exempt from all limits.
    pub fn is_exempt(&self) -> bool {
        self.said.is_exempt
    }

    /// Why the request could not be judged; such a request is not allowed.
    pub fn error(&self) -> Option<RequestError> {
        self.said.error
    }
}

/// In one line: what was decided, by which limit, on which numbers.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.said.error {
            return write!(f, "refused: {error}");
        }
        if self.said.is_exempt {
            return write!(
                f,
                "allowed: {} is exempt",
                self.route().unwrap_or("the route")
            );
        }
        let what = if self.is_allowed() {
            "allowed"
        } else {
            "refused"
        };
        // Where only permits are lacking, no rate rules.
        let full = self.concurrency_refusal();
        let full = full.filter(|_| self.said.refusing().next().is_none());
        let ruling = self.ruling().filter(|_| full.is_none());
        match (&full, &ruling) {
            (Some(full), _) => write!(f, "{what} by {}: {full}", full.name())?,
            (None, Some(ruling)) => write!(f, "{what} by {}: {}", ruling.name(), **ruling)?,
            (None, None) if self.said.concurrency.is_empty() => {
                let repeat = match self.is_repeat() {
                    true => ", and the request is a repeat",
                    false => "",
                };
                return write!(f, "allowed: no limit applies{repeat}");
            }
            (None, None) => write!(f, "{what}")?,
        }
        let shadow = |is_shadow| if is_shadow { " (shadow)" } else { "" };
        let is_ruling = |one: &Outcome| ruling.is_some_and(|ruling| ptr::eq(ruling.outcome, one));
        for other in self.limits().filter(|other| !is_ruling(other.outcome)) {
            let shadow = shadow(other.is_shadow());
            write!(f, "; {}{shadow}: {}", other.name(), other.outcome())?;
        }
        let is_full = |name| full.is_some_and(|full| full.name() == name);
        for other in self.concurrency().filter(|other| !is_full(other.name())) {
            write!(
                f,
                "; {}{}: {other}",
                other.name(),
                shadow(other.is_shadow())
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decision({self})")
    }
}
