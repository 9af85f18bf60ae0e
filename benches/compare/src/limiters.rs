//! Limiters in memory, and Tollgate with its journal on.

use crate::Plan;
use crate::keys::{Keys, Order};
use crate::peers::{
    DashMapByHand, Governor, Limitador, Peer, Quota, Ratelimit, Throttlecrab, Tollgate,
};
use crate::report::Report;
use crate::rounds::{Rounds, row};

/// One row of the table.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    quota: Quota,
    keys: usize,
    order: Order,
    threads: usize,
    /// Whether all peers take part, or governor alone.
    all: bool,
    batch: bool,
    /// At most so many times governor's time.
    goal: Option<f64>,
}

pub fn table(plan: &Plan, report: &mut Report) {
    let title = "Limiters in memory, and Tollgate with its journal on";
    let what = "Nanoseconds a check, median and spread; ratio to governor.";
    report.table(
        title,
        what,
        &["keys", "threads", "Tollgate", "ratio", "governor", "others"],
    );
    for of in rows(plan) {
        measure(&of, plan.pick(5, 21), report);
    }
    against_memory(plan, report);
}

impl Row {
    /// So many a period, all peers.
    fn new(name: &'static str, count: u64, period_secs: u64, keys: usize) -> Self {
        Self {
            name,
            quota: Quota { count, period_secs },
            keys,
            order: Order::Uniform,
            threads: 1,
            all: true,
            batch: false,
            goal: None,
        }
    }

    fn zipf(self) -> Self {
        let order = Order::Zipf;
        Self { order, ..self }
    }

    fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Governor alone.
    fn few(self) -> Self {
        Self { all: false, ..self }
    }

    fn at_once(self, name: &'static str) -> Self {
        let batch = true;
        Self {
            name,
            batch,
            ..self
        }
    }

    fn goal(self, goal: f64) -> Self {
        let goal = Some(goal);
        Self { goal, ..self }
    }
}

fn rows(plan: &Plan) -> Vec<Row> {
    const DAY: u64 = 86_400;
    let (large, huge) = plan.pick((100_000, 200_000), (1_000_000, 10_000_000));
    let Quota { count, period_secs } = Quota::LASTING;
    let plenty = |name, keys| Row::new(name, count, period_secs, keys);
    let some = plenty("uniform", 10_000);
    let zipf = plenty("Zipf 0.99", large).zipf();
    let uniform = plenty("uniform", huge).few();
    let hot = Row::new("hot", 1_000_000_000, DAY, 1);
    // Full again before the next check of the same key, as the buckets of most keys are.
    let hot_at_rest = Row::new("hot, at rest", 20_000_000, 1, 1);
    let rest = Row::new("uniform, at rest", 20_000_000, 1, 10_000);
    // No token takes a whole number of units of 50 ns.
    let uneven = Row::new("uniform, uneven rate", 999_999_937, DAY, 10_000);
    let refused = Row::new("hot, refused", 2, DAY, 1);
    vec![
        hot_at_rest.few().goal(0.65),
        hot.goal(0.6),
        rest.few().goal(0.5),
        some.goal(0.5),
        uneven.few().goal(0.6),
        zipf.goal(0.28),
        uniform.goal(0.25),
        rest.few().threads(2).goal(0.5),
        some.threads(2).goal(0.5),
        zipf.threads(2).goal(0.28),
        uniform.threads(2).goal(0.25),
        refused.goal(0.55),
        refused.few().threads(2).goal(0.55),
        rest.few()
            .at_once("uniform, at rest, 16 at once")
            .goal(0.35),
        some.few().at_once("uniform, 16 at once").goal(0.35),
        zipf.few().at_once("Zipf 0.99, 16 at once").goal(0.09),
        uniform.at_once("uniform, 16 at once").goal(0.08),
    ]
}

fn measure(of: &Row, rounds: usize, report: &mut Report) {
    let keys = Keys::new(of.keys);
    let mut peers: Vec<Box<dyn Peer>> = vec![
        Box::new(Tollgate::new(of.quota, of.keys, of.batch)),
        Box::new(Governor::new(of.quota)),
    ];
    if of.all {
        peers.push(Box::new(Ratelimit::new(of.quota)));
        peers.push(Box::new(DashMapByHand::new(of.quota)));
    }
    // Bound: with more keys these take microseconds a check, and the run would take an hour.
    if of.all && of.keys <= 10_000 {
        peers.push(Box::new(Throttlecrab::new(of.quota)));
        peers.push(Box::new(Limitador::new(of.quota)));
    }
    let rounds = Rounds {
        rounds,
        threads: of.threads,
    };
    let found = row(&peers, &keys, of.order, &rounds);
    let [ours, theirs, others @ ..] = &found[..] else {
        return;
    };
    let (ratio, name) = (
        ours.median / theirs.median,
        format!("{}, {}", of.keys, of.name),
    );
    let others: Vec<_> = others
        .iter()
        .map(|other| format!("{} {other}", other.name))
        .collect();
    let ratio = format!("**{ratio:.2}**");
    report.row(&[&name, &of.threads, ours, &ratio, theirs, &others.join(", ")]);
    let scenario = format!("keys: {name}; threads: {}", of.threads);
    report.compare(&scenario, &found);
    if let Some(goal) = of.goal {
        report.goal(scenario, ours, theirs, goal);
    }
}

/// What the journal costs: a logged limit beside the same in memory only.
fn against_memory(plan: &Plan, report: &mut Report) {
    let quota = Quota {
        count: 10_000_000,
        period_secs: 86_400,
    };
    let peers: Vec<Box<dyn Peer>> = vec![
        Box::new(Tollgate::new(quota, 10_000, false)),
        Box::new(Tollgate::in_memory(quota, 10_000)),
    ];
    let rounds = Rounds {
        rounds: plan.pick(11, 101),
        threads: 1,
    };
    let found = row(&peers, &Keys::new(10_000), Order::Uniform, &rounds);
    report.goal(
        "10000 keys, logged; the same limit in memory only",
        &found[0],
        &found[1],
        1.053,
    );
}
