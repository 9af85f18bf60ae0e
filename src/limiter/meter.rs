//! What a check needs of a limit, in one place and made ready: its numbers, bits and rules.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::outcome::Verdict;
use crate::algorithm::{Bucket, NO_PACE, Paces, Rule};
use crate::counter::Reserve;
use crate::directory::Rates;
use crate::error::Error;
use crate::key::{KeyHash, LimitBits, NameHash, Secret, Tag};
use crate::policy::{
    Durability, KeyIndex, LimitIndex, LimitSpec, Plan, TierIndex, WhenFull, WhenUnwritable,
};
use crate::time::Timestamp;

/// A limit's specification as a check goes through it.
#[derive(Debug)]
pub(super) struct Meter {
    bits: LimitBits,
    /// The rule without a tier.
    pub(super) rule: Rule,
    /// The rule of each tier.
    tiers: Vec<Rule>,
    /// Which rates the words of its counters name, where it is a token bucket.
    pub(super) paces: Paces,
    pub(super) key: KeyIndex,
    pub(super) override_key: KeyIndex,
    /// The name of the key's only part, if that is any text for what it says.
    pub(super) plain: Option<NameHash>,
    /// The key's hash, if the limit has one counter for all.
    pub(super) global: Option<KeyHash>,
    /// The most that one request may cost; `u64::MAX` if the limit does not say.
    pub(super) max_cost: u64,
    /// True if the limit's counters are written to the journal.
    pub(super) is_logged: bool,
    pub(super) shadow: bool,
    /// How its counters ask the disk, if the limit is strict.
    pub(super) reserve: Option<Reserve>,
    /// The limit that a request meets, too, whose key has no counter yet.
    pub(super) new_keys: Option<LimitIndex>,
    /// What becomes of newcomers when the table is full.
    pub(super) when_full: WhenFull,
    /// The counter that newcomers share when the table is full.
    pub(super) shared: Tag,
    /// Rates of their own, by key.
    overrides: HashMap<KeyHash, Rule, BuildHasherDefault<Hashed>>,
}

/// Takes a key's hash for the hash it is: it is keyed, so nobody can choose collisions.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Meter {
    fn new(plan: &Plan, limit: &LimitSpec, secret: Secret, names: &[NameHash]) -> Self {
        let bits = LimitBits::new(secret, &limit.identity);
        let plain = plan.plain_text(limit.key);
        Self {
            bits,
            rule: limit.rate(None).map_or(Rule::Deny, |rate| rate.rule),
            tiers: (0..plan.tiers.len())
                .map(|tier| {
                    limit
                        .rate(Some(TierIndex(tier)))
                        .map_or(Rule::Deny, |rate| rate.rule)
                })
                .collect(),
            paces: Paces::NONE,
            key: limit.key,
            override_key: limit.override_key,
            plain: plain.and_then(|attribute| names.get(attribute.0).copied()),
            global: None,
            max_cost: limit.max_cost.unwrap_or(u64::MAX),
            is_logged: limit.durability != Durability::Memory,
            shadow: limit.shadow,
            reserve: limit.strict.map(|strict| Reserve {
                amount: strict.reserve,
                admits_unsecured: strict.when_unwritable == WhenUnwritable::Admit,
            }),
            new_keys: limit.new_keys,
            when_full: limit.when_full,
            shared: Tag::new(KeyHash::shared(secret, bits), bits),
            overrides: HashMap::default(),
        }
    }

    /// What the limit says, if it is not in shadow, to what it refuses by this verdict.
    #[cold]
    pub(super) fn refusing(&self, verdict: Verdict) -> Verdict {
        verdict.in_shadow(self.shadow)
    }

    /// The limit's tag for a key.
    #[inline]
    pub(super) fn tag(&self, key: KeyHash) -> Tag {
        Tag::new(key, self.bits)
    }

    /// The key by which the limit's overrides are found; none if there are none, as in most limits:
    /// then there is nothing to look up.
    #[inline]
    pub(super) fn override_key(&self) -> Option<KeyIndex> {
        match self.overrides.is_empty() {
            true => None,
            false => Some(self.override_key),
        }
    }

    /// A key's own rule, if it has one.
    #[inline]
    pub(super) fn own_rule(&self, override_key: Option<KeyHash>) -> Option<&Rule> {
        match (self.overrides.is_empty(), override_key) {
            (false, Some(key)) => self.overrides.get(&key),
            _ => None,
        }
    }

    /// The rule for a key that is asked directly: tiers are matters of requests.
    #[inline(always)]
    pub(super) fn rule_without_tier(&self, key: KeyHash) -> &Rule {
        match self.overrides.is_empty() {
            true => &self.rule,
            false => self.rule_with_overrides(key),
        }
    }

    #[inline(never)]
    fn rule_with_overrides(&self, key: KeyHash) -> &Rule {
        let override_key = (self.override_key == self.key).then_some(key);
        self.own_rule(override_key).unwrap_or(&self.rule)
    }

    /// The rule for a key: its own, or its tier's.
    #[inline]
    pub(super) fn rule_of(&self, tier: Option<TierIndex>, override_key: Option<KeyHash>) -> &Rule {
        if let Some(rule) = self.own_rule(override_key) {
            return rule;
        }
        match tier {
            None => &self.rule,
            // A limit has a rate for every tier of its plan.
            Some(tier) => self.tiers.get(tier.0).unwrap_or(&Rule::Deny),
        }
    }

    /// Gives a key a rule of its own, that it has since `since` if that is known.
    pub(super) fn set_own_rule(&mut self, key: KeyHash, rule: Rule, since: Option<Timestamp>) {
        let rule = match rule {
            Rule::Bucket(bucket) => Rule::Bucket(bucket.own_since(since.unwrap_or_default())),
            rule => rule,
        };
        self.overrides.insert(key, rule);
    }

    /// Has the words of its counters name each rate that the limit has.
    pub(super) fn name_rates(&mut self, rates: &mut Rates, identity: &str, now: Timestamp) {
        let all = std::iter::once(&mut self.rule).chain(&mut self.tiers);
        // Overrides come last: they may be more than there are names.
        let mut buckets: Vec<&mut Bucket> = all
            .chain(self.overrides.values_mut())
            .filter_map(|rule| match rule {
                Rule::Bucket(bucket) => Some(bucket),
                _ => None,
            })
            .collect();
        if !buckets.is_empty() {
            self.paces = rates.name(identity, &mut buckets, now);
        }
    }

    /// A rule that an earlier check went by, whose words name it only if they still can.
    pub(super) fn as_known(&self, rule: &Rule) -> Rule {
        match rule {
            Rule::Bucket(bucket) if !self.paces.has(bucket) => {
                Rule::Bucket(bucket.with_pace(NO_PACE))
            }
            rule => *rule,
        }
    }
}

/// What a check needs of each limit, but for its overrides.
///
/// # Errors
/// If two limits hash to the same bits.
pub(super) fn meters(plan: &Plan, secret: Secret, names: &[NameHash]) -> Result<Vec<Meter>, Error> {
    let mut meters: Vec<Meter> = Vec::with_capacity(plan.limits.len());
    for limit in &plan.limits {
        let meter = Meter::new(plan, limit, secret, names);
        if let Some(other) = meters.iter().position(|other| other.bits == meter.bits) {
            let other = &plan.limits[other].name;
            let why = format!("cannot be told from limit {other:?} here; rename one of them");
            return Err(Error::invalid(format!("limit {:?}", limit.name), why));
        }
        meters.push(meter);
    }
    Ok(meters)
}
