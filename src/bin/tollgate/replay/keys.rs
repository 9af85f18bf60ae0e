//! The keys that were refused most and what they did, in bounded memory.
//!
//! Source: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in
//! Data Streams" (2005): *space saving*. With `n` slots every key that was refused more than
//! `1/n` of all refusals is among them, and no count is too high by more than its stated error.
//! While there are no more than `n` keys, every count is exact.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tollgate::Timestamp;

use super::counts::ByCounter;
use crate::log::Entry;

/// Keys held at once, of all limits together.
// Bound: with more, the counts become estimates that say by how much they may be too high.
pub(crate) const KEYS_MAX: usize = 4_096;

/// Requests told apart of one key.
// Bound: with more, the one made least often makes room.
const DEEDS_MAX: usize = 4;

/// Characters of a request or an agent that are kept.
// Bound: longer ones are cut.
const TEXT_CHARS_MAX: usize = 80;

/// One key of one limit that was refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedKey {
    pub(crate) limit: usize,
    pub(crate) counter: u64,
    pub(crate) key: Box<str>,
    /// Refusals, at most.
    pub(crate) refused: u64,
    /// How much too high `refused` may be.
    pub(crate) error: u64,
    /// When it was first and last refused, in nanoseconds.
    pub(crate) first_nanos: u64,
    pub(crate) last_nanos: u64,
    /// What was refused, `GET /search`, and about how often.
    pub(crate) deeds: Vec<(Box<str>, u64)>,
    /// As what it last called itself.
    pub(crate) agent: Box<str>,
}

/// The refused keys.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub(crate) struct RefusedKeys {
    slots: Vec<RefusedKey>,
    slots_max: usize,
    /// How often a key was given up for another one.
    given_up: u64,
    /// Slot by counter, for each limit.
    places: Vec<ByCounter<usize>>,
    /// Slots that had the fewest refusals when they were last looked through.
    fewest: VecDeque<usize>,
    fewest_refused: u64,
}

/// What a checkpoint keeps of it.
#[derive(Clone, Serialize, Deserialize)]
struct Saved {
    slots: Vec<RefusedKey>,
    slots_max: usize,
    given_up: u64,
    fewest: VecDeque<usize>,
    fewest_refused: u64,
}

impl From<RefusedKeys> for Saved {
    fn from(keys: RefusedKeys) -> Self {
        Self {
            slots: keys.slots,
            slots_max: keys.slots_max,
            given_up: keys.given_up,
            fewest: keys.fewest,
            fewest_refused: keys.fewest_refused,
        }
    }
}

impl From<Saved> for RefusedKeys {
    fn from(saved: Saved) -> Self {
        let mut keys = Self::new(saved.slots_max);
        for (slot, key) in saved.slots.iter().enumerate() {
            keys.places_of(key.limit).insert(key.counter, slot);
        }
        Self {
            slots: saved.slots,
            given_up: saved.given_up,
            fewest: saved.fewest,
            fewest_refused: saved.fewest_refused,
            ..keys
        }
    }
}

impl RefusedKeys {
    pub(crate) fn new(slots_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            slots_max: slots_max.max(1),
            given_up: 0,
            places: Vec::new(),
            fewest: VecDeque::new(),
            fewest_refused: 0,
        }
    }

    /// Counts a request that `limit` refused under the key of `counter`; `key` puts it into words.
    pub(crate) fn count(
        &mut self,
        (limit, counter): (usize, u64),
        now: Timestamp,
        entry: &Entry<'_>,
        key: impl FnOnce() -> String,
    ) {
        let slot = match self.places_of(limit).get(&counter) {
            Some(&slot) => slot,
            None => self.take_up(limit, counter, now, key()),
        };
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.refused += 1;
            slot.last_nanos = now.as_nanos();
            slot.note(entry);
        }
    }

    /// True if every count is exact.
    pub(crate) fn is_exact(&self) -> bool {
        self.given_up == 0
    }

    /// The keys refused most, worst first.
    pub(crate) fn worst(&self) -> Vec<&RefusedKey> {
        let mut worst: Vec<_> = self.slots.iter().collect();
        worst.sort_by_key(|key| (std::cmp::Reverse(key.refused), key.limit, &key.key));
        worst
    }

    fn places_of(&mut self, limit: usize) -> &mut ByCounter<usize> {
        if self.places.len() <= limit {
            self.places.resize_with(limit + 1, ByCounter::default);
        }
        &mut self.places[limit]
    }

    /// Finds a slot for a key that has none: a free one, or that of the key refused least.
    fn take_up(&mut self, limit: usize, counter: u64, now: Timestamp, key: String) -> usize {
        let mut fresh = RefusedKey {
            limit,
            counter,
            key: key.into(),
            refused: 0,
            error: 0,
            first_nanos: now.as_nanos(),
            last_nanos: now.as_nanos(),
            deeds: Vec::new(),
            agent: Box::default(),
        };
        let free = self.slots.len();
        if free < self.slots_max {
            self.slots.push(fresh);
            self.places_of(limit).insert(counter, free);
            return free;
        }
        let slot = self.refused_least();
        fresh.refused = self.fewest_refused;
        fresh.error = self.fewest_refused;
        let given_up = std::mem::replace(&mut self.slots[slot], fresh);
        self.places_of(given_up.limit).remove(&given_up.counter);
        self.places_of(limit).insert(counter, slot);
        self.given_up += 1;
        slot
    }

    /// A slot with the fewest refusals. All slots are looked through only once for each number of
    /// refusals, which takes as many refusals as there are slots to grow by one.
    fn refused_least(&mut self) -> usize {
        loop {
            while let Some(slot) = self.fewest.pop_front() {
                if self.slots[slot].refused == self.fewest_refused {
                    return slot;
                }
            }
            let refused = self.slots.iter().map(|slot| slot.refused);
            self.fewest_refused = refused.min().unwrap_or(0);
            let slots = self.slots.iter().enumerate();
            let fewest = slots.filter(|(_, slot)| slot.refused == self.fewest_refused);
            self.fewest = fewest.map(|(slot, _)| slot).collect();
        }
    }
}

