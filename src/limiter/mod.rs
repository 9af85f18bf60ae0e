//! The limiter: a policy in force over a directory of counters.

mod admission;
mod backup;
#[cfg(feature = "client")]
mod behind;
mod calls;
mod check;
mod concurrency;
mod controlled;
mod decision;
mod direct;
mod grower;
#[cfg(test)]
mod growth_tests;
mod handle;
mod health;
mod journaling;
mod keeper;
mod law;
mod mapping;
mod media;
mod meter;
mod newcomer;
mod open;
mod outcome;
mod overrides;
mod overriding;
#[cfg(test)]
mod power;
mod repeat;
mod reserving;
mod routing;
mod semaphore;
mod serialize;
mod shards;
mod shown;
mod store;
#[cfg(test)]
mod store_tests;
mod survey;
mod take;
mod tally;
mod telling;
#[cfg(feature = "watch")]
mod watch;
#[cfg(test)]
mod writer_death;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub use admission::{Admission, Running};
pub use concurrency::ConcurrencyOutcome;
pub use controlled::ControlSocket;
pub use decision::{Decision, LimitOutcome};
pub use direct::Key;
pub use grower::Growth;
pub use handle::Limit;
pub use health::Health;
pub use journaling::{Rebuilding, Recovery};
pub use mapping::{Lasts, Mapping, Placement};
pub use open::{Builder, WhenHeld};
pub use outcome::{Outcome, Verdict};
pub use overrides::{Override, OverrideKey};
pub use reserving::Reservations;
pub use routing::RouteUse;
pub use store::Opened;
#[cfg(feature = "watch")]
pub use watch::{Asked, Change, Watch};

use crate::counter::CounterStore;
use crate::error::Error;
use crate::idempotency::Turns;
use crate::in_force::InForce;
use crate::permits::PermitUsage;
use crate::policy::{Policy, PolicyDiff, Request};
use crate::sync::{AtomicU64, lock};
use check::Want;
use controlled::Control;
use decision::Identity;
use grower::GrowerThread;
use keeper::Keeper;
use law::Law;
pub(crate) use overrides::Overrides;
use store::Store;
pub(crate) use survey::survey_table;
use tally::Live;
pub(crate) use tally::figures;
#[cfg(feature = "dashboard")]
pub(crate) use tally::{Tally, Weight};

pub use crate::trouble::Trouble;
use crate::writer::Writer;
pub use crate::writer::Writing;

/// A rate limiter whose counters are kept in a directory.
///
/// Clones are the same limiter. A check of a key seen before takes no lock, does no I/O and
/// allocates nothing. A new key takes a lock, and while its part of the table grows it may wait
/// up to half a second.
///
/// ```
/// use tollgate::{Limiter, Policy, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let data = dir.path().join("data");
/// let policy = Policy::from_toml(
///     r#"
///     [limits.per-minute]
///     rate = "2/min"
///     key = "user"
///     "#,
/// )?;
/// let limiter = Limiter::open(&data, policy)?;
/// let request = Request::new().attribute("user", "alice");
/// assert!(limiter.check(&request).is_allowed());
/// assert!(limiter.check(&request).is_allowed());
/// let refused = limiter.check(&request);
/// assert!(!refused.is_allowed());
/// println!("{refused}"); // refused by per-minute: refused, 2 of 2 used, ...
/// limiter.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Limiter {
    inner: Arc<Inner>,
}

/// See [`Limiter::plan_in_force`].
#[cfg(feature = "tower")]
pub(crate) struct PlanInForce(law::OwnLaw);

#[cfg(feature = "tower")]
impl std::ops::Deref for PlanInForce {
    type Target = crate::policy::Plan;

    fn deref(&self) -> &Self::Target {
        self.0.plan()
    }
}

