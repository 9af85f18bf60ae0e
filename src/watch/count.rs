//! Counters of the `metrics` facade.

use metrics::{SharedString, counter};

use super::word;
use crate::limiter::{Asked, Decision, Verdict, Watch};
use crate::policy::Request;

/// Counts decisions with the `metrics` facade, under whatever recorder the service installed.
///
/// `tollgate_requests_total` by `outcome`: `allowed`, `refused`, `exempt`, `malformed`;
/// `tollgate_decisions_total` by `limit` and `outcome`: the verdict in one word (`allowed`,
/// `would_refuse`, `refused`, `queue_full`, ...). Of a refused request only the limits that refuse
/// are counted, for the others took nothing. A limit asked directly is counted as a decision, and
/// is no request. Never by key: as many series as the policy has limits.
///
/// ```
/// # use tollgate::{Limiter, Policy, watch::Metrics};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let policy = Policy::from_toml("limits.a = { rate = \"1/s\" }")?;
/// let limiter = Limiter::builder(policy).watch(Metrics).open(dir.path().join("data"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics;

impl Watch for Metrics {
    fn decided(&self, _: &Request<'_>, decision: &Decision) {
        let is_allowed = decision.is_allowed();
        let outcome = match () {
            () if decision.error().is_some() => "malformed",
            () if decision.is_exempt() => "exempt",
            () if is_allowed => "allowed",
            () => "refused",
        };
        counter!("tollgate_requests_total", "outcome" => outcome).increment(1);
        let rates = decision.limits().map(|one| (one.name(), one.verdict()));
        for (name, verdict) in rates {
            count(name, verdict, is_allowed);
        }
        for one in decision.concurrency() {
            count(one.name(), one.verdict(), is_allowed);
        }
    }

    fn asked(&self, asked: &Asked<'_>) {
        let verdict = asked.outcome().verdict();
        count(asked.limit().name(), verdict, verdict.is_allowed());
    }
}

fn count(limit: &str, verdict: Verdict, is_allowed: bool) {
    if is_allowed || !verdict.is_allowed() {
        let limit = SharedString::from(limit.to_owned());
        counter!("tollgate_decisions_total", "limit" => limit, "outcome" => word(verdict))
            .increment(1);
    }
}
