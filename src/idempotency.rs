//! Requests with an id of their own: of several that are sent at once, one is the first.
//!
//! Whoever judges a request with an id has its turn until the id is known or the request refused,
//! and others with the same id wait for that: else one of two at the limit's edge would be refused
//! for the other's charge. The id is written after the charge. So a process killed in between has
//! charged and forgets the id, which counts too much; the other way round it would give for free.
//!
//! Where an id is kept, what it costs, how long it is known, and what becomes of a repeat is not
//! known here.

#[cfg(all(test, tollgate_loom))]
mod loom;

use std::fmt;

use crate::key::Tag;
use crate::sync::{Mutex, lock};

/// Locks that ids share.
// Bound: fixed; ids that share one wait for each other's checks.
const TURNS: u32 = 256;

/// Whose turn it is, by id.
pub(crate) struct Turns(Box<[Mutex<()>]>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self::with(TURNS)
    }

    fn with(count: u32) -> Self {
        Self((0..count).map(|_| Mutex::new(())).collect())
    }

    /// Charges for a request unless `is_answered` says that it is a repeat which is not charged;
    /// true if it is.
    ///
    /// `charge` says whether there is anything to remember; a request that was refused is judged
    /// anew when it comes again.
    pub(crate) fn once<R>(
        &self,
        id: Tag,
        request: &mut R,
        is_answered: impl FnOnce(&mut R) -> bool,
        charge: impl FnOnce(&mut R) -> bool,
        remember: impl FnOnce(&mut R),
    ) -> bool {
        // The upper half of a tag: nobody can choose ids that share it.
        let place = usize::try_from(id.home()).unwrap_or(0) % self.0.len();
        let _turn = lock(&self.0[place]);
        if is_answered(request) {
            return true;
        }
        if charge(request) {
            remember(request);
        }
        false
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turns({})", self.0.len())
    }
}
