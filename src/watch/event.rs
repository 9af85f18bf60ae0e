//! Events of `tracing`.

use std::time::Duration;

use super::word;
use crate::limiter::{Asked, Change, Decision, Trouble, Verdict, Watch};
use crate::policy::Request;

/// An event of `tracing` for each refusal, at level `INFO` and with the target `tollgate`: which
/// limit refused, how, of which route and tier, and after how many milliseconds it is worth trying
/// again. What only a limit in shadow would have refused is an event at level `DEBUG`. A limit that
/// is asked directly has neither route nor tier to tell. That something cannot be written is one
/// event at level `WARN` with the first cause, that all can be again one at level `INFO`; so is
/// what an administrator changes, with who it was, and that the directory of another process was
/// taken over. Keys are never told: they may be secrets.
///
/// ```
/// # use tollgate::{Limiter, Policy, watch::Refusals};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let policy = Policy::from_toml("limits.a = { rate = \"1/s\" }")?;
/// let limiter = Limiter::builder(policy).watch(Refusals).open(dir.path().join("data"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusals;

impl Watch for Refusals {
    fn decided(&self, _: &Request<'_>, decision: &Decision) {
        if decision.is_allowed() {
            let limits = decision.limits();
            for shadow in limits.filter(|one| one.verdict() == Verdict::Shadowed) {
                tracing::debug!(
                    target: "tollgate",
                    limit = shadow.name(),
                    verdict = word(shadow.verdict()),
                    route = decision.route(),
                    tier = decision.tier(),
                    "would be refused"
                );
            }
            return;
        }
        let full = decision.concurrency_refusal();
        let full = full.map(|one| (one.name(), one.verdict()));
        let rate = decision.ruling().filter(|one| !one.is_allowed());
        let rate = rate.map(|one| (one.name(), one.verdict()));
        let refusing = rate.or(full);
        tracing::info!(
            target: "tollgate",
            limit = refusing.map(|(name, _)| name),
            verdict = refusing.map_or("malformed", |(_, verdict)| word(verdict)),
            route = decision.route(),
            tier = decision.tier(),
            retry_after_ms = decision.retry_after().map(millis),
            "refused"
        );
    }

    fn trouble(&self, trouble: Option<&Trouble>) {
        match trouble {
            Some(Trouble { since, first, .. }) => tracing::warn!(
                target: "tollgate",
                why = first,
                since_ms = millis(since.elapsed()),
                "cannot write"
            ),
            None => tracing::info!(target: "tollgate", "writes again"),
        }
    }

    fn changed(&self, change: &Change<'_>) {
        let Change {
            who, what, limit, ..
        } = *change;
        tracing::info!(target: "tollgate", who, what, limit, "changed");
    }

    fn took_over(&self, waited: Duration) {
        tracing::info!(target: "tollgate", waited_ms = millis(waited), "took over");
    }

    fn asked(&self, asked: &Asked<'_>) {
        let (limit, outcome) = (asked.limit().name(), asked.outcome());
        let verdict = outcome.verdict();
        if verdict == Verdict::Shadowed {
            tracing::debug!(target: "tollgate", limit, verdict = word(verdict), "would be refused");
        } else if !verdict.is_allowed() {
            tracing::info!(
                target: "tollgate",
                limit,
                verdict = word(verdict),
                retry_after_ms = outcome.retry_after().map(millis),
                "refused"
            );
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
