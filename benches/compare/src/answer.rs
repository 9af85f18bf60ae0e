//! A whole request: a route matched, three limits checked, every header written; beside a single
//! check of governor's, which does none of that.

use std::hint::black_box;

use tollgate::{Limiter, Policy, Request};

use crate::Plan;
use crate::peers::{Governor, Quota, directory};
use crate::report::Report;
use crate::rounds::{Timed, turns};

const POLICY: &str = r#"
    [limits.second]
    rate = "20000000/s burst 2000000000"
    key = "api_key"
    [limits.minute]
    rate = "1000000000/min"
    algorithm = "fixed window"
    key = "api_key"
    [limits.day]
    rate = "1000000000/day"
    algorithm = "calendar"
    key = "api_key"
    [tiers.secret]
    when = { api_key = "sk_*" }
    [[routes]]
    route = "GET /items/{id}"
    limits = ["second", "minute", "day"]
    [response]
    headers = ["x-ratelimit-unix", "x-ratelimit-tier", "retry-after"]
"#;
const KEY: &str = "sk_live_0123456789abcdef";

pub fn table(plan: &Plan, report: &mut Report) {
    let dir = directory();
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    let limiter = Limiter::open(dir.path().join("data"), policy).expect("it opens");
    let governor = Governor::new(Quota {
        count: 1_000_000_000,
        period_secs: 3_600,
    });
    let key = KEY.to_owned();
    let request = Request::http("GET", "/items/42").attribute("api_key", KEY);
    let mut buffer = String::new();
    let check = |times| (0..times).for_each(|_| drop(black_box(limiter.check(&request))));
    let answer = |times| {
        for _ in 0..times {
            buffer.clear();
            let decision = limiter.check(&request);
            decision.answer().headers(|name, value| {
                buffer.push_str(name);
                buffer.push_str(value);
            });
            black_box(buffer.len());
        }
    };
    let once = |times| (0..times).for_each(|_| assert!(black_box(governor.one(&key))));
    let mut all: Vec<Timed<'_>> = vec![
        (
            "Tollgate: route, tier, three limits, headers",
            Box::new(answer),
        ),
        ("Tollgate: route, tier, three limits", Box::new(check)),
        ("governor: one limit", Box::new(once)),
    ];
    let found = turns(&mut all, plan.pick(5, 51), 10_000);
    report.table(
        "A whole request, one hot key",
        "",
        &["", "ns", "times governor"],
    );
    let theirs = &found[2];
    for figure in &found {
        let ratio = format!("{:.2}", figure.median / theirs.median);
        report.row(&[&figure.name, figure, &ratio]);
    }
    report.goal(
        "a request: route, tier, three limits, headers",
        &found[0],
        theirs,
        2.0,
    );
}
