//! Counts of decisions by limit, and of the keys that are busiest and refused most, in bounded
//! memory: for the dashboard, and for whoever looks at a running limiter.

mod figures;
mod history;
mod live;
mod sketch;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Decision, Key, Limit, Outcome, Verdict};
use crate::policy::{Request, ShownKey, ShownPart};
use crate::time::Timestamp;
pub(crate) use figures::figures;
use history::History;
pub(super) use live::Live;
use sketch::{Count, Name, Numbers, Sketch};

/// Threads share so many counts.
const SHARDS: usize = 8;
/// Limits counted, of all policies that were in force.
// Bound: what stands beyond is not counted; a policy has no more than half as many.
const LIMITS_MAX: usize = 1_024;
/// Characters of a key that are kept.
const KEY_CHARACTERS_MAX: usize = 160;

/// What was decided.
pub(crate) struct Tally {
    shards: [Mutex<Shard>; SHARDS],
    pub(crate) since: Timestamp,
    /// What tells keys apart that are shown alike.
    hashing: RandomState,
    in_full: bool,
}

#[derive(Default)]
struct Shard {
    limits: BTreeMap<String, Counts>,
    busiest: Sketch,
    refused: Sketch,
}

/// Of one limit.
#[derive(Clone, Default)]
struct Counts {
    allowed: u64,
    refused: u64,
    would_refuse: u64,
    history: History,
}

/// For how many decisions one that is looked at stands.
#[derive(Clone, Copy)]
pub(crate) struct Weight {
    pub(crate) limits: u64,
    /// None if the keys are not looked at.
    pub(crate) keys: Option<u64>,
}

/// A key that a decision was about.
type Seen = (Name, Numbers, Verdict);

thread_local! {
    static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// This thread's shard.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|own| {
        let shard = own.get().unwrap_or_else(|| {
            // Ordering: relaxed; the number matters, and nothing that was done before it.
            NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
        });
        own.set(Some(shard));
        shard
    })
}

/// Now, by the wall.
fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::EPOCH + now.unwrap_or_default()
}

impl Tally {
    /// Nothing counted. Unless `in_full`, of a key's value that is longer than twelve characters,
    /// and may be a secret, only both ends are kept.
    pub(crate) fn new(in_full: bool) -> Self {
        Self {
            shards: Default::default(),
            since: now(),
            hashing: RandomState::new(),
            in_full,
        }
    }

    /// Counts a decision.
    pub(crate) fn decided(&self, request: &Request<'_>, decision: &Decision, weight: Weight) {
        let keys = match weight.keys {
            Some(_) => self.keys(request, decision),
            None => Vec::new(),
        };
        let limits = decision.limits().map(|one| (one.name(), one.verdict()));
        let others = decision.concurrency();
        let others = others.map(|one| (one.name(), one.verdict()));
        self.count(limits.chain(others), &keys, decision.is_allowed(), weight);
    }

    /// Counts what a limit said that was asked directly.
    pub(crate) fn asked(&self, limit: &Limit, key: Key<'_>, outcome: &Outcome, weight: Weight) {
        let (name, verdict) = (limit.name(), outcome.verdict());
        let looks = weight.keys.is_some() && outcome.limit() < u64::MAX;
        let shown = looks.then(|| {
            let law = limit.law();
            let show = |part: ShownPart<'_>| self.shown(part);
            key.with_values(|values| {
                law.policy
                    .show_direct_key(name, values, &self.hashing, show)
            })
        });
        let keys = shown.flatten();
        let keys = keys.map(|key| (self::name(name, &key), Numbers::of(outcome), verdict));
        let limits = std::iter::once((name, verdict));
        self.count(limits, keys.as_slice(), verdict.is_allowed(), weight);
    }

    /// The limits and keys of a decision, by its request.
    fn keys(&self, request: &Request<'_>, decision: &Decision) -> Vec<Seen> {
        let mut keys = Vec::new();
        // A request that cannot be read has none.
        let _ = decision.law.policy.show_keys(
            request,
            &self.hashing,
            |part| self.shown(part),
            |limit, key| {
                let mut limits = decision.limits().filter(|one| one.limit() < u64::MAX);
                if let Some(one) = limits.find(|one| one.name() == limit) {
                    keys.push((name(limit, &key), Numbers::of(&one), one.verdict()));
                }
            },
        );
        keys
    }

    /// A value of a key, or both its ends where it is long enough to be a secret.
    fn shown(&self, part: ShownPart<'_>) -> String {
        const OPEN: [&str; 3] = ["route", "path", "method"];
        let letters: Vec<char> = part.value.chars().collect();
        let is_open = part.is_address || OPEN.contains(&part.name) || letters.len() <= 12;
        if self.in_full || is_open {
            return part.value;
        }
        let [first, last] = [&letters[..4], &letters[letters.len() - 4..]].map(String::from_iter);
        format!("{first}…{last}")
    }

    fn count<'l>(
        &self,
        limits: impl Iterator<Item = (&'l str, Verdict)>,
        keys: &[Seen],
        is_allowed: bool,
        weight: Weight,
    ) {
        let minute = History::minute(now());
        let mut shard = lock(&self.shards[own_shard()]);
        for (name, verdict) in limits {
            shard.count(name, verdict, is_allowed, weight.limits, minute);
        }
        for (name, numbers, verdict) in keys {
            let weight = weight.keys.unwrap_or(0);
            shard.busiest.count(name, weight, *numbers);
            if !verdict.is_allowed() {
                shard.refused.count(name, weight, *numbers);
            }
        }
    }

    /// All that was counted by limit, and the two lists of keys.
    fn sums(&self) -> (BTreeMap<String, Counts>, [HashMap<Name, Count>; 2]) {
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
        let [mut busiest, mut refused] = [HashMap::new(), HashMap::new()];
        for shard in &self.shards {
            let shard = lock(shard);
            for (name, own) in &shard.limits {
                let sum = counts.entry(name.clone()).or_default();
                sum.allowed += own.allowed;
                sum.refused += own.refused;
                sum.would_refuse += own.would_refuse;
                sum.history.add(&own.history);
            }
            shard.busiest.add_to(&mut busiest);
            shard.refused.add_to(&mut refused);
        }
        (counts, [busiest, refused])
    }
}

fn name(limit: &str, key: &ShownKey) -> Name {
    Name {
        limit: limit.to_owned(),
        key: key.words.chars().take(KEY_CHARACTERS_MAX).collect(),
        hash: key.hash,
    }
}

impl Shard {
    fn count(&mut self, name: &str, verdict: Verdict, is_allowed: bool, weight: u64, minute: u64) {
        if !self.limits.contains_key(name) {
            if self.limits.len() >= LIMITS_MAX {
                return;
            }
            self.limits.insert(name.to_owned(), Counts::default());
        }
        let Some(counts) = self.limits.get_mut(name) else {
            return;
        };
        match verdict {
            verdict if !verdict.is_allowed() => {
                counts.refused += weight;
                counts.history.count(minute, [0, weight]);
            }
            // Of a refused request only those that refused it: the others took nothing.
            _ if !is_allowed => {}
            Verdict::Shadowed => {
                counts.would_refuse += weight;
                counts.history.count(minute, [weight, 0]);
            }
            _ => {
                counts.allowed += weight;
                counts.history.count(minute, [weight, 0]);
            }
        }
    }
}

/// A panic elsewhere left nothing half done: each count stands by itself.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
