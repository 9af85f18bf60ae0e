//! Keys that were never seen, while the table of them grows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::peers::{Governor, Peer, Quota, Tollgate};
use crate::report::Report;

const QUOTA: Quota = Quota::LASTING;
/// New keys in a block.
const BLOCK: usize = 16_384;

/// What the keys after the first tenth took, and the worst block of all.
struct Times {
    nanos: f64,
    worst: Duration,
}

pub fn table(plan: &Plan, report: &mut Report) {
    let keys = plan.pick(200_000, 10_000_000);
    let what = "From 1,000 keys on, one thread; the mean of the last nine tenths.";
    let columns = ["", "ns a key", &format!("worst block of {BLOCK}")];
    report.table(&format!("New keys, up to {keys}"), what, &columns);
    let ours = times(&Tollgate::growing(QUOTA, keys), keys);
    let theirs = times(&Governor::new(QUOTA), keys);
    for (name, times) in [("Tollgate, journal on", &ours), ("governor", &theirs)] {
        let worst = format!("{:.1} ms", times.worst.as_secs_f64() * 1e3);
        report.row(&[&name, &format!("{:.0}", times.nanos), &worst]);
    }
    let scenario = format!("a new key, up to {keys}, growth included");
    report.goal_of(&scenario, "ns", ours.nanos, ("governor", theirs.nanos), 0.4);
    let worst = ours.worst.as_secs_f64() * 1e3;
    let scenario = format!("worst block of {BLOCK} new keys");
    report.goal_of(&scenario, "ms", worst, ("the goal itself:", 10.0), 1.0);
}

fn times(peer: &dyn Peer, keys: usize) -> Times {
    let mut all = Vec::with_capacity(keys / BLOCK + 1);
    let order: Vec<_> = (0..u32::try_from(BLOCK).expect("a small number")).collect();
    let mut fresh = 0;
    let mut block = |count: usize| {
        // The making of keys is not what is timed; they are gone when they were asked for.
        let keys: Vec<_> = (fresh..fresh + count)
            .map(|n| format!("user-{n:019}"))
            .collect();
        fresh += count;
        let began = Instant::now();
        black_box(peer.run(&keys, &order[..count]));
        began.elapsed()
    };
    block(1_000);
    for _ in 0..keys / BLOCK {
        all.push(block(BLOCK));
    }
    let late = &all[all.len() / 10..];
    let nanos = late.iter().sum::<Duration>().as_secs_f64() * 1e9 / (late.len() * BLOCK) as f64;
    Times {
        nanos,
        worst: all.iter().copied().max().unwrap_or_default(),
    }
}
