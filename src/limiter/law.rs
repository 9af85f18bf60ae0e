//! The law in force: a policy made ready for one directory, with its overrides.

use std::collections::HashSet;

use super::meter::{Meter, meters};
use super::overrides::Overrides;
use super::routing::RouteCount;
use super::semaphore::Semaphore;
use crate::directory::{Header, Rates};
use crate::error::Error;
use crate::in_force::{Keep, Keeping, Own};
use crate::key::{BindingHasher, HashKeys, KeyHash, KeyHasher, NameHash, Secret, Tag};
use crate::permits::PermitTerms;
use crate::policy::{
    AttributeIndex, AttributeValue, ConcurrencyIndex, ConcurrencySpec, Durability, KeyIndex,
    KeyParts, KeySink, KeyValue, LimitIndex, LimitSpec, Overridden, Plan, Policy, PolicyDiff,
    TierIndex,
};
use crate::sync::Arc;
use crate::time::Timestamp;

/// A thread's own reference to a law.
pub(super) type OwnLaw = Own<Law>;

thread_local! {
    static KEEPING: Keeping<Law> = const { Keeping::new() };
}

impl Keep for Law {
    #[inline]
    fn with_keeping<R>(visit: impl FnOnce(&Keeping<Self>) -> R) -> R {
        KEEPING.with(visit)
    }
}

/// What every check is judged by. Replaced whole, never changed.
#[derive(Debug)]
pub(super) struct Law {
    pub(super) policy: Policy,
    /// What was overridden while running; it goes before what the policy overrides.
    pub(super) overrides: Overrides,
    secret: Secret,
    hash_keys: Arc<HashKeys>,
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
    /// Whether the policy's routes are met; goes on when only overrides change.
    pub(super) routes: Arc<RouteCount>,
    /// What the words of buckets name. On the disk before the law is in force.
    pub(super) rates: Rates,
}

/// What one key has of its own, and since when, if that is known.
struct OwnTerms {
    key: KeyHash,
    of: Overridden,
    since: Option<Timestamp>,
}

impl Law {
    /// The law of `policy` under `secret`, with what was overridden while running.
    ///
    /// # Errors
    /// If two limits hash to the same bits, which one policy in many millions does.
    pub(super) fn new(
        policy: Policy,
        overrides: Overrides,
        header: &Header,
        now: Timestamp,
    ) -> Result<Self, Error> {
        Self::make(
            policy,
            overrides,
            header.secret(),
            header.rates.clone(),
            None,
            now,
        )
    }

    /// The law that comes after this one.
    ///
    /// # Errors
    /// As [`Self::new`], and if it wants what cannot change while it is open.
    pub(super) fn next(
        &self,
        policy: Policy,
        overrides: Overrides,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let rates = self.rates.clone();
        Self::make(policy, overrides, self.secret, rates, Some(self), now)
    }

    fn make(
        policy: Policy,
        overrides: Overrides,
        secret: Secret,
        rates: Rates,
        before: Option<&Self>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let plan = policy.plan();
        let names: Vec<_> = plan
            .attributes
            .iter()
            .map(|spec| NameHash::new(secret, &spec.name))
            .collect();
        let levels = plan
            .tiers
            .iter()
            .map(|tier| NameHash::new(secret, &tier.name).bits())
            .collect();
        let meters = meters(plan, secret, &names)?;
        let routes = match before {
            Some(law) if std::ptr::eq(law.plan(), plan) => law.routes.clone(),
            _ => Arc::new(RouteCount::new(plan.routes.len())),
        };
        let orders = (0..plan.keys.len())
            .map(|key| plan.direct_order(KeyIndex(key)))
            .collect();
        let mut law = Self {
            policy,
            overrides,
            secret,
            hash_keys: match before {
                Some(law) => law.hash_keys.clone(),
                None => Arc::new(HashKeys::new(secret)),
            },
            generation: before.map_or(0, |law| law.generation + 1),
            names,
            meters,
            orders,
            levels,
            semaphores: Vec::new(),
            routes,
            rates,
        };
        for limit in 0..law.meters.len() {
            law.meters[limit].global = law.direct_hash(law.meters[limit].key, &[]);
        }
        let overridden = law.overridden();
        law.set_overrides(&overridden);
        law.name_rates(now);
        law.set_semaphores(&overridden, before)?;
        Ok(law)
    }

