//! The law in force: replaced now and then, read at every check without a lock.
//!
//! Every thread keeps its own reference and looks only at a number to see whether it is still the
//! one in force. A shared reference count would be written by every check of every thread.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::law::Law;

/// Limiters a thread keeps the law of at once. One more, and the eldest is fetched anew when asked.
// Bound: an idle thread keeps at most so many replaced laws in memory, until it checks or ends.
const KEPT: usize = 8;

/// A thread's own reference to a law: counting it disturbs no other thread.
pub(super) type OwnLaw = Arc<Arc<Law>>;

#[derive(Debug)]
pub(super) struct LawCell {
    /// Tells this cell from every other of the process.
    id: u64,
    generation: AtomicU64,
    current: Mutex<Arc<Law>>,
}

struct Kept {
    cell: u64,
    generation: u64,
    law: OwnLaw,
}

thread_local! {
    static KEPT_LAWS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

impl LawCell {
    pub(super) fn new(law: Law) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Ordering: relaxed; the numbers only have to differ.
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            generation: AtomicU64::new(1),
            current: Mutex::new(Arc::new(law)),
        }
    }

    /// Calls `read` with the law in force.
    #[inline]
    pub(super) fn read<R>(&self, read: impl FnOnce(&OwnLaw) -> R) -> R {
        // Ordering: acquire, pairs with the release in `replace`: who sees the number finds at
        // least that law behind the lock, and sees what was done before it was replaced.
        let generation = self.generation.load(Ordering::Acquire);
        KEPT_LAWS.with_borrow_mut(|kept| {
            let found = kept.iter().position(|one| one.cell == self.id);
            let place = match found {
                Some(place) if kept[place].generation == generation => place,
                _ => self.fetch(kept, found, generation),
            };
            read(&kept[place].law)
        })
    }

    #[cold]
    fn fetch(&self, kept: &mut Vec<Kept>, found: Option<usize>, generation: u64) -> usize {
        let law = Arc::new(self.current());
        let fresh = Kept {
            cell: self.id,
            generation,
            law,
        };
        if let Some(place) = found {
            kept[place] = fresh;
            return place;
        }
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(fresh);
        kept.len() - 1
    }

    /// The law in force, to keep.
    pub(super) fn current(&self) -> Arc<Law> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the law by what `next` makes of it; an error leaves it in force.
    pub(super) fn replace<E>(&self, next: impl FnOnce(&Law) -> Result<Law, E>) -> Result<(), E> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let law = Arc::new(next(&current)?);
        let before = std::mem::replace(&mut *current, law.clone());
        // Ordering: release, pairs with the acquire in `read`.
        self.generation.fetch_add(1, Ordering::Release);
        // Not under the lock: those who are let in are woken by code that is not ours. Who comes
        // late here changes nothing: the terms of permits have numbers.
        drop(current);
        law.succeed(&before);
        Ok(())
    }
}
