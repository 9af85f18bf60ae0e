//! The law in force: a policy made ready for one directory, with its overrides.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::concurrency::Semaphore;
use super::overrides::Overrides;
use crate::algorithm::Rule;
use crate::counter::Reserve;
use crate::error::Error;
use crate::in_force::{Keep, Kept, Own};
use crate::key::{KeyHash, KeyHasher, LimitBits, NameHash, Secret, Tag};
use crate::permits::PermitTerms;
use crate::policy::{
    AttributeIndex, AttributeValue, ConcurrencyIndex, ConcurrencySpec, Durability, KeyIndex,
    KeyParts, KeyValue, LimitIndex, LimitSpec, Overridden, Plan, Policy, TierIndex, WhenUnwritable,
};

/// A strict limit reserves this share of what it holds, if it does not say how much.
const RESERVE_SHARE: u64 = 20;
/// And no more than this.
const RESERVE_MAX: u64 = 1_000;

/// A thread's own reference to a law.
pub(super) type OwnLaw = Own<Law>;

thread_local! {
    static KEPT_LAWS: RefCell<Vec<Kept<Law>>> = const { RefCell::new(Vec::new()) };
}

impl Keep for Law {
    #[inline]
    fn with_kept<R>(visit: impl FnOnce(&mut Vec<Kept<Self>>) -> R) -> R {
        KEPT_LAWS.with_borrow_mut(visit)
    }
}