impl RefusedKey {
    /// Notes what was asked for.
    fn note(&mut self, entry: &Entry<'_>) {
        let path = entry.path.as_deref().unwrap_or("");
        let is_it = |deed: &str| {
            let rest = deed.strip_prefix(&*entry.method);
            let told = rest.and_then(|rest| rest.strip_prefix(' ')).unwrap_or(deed);
            let begins = told.strip_suffix('…');
            told == path || begins.is_some_and(|begins| path.starts_with(begins))
        };
        if let Some((_, count)) = self.deeds.iter_mut().find(|(deed, _)| is_it(deed)) {
            *count += 1;
        } else {
            let deed = short(&format!("{} {path}", entry.method));
            if self.deeds.len() < DEEDS_MAX {
                self.deeds.push((deed, 1));
            } else if let Some(least) = self.deeds.iter_mut().min_by_key(|(_, count)| *count) {
                *least = (deed, least.1 + 1);
            }
        }
        let agent = entry
            .attributes
            .iter()
            .find(|(name, _)| name == "user_agent");
        let agent = agent.map_or("", |(_, agent)| agent);
        let is_known = agent.starts_with(self.agent.trim_end_matches('…'));
        if !is_known || self.agent.is_empty() {
            self.agent = short(agent);
        }
    }
}

fn short(text: &str) -> Box<str> {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.trim_end().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn entry(path: &str) -> Entry<'_> {
        Entry {
            time: Timestamp::EPOCH,
            method: "GET".into(),
            path: Some(path.into()),
            cost: None,
            attributes: vec![("user_agent".into(), "curl".into())],
        }
    }

    fn count(keys: &mut RefusedKeys, limit: usize, key: u8) {
        let now = Timestamp::from_secs(9);
        keys.count((limit, u64::from(key)), now, &entry("/"), || {
            key.to_string()
        });
    }

    proptest! {
        #[test]
        fn counts_keep_their_stated_error(
            events in prop::collection::vec((0_usize..3, 0_u8..30), 0..600),
            slots_max in 1_usize..40,
            cut in 0_usize..600,
        ) {
            let mut keys = RefusedKeys::new(slots_max);
            let mut exact: HashMap<(usize, u64), u64> = HashMap::new();
            for (at, (limit, key)) in events.iter().enumerate() {
                if at == cut {
                    let text = serde_json::to_string(&keys).unwrap();
                    keys = serde_json::from_str(&text).unwrap();
                }
                count(&mut keys, *limit, *key);
                *exact.entry((*limit, u64::from(*key))).or_default() += 1;
            }
            prop_assert_eq!(keys.is_exact(), exact.len() <= slots_max);
            for slot in &keys.slots {
                let refused = exact[&(slot.limit, slot.counter)];
                prop_assert!(refused <= slot.refused);
                prop_assert!(slot.refused - slot.error <= refused);
                prop_assert_eq!(&*slot.key, slot.counter.to_string());
            }
            let total = events.len() / slots_max;
            for ((limit, counter), refused) in &exact {
                let often = *refused > total as u64;
                let held = keys.slots.iter().any(|s| s.limit == *limit && s.counter == *counter);
                prop_assert!(held || !often, "{} refused {} times", counter, refused);
            }
        }
    }

    #[test]
    fn what_a_key_did_is_told() {
        let mut keys = RefusedKeys::new(2);
        let long = format!("/{}", "x".repeat(200));
        for (secs, path) in ["/a", "/b", "/a", "/c", "/d", "/e", "/a", &long, &long]
            .iter()
            .enumerate()
        {
            let now = Timestamp::from_secs(secs as u64);
            keys.count((0, 1), now, &entry(path), || "k".to_owned());
        }
        let key = keys.worst()[0];
        assert_eq!((key.first_nanos, key.last_nanos), (0, 8_000_000_000));
        assert_eq!(key.deeds.len(), DEEDS_MAX);
        assert_eq!(key.deeds[0], ("GET /a".into(), 3));
        assert!(
            key.deeds.iter().any(|(deed, _)| deed.ends_with("x…")),
            "{:?}",
            key.deeds
        );
        assert_eq!(&*key.agent, "curl");
    }
}
