//! Requests with an id: recognised when they come again, `[idempotency]`.
//!
//! A client chooses its ids, so an id counts only for the request that it first came with: the
//! same client (the keys of all limits that it meets), method, path and query, and the same
//! costs. Anything else under the same id is another request. The body is not part of it: nobody
//! has read it yet.

use arrayvec::ArrayVec;

use super::Inner;
use super::check::{Applied, Asked, PendingTakes, Want};
use super::decision::{Entry, Identity, Said};
use super::meter::Meter;
use super::outcome::Outcome;
use crate::algorithm::Step;
use crate::counter::Counter;
use crate::key::KeyHash;
use crate::policy::{KeyIndex, PERMIT_PICKS_MAX, PICKS_MAX};

impl Asked<'_, '_> {
    /// The limit that its id is counted by, and its id, if it has one.
    pub(super) fn id(&self) -> Option<Applied> {
        let limit = self.law.plan().idempotency?;
        if self.resolution.exempt {
            return None;
        }
        Some(Applied {
            limit,
            tier: None,
            key: self.id_hash(self.law.meter(limit).key)?,
            override_key: None,
        })
    }

    /// The hash of its id together with all that the id counts for; none if it has no id.
    fn id_hash(&self, key: KeyIndex) -> Option<KeyHash> {
        let mut hashing = self.law.hashing();
        let plan = self.law.plan();
        let has_id = plan.key_parts(key, self.request, self.resolution, &mut hashing);
        has_id.then(|| {
            hashing.bind(self.law.binding_name(), self.binding());
            hashing.finish()
        })
    }

    /// What its id counts for.
    fn binding(&self) -> [u8; 8] {
        let mut binding = self.law.binding();
        binding.text(self.request.method().as_bytes());
        binding.text(self.resolution.path().unwrap_or_default());
        binding.text(self.request.query().as_bytes());
        // In an order of their own and each once, so that a limit whose rate changes, or one more
        // by the same key, makes no other request of it.
        for (key, cost) in self.sorted_keys() {
            binding.number(key);
            binding.number(cost);
        }
        binding.finish()
    }

    /// The keys of all limits that it meets, and its costs.
    fn sorted_keys(&self) -> ArrayVec<(u64, u64), { PICKS_MAX + PERMIT_PICKS_MAX }> {
        let rates = self.resolution.picks.iter();
        let rates = rates.map(|pick| (self.law.meter(pick.limit).key, pick.cost));
        let permits = self.resolution.permits.iter();
        let permits = permits.map(|pick| {
            let key = self.law.concurrency(pick.limit).key;
            (key, u64::from(pick.weight))
        });
        let mut keys: ArrayVec<_, { PICKS_MAX + PERMIT_PICKS_MAX }> = rates
            .chain(permits)
            .map(|(key, cost)| (self.hash_or_shared(key).bits(), cost))
            .collect();
        keys.sort_unstable();
        let mut last = None;
        keys.retain(|key| last.replace(*key) != Some(*key));
        keys
    }
}

impl Inner {
    /// Judges a request with an id. A repeat is let in without a charge if the policy says so, and
    /// not too often; else it is judged like any other request, and marked.
    #[cold]
    pub(super) fn judge_once(&self, asked: &Asked<'_, '_>, id: &Applied, said: &mut Said) {
        let meter = asked.law.meter(id.limit);
        let counter = self.counter(asked.law, meter, id);
        said.identity = Identity::New;
        let is_answered = self.turns.once(
            counter.tag,
            said,
            |said| self.recognise(asked.want, meter, &counter, said),
            |said| self.judge_limits(asked, said),
            |said| self.remember(id, meter, &counter, said),
        );
        if is_answered {
            self.look_at_all(asked, said, &mut PendingTakes::new());
        }
    }

    /// Says whether a request is a repeat; true if it is one that is not charged.
    fn recognise(&self, want: Want, meter: &Meter, counter: &Counter<'_>, said: &mut Said) -> bool {
        let now = self.counters.clock.now();
        let seen = counter.look(now, 1);
        if Outcome::of_look(counter, seen, 1, false).used() == 0 {
            return false;
        }
        // What the counter holds beyond the first request are the repeats that may pass.
        let is_free = match want {
            Want::Take | Want::Rates => self.take_one(meter, counter, now, 1).taken.is_some(),
            Want::Permits | Want::Look => matches!(seen.step, Step::Admit(_)),
        };
        said.identity = match is_free {
            true => Identity::FreeRepeat,
            false => Identity::Repeat,
        };
        is_free
    }

    /// Writes down the id of a request that was charged.
    fn remember(&self, id: &Applied, meter: &Meter, counter: &Counter<'_>, said: &mut Said) {
        if matches!(said.identity, Identity::Repeat) {
            return;
        }
        let mut outcome = self.take_one(meter, counter, self.counters.clock.now(), 1);
        if outcome.taken.is_some() {
            // Forgotten, it is forgotten with all repeats that came since.
            outcome.cost = outcome.limit();
            said.identity = Identity::Kept(Entry {
                limit: id.limit,
                tag: counter.tag,
                outcome,
            });
        }
    }
}
