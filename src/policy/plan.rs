//! The plan: a policy made ready to be asked. Immutable; every name is already an index.

use super::ask::AskSpec;
use super::concurrency::ConcurrencySpec;
use super::intake::IntakeSpec;
use super::key::{AttributeSpec, KeySpec};
use super::response::ResponseSpec;
use super::router::Router;
use super::shape::Shape;
use super::statuses::Statuses;
use super::terms::{
    AttributeIndex, ConcurrencyIndex, Cost, Durability, KeyIndex, LimitIndex, RateSpec, Strict,
    Target, TierIndex, WhenFull, WhenKeyMissing,
};
use super::tier::TierSpec;
use crate::algorithm::Calendar;

/// A policy made ready.
pub(crate) struct Plan {
    /// The limits that are rates.
    pub(crate) limits: Vec<LimitSpec>,
    /// True if one of them has a limit on new keys.
    pub(crate) counts_new_keys: bool,
    /// The limits on how many run at a time.
    pub(crate) concurrency: Vec<ConcurrencySpec>,
    /// The limit that the ids of requests are counted by: a request, and the repeats of it that are
    /// let in without a charge.
    pub(crate) idempotency: Option<LimitIndex>,
    /// Each key once, however many limits share it.
    pub(crate) keys: Vec<KeySpec>,
    pub(crate) attributes: Vec<AttributeSpec>,
    pub(crate) tiers: Vec<TierSpec>,
    /// What [`crate::algorithm::Frame::Calendar`] counts in.
    pub(crate) calendars: Vec<Calendar>,
    pub(crate) overrides: Vec<OverrideSpec>,
    pub(crate) routes: Vec<RouteSpec>,
    pub(super) router: Router,
    pub(super) scopes: Vec<Scope>,
    /// The names of the limits that apply to every request.
    pub(super) everywhere: Vec<Box<str>>,
    /// What is sound and may not be meant, in sentences.
    pub(super) warnings: Vec<String>,
    /// For requests that no route matches.
    pub(super) default: Target,
    /// How HTTP requests are read.
    #[cfg_attr(
        not(feature = "tower"),
        expect(dead_code, reason = "only the layer reads requests")
    )]
    pub(crate) intake: IntakeSpec,
    /// What can be asked about limits.
    pub(crate) ask: AskSpec,
    /// What HTTP responses say.
    pub(crate) response: ResponseSpec,
}

/// The limits met together.
pub(super) struct Scope {
    /// Strictest first: smallest capacity, then longest window.
    pub(super) limits: Vec<LimitIndex>,
    /// By name, whatever else changes in the policy: whoever takes several permits takes them in
    /// one order, so that no two can wait for each other.
    // Bound: `PERMIT_PICKS_MAX`; more are a fault of the policy.
    pub(super) concurrency: Vec<ConcurrencyIndex>,
}

/// A limit.
#[derive(Debug)]
pub(crate) struct LimitSpec {
    pub(crate) name: Box<str>,
    pub(crate) key: KeyIndex,
    /// The key that overrides are for; the same, unless the limit says otherwise.
    pub(crate) override_key: KeyIndex,
    /// Without a tier first, then the tiers' in order.
    pub(crate) rates: Vec<RateSpec>,
    pub(crate) shape: Shape,
    pub(crate) cost: Cost,
    /// A request that asks more can never be admitted.
    pub(crate) max_cost: Option<u64>,
    pub(crate) durability: Durability,
    /// Of a strict limit.
    pub(crate) strict: Option<Strict>,
    pub(crate) when_full: WhenFull,
    pub(crate) when_key_missing: WhenKeyMissing,
    /// The limit that a request meets, too, whose key has no counter yet.
    pub(crate) new_keys: Option<LimitIndex>,
    /// True for such a limit.
    pub(crate) is_for_new_keys: bool,
    /// Counted and reported, never refusing.
    pub(crate) shadow: bool,
    /// The statuses of responses whose requests stay charged; all, if it does not say.
    pub(crate) charged: Option<Statuses>,
    /// The span that its rate is said over, for ordering; 0 for a month or none.
    pub(super) span_nanos: u64,
    /// What names this limit's counters for ever: name, algorithm, window and time zone, but not
    /// the rate, so that raising a limit keeps the counts.
    pub(crate) identity: Box<str>,
    /// What it was called when its counts began, if it was called otherwise.
    pub(crate) former: Option<Box<str>>,
}

impl LimitSpec {
    /// The rate for callers of `tier`.
    pub(crate) fn rate(&self, tier: Option<TierIndex>) -> Option<&RateSpec> {
        self.rates.get(tier.map_or(0, |tier| tier.0 + 1))
    }
}

/// A route.
#[derive(Debug)]
pub(crate) struct RouteSpec {
    /// Its template as written, the value of `route` in keys.
    pub(crate) template: Box<str>,
    /// Which attribute each capture is, where a key, a tier or a cost refers to it.
    pub(super) captures: Vec<Option<AttributeIndex>>,
    pub(super) target: Target,
}

/// What one key has of its own.
#[derive(Clone, Debug)]
pub(crate) enum Overridden {
    Rate(LimitIndex, RateSpec),
    /// How many run at a time.
    Concurrency(ConcurrencyIndex, u32),
}

/// Something of its own for one key.
#[derive(Debug)]
pub(crate) struct OverrideSpec {
    pub(crate) of: Overridden,
    pub(super) key: KeyIndex,
    /// The key's parts, see [`Plan::override_parts`].
    pub(super) values: Vec<(AttributeIndex, Box<str>)>,
}
