//! The walk of one check: all limits or none.

use arrayvec::ArrayVec;

use super::Inner;
use super::cell::OwnLaw;
use super::decision::{Decision, Entry};
use super::law::Law;
use super::outcome::{Outcome, Source, Verdict};
use crate::counter::{Counter, Ground, Seen, Take};
use crate::key::KeyHash;
use crate::policy::{
    KeyIndex, KeyParts, LimitIndex, PICKS_MAX, Refusal, Request, Resolution, TierIndex, WhenFull,
};
use crate::sync::Ordering;
use crate::time::Timestamp;

/// What is wanted of the limits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// The cost, if all have room.
    Take,
    /// Only their numbers.
    Look,
}

/// A limit as it applies to one key.
#[derive(Clone, Copy)]
pub(super) struct Applied {
    pub(super) limit: LimitIndex,
    pub(super) tier: Option<TierIndex>,
    pub(super) key: KeyHash,
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
        let rule = law.rule(applied.limit, applied.tier, applied.key);
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
            route: None,
            tier: None,
            is_exempt: false,
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
        let now = self.clock.now();
        self.look_at_all(law, request, &resolution, now, &mut decision.entries);
        if want == Want::Take && decision.is_allowed() {
            self.take_all(law, &mut decision);
        }
        if self.clock.is_slow() {
            decision
                .entries
                .iter_mut()
                .for_each(|entry| entry.outcome.slow = true);
        }
        decision
    }

    /// Puts every limit's word on the request into `entries`; nothing is taken.
    fn look_at_all(
        &self,
        law: &Law,
        request: &Request<'_>,
        resolution: &Resolution<'_>,
        now: Timestamp,
        entries: &mut ArrayVec<Entry, PICKS_MAX>,
    ) {
        let mut hashes: ArrayVec<(KeyIndex, KeyHash), PICKS_MAX> = ArrayVec::new();
        for pick in &resolution.picks {
            let spec = law.limit(pick.limit);
            let known = hashes.iter().find(|(key, _)| *key == spec.key);
            let key = match known {
                Some((_, hash)) => *hash,
                None => {
                    // Requests that lack the key's values share the key without parts.
                    let mut parts = KeyParts::default();
                    law.plan()
                        .key_parts(spec.key, request, resolution, &mut parts);
                    let hash = law.hash(&parts);
                    hashes.push((spec.key, hash));
                    hash
                }
            };
            let (limit, tier, cost) = (pick.limit, resolution.tier, pick.cost);
            let counter = self.counter(law, &Applied { limit, tier, key });
            let outcome = match pick.refusal {
                None => Outcome::new(counter.rule, counter.look(now, cost), cost),
                Some(refusal) => {
                    let verdict = match refusal {
                        Refusal::KeyMissing => Verdict::KeyMissing,
                        Refusal::CostTooHigh { .. } => Verdict::Impossible,
                        Refusal::CostUnreadable => Verdict::CostUnreadable,
                    };
                    Outcome::without_counter(counter.rule, now, cost, verdict)
                }
            };
            let outcome = outcome.in_shadow(spec.shadow);
            entries.push(Entry {
                limit,
                tag: counter.tag,
                outcome,
            });
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

/// What a take from a strict counter came to that the disk refuses to know of: nothing.
#[cold]
fn unsecured(counter: &Counter<'_>, seen: Seen, cost: u64) -> Outcome {
    Outcome::new(counter.rule, seen, cost).refused_as(Verdict::Unwritable)
}