    /// What another policy would change, with what was overridden while running.
    pub(super) fn diff(&self, next: &Policy) -> PolicyDiff {
        let mut diff = self.policy.diff(next);
        let lost = self
            .overrides
            .iter()
            .filter(|one| one.ready(self.plan()).is_ok() && one.ready(next.plan()).is_err());
        diff.overrides_without_limit = lost.map(ToString::to_string).collect();
        diff
    }

    /// What single keys have of their own: later ones replace earlier ones, so what was set while
    /// running goes before the policy.
    fn overridden(&self) -> Vec<OwnTerms> {
        let plan = self.plan();
        let of_policy = plan.overrides.iter().filter_map(|one| {
            let parts = plan.override_parts(one)?;
            Some(OwnTerms {
                key: self.hash(&parts),
                of: one.of.clone(),
                since: None,
            })
        });
        // Those that this policy cannot take wait for one that can.
        let running = self.overrides.iter().filter_map(|one| {
            let (parts, of) = one.ready(plan).ok()?;
            Some(OwnTerms {
                key: self.hash(&parts),
                of,
                since: one.since,
            })
        });
        of_policy.chain(running).collect()
    }

    fn set_overrides(&mut self, overridden: &[OwnTerms]) {
        for OwnTerms { key, of, since } in overridden {
            if let Overridden::Rate(limit, rate) = of {
                self.meters[limit.0].set_own_rule(*key, rate.rule, *since);
            }
        }
    }

    /// Has the words of buckets name the rates of this law.
    fn name_rates(&mut self, now: Timestamp) {
        let policy = self.policy.clone();
        let limits = &policy.plan().limits;
        for (meter, limit) in self.meters.iter_mut().zip(limits) {
            meter.name_rates(&mut self.rates, &limit.identity, now);
        }
        let identities: Vec<&str> = limits.iter().map(|limit| &*limit.identity).collect();
        self.rates.keep(&identities, now);
    }

