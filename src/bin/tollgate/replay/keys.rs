//! The keys that were refused most, in bounded memory.
//!
//! Source: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in
//! Data Streams" (2005): *space saving*. With `n` counters every key that was refused more than
//! `1/n` of all refusals is among them, and no count is too high by more than its stated error.
//! While there are no more than `n` keys, every count is exact.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// Keys counted at once.
// Bound: with more, the counts become estimates that say by how much they may be too high.
pub(crate) const KEYS_MAX: usize = 100_000;

/// One key of one limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyCount {
    pub(crate) limit: usize,
    pub(crate) key: Box<str>,
    /// Requests that met the limit under this key, since it was taken up.
    pub(crate) requests: u64,
    /// Those that the limit had no room for, at most.
    pub(crate) refused: u64,
    /// How much too high `refused` may be.
    pub(crate) refused_error: u64,
    /// False if the key may have been seen, and given up, before it was taken up.
    pub(crate) whole: bool,
}

/// Counts keys.
#[derive(Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub(crate) struct Keys {
    slots: Vec<KeyCount>,
    slots_max: usize,
    /// How often a key was given up for another one.
    given_up: u64,
    /// Slot by key, for each limit.
    places: Vec<HashMap<Box<str>, usize>>,
    /// Refusals and slot, fewest first.
    ranking: BTreeSet<(u64, usize)>,
}

/// What a checkpoint keeps of it.
#[derive(Clone, Serialize, Deserialize)]
struct Saved {
    slots: Vec<KeyCount>,
    slots_max: usize,
    given_up: u64,
}

impl Clone for Keys {
    fn clone(&self) -> Self {
        Self::from(self.saved())
    }
}

impl From<Keys> for Saved {
    fn from(keys: Keys) -> Self {
        keys.saved()
    }
}

impl From<Saved> for Keys {
    fn from(saved: Saved) -> Self {
        let mut keys = Self::new(saved.slots_max);
        for (slot, count) in saved.slots.iter().enumerate() {
            keys.places_of(count.limit).insert(count.key.clone(), slot);
            keys.ranking.insert((count.refused, slot));
        }
        keys.given_up = saved.given_up;
        keys.slots = saved.slots;
        keys
    }
}

