//! Keys that have no counter yet: a limit may say how many of them an address may bring,
//! `new_keys`.

use super::Inner;
use super::check::{Applied, Asked, Hashes};
use super::decision::Entry;
use crate::counter::Pending;
use crate::policy::{LimitIndex, Pick};
use crate::time::Reading;

impl Inner {
    /// What the limit on new keys, `new_keys`, says to a request that a limit has just looked at;
    /// none if the request's key has a counter there.
    #[cold]
    pub(super) fn look_at_newcomer<'l>(
        &'l self,
        asked: &Asked<'l, '_>,
        looked: &Entry,
        new_keys: LimitIndex,
        hashes: &mut Hashes,
        now: &mut Reading,
    ) -> Option<(Entry, Option<Pending<'l>>)> {
        if !self.ground.is_new(looked.tag) {
            return None;
        }
        let key = hashes.get(asked, asked.law.meter(new_keys).key);
        let applied = Applied {
            limit: new_keys,
            tier: asked.resolution.tier,
            key,
            override_key: Some(key),
        };
        let pick = Pick {
            limit: new_keys,
            // Who only looks takes no slot.
            cost: looked.outcome.cost.min(1),
            refusal: None,
        };
        Some(self.look_at(asked.law, &pick, &applied, now, false))
    }
}
