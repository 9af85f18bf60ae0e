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

fn rows(plan: &Plan) -> Vec<Row> {
    let plenty = Quota {
        count: 10_000_000,
        period_secs: 86_400,
    };
    let hot = Quota {
        count: 1_000_000_000,
        period_secs: 3_600,
    };
    let resting = Quota {
        count: 1_000_000_000,
        period_secs: 1,
    };
    let closed = Quota {
        count: 2,
        period_secs: 86_400,
    };
    let (large, huge) = plan.pick((100_000, 200_000), (1_000_000, 10_000_000));
    let base = Row {
        name: "",
        quota: plenty,
        keys: 1,
        order: Order::Uniform,
        threads: 1,
        all: true,
        batch: false,
        goal: None,
    };
    let zipf = Row {
        name: "Zipf 0.99",
        keys: large,
        order: Order::Zipf,
        ..base
    };
    let uniform = Row {
        name: "uniform",
        keys: huge,
        all: false,
        ..base
    };
    let mut rows = vec![Row {
        name: "hot",
        quota: hot,
        goal: Some(0.25),
        ..base
    }];
    for threads in [1, 2] {
        rows.extend([
            Row {
                name: "uniform",
                keys: 10_000,
                threads,
                goal: Some(0.3),
                ..base
            },
            Row {
                threads,
                goal: Some(0.25),
                ..zipf
            },
            Row {
                threads,
                goal: Some(0.25),
                ..uniform
            },
        ]);
    }
    let rest = "at rest: the exact clock";
    let refused = Row {
        name: "hot, refused",
        quota: closed,
        threads: 2,
        ..base
    };
    let at_once = Row {
        name: "Zipf 0.99, 16 at once",
        all: false,
        batch: true,
        ..zipf
    };
    rows.extend([
        Row {
            name: rest,
            quota: resting,
            keys: 10_000,
            all: false,
            ..base
        },
        Row {
            goal: Some(0.1),
            ..refused
        },
        Row {
            goal: Some(0.1),
            ..at_once
        },
        Row {
            name: "uniform, 16 at once",
            batch: true,
            goal: Some(0.07),
            ..uniform
        },
    ]);
    rows
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
    let block = if of.keys > 50_000 { 100_000 } else { 20_000 };
    let rounds = Rounds {
        rounds,
        threads: of.threads,
        block,
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
        rounds: plan.pick(11, 201),
        threads: 1,
        block: 20_000,
    };
    let found = row(&peers, &Keys::new(10_000), Order::Uniform, &rounds);
    report.goal(
        "10000 keys, logged; the same limit in memory only",
        &found[0],
        &found[1],
        1.053,
    );
}
