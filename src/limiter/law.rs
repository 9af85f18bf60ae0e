//! The law in force: a policy made ready for one directory, with its overrides.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::overrides::Overrides;
use crate::algorithm::Rule;
use crate::counter::Reserve;
use crate::error::Error;
use crate::key::{KeyHash, KeyHasher, LimitBits, NameHash, Secret, Tag};
use crate::policy::{
    AttributeIndex, AttributeValue, Durability, KeyIndex, KeyParts, KeyValue, LimitIndex,
    LimitSpec, Plan, Policy, TierIndex, WhenUnwritable,
};

/// A strict limit reserves this share of what it holds, if it does not say how much.
const RESERVE_SHARE: u64 = 20;
/// And no more than this.
const RESERVE_MAX: u64 = 1_000;

/// What every check is judged by. Replaced whole, never changed.
#[derive(Debug)]
pub(super) struct Law {
    pub(super) policy: Policy,
    /// What was overridden while running; it goes before what the policy overrides.
    pub(super) overrides: Overrides,
    secret: Secret,
    /// By attribute.
    names: Vec<NameHash>,
    /// By limit.
    meters: Vec<Meter>,
    /// By key: the attributes that its values stand for when no names come with them.
    orders: Vec<Vec<AttributeIndex>>,
}

/// What a limit needs beside its specification.
#[derive(Debug)]
struct Meter {
    bits: LimitBits,
    /// The counter that newcomers share when the table is full.
    shared: Tag,
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

impl Law {
    /// The law of `policy` under `secret`, with what was overridden while running.
    ///
    /// # Errors
    /// If two limits hash to the same bits, which one policy in many millions does.
    pub(super) fn new(policy: Policy, overrides: Overrides, secret: Secret) -> Result<Self, Error> {
        let plan = policy.plan();
        let names = plan
            .attributes
            .iter()
            .map(|spec| NameHash::new(secret, &spec.name))
            .collect();
        let mut meters: Vec<Meter> = Vec::with_capacity(plan.limits.len());
        for limit in &plan.limits {
            let bits = LimitBits::new(secret, &limit.identity);
            if let Some(other) = meters.iter().position(|meter| meter.bits == bits) {
                let other = &plan.limits[other].name;
                let why = format!("cannot be told from limit {other:?} here; rename one of them");
                return Err(Error::invalid(format!("limit {:?}", limit.name), why));
            }
            let shared = Tag::new(KeyHasher::shared(secret, bits), bits);
            meters.push(Meter {
                bits,
                shared,
                overrides: HashMap::default(),
            });
        }
        let orders = (0..plan.keys.len())
            .map(|key| plan.direct_order(KeyIndex(key)))
            .collect();
        let mut law = Self {
            policy,
            overrides,
            secret,
            names,
            meters,
            orders,
        };
        law.set_overrides();
        Ok(law)
    }

    fn set_overrides(&mut self) {
        let policy = self.policy.clone();
        let plan = policy.plan();
        let of_policy = plan.overrides.iter().filter_map(|one| {
            Some((
                one.limit,
                self.hash(&plan.override_parts(one)?),
                one.rate.rule,
            ))
        });
        // Those that this policy cannot take wait for one that can.
        let running = self.overrides.iter().filter_map(|one| {
            let (limit, parts, rule) = one.ready(plan).ok()?;
            Some((limit, self.hash(&parts), rule))
        });
        // Later ones replace earlier ones: what was set while running goes before the policy.
        let all: Vec<_> = of_policy.chain(running).collect();
        for (limit, key, rule) in all {
            self.meters[limit.0].overrides.insert(key, rule);
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        self.policy.plan()
    }

    pub(super) fn secret(&self) -> Secret {
        self.secret
    }

    pub(super) fn limit(&self, limit: LimitIndex) -> &LimitSpec {
        &self.plan().limits[limit.0]
    }

    /// True if the limit's counters are written to the journal.
    pub(super) fn is_logged(&self, limit: LimitIndex) -> bool {
        self.limit(limit).durability != Durability::Memory
    }

    /// How a counter of the limit asks the disk, if the limit is strict.
    #[inline]
    pub(super) fn reserve(&self, limit: LimitIndex, rule: &Rule) -> Option<Reserve> {
        let strict = self.limit(limit).strict?;
        let in_proportion = || (rule.capacity() / RESERVE_SHARE).clamp(1, RESERVE_MAX);
        Some(Reserve {
            amount: strict.reserve.unwrap_or_else(in_proportion),
            admits_unsecured: strict.when_unwritable == WhenUnwritable::Admit,
        })
    }

    pub(super) fn hash(&self, parts: &KeyParts<'_>) -> KeyHash {
        let mut hasher = KeyHasher::new(self.secret);
        for part in parts.iter() {
            let name = self.names[part.attribute.0];
            match part.value {
                KeyValue::Text(text) => hasher.text(name, text),
                KeyValue::V4(octets) => hasher.v4(name, octets),
                KeyValue::V6(octets) => hasher.v6(name, octets),
            }
        }
        hasher.finish()
    }

    /// The hash of a key from its values alone, in the order of the key; none if they do not fit.
    pub(super) fn direct_hash(
        &self,
        key: KeyIndex,
        values: &[AttributeValue<'_>],
    ) -> Option<KeyHash> {
        let mut parts = KeyParts::default();
        let order = self.orders.get(key.0)?;
        self.plan()
            .direct_parts(key, order, values, &mut parts)
            .then(|| self.hash(&parts))
    }

    /// The limit's tag for a key.
    pub(super) fn tag(&self, limit: LimitIndex, key: KeyHash) -> Tag {
        Tag::new(key, self.meters[limit.0].bits)
    }

    /// The tags of all words that newcomers share.
    pub(super) fn shared_tags(&self) -> HashSet<Tag> {
        let tags = self.meters.iter().map(|meter| meter.shared);
        tags.flat_map(|tag| [tag, tag.sibling(1)]).collect()
    }

    /// The tag of the counter that newcomers to the limit share.
    pub(super) fn shared_tag(&self, limit: LimitIndex) -> Tag {
        self.meters[limit.0].shared
    }

    /// The rule for a key: its own, or its tier's.
    pub(super) fn rule(&self, limit: LimitIndex, tier: Option<TierIndex>, key: KeyHash) -> &Rule {
        let overrides = &self.meters[limit.0].overrides;
        // Most limits have no overrides, and then there is nothing to look up.
        let own = if overrides.is_empty() {
            None
        } else {
            overrides.get(&key)
        };
        if let Some(rule) = own {
            return rule;
        }
        // A limit has a rate for every tier of its plan; the first is the one without a tier.
        let spec = self.limit(limit);
        spec.rate(tier).map_or(&Rule::Deny, |rate| &rate.rule)
    }
}