impl Keys {
    pub(crate) fn new(slots_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            slots_max: slots_max.max(1),
            given_up: 0,
            places: Vec::new(),
            ranking: BTreeSet::new(),
        }
    }

    fn saved(&self) -> Saved {
        Saved {
            slots: self.slots.clone(),
            slots_max: self.slots_max,
            given_up: self.given_up,
        }
    }

    /// Counts one request that met `limit` under `key`.
    pub(crate) fn count(&mut self, limit: usize, key: &str, refused: bool) {
        let slot = match self.places_of(limit).get(key) {
            Some(&slot) => slot,
            None => self.take_up(limit, key),
        };
        let Some(count) = self.slots.get_mut(slot) else {
            return;
        };
        count.requests += 1;
        if refused {
            self.ranking.remove(&(count.refused, slot));
            count.refused += 1;
            self.ranking.insert((count.refused, slot));
        }
    }

    /// Keys counted now.
    pub(crate) fn tracked(&self) -> usize {
        self.slots.len()
    }

    /// True if every count is exact.
    pub(crate) fn is_exact(&self) -> bool {
        self.given_up == 0
    }

    /// The keys refused most, worst first, at most `most` of them; never one without a refusal.
    pub(crate) fn worst(&self, most: usize) -> Vec<KeyCount> {
        let by_refusals = self
            .ranking
            .iter()
            .rev()
            .filter(|(refused, _)| *refused > 0);
        // All that were refused as often as the last one shown: of equals the busier comes first.
        let last = by_refusals.clone().take(most).min();
        let Some(&(fewest, _)) = last else {
            return Vec::new();
        };
        let at_least = by_refusals.take_while(|(refused, _)| *refused >= fewest);
        let mut worst: Vec<_> = at_least
            .filter_map(|(_, slot)| self.slots.get(*slot))
            .cloned()
            .collect();
        worst.sort_by(|a, b| {
            let rank = |count: &KeyCount| (count.refused, count.requests);
            rank(b)
                .cmp(&rank(a))
                .then_with(|| (a.limit, &a.key).cmp(&(b.limit, &b.key)))
        });
        worst.truncate(most);
        worst
    }

    fn places_of(&mut self, limit: usize) -> &mut HashMap<Box<str>, usize> {
        if self.places.len() <= limit {
            self.places.resize_with(limit + 1, HashMap::new);
        }
        &mut self.places[limit]
    }

    /// Finds a slot for a key that has none: a free one, or that of the key refused least.
    fn take_up(&mut self, limit: usize, key: &str) -> usize {
        let mut fresh = KeyCount {
            limit,
            key: key.into(),
            requests: 0,
            refused: 0,
            refused_error: 0,
            whole: true,
        };
        let free = self.slots.len();
        if free < self.slots_max {
            self.slots.push(fresh);
            self.ranking.insert((0, free));
            self.places_of(limit).insert(key.into(), free);
            return free;
        }
        let (refused, slot) = self.ranking.first().copied().unwrap_or_default();
        fresh.refused = refused;
        fresh.refused_error = refused;
        fresh.whole = false;
        let given_up = std::mem::replace(&mut self.slots[slot], fresh);
        self.places_of(given_up.limit).remove(&given_up.key);
        self.places_of(limit).insert(key.into(), slot);
        self.given_up += 1;
        slot
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(events: &[(usize, u8, bool)]) -> HashMap<(usize, String), (u64, u64)> {
        let mut counts = HashMap::new();
        for (limit, key, refused) in events {
            let count = counts.entry((*limit, key.to_string())).or_insert((0, 0));
            count.0 += 1;
            count.1 += u64::from(*refused);
        }
        counts
    }

    proptest! {
        #[test]
        fn counts_keep_their_stated_error(
            events in prop::collection::vec((0_usize..3, 0_u8..30, any::<bool>()), 0..600),
            slots_max in 1_usize..40,
        ) {
            let mut keys = Keys::new(slots_max);
            for (limit, key, refused) in &events {
                keys.count(*limit, &key.to_string(), *refused);
            }
            let exact = exact(&events);
            prop_assert_eq!(keys.is_exact(), exact.len() <= slots_max);
            for count in &keys.slots {
                let (requests, refused) = exact[&(count.limit, count.key.to_string())];
                prop_assert!(refused <= count.refused);
                prop_assert!(count.refused - count.refused_error <= refused);
                prop_assert!(count.requests <= requests);
                if count.whole {
                    prop_assert_eq!((count.requests, count.refused), (requests, refused));
                }
            }
            let total: u64 = exact.values().map(|(_, refused)| refused).sum();
            for ((limit, key), (_, refused)) in &exact {
                let often = *refused > total / slots_max as u64;
                let tracked = keys.slots.iter().any(|c| c.limit == *limit && *c.key == **key);
                prop_assert!(tracked || !often, "{} refused {} times", key, refused);
            }
        }

        #[test]
        fn saved_and_restored_goes_on_the_same(
            events in prop::collection::vec((0_usize..3, 0_u8..30, any::<bool>()), 1..300),
            cut in 0_usize..300,
        ) {
            let mut whole = Keys::new(10);
            let mut parts = Keys::new(10);
            for (at, (limit, key, refused)) in events.iter().enumerate() {
                if at == cut {
                    let text = serde_json::to_string(&parts).unwrap();
                    parts = serde_json::from_str(&text).unwrap();
                }
                whole.count(*limit, &key.to_string(), *refused);
                parts.count(*limit, &key.to_string(), *refused);
            }
            prop_assert_eq!(whole.worst(100), parts.worst(100));
            prop_assert_eq!(whole.slots, parts.slots);
        }
    }

    #[test]
    fn the_worst_come_first_and_the_innocent_not_at_all() {
        let mut keys = Keys::new(10);
        for (key, refused) in [("a", 1), ("b", 3), ("c", 0), ("d", 3)] {
            for _ in 0..refused {
                keys.count(0, key, true);
            }
            keys.count(0, key, false);
        }
        keys.count(0, "d", false);
        let names = |most| -> Vec<_> {
            keys.worst(most)
                .iter()
                .map(|count| count.key.to_string())
                .collect()
        };
        assert_eq!(names(10), ["d", "b", "a"]);
        assert_eq!(names(1), ["d"]);
        assert_eq!(names(2), ["d", "b"]);
    }
}
