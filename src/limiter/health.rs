//! How a limiter is doing, in one look.

use super::{
    ControlSocket, Growth, Limiter, Opened, Placement, Recovery, Reservations, RouteUse, Writing,
};
use crate::clock::ClockHealth;
use crate::sync::{AtomicU64, Ordering, lock};

/// How a limiter is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// How the directory was found when it was opened.
    pub opened: Opened,
    /// Where the table lies, and why there.
    pub placement: Placement,
    /// Slots in the table: somewhat more than it takes counters.
    pub slots: u64,
    /// How the growth of the table goes.
    pub growth: Growth,
    /// Checks so far that found no room in the table for a counter of their own.
    pub newcomers_without_slot: u64,
    /// Times so far that a limit refused a request because it lacked what the limit's key needs. If
    /// that is every request by address, the service does not say where addresses are to be found.
    pub requests_without_key: u64,
    /// Words so far that lay further in the future than any clock of ours can have put them, and
    /// were taken for absent.
    pub words_healed: u64,
    /// True while the clock waits for a wall clock that was set back.
    pub clock_waits: bool,
    /// How the system's clock is read; `None` if the limiter was opened with another clock.
    pub clock: Option<ClockHealth>,
    /// What was recovered from the journal when the directory was opened.
    pub recovery: Recovery,
    /// Whether requests meet the routes of the policy in force.
    pub routes: RouteUse,
    /// How the writing of the journal goes.
    pub writing: Writing,
    /// How the reservations of strict limits go.
    pub reservations: Reservations,
    /// Why the latest time seen could not be written, if it could not.
    pub trouble: Option<String>,
    /// Whether it can be asked from outside.
    pub control: ControlSocket,
}

impl Limiter {
    /// How the limiter is doing.
    pub fn health(&self) -> Health {
        let inner = &*self.inner;
        // Ordering: relaxed; numbers to look at.
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Health {
            opened: inner.store.opened.clone(),
            placement: inner.store.placement.clone(),
            slots: inner.counters.table.slots(),
            growth: lock(&inner.growth).clone(),
            newcomers_without_slot: number(&inner.newcomers),
            requests_without_key: number(&inner.keyless),
            words_healed: number(&inner.counters.healed),
            clock_waits: inner.counters.clock.is_slow(),
            clock: inner.counters.clock.health(),
            recovery: lock(&inner.recovery).clone(),
            routes: inner.law.current().routes.get(),
            writing: inner.writer.writing(),
            reservations: Reservations::of(&inner.counters.ceilings),
            trouble: lock(&inner.trouble).clone(),
            control: lock(&inner.control).health(),
        }
    }
}
