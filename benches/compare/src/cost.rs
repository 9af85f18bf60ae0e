//! How the cost of a check grows: with keys, limits, routes and threads. Two plots beside.

use std::fmt::Write;

use tollgate::{Limiter, Policy, Request};

use crate::Plan;
use crate::keys::{Keys, Order};
use crate::peers::{Governor, Peer, Quota, Tollgate, directory};
use crate::plot::{Pair, plot};
use crate::report::Report;
use crate::rounds::{Figure, Rounds, row, turns};

const QUOTA: Quota = Quota::LASTING;

pub fn tables(plan: &Plan, report: &mut Report) {
    by_keys(plan, report);
    by_threads(plan, report);
    by_limits(plan, report);
    by_routes(plan, report);
}

fn pair(at: usize, found: &[Figure], report: &mut Report) -> Pair {
    let (ours, theirs) = (&found[0], &found[1]);
    report.row(&[
        &at,
        ours,
        theirs,
        &format!("{:.2}", ours.median / theirs.median),
    ]);
    (at as f64, ours.median, theirs.median)
}

fn both(keys: usize) -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Tollgate::new(QUOTA, keys, false)),
        Box::new(Governor::new(QUOTA)),
    ]
}

fn draw(plan: &Plan, file: &str, title: &str, pairs: &[Pair]) {
    if let Some(folder) = &plan.plots {
        plot(&folder.join(file), title, pairs);
    }
}

fn by_keys(plan: &Plan, report: &mut Report) {
    let columns = ["keys", "Tollgate", "governor", "ratio"];
    report.table(
        "By the number of keys, uniform, one thread",
        "Nanoseconds a check.",
        &columns,
    );
    let pairs = (3..=plan.pick(5, 7)).map(|power| {
        let keys = 10_usize.pow(power);
        let rounds = Rounds {
            rounds: plan.rounds(),
            threads: 1,
        };
        pair(
            keys,
            &row(&both(keys), &Keys::new(keys), Order::Uniform, &rounds),
            report,
        )
    });
    let pairs: Vec<_> = pairs.collect();
    draw(
        plan,
        "keys.svg",
        "ns a check, by the number of keys",
        &pairs,
    );
}

fn by_threads(plan: &Plan, report: &mut Report) {
    let columns = ["threads", "Tollgate", "governor", "ratio"];
    report.table(
        "By threads, 10,000 keys, uniform",
        "Nanoseconds a check on each.",
        &columns,
    );
    let (peers, keys) = (both(10_000), Keys::new(10_000));
    let pairs = (1..=4).map(|threads| {
        let rounds = Rounds {
            rounds: plan.rounds(),
            threads,
        };
        pair(
            threads,
            &row(&peers, &keys, Order::Uniform, &rounds),
            report,
        )
    });
    let pairs: Vec<_> = pairs.collect();
    draw(
        plan,
        "threads.svg",
        "ns a check on each thread, by threads",
        &pairs,
    );
}

/// A request to `path` under each of these policies, in turns.
fn requests(plan: &Plan, policies: &[(String, String)]) -> Vec<Figure> {
    let dir = directory();
    let limiters = policies.iter().enumerate().map(|(number, (policy, path))| {
        let policy = Policy::from_toml(policy).expect("the policy is sound");
        let place = dir.path().join(number.to_string());
        let limiter = Limiter::builder(policy)
            .counters(10_000)
            .open(place)
            .expect("it opens");
        (
            limiter,
            Request::http("GET", path).attribute("user", "alice"),
        )
    });
    let limiters: Vec<_> = limiters.collect();
    let asked = limiters.iter().map(|(limiter, request)| {
        let ask = move |times: u64| {
            for _ in 0..times {
                assert!(std::hint::black_box(limiter.check(request)).is_allowed());
            }
        };
        ("Tollgate", Box::new(ask) as Box<dyn FnMut(u64)>)
    });
    turns(&mut asked.collect::<Vec<_>>(), plan.rounds(), 10_000)
}

fn limits(count: usize) -> String {
    let mut policy = String::new();
    for number in 0..count {
        let _ = writeln!(
            policy,
            "[limits.l{number}]\nrate = \"10000000/day\"\nkey = \"user\""
        );
    }
    policy
}

fn by_limits(plan: &Plan, report: &mut Report) {
    let title = "A request matched by no route, by the limits on its key";
    report.table(title, "", &["limits", "ns"]);
    let policies: Vec<_> = (1..=8)
        .map(|count| (limits(count), "/".to_owned()))
        .collect();
    for (before, figure) in requests(plan, &policies).iter().enumerate() {
        report.row(&[&(before + 1), figure]);
    }
}

fn by_routes(plan: &Plan, report: &mut Report) {
    let title = "A request with one limit, by the routes of the policy";
    report.table(title, "", &["routes", "ns"]);
    let counts: Vec<_> = (1..=plan.pick(3, 4))
        .map(|power| 10_usize.pow(power))
        .collect();
    let policies = counts.iter().map(|count| {
        let mut policy = limits(1);
        for number in 0..*count {
            let route = format!("GET /section{}/item{number}/{{id}}", number % 100);
            let _ = writeln!(policy, "[[routes]]\nroute = \"{route}\"\nlimits = [\"l0\"]");
        }
        (
            policy,
            format!("/section{}/item{}/7", (count / 2) % 100, count / 2),
        )
    });
    let policies: Vec<_> = policies.collect();
    for (count, figure) in counts.iter().zip(requests(plan, &policies)) {
        report.row(&[count, &figure]);
    }
}
