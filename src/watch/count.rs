//! Counters of the `metrics` facade.

use metrics::{SharedString, counter};

use super::{gauge, word};
use crate::limiter::{Asked, Decision, Limiter, Verdict, Watch};
use crate::policy::Request;

/// Counts decisions with the `metrics` facade, under whatever recorder the service installed.
///
/// `tollgate_requests_total` by `outcome`: `allowed`, `refused`, `exempt`, `malformed`;
/// `tollgate_decisions_total` by `limit` and `outcome`: the verdict in one word (`allowed`,
/// `would_refuse`, `refused`, `queue_full`, ...). Of a refused request only the limits that refuse
/// are counted, for the others took nothing. A limit asked directly is counted as a decision, and
/// is no request. Never by key: as many series as the policy has limits. Once a second, gauges of
/// the [`Health`](crate::Health) are set: `tollgate_journal_backlog`,
/// `tollgate_journal_oldest_unwritten_seconds`, `tollgate_journal_bytes`,
/// `tollgate_reservations_bytes`, `tollgate_reservations_missing`, `tollgate_table_slots`,
/// `tollgate_table_growing`, `tollgate_table_refused_newcomers`, `tollgate_troubles`, and by
/// `limit` `tollgate_permits_running` and `tollgate_permits_waiting`. Each has its description and
/// unit.
///
/// ```
/// # use tollgate::{Limiter, Policy, Request, Watch, watch::Metrics};
/// # use metrics_exporter_prometheus::PrometheusBuilder;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let prometheus = PrometheusBuilder::new().install_recorder()?;
/// let policy = Policy::from_toml("limits.a = { rate = \"1/s\" }")?;
/// let limiter = Limiter::builder(policy).watch(Metrics).open(dir.path().join("data"))?;
/// limiter.check(&Request::new());
/// # Metrics.ticked(&limiter);
/// // What GET /metrics is to answer, once a second has passed:
/// let text = prometheus.render();
/// assert!(text.contains("tollgate_requests_total{outcome=\"allowed\"} 1"));
/// assert!(text.contains("# HELP tollgate_journal_backlog Changed counters"));
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

    fn ticked(&self, limiter: &Limiter) {
        // A recorder may be installed at any time, and a description is cheap.
        gauge::describe();
        gauge::set(limiter);
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
