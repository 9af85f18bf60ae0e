//! The limits on how many run at a time: their permits, kept from one law to the next.

use std::fmt;
use std::sync::Arc;

use super::law::Law;
use super::outcome::Verdict;
use crate::error::Error;
use crate::permits::{AcquireError, Ask, OwnedPermit, Permit, PermitTerms, Permits};
use crate::policy::{ConcurrencyIndex, ConcurrencySpec, Refusal, UNLIMITED};

/// A limit's permits, and the terms that a law wants for them.
#[derive(Clone, Debug)]
pub(super) struct Semaphore {
    permits: Arc<Permits>,
    keys_max: u32,
    /// As the policy says; a limit in shadow lets in more.
    terms: Arc<PermitTerms>,
    is_shadow: bool,
}

impl Semaphore {
    /// The permits of a limit: those that there were `before`, if there were, with all who run and
    /// wait.
    ///
    /// # Errors
    /// If the room for keys would have to change with permits out.
    pub(super) fn new(
        spec: &ConcurrencySpec,
        terms: PermitTerms,
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let terms = Arc::new(terms);
        let what = || format!("limit {:?}", spec.name);
        let permits = match before {
            Some(before) if before.keys_max != spec.keys_max => {
                let (old, new) = (before.keys_max, spec.keys_max);
                let why = format!("max_keys cannot change from {old} to {new} while it is open");
                return Err(Error::invalid(what(), why));
            }
            Some(before) => Arc::clone(&before.permits),
            None => {
                let terms = enforced(&terms, spec.shadow);
                let permits = Permits::under(terms, spec.wait_max, spec.keys_max);
                Arc::new(permits.map_err(|error| Error::invalid(what(), error.to_string()))?)
            }
        };
        Ok(Self {
            permits,
            keys_max: spec.keys_max,
            terms,
            is_shadow: spec.shadow,
        })
    }

    /// Puts the terms in force, for those who wait, too.
    pub(super) fn enforce(&self) {
        self.permits
            .set_terms(&enforced(&self.terms, self.is_shadow));
    }

    /// Lets in all who wait: from law number `generation` on there is no such limit.
    pub(super) fn abolish(&self, generation: u64) {
        self.permits.set_terms(&Arc::new(unlimited(generation)));
    }

    pub(super) fn close(&self) {
        self.permits.close();
    }

    /// How many may run at a time.
    pub(super) fn most(&self, key: u64, level: u64) -> u32 {
        self.terms.limit(key, level)
    }

    pub(super) fn permits(&self) -> &Permits {
        &self.permits
    }

    /// What to ask the permits for an entry.
    pub(super) fn ask(&self, entry: &ConcurrencyEntry) -> Ask {
        let most = match self.is_shadow {
            true => UNLIMITED,
            false => entry.most,
        };
        Ask {
            key: entry.key,
            weight: entry.weight,
            level: entry.level,
            limit: Some(most),
        }
    }

    /// Takes an entry's permits if that needs no wait.
    pub(super) fn take(&self, entry: &ConcurrencyEntry) -> Result<OwnedPermit, AcquireError> {
        let permit = self.permits.try_ask(self.ask(entry));
        permit.map(Permit::into_owned)
    }
}

/// The terms that the permits of a limit go by: in shadow nobody is refused and nobody waits.
fn enforced(terms: &Arc<PermitTerms>, is_shadow: bool) -> Arc<PermitTerms> {
    match is_shadow {
        true => Arc::new(unlimited(terms.generation)),
        false => Arc::clone(terms),
    }
}

fn unlimited(generation: u64) -> PermitTerms {
    PermitTerms {
        limit: UNLIMITED,
        generation,
        ..PermitTerms::default()
    }
}

/// One limit's part in a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConcurrencyEntry {
    pub(super) limit: ConcurrencyIndex,
    pub(super) key: u64,
    pub(super) level: u64,
    pub(super) weight: u32,
    pub(super) most: u32,
    pub(super) running: u64,
    pub(super) waiting: u64,
    pub(super) verdict: Verdict,
}

