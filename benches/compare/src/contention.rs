//! One word that all threads want: a global limit.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Plan;
use crate::keys::{Keys, Order};
use crate::peers::{GovernorDirect, Peer, Quota, Tollgate};
use crate::report::Report;
use crate::rounds::{Rounds, row};

/// What any counter that all threads share costs at the least.
struct FetchAdd(AtomicU64);

impl Peer for FetchAdd {
    fn name(&self) -> &'static str {
        "fetch_add alone"
    }

    fn run(&self, _: &[String], order: &[u32]) -> u64 {
        let add = |_| {
            // Ordering: nothing else goes by this count.
            u64::from(self.0.fetch_add(1, Ordering::Relaxed) < u64::MAX / 2)
        };
        order.iter().map(add).sum()
    }
}

pub fn table(plan: &Plan, report: &mut Report) {
    let columns = [
        "threads",
        "Tollgate",
        "ratio",
        "governor, direct",
        "fetch_add alone",
    ];
    let what =
        "Nanoseconds a check on each thread. Governor's limiter here is the one without keys.";
    report.table("One limit for all: contention on one word", what, &columns);
    let quota = Quota {
        count: 1_000_000_000,
        period_secs: 86_400,
    };
    let peers: Vec<Box<dyn Peer>> = vec![
        Box::new(Tollgate::global(quota)),
        Box::new(GovernorDirect::new(quota)),
        Box::new(FetchAdd(AtomicU64::new(0))),
    ];
    for threads in [1, 2, 4] {
        let rounds = Rounds {
            rounds: plan.pick(5, 21),
            threads,
        };
        let found = row(&peers, &Keys::new(1), Order::Uniform, &rounds);
        let ratio = format!("**{:.2}**", found[0].median / found[1].median);
        report.row(&[&threads, &found[0], &ratio, &found[1], &found[2]]);
        report.compare(
            &format!("one global limit, threads: {threads}"),
            &found[..2],
        );
    }
}
