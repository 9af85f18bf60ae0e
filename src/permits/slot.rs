//! One key's semaphore: two words, of which the second alone says all there is to say.
//!
//! ```text
//! slot  | key 64 | state 64 |
//! state | generation 30 | running 32 | named 1 | queued 1 |
//! ```
//!
//! `named`: the key word is valid. `queued`: somebody waits, so nobody may take a permit without
//! the lock, and whoever returns one must hand it on. A named slot with nothing running and nobody
//! queued is *idle*: it equals a key never seen, and is given to the next newcomer who needs it.
//!
//! The generation counts how often the slot changed its key. It is part of every compare-and-swap,
//! so a thread that read the key cannot take a permit of the key that came after.

use crate::sync::{AtomicU64, Ordering};

const QUEUED: u64 = 1;
const NAMED: u64 = 2;
const RUNNING_SHIFT: u32 = 2;
const GENERATION_SHIFT: u32 = 34;
// Bound: 2^30 newcomers must take one slot, and land on the same count again, between a thread's
// load and its compare-and-swap a few instructions later, before two generations look alike.
const GENERATION_ONE: u64 = 1 << GENERATION_SHIFT;

/// What a slot's state word says. The empty word is a slot that was never used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u64);

impl State {
    /// Permits out, by weight.
    #[inline]
    pub(super) fn running(self) -> u32 {
        u32::try_from((self.0 >> RUNNING_SHIFT) & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    #[inline]
    pub(super) const fn is_named(self) -> bool {
        self.0 & NAMED != 0
    }

    #[inline]
    pub(super) const fn is_queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    /// Nothing runs and nobody waits.
    pub(super) const fn is_idle(self) -> bool {
        self.0 & (GENERATION_ONE - 1) & !NAMED == 0
    }

    /// Whether both words belong to one and the same stay of a key in its slot.
    #[inline]
    pub(super) const fn same_stay(self, other: Self) -> bool {
        (self.0 ^ other.0) >> GENERATION_SHIFT == 0 && other.is_named()
    }

    /// `weight` more running, if the limit allows; the queue is not looked at.
    #[inline]
    pub(super) fn plus(self, weight: u32, limit: u32) -> Option<Self> {
        let running = self.running().checked_add(weight)?;
        (running <= limit).then_some(Self(self.0 + (u64::from(weight) << RUNNING_SHIFT)))
    }

    pub(super) const fn with_queue(self, queued: bool) -> Self {
        Self((self.0 & !QUEUED) | (queued as u64))
    }

    /// The slot without its key, one generation on.
    const fn vacated(self) -> Self {
        Self((self.0 >> GENERATION_SHIFT << GENERATION_SHIFT).wrapping_add(GENERATION_ONE))
    }
}

/// A key and its state.
#[derive(Default)]
pub(super) struct Slot {
    key: AtomicU64,
    state: AtomicU64,
}

impl Slot {
    #[inline]
    pub(super) fn state(&self) -> State {
        // Ordering: Acquire pairs with the Release in `name`: whoever sees a generation sees the
        // key it was given. The steps between (all read-modify-write) carry that Release on.
        State(self.state.load(Ordering::Acquire))
    }

    /// The state, if the slot holds `key`.
    #[inline]
    pub(super) fn state_of(&self, key: u64) -> Option<State> {
        let state = self.state();
        // Ordering: Relaxed, behind the Acquire just made. An older key cannot be read; a younger
        // one can, but then the generation has moved on and `replace` will fail.
        (state.is_named() && self.key.load(Ordering::Relaxed) == key).then_some(state)
    }

    /// Puts `next` where `seen` stands, or tells what stands there instead.
    #[inline]
    pub(super) fn replace(&self, seen: State, next: State) -> Result<(), State> {
        // Ordering: Acquire takes over what holders wrote before they gave back (Release in
        // `give_back`). No Release: the taker has nothing to show yet, and being a
        // read-modify-write it passes earlier Releases on. Failure: only a new guess, checked by
        // the next compare-and-swap.
        self.state
            .compare_exchange_weak(seen.0, next.0, Ordering::Acquire, Ordering::Relaxed)
            .map(drop)
            .map_err(State)
    }

    /// Returns `weight` permits; true if somebody waits for them.
    #[inline]
    pub(super) fn give_back(&self, weight: u32) -> bool {
        let given = u64::from(weight) << RUNNING_SHIFT;
        // Ordering: Release shows what was done under the permit to whoever takes it next. No
        // Acquire: a queue seen here is looked at under its lock.
        State(self.state.fetch_sub(given, Ordering::Release)).is_queued()
    }

    /// Takes the slot from its idle key, or from nobody; `None` if it is in use.
    ///
    /// Under the shard's lock: only there do slots change hands.
    pub(super) fn vacate(&self) -> Option<State> {
        let mut state = self.state();
        loop {
            if !state.is_idle() {
                return None;
            }
            match self.replace(state, state.vacated()) {
                Ok(()) => return Some(state.vacated()),
                Err(seen) => state = seen,
            }
        }
    }

    /// Gives a slot just vacated to `key`, with `weight` permits out.
    pub(super) fn name(&self, vacant: State, key: u64, weight: u32) {
        // Ordering: Relaxed, published by the Release below.
        self.key.store(key, Ordering::Relaxed);
        let running = u64::from(weight) << RUNNING_SHIFT;
        // Ordering: Release publishes the key, and what was done under earlier permits of the slot
        // (taken over in `vacate`). A plain store: without a name nobody else writes the word.
        self.state
            .store(vacant.0 | NAMED | running, Ordering::Release);
    }
}

#[cfg(test)]
#[cfg(not(tollgate_loom))]
mod tests {
    use super::*;

    #[test]
    fn the_fields_do_not_overlap() {
        let slot = Slot::default();
        let vacant = slot.vacate().unwrap();
        slot.name(vacant, u64::MAX, 1);
        let state = slot.state_of(u64::MAX).unwrap();
        let full = state.plus(u32::MAX - 1, u32::MAX).unwrap().with_queue(true);
        assert_eq!(full.running(), u32::MAX);
        assert!(full.is_named() && full.is_queued() && full.same_stay(state));
        assert!(full.plus(1, u32::MAX).is_none());
        assert_eq!(full.with_queue(false).running(), u32::MAX);
    }

    #[test]
    fn the_generation_wraps_into_nothing_else() {
        let last = State(u64::MAX >> GENERATION_SHIFT << GENERATION_SHIFT);
        assert_eq!(last.vacated().0, 0);
        assert!(!last.vacated().same_stay(last));
    }

    #[test]
    fn a_slot_in_use_cannot_be_vacated_and_an_idle_one_can() {
        let slot = Slot::default();
        slot.name(slot.vacate().unwrap(), 7, 2);
        assert!(slot.vacate().is_none());
        assert!(!slot.give_back(2));
        let idle = slot.state_of(7).unwrap();
        assert!(slot.vacate().is_some());
        assert!(slot.state_of(7).is_none());
        assert!(slot.replace(idle, idle.plus(1, 5).unwrap()).is_err());
    }
}
