//! A whole request: a route matched, three limits checked, every header written; beside a single
//! check of governor's, which does none of that.

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{Criterion, criterion_group, criterion_main};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tollgate::{Limiter, Policy, Request};

const POLICY: &str = r#"
    [limits.second]
    rate = "1000000000/s"
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

fn answer(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let policy = Policy::from_toml(POLICY).expect("a policy");
    let limiter = Limiter::open(dir.path().join("data"), policy).expect("a limiter");
    let quota = Quota::per_second(NonZeroU32::new(1_000_000_000).expect("not zero"));
    let governor: DefaultKeyedRateLimiter<String> = RateLimiter::keyed(quota);
    let key = KEY.to_owned();
    let request = Request::http("GET", "/items/42").attribute("api_key", KEY);
    let mut group = c.benchmark_group("answer");
    group.bench_function("governor, one check", |b| {
        b.iter(|| black_box(governor.check_key(black_box(&key))));
    });
    group.bench_function("tollgate, three limits", |b| {
        b.iter(|| black_box(limiter.check(black_box(&request))));
    });
    let mut buffer = String::new();
    group.bench_function("tollgate, three limits and headers", |b| {
        b.iter(|| {
            buffer.clear();
            let decision = limiter.check(black_box(&request));
            decision.answer().headers(|name, value| {
                buffer.push_str(name);
                buffer.push_str(value);
            });
            black_box(buffer.len())
        });
    });
    group.finish();
}

criterion_group!(benches, answer);
criterion_main!(benches);