pub(crate) struct Inner {
    law: InForce<Law>,
    counters: CounterStore,
    store: Store,
    /// Of requests that have ids.
    turns: Turns,
    writer: Writer,
    /// Makes room in the tables.
    grower: Mutex<GrowerThread>,
    growth: Arc<Mutex<Growth>>,
    /// What the journal told; more is told when the writer has opened it.
    recovery: Arc<Mutex<Recovery>>,
    /// Checks that found no room for a counter.
    newcomers: AtomicU64,
    /// Counts what is decided while somebody looks.
    live: Live,
    /// Requests that a limit could not count, because they lacked its key.
    keyless: AtomicU64,
    keeper: Mutex<Option<Keeper>>,
    control: Mutex<Control>,
    /// Why the latest time seen could not be written, if it could not.
    trouble: Mutex<Option<String>>,
    /// True while those who watch know that something cannot be written.
    #[cfg(feature = "watch")]
    told_trouble: std::sync::atomic::AtomicBool,
    /// True once closed.
    closed: Mutex<bool>,
    /// When, and the process that opened it.
    opened_at: Instant,
    process: u32,
    /// Who is told of every decision.
    #[cfg(feature = "watch")]
    watches: watch::Watches,
}

impl Limiter {
    /// Opens the directory at `path`, made if there is none, with room for a million counters
    /// at the most.
    ///
    /// # Errors
    /// If another limiter has it open, it is not private to this user, it is damaged or of another
    /// format, or the system refuses.
    pub fn open(path: impl AsRef<Path>, policy: Policy) -> Result<Self, Error> {
        Self::builder(policy).open(path)
    }

    /// A limiter to be opened with more to say than a directory.
    pub fn builder(policy: Policy) -> Builder {
        Builder::new(policy)
    }

    /// Judges a request by all limits that it meets: allowed and charged to all, or refused and
    /// charged to none. Never more is admitted than a limit allows, under any number of threads:
    /// the README's table says how many that are for each algorithm. Two racing requests may both
    /// be refused where one had room, for an instant.
    ///
    /// It waits where a strict limit must first reserve on the disk: for one write, two seconds at
    /// most; for another request with the same id; and with a new key while its part of the table
    /// grows, half a second at most.
    ///
    /// A request that meets a limit on how many run at a time (`max_concurrent`) is refused as
    /// [`Verdict::NeedsPermit`], unless the limit is in shadow: there is nothing here to tell when
    /// the request has ended. Ask for it by [`acquire`](Self::acquire), which is this where no such
    /// limit is met; or, where permits are no matter, by [`check_rates`](Self::check_rates).
    #[inline]
    pub fn check(&self, request: &Request<'_>) -> Decision {
        self.judged(request, Want::Take)
    }

    /// As [`check`](Self::check), passing over limits on how many run at a time: to replay what has
    /// long ended, or where something else bounds what runs.
    #[inline]
    pub fn check_rates(&self, request: &Request<'_>) -> Decision {
        self.judged(request, Want::Rates)
    }

    /// What [`try_acquire`](Self::try_acquire) would say, charging and holding nothing.
    pub fn usage(&self, request: &Request<'_>) -> Decision {
        self.judged(request, Want::Look)
    }

    // In its caller, always: a decision is large, and would be moved out of here.
    #[inline(always)]
    fn judged(&self, request: &Request<'_>, want: Want) -> Decision {
        let mut decision = Decision::new(self.inner.law.read());
        self.inner.judge(request, want, &mut decision);
        if want != Want::Look {
            self.inner.tell(request, &decision);
        }
        decision
    }

    /// Gives back all that a decision took, but for a new key (`new_keys`), which keeps its
    /// counter, and forgets the request's id. What was taken in a window that has closed since is
    /// gone with it; nothing is credited beyond what a limit holds.
    pub fn refund(&self, mut decision: Decision) {
        let Decision { law, said } = &mut decision;
        // The id first: a repeat that comes in between is charged, and nothing is given twice.
        if let Identity::Kept(id) = &mut said.identity {
            self.inner.give_back(law, id);
        }
        for entry in &mut said.entries {
            // A new key keeps its slot, so it stays one of those that its address brought.
            if !law.limit(entry.limit).is_for_new_keys {
                self.inner.give_back(law, entry);
            }
        }
    }

