//! The lock under which slots are claimed and moved, and its manners.
//!
//! Who moves words takes it line by line, and has it most of the time; who claims a slot is a
//! check. A sleeping thread is woken after some ten microseconds, of a virtual machine a hundred,
//! and a lock given back is taken again in a few nanoseconds: it would find the lock taken, again
//! and again. So a check tries for a while before it sleeps, and who moves words lets it in.

#[cfg(not(tollgate_loom))]
use crate::sync::try_lock;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// What is known under the lock.
pub(super) struct Claims {
    /// Slots of the older generation that may still have to move to the next one.
    pub(super) to_move: u64,
}

/// The lock.
pub(super) struct ClaimLock {
    claims: Mutex<Claims>,
    /// Checks that try to get it.
    #[cfg_attr(
        tollgate_loom,
        expect(dead_code, reason = "in a model nobody tries for a while")
    )]
    trying: AtomicU64,
}

/// How often it is tried before a check sleeps.
// Bound: some tens of microseconds, in which dozens of lines move.
#[cfg(not(tollgate_loom))]
const TRIES: u32 = 1_000;

/// How long a check that tries is waited for.
// Bound: a microsecond or two; it tries many times in that, unless it has lost its processor.
#[cfg(not(tollgate_loom))]
const PATIENCE: u32 = 64;

impl ClaimLock {
    pub(super) fn new(claims: Claims) -> Self {
        Self {
            claims: Mutex::new(claims),
            trying: AtomicU64::new(0),
        }
    }

    /// The lock, for who moves words.
    pub(super) fn lock(&self) -> MutexGuard<'_, Claims> {
        lock(&self.claims)
    }

    /// The lock, for a check.
    #[cfg(not(tollgate_loom))]
    pub(super) fn try_and_lock(&self) -> MutexGuard<'_, Claims> {
        try_lock(&self.claims).unwrap_or_else(|| self.try_for_a_while())
    }

    #[cfg(not(tollgate_loom))]
    #[cold]
    fn try_for_a_while(&self) -> MutexGuard<'_, Claims> {
        // Ordering: relaxed, both; a hint to who moves words, and the lock orders what it guards.
        self.trying.fetch_add(1, Ordering::Relaxed);
        let tries = (0..TRIES).find_map(|_| {
            std::hint::spin_loop();
            try_lock(&self.claims)
        });
        self.trying.fetch_sub(1, Ordering::Relaxed);
        tries.unwrap_or_else(|| self.lock())
    }

    /// Lets checks in that try. To be called without the lock.
    #[cfg(not(tollgate_loom))]
    pub(super) fn let_in(&self) {
        // Ordering: relaxed, as above.
        let is_tried = || self.trying.load(Ordering::Relaxed) != 0;
        for _ in (0..PATIENCE).take_while(|_| is_tried()) {
            std::hint::spin_loop();
        }
    }
}

/// A model has no time to try in.
#[cfg(tollgate_loom)]
impl ClaimLock {
    pub(super) fn try_and_lock(&self) -> MutexGuard<'_, Claims> {
        self.lock()
    }

    pub(super) fn let_in(&self) {}
}

#[cfg(all(test, not(tollgate_loom)))]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// However long who moves words has it, or however long nobody comes who said that he would.
    #[test]
    fn nobody_tries_or_waits_forever() {
        let claims = ClaimLock::new(Claims { to_move: 0 });
        let (has_it, had) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut claims = claims.lock();
                has_it.send(()).unwrap();
                // Longer than anybody tries.
                std::thread::sleep(Duration::from_millis(50));
                claims.to_move = 1;
            });
            had.recv().unwrap();
            assert_eq!(claims.try_and_lock().to_move, 1);
        });
        // Ordering: relaxed, both; there is no other thread any more.
        assert_eq!(claims.trying.load(Ordering::Relaxed), 0);
        claims.trying.store(1, Ordering::Relaxed);
        claims.let_in();
    }
}
