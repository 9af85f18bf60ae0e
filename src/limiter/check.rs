//! The walk of one check: all limits or none.

use arrayvec::ArrayVec;

use super::Inner;
use super::concurrency::{ConcurrencyEntry, hopeless};
use super::decision::{Decision, Entry, Identity};
use super::law::{Law, OwnLaw};
use super::outcome::{Outcome, Source, Verdict};
use crate::algorithm::Step;
use crate::counter::{Counter, Ground, Seen, Take};
use crate::key::KeyHash;
use crate::policy::{
    KeyIndex, KeyParts, LimitIndex, PERMIT_PICKS_MAX, PICKS_MAX, PermitPick, Pick, Request,
    Resolution, TierIndex, WhenFull,
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
struct Hashes(ArrayVec<(KeyIndex, KeyHash), { 2 * PICKS_MAX + PERMIT_PICKS_MAX }>);

impl Hashes {
    fn get(&mut self, asked: &Asked<'_, '_>, key: KeyIndex) -> KeyHash {
        if let Some((_, hash)) = self.0.iter().find(|(known, _)| *known == key) {
            return *hash;
        }
        // Requests that lack the key's values share the key without parts.
        let mut parts = KeyParts::default();
        asked.has_key(key, &mut parts);
        let hash = asked.law.hash(&parts);
        self.0.push((key, hash));
        hash
    }
}

/// A request under a law.
struct Asked<'a, 'r> {
    law: &'a OwnLaw,
    request: &'a Request<'r>,
    resolution: &'a Resolution<'r>,
    want: Want,
}

impl<'a> Asked<'a, '_> {
    /// Puts the parts of a key into `parts`; false if the request lacks what the key needs.
    fn has_key(&self, key: KeyIndex, parts: &mut KeyParts<'a>) -> bool {
        let plan = self.law.plan();
        plan.key_parts(key, self.request, self.resolution, parts)
    }

    /// The limit that its id is counted by, and its id, if it has one.
    fn id(&self) -> Option<Applied> {
        let limit = self.law.plan().idempotency?;
        let mut parts = KeyParts::default();
        let has_id = !self.resolution.exempt && self.has_key(self.law.limit(limit).key, &mut parts);
        has_id.then(|| Applied {
            limit,
            tier: None,
            key: self.law.hash(&parts),
            override_key: None,
        })
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
    pub(super) fn ground<'a>(&'a self, law: &'a Law) -> Ground<'a> {
        Ground {
            table: &self.store.table,
            shared: &self.store.shared,
            calendars: &law.plan().calendars,
            clock: &self.clock,
            inbox: &self.inbox,
            ceilings: &self.ceilings,
            healed: &self.healed,
        }
    }

    pub(super) fn counter<'a>(&'a self, law: &'a Law, applied: &Applied) -> Counter<'a> {
        let rule = law.rule(applied.limit, applied.tier, applied.override_key);
        Counter {
            ground: self.ground(law),
            rule,
            tag: law.tag(applied.limit, applied.key),
            is_logged: law.is_logged(applied.limit),
            reserve: law.reserve(applied.limit, rule),
            is_shared: false,
        }
    }

    /// Judges a request.
    pub(super) fn judge(&self, law: &OwnLaw, request: &Request<'_>, want: Want) -> Decision {
        let mut decision = Decision {
            law: law.clone(),
            entries: ArrayVec::new(),
            concurrency: ArrayVec::new(),
            route: None,
            tier: None,
            is_exempt: false,
            identity: Identity::None,
            error: None,
        };
        let mut resolution = Resolution::default();
        if let Err(error) = law.plan().resolve(request, &mut resolution) {
            decision.error = Some(error);
            return decision;
        }
        decision.route = resolution.route;
        decision.tier = resolution.tier;
        decision.is_exempt = resolution.exempt;
        let asked = Asked {
            law,
            request,
            resolution: &resolution,
            want,
        };
        match asked.id() {
            None => {
                self.judge_limits(&asked, &mut decision);
            }
            Some(id) => self.judge_once(&asked, &id, &mut decision),
        }
        self.note_slowness(&mut decision);
        decision
    }

    /// Judges a request with an id: if it is a repeat, it is answered as before.
    #[cold]
    fn judge_once(&self, asked: &Asked<'_, '_>, id: &Applied, decision: &mut Decision) {
        let counter = self.counter(asked.law, id);
        decision.identity = Identity::New;
        let is_repeat = self.turns.once(
            counter.tag,
            decision,
            // An id is counted once, so a known one has no room.
            |_| !matches!(counter.look(self.clock.now(), 1).step, Step::Admit(_)),
            |decision| self.judge_limits(asked, decision),
            |decision| {
                let now = self.clock.now();
                let outcome = self.take_one(asked.law, id.limit, &counter, now, 1);
                if outcome.taken.is_some() {
                    decision.identity = Identity::Kept(Entry {
                        limit: id.limit,
                        tag: counter.tag,
                        outcome,
                    });
                }
            },
        );
        if is_repeat {
            decision.identity = Identity::Repeat;
            self.look_at_all(asked, decision);
        }
    }

    /// Judges a request by its limits; true if it was charged.
    fn judge_limits(&self, asked: &Asked<'_, '_>, decision: &mut Decision) -> bool {
        self.look_at_all(asked, decision);
        let takes = matches!(asked.want, Want::Take | Want::Rates) && decision.is_allowed();
        if takes {
            self.take_all(asked.law, decision);
        }
        takes && decision.is_allowed()
    }

    /// Puts the word of every limit on the request into the decision; nothing is taken.
    fn look_at_all(&self, asked: &Asked<'_, '_>, decision: &mut Decision) {
        let Asked {
            law, resolution, ..
        } = *asked;
        let now = self.clock.now();
        let is_repeat = decision.is_repeat();
        let mut hashes = Hashes::default();
        for pick in &resolution.picks {
            let applied = Applied {
                limit: pick.limit,
                tier: resolution.tier,
                key: hashes.get(asked, law.limit(pick.limit).key),
                override_key: law
                    .override_key(pick.limit)
                    .map(|key| hashes.get(asked, key)),
            };
            let entry = self.look_at(law, pick, &applied, now, is_repeat);
            decision.entries.push(entry);
        }
        if asked.want != Want::Rates {
            for pick in &resolution.permits {
                let key = hashes.get(asked, law.concurrency(pick.limit).key);
                let entry = permits_of(law, pick, resolution.tier, key, asked.want);
                decision.concurrency.push(entry);
            }
        }
    }

    /// Takes from all limits of a decision that has only looked, and allowed.
    pub(super) fn take_rates(&self, decision: &mut Decision) {
        let law = decision.law.clone();
        self.take_all(&law, decision);
        self.note_slowness(decision);
    }

    fn note_slowness(&self, decision: &mut Decision) {
        if self.clock.is_slow() {
            let entries = decision.entries.iter_mut();
            entries.for_each(|entry| entry.outcome.slow = true);
        }
    }

    /// One limit's word on a request; nothing is taken.
    fn look_at(
        &self,
        law: &Law,
        pick: &Pick,
        applied: &Applied,
        now: Timestamp,
        is_repeat: bool,
    ) -> Entry {
        let (limit, cost) = (pick.limit, pick.cost);
        let counter = self.counter(law, applied);
        let outcome = match pick.refusal {
            _ if is_repeat => {
                let outcome = Outcome::new(counter.rule, counter.look(now, 0), 0);
                outcome.with_verdict(Verdict::Repeated)
            }
            None => Outcome::new(counter.rule, counter.look(now, cost), cost),
            Some(refusal) => Outcome::without_counter(counter.rule, now, cost, hopeless(refusal)),
        };
        Entry {
            limit,
            tag: counter.tag,
            outcome: outcome.in_shadow(law.limit(limit).shadow),
        }
    }

    /// Takes from every limit, strictest first; if one has no room any more, gives back what was
    /// taken. Limits in shadow that have no room are passed over.
    fn take_all(&self, law: &Law, decision: &mut Decision) {
        for place in 0..decision.entries.len() {
            let entry = &mut decision.entries[place];
            if entry.outcome.verdict != Verdict::Allowed {
                continue;
            }
            let (now, cost) = (entry.outcome.now, entry.outcome.cost);
            entry.outcome =
                self.take_one(law, entry.limit, &self.counter_of(law, entry), now, cost);
            if entry.outcome.is_allowed() {
                continue;
            }
            for taken in &mut decision.entries[..place] {
                self.give_back(law, taken);
            }
            return;
        }
    }

    /// An entry's own counter.
    fn counter_of<'a>(&'a self, law: &'a Law, entry: &'a Entry) -> Counter<'a> {
        Counter {
            ground: self.ground(law),
            rule: &entry.outcome.rule,
            tag: entry.tag,
            is_logged: law.is_logged(entry.limit),
            reserve: law.reserve(entry.limit, &entry.outcome.rule),
            is_shared: false,
        }
    }

    /// The counter that an entry's cost was taken from, if it was taken.
    pub(super) fn source_of<'a>(&'a self, law: &'a Law, entry: &'a Entry) -> Option<Counter<'a>> {
        let Source { tag, is_shared } = entry.outcome.taken?;
        Some(Counter {
            tag,
            is_shared,
            ..self.counter_of(law, entry)
        })
    }

    /// Takes `cost` from a counter, or from the one that newcomers share if that is how the limit
    /// wants it and there is no room for a counter.
    #[inline]
    pub(super) fn take_one(
        &self,
        law: &Law,
        limit: LimitIndex,
        counter: &Counter<'_>,
        now: Timestamp,
        cost: u64,
    ) -> Outcome {
        let outcome = match counter.take(now, cost) {
            Take::Judged(seen) => judged(counter, seen, cost),
            Take::Full => self.take_without_slot(law, limit, counter, now, cost),
            Take::Unsecured(seen) => unsecured(counter, seen, cost),
        };
        outcome.in_shadow(law.limit(limit).shadow)
    }

    #[cold]
    fn take_without_slot(
        &self,
        law: &Law,
        limit: LimitIndex,
        counter: &Counter<'_>,
        now: Timestamp,
        cost: u64,
    ) -> Outcome {
        // Ordering: relaxed; a number to look at.
        self.newcomers.fetch_add(1, Ordering::Relaxed);
        let verdict = match law.limit(limit).when_full {
            WhenFull::Share => {
                let shared = Counter {
                    tag: law.shared_tag(limit),
                    is_shared: true,
                    ..*counter
                };
                match shared.take(now, cost) {
                    Take::Judged(seen) => return judged(&shared, seen, cost),
                    // The shared table is large enough for every limit of a policy; words of
                    // limits long gone may still fill it for a while.
                    Take::Full => Verdict::TableFull,
                    Take::Unsecured(seen) => return unsecured(&shared, seen, cost),
                }
            }
            WhenFull::Refuse => Verdict::TableFull,
            WhenFull::Admit => Verdict::Allowed,
        };
        Outcome::without_counter(counter.rule, now, cost, verdict)
    }

    /// Gives back what an entry took.
    pub(super) fn give_back(&self, law: &Law, entry: &mut Entry) {
        let Outcome {
            rule,
            words,
            period,
            now,
            cost,
            ..
        } = entry.outcome;
        let Some(counter) = self.source_of(law, entry) else {
            return;
        };
        counter.refund(period, words.main, cost);
        // The numbers shown are those without the take.
        entry.outcome.words.main = rule.refund(words.main, words.main, now, cost);
        entry.outcome.taken = None;
    }
}

/// What a take from `counter` came to.
#[inline]
fn judged(counter: &Counter<'_>, seen: Seen, cost: u64) -> Outcome {
    let source = Source {
        tag: counter.tag,
        is_shared: counter.is_shared,
    };
    Outcome::new(counter.rule, seen, cost).taken(seen, source)
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
        (Some(refusal), _) => entry.refuse(law, hopeless(refusal)),
        (None, Want::Take) => entry.refuse(law, Verdict::NeedsPermit),
        (None, Want::Look) => entry.looked(law),
        (None, Want::Rates | Want::Permits) => {}
    }
    entry
}

/// What a take from a strict counter came to that the disk refuses to know of: nothing.
#[cold]
fn unsecured(counter: &Counter<'_>, seen: Seen, cost: u64) -> Outcome {
    Outcome::new(counter.rule, seen, cost).with_verdict(Verdict::Unwritable)
}
