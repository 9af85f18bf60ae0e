//! The walk of one check: all limits or none.

use arrayvec::ArrayVec;

use super::Inner;
use super::concurrency::{ConcurrencyEntry, hopeless};
use super::decision::{Decision, Entry, Said};
use super::law::Law;
use super::meter::Meter;
use super::outcome::{Outcome, Verdict};
use crate::counter::{Counter, Pending};
use crate::key::KeyHash;
use crate::policy::{
    KeyIndex, LimitIndex, PERMIT_PICKS_MAX, PICKS_MAX, PermitPick, Pick, Refusal, Request,
    Resolution, TierIndex,
};
use crate::sync::Ordering;
use crate::time::Timestamp;

/// What is wanted of the limits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// The cost, if all have room; limits that give permits refuse to be asked without any.
    Take,
    /// The cost, whatever limits on how many run at a time the request meets.
    Rates,
    /// The numbers of the rates, and what permits are to be taken.
    Permits,
    /// Only their numbers.
    Look,
}

/// The keys of a request, each hashed once.
#[derive(Default)]
pub(super) struct Hashes(ArrayVec<(KeyIndex, KeyHash), { 2 * PICKS_MAX + PERMIT_PICKS_MAX }>);

impl Hashes {
    pub(super) fn get(&mut self, asked: &Asked<'_, '_>, key: KeyIndex) -> KeyHash {
        if let Some((_, hash)) = self.0.iter().find(|(known, _)| *known == key) {
            return *hash;
        }
        let hash = asked.hash_or_shared(key);
        self.0.push((key, hash));
        hash
    }
}

/// What is to be taken from each limit, where a look has shown all there is to it.
pub(super) type PendingTakes<'l> = ArrayVec<Option<Pending<'l>>, PICKS_MAX>;

/// A request under a law.
pub(super) struct Asked<'a, 'r> {
    pub(super) law: &'a Law,
    pub(super) request: &'a Request<'r>,
    pub(super) resolution: &'a Resolution<'r>,
    pub(super) want: Want,
}

impl Asked<'_, '_> {
    /// The hash of a key; none if the request lacks what the key needs.
    fn hash(&self, key: KeyIndex) -> Option<KeyHash> {
        let mut hashing = self.law.hashing();
        let plan = self.law.plan();
        let has_key = plan.key_parts(key, self.request, self.resolution, &mut hashing);
        has_key.then(|| hashing.finish())
    }

    /// The hash of a key. Requests that lack its values share the key without parts.
    pub(super) fn hash_or_shared(&self, key: KeyIndex) -> KeyHash {
        let hash = self.hash(key);
        hash.unwrap_or_else(|| self.law.hashing().finish())
    }

    /// The limit that the request meets, if it meets one only, and nothing against it is known.
    fn only_pick(&self) -> Option<&Pick> {
        let Resolution { picks, permits, .. } = self.resolution;
        let counts_new_keys = |pick: &Pick| self.law.meter(pick.limit).new_keys.is_some();
        match &picks[..] {
            [pick] if permits.is_empty() && pick.refusal.is_none() && !counts_new_keys(pick) => {
                Some(pick)
            }
            _ => None,
        }
    }
}

/// A limit as it applies to one key.
#[derive(Clone, Copy)]
pub(super) struct Applied {
    pub(super) limit: LimitIndex,
    pub(super) tier: Option<TierIndex>,
    pub(super) key: KeyHash,
    /// The key that overrides are for; none if it is not known.
    pub(super) override_key: Option<KeyHash>,
}