    /// Gives back what those limits took that do not charge requests answered with this HTTP
    /// status: the policy's `charged_status`. The numbers of the decision are then without it.
    pub fn answered(&self, decision: &mut Decision, status: u16) {
        let Decision { law, said } = decision;
        for entry in &mut said.entries {
            let charged = law.limit(entry.limit).charged.as_ref();
            if charged.is_some_and(|statuses| !statuses.contains(status)) {
                self.inner.give_back(law, entry);
            }
        }
    }

    /// True if what a decision took may have to be given back once the status is known.
    #[cfg(feature = "tower")]
    pub(crate) fn awaits_status(&self, decision: &Decision) -> bool {
        let mut limits = decision.said.entries.iter().map(|entry| entry.limit);
        limits.any(|limit| decision.law.limit(limit).charged.is_some())
    }

    /// Settles an allowed decision for what it really cost: the difference is charged, into debt if
    /// need be, or given back. It concerns the limits that took their cost from the request, not
    /// those whose policy fixes it. Debt is bounded: a token bucket's to one whole burst, a
    /// window's to what it can count.
    pub fn settle(&self, decision: Decision, actual: u64) {
        for entry in &decision.said.entries {
            self.inner.settle(&decision.law, entry, actual);
        }
    }

    /// One limit, to be asked directly, without a request to match.
    ///
    /// # Errors
    /// If the policy in force has no limit of this name.
    pub fn limit(&self, name: &str) -> Result<Limit, Error> {
        Limit::new(&self.inner, name)
    }

    /// How many run and wait under all keys of a limit on that. Looks at every place for a key: for
    /// reports. One key's numbers are in [`usage`](Self::usage).
    ///
    /// # Errors
    /// If the policy in force has no limit of this name on how many run at a time.
    pub fn running(&self, limit: &str) -> Result<PermitUsage, Error> {
        let law = self.inner.law.current();
        let semaphore = law.semaphore_named(limit);
        let semaphore = semaphore.ok_or_else(|| Error::unknown_limit(limit))?;
        Ok(semaphore.permits().usage())
    }

    /// The plan in force, as this thread knows it: nothing that other threads count is touched.
    #[cfg(feature = "tower")]
    pub(crate) fn plan_in_force(&self) -> PlanInForce {
        PlanInForce(self.inner.law.read())
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        self.inner.law.current().policy.clone()
    }

    /// Puts another policy in force. Counts stay wherever a limit keeps its name and what it
    /// means: algorithm, window, time zone. Checks under way end under the old one.
    ///
    /// Where a token bucket gets another rate, by a policy, a tier or an override, the tokens that
    /// were used stay used: of 10 a day that are used up, 100 a minute leaves 90. A bucket fills at
    /// the rate at which it was last taken from. Where a policy or an override has ended that rate,
    /// the next request has it fill at the new one, as of then; a key that nobody asks for
    /// meanwhile goes on as before. More than the new burst counts as all of that if the new rate
    /// is faster or slower; if only the burst is another, and between tiers, it stays used in full.
    ///
    /// Permits given out stay valid and stay counted as long as a limit keeps its name. Those who
    /// wait for one wait on by the new numbers, or are let in where the limit is gone.
    ///
    /// Gives what that changed, as [`preview_policy`](Self::preview_policy) would have told before.
    ///
    /// # Errors
    /// If the policy cannot be put in force here, as when it changes the `max_keys` of a limit. The
    /// old one then stays.
    pub fn replace_policy(&self, policy: Policy) -> Result<PolicyDiff, Error> {
        let now = self.inner.counters.clock.now();
        let mut diff = PolicyDiff::default();
        self.inner.enact(|law| {
            let policy = policy.after(&law.policy);
            diff = law.diff(&policy);
            law.next(policy, law.overrides.clone(), now)
        })?;
        Ok(diff)
    }

