//! Keys that have no counter yet: a limit may say how many of them an address may bring,
//! `new_keys`.

use super::Inner;
use super::check::{Applied, Asked, Hashes, PendingTakes};
use super::decision::{Entry, Said};
use crate::counter::Pending;
use crate::policy::{LimitIndex, Pick};
use crate::time::Timestamp;

impl Inner {
    /// Looks at the limits on new keys, `new_keys`, where the request's key has no counter. What
    /// one of them says stands before what the limit said that it belongs to: a key that is one
    /// too many is refused before it gets a counter.
    #[inline(never)]
    pub(super) fn look_at_new_keys<'l>(
        &'l self,
        asked: &Asked<'l, '_>,
        hashes: &mut Hashes,
        now: Timestamp,
        said: &mut Said,
        pending: &mut PendingTakes<'l>,
    ) {
        let mut place = 0;
        while let Some(looked) = said.entries.get(place) {
            let new_keys = asked.law.meter(looked.limit).new_keys;
            let take = pending.get(place).and_then(Option::as_ref);
            let has_slot = take.is_some_and(|take| take.has_slot());
            if let Some(new_keys) = new_keys.filter(|_| !has_slot)
                && self.counters.is_new(looked.tag)
            {
                // Who only looks takes no slot.
                let cost = looked.outcome.cost.min(1);
                let (entry, take) = self.look_at_newcomer(asked, new_keys, cost, hashes, now);
                // Bound: a request meets no more limits than there is room for, those on new keys
                // among them.
                said.entries.insert(place, entry);
                pending.insert(place, take);
                place += 1;
            }
            place += 1;
        }
    }

    #[cold]
    fn look_at_newcomer<'l>(
        &'l self,
        asked: &Asked<'l, '_>,
        new_keys: LimitIndex,
        cost: u64,
        hashes: &mut Hashes,
        now: Timestamp,
    ) -> (Entry, Option<Pending<'l>>) {
        let key = hashes.get(asked, asked.law.meter(new_keys).key);
        let applied = Applied {
            limit: new_keys,
            tier: asked.resolution.tier,
            key,
            override_key: Some(key),
        };
        let pick = Pick {
            limit: new_keys,
            cost,
            refusal: None,
        };
        self.look_at(asked.law, &pick, &applied, now, false)
    }
}