impl ConcurrencyEntry {
    /// Notes what the permits said, and how many run and wait now.
    pub(super) fn answered(&mut self, law: &Law, answer: Result<(), AcquireError>) {
        let is_shadow = law.concurrency(self.limit).shadow;
        self.verdict = match answer {
            Ok(()) => Verdict::Allowed,
            Err(AcquireError::QueueFull) => Verdict::QueueFull,
            Err(AcquireError::WaitedTooLong) => Verdict::WaitedTooLong,
            Err(AcquireError::Closed) => Verdict::Closed,
            Err(AcquireError::Impossible) => Verdict::Impossible,
            Err(AcquireError::TooManyKeys) => Verdict::TableFull,
        };
        self.count(law);
        let is_over = self.running > u64::from(self.most);
        if is_shadow && (is_over || !self.verdict.is_allowed()) {
            self.verdict = Verdict::Shadowed;
        }
    }

    /// Notes what the permits would say to a try without a wait.
    pub(super) fn looked(&mut self, law: &Law) {
        self.count(law);
        let is_free = self.waiting == 0
            && self.running.saturating_add(u64::from(self.weight)) <= u64::from(self.most);
        self.verdict = match is_free {
            _ if self.weight == 0 || self.weight > self.most => Verdict::Impossible,
            true => Verdict::Allowed,
            false => Verdict::QueueFull,
        };
        self.refuse(law, self.verdict);
    }

    /// Notes a verdict that is no matter of permits.
    pub(super) fn refuse(&mut self, law: &Law, verdict: Verdict) {
        let is_shadow = law.concurrency(self.limit).shadow && !verdict.is_allowed();
        self.verdict = match is_shadow {
            true => Verdict::Shadowed,
            false => verdict,
        };
    }

    fn count(&mut self, law: &Law) {
        let usage = law.semaphore(self.limit).permits().usage_of(self.key);
        (self.running, self.waiting) = (usage.running, usage.waiting);
    }
}

/// The verdict on a request that no wait can help.
pub(super) fn hopeless(refusal: Refusal) -> Verdict {
    match refusal {
        Refusal::KeyMissing => Verdict::KeyMissing,
        Refusal::CostTooHigh { .. } => Verdict::Impossible,
        Refusal::CostUnreadable => Verdict::CostUnreadable,
    }
}

/// What one limit on how many run at a time says to a request, by name.
#[derive(Clone, Copy)]
pub struct ConcurrencyOutcome<'d> {
    pub(super) name: &'d str,
    pub(super) is_shadow: bool,
    pub(super) entry: &'d ConcurrencyEntry,
}

impl<'d> ConcurrencyOutcome<'d> {
    /// The limit's name in the policy.
    pub fn name(&self) -> &'d str {
        self.name
    }

    /// True for a limit that is counted and reported but never refuses and never makes wait.
    pub fn is_shadow(&self) -> bool {
        self.is_shadow
    }

    /// What the limit says.
    pub fn verdict(&self) -> Verdict {
        self.entry.verdict
    }

    /// True if the limit lets the request pass.
    pub fn is_allowed(&self) -> bool {
        self.verdict().is_allowed()
    }

    /// How many may run at a time under the request's key; `u32::MAX` for a limit that is
    /// unlimited.
    pub fn limit(&self) -> u32 {
        self.entry.most
    }

    /// How many permits the request takes.
    pub fn weight(&self) -> u32 {
        self.entry.weight
    }

    /// Permits out under the request's key when this was decided, its own among them if it got
    /// them.
    pub fn running(&self) -> u64 {
        self.entry.running
    }

    /// Requests that waited under the request's key when this was decided.
    pub fn waiting(&self) -> u64 {
        self.entry.waiting
    }
}

/// In one line: the verdict and the numbers behind it.
impl fmt::Display for ConcurrencyOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (running, most) = (self.running(), self.limit());
        match self.verdict() {
            Verdict::Allowed if most == UNLIMITED => write!(f, "allowed, {running} running"),
            Verdict::Allowed => write!(f, "allowed, {running} of {most} running"),
            Verdict::Shadowed => write!(f, "would be refused, {running} of {most} running"),
            Verdict::QueueFull => {
                let waiting = self.waiting();
                write!(
                    f,
                    "refused, {running} of {most} running and {waiting} waiting, "
                )?;
                write!(f, "no more may wait")
            }
            Verdict::WaitedTooLong => {
                write!(
                    f,
                    "refused, waited too long with {running} of {most} running"
                )
            }
            Verdict::Impossible => {
                let weight = self.weight();
                write!(f, "impossible, {weight} of {most} at a time cannot be had")
            }
            Verdict::TableFull => write!(f, "refused, too many different keys are running"),
            other => other.fmt(f),
        }
    }
}

impl fmt::Debug for ConcurrencyOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.name)
    }
}