/// What every check is judged by. Replaced whole, never changed.
#[derive(Debug)]
pub(super) struct Law {
    pub(super) policy: Policy,
    /// What was overridden while running; it goes before what the policy overrides.
    pub(super) overrides: Overrides,
    secret: Secret,
    /// How many laws there were before in this process.
    generation: u64,
    /// By attribute.
    names: Vec<NameHash>,
    /// By limit.
    meters: Vec<Meter>,
    /// By key: the attributes that its values stand for when no names come with them.
    orders: Vec<Vec<AttributeIndex>>,
    /// By tier: its number among callers who have limits of their own on how many run at a time.
    levels: Vec<u64>,
    /// By limit on how many run at a time.
    semaphores: Vec<Semaphore>,
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
        Self::make(policy, overrides, secret, None)
    }

    /// The law that comes after this one.
    ///
    /// # Errors
    /// As [`Self::new`], and if it wants what cannot change while it is open.
    pub(super) fn next(&self, policy: Policy, overrides: Overrides) -> Result<Self, Error> {
        Self::make(policy, overrides, self.secret, Some(self))
    }

    fn make(
        policy: Policy,
        overrides: Overrides,
        secret: Secret,
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let plan = policy.plan();
        let names = plan
            .attributes
            .iter()
            .map(|spec| NameHash::new(secret, &spec.name))
            .collect();
        let levels = plan
            .tiers
            .iter()
            .map(|tier| NameHash::new(secret, &tier.name).bits())
            .collect();
        let meters = meters(plan, secret)?;
        let orders = (0..plan.keys.len())
            .map(|key| plan.direct_order(KeyIndex(key)))
            .collect();
        let mut law = Self {
            policy,
            overrides,
            secret,
            generation: before.map_or(0, |law| law.generation + 1),
            names,
            meters,
            orders,
            levels,
            semaphores: Vec::new(),
        };
        let overridden = law.overridden();
        law.set_overrides(&overridden);
        law.set_semaphores(&overridden, before)?;
        Ok(law)
    }

    /// What single keys have of their own: later ones replace earlier ones, so what was set while
    /// running goes before the policy.
    fn overridden(&self) -> Vec<(KeyHash, Overridden)> {
        let plan = self.plan();
        let of_policy = plan.overrides.iter().filter_map(|one| {
            let parts = plan.override_parts(one)?;
            Some((self.hash(&parts), one.of.clone()))
        });
        // Those that this policy cannot take wait for one that can.
        let running = self.overrides.iter().filter_map(|one| {
            let (parts, of) = one.ready(plan).ok()?;
            Some((self.hash(&parts), of))
        });
        of_policy.chain(running).collect()
    }

    fn set_overrides(&mut self, overridden: &[(KeyHash, Overridden)]) {
        for (key, of) in overridden {
            if let Overridden::Rate(limit, rate) = of {
                self.meters[limit.0].overrides.insert(*key, rate.rule);
            }
        }
    }

    /// The permits of every limit on how many run at a time: those of the law before, where it had
    /// the limit.
    fn set_semaphores(
        &mut self,
        overridden: &[(KeyHash, Overridden)],
        before: Option<&Self>,
    ) -> Result<(), Error> {
        let policy = self.policy.clone();
        for (place, spec) in policy.plan().concurrency.iter().enumerate() {
            let index = ConcurrencyIndex(place);
            let own = overridden.iter().filter_map(|(key, of)| match of {
                Overridden::Concurrency(limit, most) if *limit == index => {
                    Some((key.bits(), *most))
                }
                _ => None,
            });
            let levels = self.levels.iter().enumerate();
            let terms = PermitTerms {
                generation: self.generation,
                limit: spec.most(None),
                queue_max: spec.queue_max,
                levels: levels
                    .map(|(tier, level)| (*level, spec.most(Some(TierIndex(tier)))))
                    .collect(),
                own: own.collect(),
            };
            let before = before.and_then(|law| law.semaphore_named(&spec.name));
            self.semaphores.push(Semaphore::new(spec, terms, before)?);
        }
        Ok(())
    }

    /// Puts this law's limits on how many run at a time in the place of those of the law before,
    /// for those who wait, too: foreign wakers are called.
    pub(super) fn succeed(&self, before: &Self) {
        for (spec, semaphore) in before.plan().concurrency.iter().zip(&before.semaphores) {
            if self.semaphore_named(&spec.name).is_none() {
                semaphore.abolish(self.generation);
            }
        }
        for semaphore in &self.semaphores {
            semaphore.enforce();
        }
    }

    /// Refuses all who wait for permits and all who come for some.
    pub(super) fn close(&self) {
        self.semaphores.iter().for_each(Semaphore::close);
    }

    pub(super) fn semaphore_named(&self, name: &str) -> Option<&Semaphore> {
        let mut all = self.plan().concurrency.iter().zip(&self.semaphores);
        all.find(|(spec, _)| &*spec.name == name)
            .map(|(_, semaphore)| semaphore)
    }

    pub(super) fn concurrency(&self, limit: ConcurrencyIndex) -> &ConcurrencySpec {
        &self.plan().concurrency[limit.0]
    }

    pub(super) fn semaphore(&self, limit: ConcurrencyIndex) -> &Semaphore {
        &self.semaphores[limit.0]
    }

    /// The number of a tier's callers; zero without a tier.
    pub(super) fn level(&self, tier: Option<TierIndex>) -> u64 {
        tier.map_or(0, |tier| self.levels[tier.0])
    }

    pub(super) fn plan(&self) -> &Plan {
        self.policy.plan()
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

    /// The key by which the limit's overrides are found; none if there are none, as in most limits:
    /// then there is nothing to look up.
    pub(super) fn override_key(&self, limit: LimitIndex) -> Option<KeyIndex> {
        let has_any = !self.meters[limit.0].overrides.is_empty();
        has_any.then(|| self.limit(limit).override_key)
    }

    /// The rule for a key: its own, or its tier's.
    pub(super) fn rule(
        &self,
        limit: LimitIndex,
        tier: Option<TierIndex>,
        override_key: Option<KeyHash>,
    ) -> &Rule {
        let overrides = &self.meters[limit.0].overrides;
        if let Some(rule) = override_key.and_then(|key| overrides.get(&key)) {
            return rule;
        }
        // A limit has a rate for every tier of its plan; the first is the one without a tier.
        let spec = self.limit(limit);
        spec.rate(tier).map_or(&Rule::Deny, |rate| &rate.rule)
    }
}

/// What each limit needs beside its specification, but for its overrides.
fn meters(plan: &Plan, secret: Secret) -> Result<Vec<Meter>, Error> {
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
    Ok(meters)
}
