//! Percentiles of single checks.

use std::hint::black_box;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::Plan;
use crate::keys::{Keys, Order};
use crate::peers::{Governor, Quota, Tollgate};
use crate::report::Report;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

fn time<T>(times: &mut Histogram<u64>, run: impl FnOnce() -> T) {
    let began = Instant::now();
    black_box(run());
    times.saturating_record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
}

pub fn table(plan: &Plan, report: &mut Report) {
    let (count, blocks) = plan.pick((100_000, 10), (1_000_000, 100));
    let quota = Quota::LASTING;
    let keys = Keys::new(count);
    let (ours, theirs) = (Tollgate::new(quota, count, false), Governor::new(quota));
    let all: Vec<_> = (0..u32::try_from(count).expect("few keys")).collect();
    crate::peers::Peer::run(&ours, &keys.0, &all);
    crate::peers::Peer::run(&theirs, &keys.0, &all);
    let both = |thread: u64| {
        let mut times = [histogram(), histogram(), histogram()];
        for block in 0..blocks {
            let order = keys.order(Order::Zipf, block * 2 + thread, 10_000);
            let keys = order.iter().map(|place| &keys.0[*place as usize]);
            keys.clone()
                .for_each(|key| time(&mut times[0], || ours.one(key)));
            keys.clone()
                .for_each(|key| time(&mut times[1], || theirs.one(key)));
            keys.for_each(|key| time(&mut times[2], || key.len()));
        }
        times
    };
    let both = &both;
    let [first, second] = std::thread::scope(|scope| {
        let threads = [0, 1].map(|thread| scope.spawn(move || both(thread)));
        threads.map(|thread| thread.join().expect("it ends"))
    });
    let title = format!("Latency of single checks: {count} keys, Zipf 0.99, two threads");
    let columns = ["", "p50", "p99", "p99.9", "max"];
    report.table(
        &title,
        "Nanoseconds, with the clock's own in them.",
        &columns,
    );
    let names = ["Tollgate, journal on", "governor", "the clock alone"];
    let merged = first.into_iter().zip(second).map(|(mut one, other)| {
        one.add(other).expect("the same bounds");
        one
    });
    let merged: Vec<_> = merged.collect();
    for (name, times) in names.iter().zip(&merged) {
        let at = |quantile| times.value_at_quantile(quantile);
        report.row(&[name, &at(0.5), &at(0.99), &at(0.999), &times.max()]);
    }
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let at = |place: usize| merged[place].value_at_quantile(quantile) as f64;
        let scenario = format!("one check, {count} keys, Zipf 0.99, 2 threads: {name}");
        report.goal_of(&scenario, "ns", at(0), ("governor", at(1)), 0.5);
    }
}
