//! What a check needs of a limit, in one place and made ready: its numbers, bits and rules.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::outcome::Verdict;
use super::straight::{Hashing, Straight};
use crate::algorithm::Rule;
use crate::counter::Reserve;
use crate::error::Error;
use crate::key::{KeyHash, LimitBits, NameHash, Secret, Tag};
use crate::policy::{
    Durability, KeyIndex, LimitIndex, LimitSpec, Plan, Strict, WhenFull, WhenUnwritable,
};

/// A strict limit reserves this share of what it holds, if it does not say how much.
const RESERVE_SHARE: u64 = 20;
/// And no more than this.
const RESERVE_MAX: u64 = 1_000;

/// A limit's specification as a check goes through it.
#[derive(Debug)]
pub(super) struct Meter {
    bits: LimitBits,
    /// The rule without a tier.
    pub(super) rule: Rule,
    pub(super) key: KeyIndex,
    pub(super) override_key: KeyIndex,
    /// The name of the key's only part, if that is any text for what it says.
    pub(super) plain: Option<NameHash>,
    /// The key's hash, if the limit has one counter for all.
    pub(super) global: Option<KeyHash>,
    pub(super) max_cost: Option<u64>,
    /// True if the limit's counters are written to the journal.
    pub(super) is_logged: bool,
    pub(super) shadow: bool,
    /// The limit that a request meets, too, whose key has no counter yet.
    pub(super) new_keys: Option<LimitIndex>,
    strict: Option<Strict>,
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
            key: limit.key,
            override_key: limit.override_key,
            plain: plain.and_then(|attribute| names.get(attribute.0).copied()),
            global: None,
            max_cost: limit.max_cost,
            is_logged: limit.durability != Durability::Memory,
            shadow: limit.shadow,
            new_keys: limit.new_keys,
            strict: limit.strict,
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

    pub(super) fn set_own_rule(&mut self, key: KeyHash, rule: Rule) {
        self.overrides.insert(key, rule);
    }

    /// What most checks of the limit need, if no more than that is to be known.
    #[cold]
    pub(super) fn straight(&self) -> Option<Straight> {
        let is_plain = self.overrides.is_empty()
            && self.strict.is_none()
            && self.max_cost.is_none()
            && !self.shadow;
        let Rule::Bucket(bucket) = self.rule else {
            return None;
        };
        let hashing = match (self.plain, self.global) {
            (Some(name), _) => Hashing::Text(name),
            (None, hash) => Hashing::Same(hash?),
        };
        is_plain.then_some(Straight {
            hashing,
            bits: self.bits,
            is_logged: self.is_logged,
            bucket,
        })
    }

    /// How a counter of the limit asks the disk, if the limit is strict.
    #[inline]
    pub(super) fn reserve(&self, rule: &Rule) -> Option<Reserve> {
        let strict = self.strict?;
        let in_proportion = || (rule.capacity() / RESERVE_SHARE).clamp(1, RESERVE_MAX);
        Some(Reserve {
            amount: strict.reserve.unwrap_or_else(in_proportion),
            admits_unsecured: strict.when_unwritable == WhenUnwritable::Admit,
        })
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
