//! What limits on how many run at a time say to a request.

use std::fmt;

use super::law::Law;
use super::outcome::Verdict;
use super::semaphore::Semaphore;
use crate::permits::{AcquireError, Ask, OwnedPermit, Permit, PermitKey};
use crate::policy::{ConcurrencyIndex, Refusal, UNLIMITED};

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
    /// What to ask the limit's permits.
    pub(super) fn ask(&self, semaphore: &Semaphore) -> Ask {
        Ask {
            key: self.key,
            weight: self.weight,
            level: self.level,
            limit: Some(semaphore.enforced_most(self.most)),
        }
    }

    /// Takes its permits if that needs no wait.
    pub(super) fn take(&self, semaphore: &Semaphore) -> Result<OwnedPermit, AcquireError> {
        let permit = semaphore.permits().try_ask(self.ask(semaphore));
        permit.map(Permit::into_owned)
    }

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

    /// The same, and how many run and wait now.
    pub(super) fn count_and_refuse(&mut self, law: &Law, verdict: Verdict) {
        self.count(law);
        self.refuse(law, verdict);
    }

    fn count(&mut self, law: &Law) {
        let usage = law
            .semaphore(self.limit)
            .permits()
            .usage_of(PermitKey(self.key));
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
