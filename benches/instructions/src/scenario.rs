//! What is counted: each scenario in a process of its own, warmed up first.

use std::hint::black_box;
use std::time::Duration;

use tollgate::{Limit, Limiter, Policy, Request};

/// A name, and over how many checks the instructions are shared out.
pub struct Scenario {
    pub name: &'static str,
    pub checks: u64,
    policy: &'static str,
    run: fn(&Limiter, u64),
}

pub const SCENARIOS: &[Scenario] = &[
    asked("bucket, one key", |of, n| hot(of, "bucket", n)),
    asked("bucket at rest, one key", |of, n| hot(of, "rest", n)),
    asked("bucket, ticks between nanoseconds, one key", |of, n| {
        hot(of, "uneven", n)
    }),
    asked("refused, one key", |of, n| hot(of, "closed", n)),
    asked("fixed window, one key", |of, n| hot(of, "fixed", n)),
    asked("sliding window, one key", |of, n| hot(of, "sliding", n)),
    asked("bucket, 10,000 keys", one_by_one),
    asked("bucket, 10,000 keys, 16 at once", at_once),
    asked("bucket, new keys", new_keys),
    requested("three limits", request),
    requested("three limits, headers", answer),
    requested("permit, in and out", permit),
];

/// A limit asked by itself.
const fn asked(name: &'static str, run: fn(&Limiter, u64)) -> Scenario {
    let (policy, checks) = (LIMITS, 10_000);
    Scenario {
        name,
        checks,
        policy,
        run,
    }
}

/// A request that a route matches.
const fn requested(name: &'static str, run: fn(&Limiter, u64)) -> Scenario {
    let (policy, checks) = (ROUTES, 2_000);
    Scenario {
        name,
        checks,
        policy,
        run,
    }
}

/// The bucket's tokens take seconds to come back; those of the one at rest are back at once.
const LIMITS: &str = r#"
    [limits.bucket]
    rate = "20000/day"
    key = "user"
    [limits.rest]
    rate = "20000000/s"
    durability = "logged"
    key = "user"
    [limits.uneven]
    rate = "30/s burst 10000000"
    durability = "logged"
    key = "user"
    [limits.closed]
    rate = "2/day"
    key = "user"
    [limits.fixed]
    rate = "10000000/day"
    algorithm = "fixed window"
    key = "user"
    [limits.sliding]
    rate = "10000000/day"
    algorithm = "sliding window"
    key = "user"
"#;

const ROUTES: &str = r#"
    [limits.bucket]
    rate = "20000/day"
    key = "user"
    [limits.fixed]
    rate = "10000000/h"
    algorithm = "fixed window"
    key = "user"
    [limits.calendar]
    rate = "10000000/day"
    algorithm = "calendar"
    key = "user"
    [limits.running]
    max_concurrent = 4
    key = "user"

    [tiers.secret]
    when = { user = "sk_*" }

    [[routes]]
    route = "GET /items/{id}"
    limits = ["bucket", "fixed", "calendar"]
    [[routes]]
    route = "POST /reports/**"
    limits = ["running"]

    [response]
    headers = ["x-ratelimit-unix", "x-ratelimit-tier", "retry-after"]
"#;

/// Of 24 bytes, as all keys here are.
const KEY: &str = "user-0000000000000000042";

/// What callgrind counts; found by its name, so it must stay a function.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    run();
}

pub fn run(name: &str) {
    let scenario = SCENARIOS
        .iter()
        .find(|one| one.name == name)
        .expect("a scenario's name");
    let dir = tempfile::tempdir().expect("a directory");
    // Nothing grows, and nothing is written meanwhile: both are other threads' work.
    let limiter =
        Limiter::builder(Policy::from_toml(scenario.policy).expect("the policy is sound"))
            .counters(100_000)
            .counters_at_first(100_000)
            .interval(Duration::from_secs(3_600))
            .open(dir.path().join("data"))
            .expect("it opens");
    wait_for_the_counter(&limiter);
    (scenario.run)(&limiter, scenario.checks);
}

/// The processor's counter is read once the clock knows its rate, after two looks; where the kernel
/// does not go by it, the kernel is asked, which costs more.
fn wait_for_the_counter(limiter: &Limiter) {
    for _ in 0..100 {
        if limiter.health().clock.is_some_and(|clock| clock.reads_counter) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("the clock does not go by the processor's counter here");
}

fn limit(limiter: &Limiter, name: &str) -> Limit {
    limiter.limit(name).expect("a limit of the policy")
}

fn keys(count: u64) -> Vec<String> {
    (0..count)
        .map(|number| format!("user-{number:019}"))
        .collect()
}

fn hot(limiter: &Limiter, name: &str, checks: u64) {
    let limit = limit(limiter, name);
    let check = |checks| {
        (0..checks).for_each(|_| {
            black_box(limit.check(black_box(KEY)));
        })
    };
    check(1_000);
    counted(&mut || check(checks));
    assert_eq!(limit.check(KEY).is_allowed(), name != "closed");
}

fn one_by_one(limiter: &Limiter, checks: u64) {
    let (limit, keys) = (limit(limiter, "bucket"), keys(checks));
    let mut check = || {
        keys.iter().for_each(|key| {
            black_box(limit.check(key));
        })
    };
    check();
    counted(&mut check);
}

fn at_once(limiter: &Limiter, checks: u64) {
    let (limit, keys) = (limit(limiter, "bucket"), keys(checks));
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let mut check = || {
        for batch in keys.chunks(16) {
            limit.check_many(batch, |_, one| {
                black_box(one);
            });
        }
    };
    check();
    counted(&mut check);
}

fn new_keys(limiter: &Limiter, checks: u64) {
    let (limit, keys) = (limit(limiter, "bucket"), keys(checks + 1_000));
    let (before, new) = keys.split_at(1_000);
    let check = |keys: &[String]| {
        keys.iter().for_each(|key| {
            black_box(limit.check(key));
        })
    };
    check(before);
    counted(&mut || check(new));
}

fn item() -> Request<'static> {
    Request::http("GET", "/items/42").attribute("user", KEY)
}

fn request(limiter: &Limiter, checks: u64) {
    let request = item();
    assert_eq!(limiter.check(&request).limits().len(), 3);
    let check = |n| (0..n).for_each(|_| drop(black_box(limiter.check(black_box(&request)))));
    check(1_000);
    counted(&mut || check(checks));
}

fn answer(limiter: &Limiter, checks: u64) {
    let (request, mut buffer) = (item(), String::new());
    let mut check = |checks| {
        for _ in 0..checks {
            buffer.clear();
            let decision = limiter.check(black_box(&request));
            decision.answer().headers(|name, value| {
                buffer.push_str(name);
                buffer.push_str(value);
            });
            black_box(buffer.len());
        }
    };
    check(1_000);
    counted(&mut || check(checks));
}

fn permit(limiter: &Limiter, checks: u64) {
    let request = Request::http("POST", "/reports/7").attribute("user", KEY);
    let acquire = |n| (0..n).for_each(|_| drop(black_box(limiter.acquire(black_box(&request)))));
    acquire(1_000);
    counted(&mut || acquire(checks));
}
