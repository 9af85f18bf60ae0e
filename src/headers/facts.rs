//! The numbers that headers and bodies tell: those of the limit that rules.

use std::time::Duration;

use crate::limiter::{Decision, LimitOutcome, Verdict};
use crate::policy::{Fact, Filled, LimitTold, RefusalKind, RequestError};

/// What is known of a decision.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts<'d> {
    /// Why it is refused, if it is.
    pub(super) refusal: Option<RefusalKind>,
    pub(super) limit_name: Option<&'d str>,
    pub(super) limit: Option<u64>,
    pub(super) remaining: Option<u64>,
    used: Option<u64>,
    /// Unix time, rounded up.
    reset: Option<u64>,
    /// In seconds, rounded up.
    pub(super) reset_after: Option<u64>,
    /// In seconds, rounded up, at least one.
    pub(super) retry_after: Option<u64>,
    /// One that is allowed, to ask it how long the next has to wait.
    allowed: Option<&'d Decision>,
    tier: Option<&'d str>,
    pub(super) reason: Option<&'static str>,
}

/// Whole seconds that are not less than `span`.
pub(super) fn secs_ceil(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

fn kind(verdict: Verdict) -> Option<RefusalKind> {
    match verdict {
        Verdict::Allowed | Verdict::Repeated | Verdict::Shadowed => None,
        Verdict::Refused | Verdict::QueueFull | Verdict::WaitedTooLong => {
            Some(RefusalKind::Limited)
        }
        Verdict::Impossible
        | Verdict::KeyMissing
        | Verdict::CostUnreadable
        | Verdict::Malformed => Some(RefusalKind::Impossible),
        Verdict::TableFull
        | Verdict::Unwritable
        | Verdict::Closed
        | Verdict::NeedsPermit
        | Verdict::Unknown => Some(RefusalKind::Unavailable),
    }
}

/// False where no counter was asked: what is left is not known then.
fn has_numbers(verdict: Verdict) -> bool {
    let has_none = [Verdict::KeyMissing, Verdict::TableFull, Verdict::Unknown];
    !has_none.contains(&verdict)
}

impl<'d> Facts<'d> {
    pub(super) fn of(decision: &'d Decision) -> Self {
        let mut facts = Self {
            tier: decision.tier(),
            ..Self::default()
        };
        // In shadow a limit is nobody's business but the operator's.
        let ruling = decision.ruling().filter(|ruling| !ruling.is_shadow());
        if !decision.is_allowed() {
            let verdict = decision.verdict();
            facts.refusal = kind(verdict);
            facts.reason = Some(match (facts.refusal, decision.error()) {
                // What the limiter lacks is the operator's business.
                (Some(RefusalKind::Unavailable), _) => "unavailable, try again later",
                (_, Some(RequestError::PathAmbiguous)) => {
                    "refused, the path could mean another route"
                }
                _ => verdict.words(),
            });
            // Where only permits are lacking, no rate rules.
            let full = decision.concurrency_refusal();
            let full = full.filter(|_| ruling.is_none_or(|ruling| ruling.is_allowed()));
            if let Some(full) = full {
                facts.limit_name = Some(full.name());
                facts.limit = Some(u64::from(full.limit()));
                if has_numbers(full.verdict()) {
                    let free = u64::from(full.limit()).saturating_sub(full.running());
                    facts.remaining = Some(free);
                    facts.used = Some(full.running());
                }
                // Nobody knows how long those run who hold the permits.
                return facts;
            }
            let waits = facts.refusal != Some(RefusalKind::Impossible);
            facts.retry_after = decision
                .retry_after()
                .filter(|_| waits && decision.error().is_none())
                .map(|wait| secs_ceil(wait).max(1));
        } else {
            facts.allowed = Some(decision);
        }
        if let Some(ruling) = ruling {
            facts.rule(&ruling, decision.plan().response.limit);
        }
        facts
    }

    fn rule(&mut self, ruling: &LimitOutcome<'d>, told: LimitTold) {
        self.limit_name = Some(ruling.name());
        let shown = ruling.shown(told);
        if shown.limit == u64::MAX {
            // Unlimited: there is nothing to count down.
            return;
        }
        self.limit = Some(shown.limit);
        if !has_numbers(ruling.verdict()) {
            return;
        }
        self.remaining = Some(shown.remaining);
        self.used = Some(shown.used);
        self.reset = Some(shown.reset.as_secs_ceil());
        self.reset_after = Some(secs_ceil(ruling.until(shown.reset)));
    }

    /// How long another request like the one that was admitted has to wait, if it has to.
    fn wait_for_next(&self) -> Option<u64> {
        let wait = self.allowed?.next_after().filter(|wait| !wait.is_zero());
        wait.map(secs_ceil)
    }

    pub(super) fn get(&self, fact: Fact) -> Filled<'d> {
        let number = |number: Option<u64>| number.map_or(Filled::Unknown, Filled::Number);
        let word = |word: Option<&'d str>| word.map_or(Filled::Unknown, Filled::Word);
        match fact {
            Fact::Limit => number(self.limit),
            Fact::Remaining => number(self.remaining),
            Fact::Used => number(self.used),
            Fact::Reset => number(self.reset),
            Fact::ResetAfter => number(self.reset_after),
            Fact::RetryAfter => number(self.retry_after),
            Fact::Wait => number(self.retry_after.or_else(|| self.wait_for_next())),
            Fact::Tier => word(self.tier),
            Fact::LimitName => word(self.limit_name),
            Fact::Reason => word(self.reason),
            Fact::Status => Filled::Unknown,
        }
    }
}