impl Inner {
    #[inline(always)]
    pub(super) fn counter<'a>(
        &'a self,
        law: &'a Law,
        meter: &'a Meter,
        applied: &Applied,
    ) -> Counter<'a> {
        let rule = meter.rule_of(applied.tier, applied.override_key);
        self.counter_of(law, meter, rule, meter.tag(applied.key))
    }

    /// Judges a request by the law of a decision in which nothing is said yet. It is filled where
    /// it stands: it is large.
    pub(super) fn judge(
        &self,
        request: &Request<'_>,
        want: Want,
        Decision { law, said }: &mut Decision,
    ) {
        let mut resolution = Resolution::default();
        if let Err(error) = law.plan().resolve(request, &mut resolution) {
            said.error = Some(error);
            return;
        }
        said.route = resolution.route;
        if want != Want::Look && request.is_http() {
            law.routes.note(resolution.route);
        }
        said.tier = resolution.tier;
        said.is_exempt = resolution.exempt;
        let asked = Asked {
            law,
            request,
            resolution: &resolution,
            want,
        };
        match asked.id() {
            None => {
                self.judge_limits(&asked, said);
            }
            Some(id) => self.judge_once(&asked, &id, said),
        }
    }

    /// Judges a request by its limits; true if it was charged.
    #[inline]
    pub(super) fn judge_limits(&self, asked: &Asked<'_, '_>, said: &mut Said) -> bool {
        let takes = matches!(asked.want, Want::Take | Want::Rates);
        if takes && let Some(pick) = asked.only_pick() {
            self.take_only(asked, pick, said);
            return said.is_allowed();
        }
        let mut pending = PendingTakes::new();
        let now = self.look_at_all(asked, said, &mut pending);
        let takes = takes && said.is_allowed();
        if takes {
            self.take_all(asked.law, said, &pending, now);
        }
        takes && said.is_allowed()
    }

    /// Takes from the only limit that the request meets: there is nothing to be looked at before.
    #[inline]
    fn take_only(&self, asked: &Asked<'_, '_>, pick: &Pick, said: &mut Said) {
        let law = asked.law;
        let meter = law.meter(pick.limit);
        let applied = Applied {
            limit: pick.limit,
            tier: asked.resolution.tier,
            key: asked.hash_or_shared(meter.key),
            override_key: meter.override_key().map(|key| asked.hash_or_shared(key)),
        };
        let (now, cost) = (self.counters.clock.now(), pick.cost);
        let counter = self.counter(law, meter, &applied);
        said.entries.push(Entry {
            limit: pick.limit,
            tag: counter.tag,
            outcome: self.take_one(meter, &counter, now, cost),
        });
    }

    /// Puts the word of every limit on the request into what is said, and what is to be taken where
    /// that is plain already; nothing is taken. Gives the time that it was judged by.
    pub(super) fn look_at_all<'l>(
        &'l self,
        asked: &Asked<'l, '_>,
        said: &mut Said,
        pending: &mut PendingTakes<'l>,
    ) -> Timestamp {
        let Asked {
            law, resolution, ..
        } = *asked;
        let now = self.counters.clock.now();
        let is_repeat = said.is_free_repeat();
        let mut hashes = Hashes::default();
        for pick in &resolution.picks {
            let applied = Applied {
                limit: pick.limit,
                tier: resolution.tier,
                key: hashes.get(asked, law.meter(pick.limit).key),
                override_key: law
                    .meter(pick.limit)
                    .override_key()
                    .map(|key| hashes.get(asked, key)),
            };
            let (entry, take) = self.look_at(law, pick, &applied, now, is_repeat);
            said.entries.push(entry);
            pending.push(take);
        }
        if law.plan().counts_new_keys && !is_repeat {
            self.look_at_new_keys(asked, &mut hashes, now, said, pending);
        }
        if asked.want != Want::Rates {
            for pick in &resolution.permits {
                let key = hashes.get(asked, law.concurrency(pick.limit).key);
                let entry = permits_of(law, pick, resolution.tier, key, asked.want);
                self.note_hopeless(entry.verdict);
                said.concurrency.push(entry);
            }
        }
        now
    }

    /// Takes from all limits of a decision that has only looked, and allowed.
    pub(super) fn take_rates(&self, Decision { law, said }: &mut Decision) {
        self.take_all(law, said, &[], self.counters.clock.now());
    }

    /// One limit's word on a request; nothing is taken.
    // Always: it has two callers, and all but one request in many goes through one of them only.
    #[inline(always)]
    pub(super) fn look_at<'l>(
        &'l self,
        law: &'l Law,
        pick: &Pick,
        applied: &Applied,
        now: Timestamp,
        is_repeat: bool,
    ) -> (Entry, Option<Pending<'l>>) {
        let limit = pick.limit;
        let meter = law.meter(limit);
        let counter = self.counter(law, meter, applied);
        let cost = if is_repeat { 0 } else { pick.cost };
        let (mut outcome, pending) = match pick.refusal {
            // There is no key, so no counter has its numbers.
            Some(Refusal::KeyMissing) if !is_repeat => {
                let verdict = Verdict::KeyMissing;
                self.note_hopeless(verdict);
                let outcome = Outcome::without_counter(counter.rule, now, cost, verdict);
                (outcome, None)
            }
            // Nothing is taken, but the caller is told where it stands.
            Some(refusal) if !is_repeat => {
                let seen = counter.look(now, 0);
                let outcome = Outcome::of_look(&counter, seen, cost, false);
                (outcome.with_verdict(hopeless(refusal)), None)
            }
            _ => {
                let (seen, pending) = match counter.look_at_once(now, cost) {
                    Some(seen) => seen,
                    None => (counter.look_to_take(now, cost), None),
                };
                (Outcome::of_look(&counter, seen, cost, false), pending)
            }
        };
        if is_repeat {
            outcome.verdict = Verdict::Repeated;
        }
        outcome.put_in_shadow(meter.shadow);
        let entry = Entry {
            limit,
            tag: counter.tag,
            outcome,
        };
        (entry, pending)
    }

    fn note_hopeless(&self, verdict: Verdict) {
        if verdict == Verdict::KeyMissing {
            // Ordering: relaxed; a number to look at.
            self.keyless.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes from every limit, strictest first; if one has no room any more, gives back what was
    /// taken. Limits in shadow that have no room are passed over.
    fn take_all(
        &self,
        law: &Law,
        said: &mut Said,
        pending: &[Option<Pending<'_>>],
        now: Timestamp,
    ) {
        for place in 0..said.entries.len() {
            let entry = &mut said.entries[place];
            if entry.outcome.verdict != Verdict::Allowed {
                continue;
            }
            let (rule, cost) = (entry.outcome.rule, entry.outcome.cost);
            let meter = law.meter(entry.limit);
            let counter = self.counter_of(law, meter, &rule, entry.tag);
            if let Some(Some(take)) = pending.get(place)
                && take.make(&counter)
            {
                entry.outcome.take(entry.tag, take.after());
                continue;
            }
            entry.outcome = self.take_one(meter, &counter, now, cost);
            if entry.outcome.is_allowed() {
                continue;
            }
            for taken in &mut said.entries[..place] {
                self.give_back(law, taken);
            }
            return;
        }
    }
}

/// What a limit on how many run at a time says to a request before any permit is asked for.
fn permits_of(
    law: &Law,
    pick: &PermitPick,
    tier: Option<TierIndex>,
    key: KeyHash,
    want: Want,
) -> ConcurrencyEntry {
    let (key, level) = (key.bits(), law.level(tier));
    let mut entry = ConcurrencyEntry {
        limit: pick.limit,
        key,
        level,
        weight: pick.weight,
        most: law.semaphore(pick.limit).most(key, level),
        running: 0,
        waiting: 0,
        verdict: Verdict::Allowed,
    };
    match (pick.refusal, want) {
        (Some(Refusal::KeyMissing), _) => entry.refuse(law, Verdict::KeyMissing),
        (Some(refusal), _) => entry.count_and_refuse(law, hopeless(refusal)),
        (None, Want::Take) => entry.count_and_refuse(law, Verdict::NeedsPermit),
        (None, Want::Look) => entry.looked(law),
        (None, Want::Rates | Want::Permits) => {}
    }
    entry
}