    /// The permits of every limit on how many run at a time: those of the law before, where it had
    /// the limit.
    fn set_semaphores(
        &mut self,
        overridden: &[OwnTerms],
        before: Option<&Self>,
    ) -> Result<(), Error> {
        let policy = self.policy.clone();
        for (place, spec) in policy.plan().concurrency.iter().enumerate() {
            let index = ConcurrencyIndex(place);
            let own = overridden
                .iter()
                .filter_map(|OwnTerms { key, of, .. }| match of {
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
            let before = before.and_then(|law| {
                let former = || law.semaphore_named(spec.former.as_deref()?);
                law.semaphore_named(&spec.name).or_else(former)
            });
            self.semaphores.push(Semaphore::new(spec, terms, before)?);
        }
        Ok(())
    }

    /// Which of all laws of the limiter it is: the number of what is [in force](InForce).
    #[inline]
    pub(super) fn number(&self) -> u64 {
        self.generation + 1
    }

    /// Puts this law's limits on how many run at a time in the place of those of the law before,
    /// for those who wait, too: foreign wakers are called.
    pub(super) fn succeed(&self, before: &Self) {
        for (spec, semaphore) in before.plan().concurrency.iter().zip(&before.semaphores) {
            let mut successors = self.plan().concurrency.iter();
            if !successors.any(|successor| successor.is_called(&spec.name)) {
                semaphore.abolish(self.generation);
            }
        }
        for semaphore in &self.semaphores {
            semaphore.enforce();
        }
    }

    /// True if a limit's counters are written to the journal that were not under the law before.
    pub(super) fn logs_more_than(&self, before: &Self) -> bool {
        let is_logged = |limit: &&LimitSpec| limit.durability != Durability::Memory;
        let was_not = |limit: &LimitSpec| {
            let mut all = before.plan().limits.iter();
            all.any(|other| {
                other.identity == limit.identity && other.durability == Durability::Memory
            })
        };
        let mut logged = self.plan().limits.iter().filter(is_logged);
        logged.any(was_not)
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

    #[inline]
    pub(super) fn plan(&self) -> &Plan {
        self.policy.plan()
    }

    #[inline]
    pub(super) fn limit(&self, limit: LimitIndex) -> &LimitSpec {
        &self.plan().limits[limit.0]
    }

    /// What a check needs of the limit.
    #[inline]
    pub(super) fn meter(&self, limit: LimitIndex) -> &Meter {
        &self.meters[limit.0]
    }

    pub(super) fn hash(&self, parts: &KeyParts<'_>) -> KeyHash {
        let mut hashing = self.hashing();
        for part in parts.iter() {
            hashing.push(part.attribute, part.value);
        }
        hashing.finish()
    }

    /// A hash of what an id counts for, begun.
    pub(super) fn binding(&self) -> BindingHasher {
        BindingHasher::new(self.secret)
    }

    /// The name of what an id counts for, as a part of its key. No attribute can have it.
    pub(super) fn binding_name(&self) -> NameHash {
        NameHash::new(self.secret, "[idempotency]")
    }

    /// A key's hash, begun.
    #[inline]
    pub(super) fn hashing(&self) -> Hashing<'_> {
        Hashing {
            names: &self.names,
            hasher: KeyHasher::new(&self.hash_keys),
            len: 0,
        }
    }

    /// The hash of a key from its values alone, in the order of the key; none if they do not fit.
    #[inline]
    pub(super) fn direct_hash(
        &self,
        key: KeyIndex,
        values: &[AttributeValue<'_>],
    ) -> Option<KeyHash> {
        let mut hashing = self.hashing();
        let order = self.orders.get(key.0)?;
        self.plan()
            .direct_parts(key, order, values, &mut hashing)
            .then(|| hashing.finish())
    }

    /// The hash of a limit's key that is this text alone; none if that does not fit.
    #[inline]
    pub(super) fn text_hash(&self, meter: &Meter, text: &[u8]) -> Option<KeyHash> {
        match meter.plain {
            Some(name) if !text.is_empty() => {
                Some(KeyHasher::only_text(&self.hash_keys, name, text))
            }
            _ => self.text_hash_with_care(meter.key, text),
        }
    }

    #[inline(never)]
    fn text_hash_with_care(&self, key: KeyIndex, text: &[u8]) -> Option<KeyHash> {
        self.direct_hash(key, &[AttributeValue::Text(text)])
    }

    /// The tags of all words that newcomers share.
    pub(super) fn shared_tags(&self) -> HashSet<Tag> {
        let tags = self.meters.iter().map(|meter| meter.shared);
        tags.flat_map(|tag| [tag, tag.sibling(1)]).collect()
    }
}

/// A key that is hashed as its parts are found.
#[derive(Clone, Copy)]
pub(super) struct Hashing<'l> {
    names: &'l [NameHash],
    hasher: KeyHasher<'l>,
    len: usize,
}

impl Hashing<'_> {
    #[inline]
    pub(super) fn finish(&self) -> KeyHash {
        self.hasher.finish()
    }

    /// Adds a part that is no attribute of a request.
    pub(super) fn bind(&mut self, name: NameHash, bytes: [u8; 8]) {
        self.hasher.text(name, &bytes);
    }
}

impl<'a> KeySink<'a> for Hashing<'_> {
    type Mark = Self;

    #[inline]
    fn mark(&self) -> Self {
        *self
    }

    #[inline]
    fn go_back(&mut self, mark: Self) {
        *self = mark;
    }

    #[inline]
    fn push(&mut self, attribute: AttributeIndex, value: KeyValue<'a>) -> bool {
        let Some(name) = self.names.get(attribute.0) else {
            return false;
        };
        match value {
            KeyValue::Text(text) => self.hasher.text(*name, text),
            KeyValue::V4(octets) => self.hasher.v4(*name, octets),
            KeyValue::V6(octets) => self.hasher.v6(*name, octets),
        }
        self.len += 1;
        true
    }

    #[inline]
    fn len(&self) -> usize {
        self.len
    }
}