    /// What [`replace_policy`](Self::replace_policy) would change.
    pub fn preview_policy(&self, policy: &Policy) -> PolicyDiff {
        self.inner.law.current().diff(policy)
    }

    /// Returns when every logged counter is durable as it was before the call: it survives a power
    /// cut from then on. By itself this happens once an interval, 100 ms unless it was opened with
    /// another.
    ///
    /// # Errors
    /// If the journal could not be written. It is tried again by itself; nothing is lost meanwhile
    /// but by a power cut.
    pub fn flush(&self) -> Result<(), Error> {
        self.inner.check_process()?;
        self.inner.writer.flush().map_err(Error::journal)?;
        self.inner
            .counters
            .ceilings
            .settle()
            .map_err(Error::journal)
    }

    /// Writes everything to the disk and marks the directory clean. Dropping the last clone does
    /// the same, but cannot say if it failed. Checks after it are still judged, from memory, but
    /// nothing promises to keep them. Whoever waits for a permit, or comes for one, is refused as
    /// [`Verdict::Closed`]; permits given out stay valid. A second close does nothing.
    ///
    /// # Errors
    /// If the system refuses to write. Nothing is marked clean then, and the counters still outlive
    /// the process.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.close()
    }
}

impl Inner {
    /// Puts the law in force that `next` makes of the present one.
    fn enact(&self, next: impl FnOnce(&Law) -> Result<Law, Error>) -> Result<(), Error> {
        let law = self.law.replace(|before| -> Result<Law, Error> {
            let law = next(before)?;
            if law.rates != before.rates {
                self.store.directory.write_rates(&law.rates)?;
            }
            Ok(law)
        })?;
        // Not under a lock: those who are let in are woken by code that is not ours. Who comes
        // late here changes nothing: the terms of permits have numbers.
        law.now.succeed(&law.before);
        if law.now.logs_more_than(&law.before) {
            self.counters.write_all();
        }
        Ok(())
    }

    /// # Errors
    /// In a process that was forked from the one that opened it: the threads did not come along,
    /// and the directory is still the other's.
    fn check_process(&self) -> Result<(), Error> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let why = "was opened by the process that this one was forked from, and is that one's";
        Err(Error::damaged(self.store.directory.path(), why))
    }

    fn close(&self) -> Result<(), Error> {
        self.check_process()?;
        self.law.current().close();
        let mut control = std::mem::take(&mut *lock(&self.control));
        control.stop();
        // Out of the lock before it is joined: its last tick may want to lock something, too.
        let keeper = lock(&self.keeper).take();
        if let Some(mut keeper) = keeper {
            keeper.stop();
        }
        let mut closed = lock(&self.closed);
        if !*closed {
            lock(&self.grower).stop();
            let settled = self.counters.ceilings.settle();
            self.counters.ceilings.stop();
            self.writer.stop().map_err(Error::journal)?;
            settled.map_err(Error::journal)?;
            self.store.close(self.counters.clock.now())?;
            *closed = true;
        }
        Ok(())
    }

    /// Called by the keeper ten times a second.
    fn tick(&self, number: u64) {
        self.counters.clock.adjust();
        let unsecured_at = self.counters.ceilings.unsecured_at();
        // All that was counted before that time is in the journal.
        let durable_at = self.writer.writing().durable_at;
        let unsecured = match (unsecured_at, self.store.had_unsecured) {
            (Some(at), _) => at >= durable_at,
            (None, had) => had && self.opened_at >= durable_at,
        };
        let marked = self.store.mark_unsecured(unsecured);
        self.live.tick();
        if number.is_multiple_of(10) {
            let trouble = self
                .store
                .mark_time(self.counters.clock.now())
                .and(marked)
                .err()
                .map(|error| error.to_string());
            *lock(&self.trouble) = trouble;
            #[cfg(feature = "watch")]
            self.tell_of_trouble();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left to be told; a directory that is not marked clean says it itself.
        let _ = self.close();
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Limiter({})",
            self.inner.store.directory.path().display()
        )
    }
}
