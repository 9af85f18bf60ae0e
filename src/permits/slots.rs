//! Where a key's slot is: a fixed number of places, searched from the key's home on.
//!
//! Reading takes no lock and may miss a key that is just being settled; settling is done under the
//! shard's lock, where nothing is missed. A key keeps its slot while it is idle, until a newcomer
//! finds no nearer place.

use super::AcquireError;
use super::slot::{Slot, State};
use crate::sync::{AtomicU64, Ordering};

/// The slots of a shard.
pub(super) struct Slots {
    /// The furthest any key was ever settled from its home.
    reach: AtomicU64,
    // Bound: fixed when made; a key for which all of them are in use is refused.
    slots: Box<[Slot]>,
}

impl Slots {
    /// So many slots, a power of two, each for one key at a time.
    pub(super) fn new(count: usize) -> Self {
        debug_assert!(count.is_power_of_two());
        Self {
            reach: AtomicU64::new(0),
            slots: std::iter::repeat_with(Slot::default).take(count).collect(),
        }
    }

    /// The key's slot and its state.
    #[inline]
    pub(super) fn find(&self, key: u64) -> Option<(u32, State)> {
        let home = self.home(key);
        match self.at(home).state_of(key) {
            Some(state) => Some((home, state)),
            None => self.find_away(key),
        }
    }

    fn find_away(&self, key: u64) -> Option<(u32, State)> {
        // Ordering: Relaxed. Who misses a key for an old reach looks again under the lock.
        let reach = self.reach.load(Ordering::Relaxed);
        self.path(key, usize::try_from(reach).unwrap_or(0) + 1)
            .skip(1)
            .find_map(|index| Some((index, self.at(index).state_of(key)?)))
    }

    /// Gives a key that has none the nearest slot nobody uses, with `weight` permits out.
    ///
    /// Under the shard's lock.
    pub(super) fn settle(&self, key: u64, weight: u32) -> Result<u32, AcquireError> {
        for (distance, index) in (0u64..).zip(self.path(key, self.slots.len())) {
            let slot = self.at(index);
            let Some(vacant) = slot.vacate() else {
                continue;
            };
            slot.name(vacant, key, weight);
            // Ordering: Relaxed. Written only here, under the lock; see `find`.
            self.reach.fetch_max(distance, Ordering::Relaxed);
            return Ok(index);
        }
        Err(AcquireError::TooManyKeys)
    }

    #[inline]
    pub(super) fn at(&self, index: u32) -> &Slot {
        &self.slots[position(index)]
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        (0u32..).take(self.slots.len())
    }

    #[inline]
    fn home(&self, key: u64) -> u32 {
        let mask = self.slots.len() as u64 - 1;
        u32::try_from((mix(key) >> 32) & mask).unwrap_or(0)
    }

    /// The first `count` places for a key, from its home on.
    fn path(&self, key: u64, count: usize) -> impl Iterator<Item = u32> + use<> {
        let home = self.home(key);
        let mask = u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX);
        (0u32..)
            .take(count)
            .map(move |step| home.wrapping_add(step) & mask)
    }
}

/// A number kept in 32 bits as an index; where that does not fit, one that no slice has.
#[inline]
pub(super) fn position(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Spreads keys that differ in few bits (Fibonacci hashing); the upper bits are the good ones.
#[inline]
pub(super) const fn mix(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
#[cfg(not(tollgate_loom))]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_used_before_a_key_is_refused_and_idle_ones_are_used_again() {
        let slots = Slots::new(16);
        let taken: Vec<u32> = (0..16).map(|key| slots.settle(key, 1).unwrap()).collect();
        let mut distinct = taken.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 16);
        assert_eq!(slots.settle(16, 1), Err(AcquireError::TooManyKeys));
        slots.at(taken[5]).give_back(1);
        assert_eq!(slots.settle(16, 1), Ok(taken[5]));
        assert!(slots.find(5).is_none());
        assert!(
            (0..17)
                .filter(|key| *key != 5)
                .all(|key| slots.find(key).is_some())
        );
    }

    #[test]
    fn an_idle_key_keeps_its_slot_until_it_is_needed() {
        let slots = Slots::new(4);
        let index = slots.settle(1, 1).unwrap();
        slots.at(index).give_back(1);
        assert!(
            slots
                .find(1)
                .is_some_and(|(found, state)| found == index && state.is_idle())
        );
    }
}
