//! The plan: a policy made ready to be asked. Immutable; every name is already an index.

use arrayvec::ArrayVec;

use super::bounds::KEY_PARTS_MAX;
use super::key::{AttributeSpec, KeySpec};
use super::router::Router;
use super::shape::Shape;
use super::tier::TierSpec;
use crate::algorithm::{Calendar, Rule};

/// A limit's place in [`Plan::limits`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LimitIndex(pub(crate) usize);

/// A key's place in [`Plan::keys`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyIndex(pub(crate) usize);

/// A tier's place in [`Plan::tiers`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct TierIndex(pub(crate) usize);

/// A route's place in [`Plan::routes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RouteIndex(pub(crate) usize);

/// An attribute's place in [`Plan::attributes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct AttributeIndex(pub(crate) usize);

/// A scope's place in [`Plan::scopes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct ScopeIndex(pub(super) usize);

/// A policy made ready.
pub(crate) struct Plan {
    pub(crate) limits: Vec<LimitSpec>,
    /// Each key once, however many limits share it.
    pub(crate) keys: Vec<KeySpec>,
    pub(crate) attributes: Vec<AttributeSpec>,
    pub(crate) tiers: Vec<TierSpec>,
    /// What [`crate::algorithm::Frame::Calendar`] counts in.
    pub(crate) calendars: Vec<Calendar>,
    pub(crate) overrides: Vec<OverrideSpec>,
    pub(crate) routes: Vec<RouteSpec>,
    pub(super) router: Router,
    /// The limits met together, strictest first: smallest capacity, then longest window.
    pub(super) scopes: Vec<Vec<LimitIndex>>,
    /// For requests that no route matches.
    pub(super) default: Target,
}

/// A limit.
#[derive(Debug)]
pub(crate) struct LimitSpec {
    pub(crate) name: Box<str>,
    pub(crate) key: KeyIndex,
    /// Without a tier first, then the tiers' in order.
    pub(crate) rates: Vec<RateSpec>,
    pub(crate) shape: Shape,
    pub(crate) cost: Cost,
    /// A request that asks more can never be admitted.
    pub(crate) max_cost: Option<u64>,
    pub(crate) durability: Durability,
    pub(crate) when_full: WhenFull,
    pub(crate) when_key_missing: WhenKeyMissing,
    /// Counted and reported, never refusing.
    pub(crate) shadow: bool,
    /// The span that its rate is said over, for ordering; 0 for a month or none.
    pub(super) span_nanos: u64,
    /// What names this limit's counters for ever: name, algorithm, window and time zone, but not
    /// the rate, so that raising a limit keeps the counts.
    pub(crate) identity: Box<str>,
}

/// A rate as a rule and in words.
#[derive(Clone, Debug)]
pub(crate) struct RateSpec {
    pub(crate) rule: Rule,
    pub(crate) words: Box<str>,
}

impl LimitSpec {
    /// The rate for callers of `tier`.
    pub(crate) fn rate(&self, tier: Option<TierIndex>) -> Option<&RateSpec> {
        self.rates.get(tier.map_or(0, |tier| tier.0 + 1))
    }
}

/// What a request costs a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cost {
    /// What the request says.
    Request,
    Fixed(u64),
    /// What an attribute says, at least 1; `unsaid` if it is absent.
    Attribute {
        attribute: AttributeIndex,
        unsaid: u64,
    },
}

impl Cost {
    /// True unless the policy fixes it.
    pub(crate) fn is_from_request(self) -> bool {
        !matches!(self, Self::Fixed(_))
    }
}

/// What of a counter outlives what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Durability {
    Memory,
    Logged,
    Strict,
}

/// What a key without a counter gets when the table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenFull {
    /// One counter shared with all others who found no room.
    Share,
    Refuse,
    Admit,
}

/// What a request gets that lacks what the key needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenKeyMissing {
    /// One counter shared with all others who lack it: a key without parts.
    Share,
    /// The limit does not apply.
    Skip,
    Refuse,
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

/// What a route leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Exempt,
    Scope(ScopeIndex),
}

/// A rate of its own for one key.
#[derive(Debug)]
pub(crate) struct OverrideSpec {
    pub(crate) limit: LimitIndex,
    pub(super) key: KeyIndex,
    /// The key's parts, see [`Plan::override_parts`].
    pub(super) values: Vec<(AttributeIndex, Box<str>)>,
    pub(crate) rate: RateSpec,
}

/// A value of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum KeyValue<'a> {
    Text(&'a [u8]),
    V4([u8; 4]),
    /// Masked to the attribute's prefix.
    V6([u8; 16]),
}

/// A part of a key: which attribute, and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyPart<'a> {
    pub(crate) attribute: AttributeIndex,
    pub(crate) value: KeyValue<'a>,
}

/// The parts of one key, in the key's order. Parts that are absent are left out, so that adding
/// an optional part to a key keeps the counts of requests without it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct KeyParts<'a>(ArrayVec<KeyPart<'a>, KEY_PARTS_MAX>);

impl<'a> KeyParts<'a> {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &KeyPart<'a>> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// False if there is no room, which a key of so many parts at most never meets.
    pub(super) fn push(&mut self, attribute: AttributeIndex, value: KeyValue<'a>) -> bool {
        self.0.try_push(KeyPart { attribute, value }).is_ok()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}
