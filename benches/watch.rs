//! What it costs to be watched: the same check with nobody told, and with each of those that come
//! with the crate; requests, and a limit asked directly.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use metrics_util::debugging::DebuggingRecorder;
use tollgate::watch::{Metrics, Refusals};
use tollgate::{Builder, Dashboard, Limiter, Policy, Request};

const POLICY: &str = r#"
    [limits.api]
    rate = "20000000/s burst 2000000000"
    key = "user"
"#;

const KEYS: usize = 10_000;

fn watches(criterion: &mut Criterion) {
    // Counters that are kept, as a service's recorder would.
    DebuggingRecorder::new()
        .install()
        .expect("the first recorder");
    time(criterion, "nobody", |builder| builder);
    time(criterion, "metrics", |builder| builder.watch(Metrics));
    time(criterion, "refusals", |builder| builder.watch(Refusals));
    time(criterion, "dashboard", |builder| {
        builder.watch(Dashboard::new())
    });
    time(criterion, "dashboard, each key", |builder| {
        builder.watch(Dashboard::new().sample(1))
    });
}

fn time(criterion: &mut Criterion, who: &str, watched: impl FnOnce(Builder) -> Builder) {
    let dir = tempfile::tempdir().expect("a directory");
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    let builder = watched(Limiter::builder(policy).counters(100_000));
    let limiter = builder.open(dir.path().join("data")).expect("it opens");
    let api = limiter.limit("api").expect("a limit");
    let users: Vec<String> = (0..KEYS).map(|user| format!("user-{user:019}")).collect();
    let mut user = 0;
    let mut next = || {
        user = (user + 7_919) % KEYS;
        &*users[user]
    };
    criterion.bench_function(&format!("request/{who}"), |bench| {
        bench.iter(|| {
            let request = Request::http("GET", "/").attribute("user", next());
            black_box(limiter.check(&request).is_allowed())
        });
    });
    criterion.bench_function(&format!("limit asked directly/{who}"), |bench| {
        bench.iter(|| black_box(api.check(next()).is_allowed()));
    });
}

criterion_group!(benches, watches);
criterion_main!(benches);
