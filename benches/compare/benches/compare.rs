//! Tollgate beside governor, in one run: a hot key, ten thousand keys, a million.
//!
//! Both limit by token bucket, keyed by strings of 24 bytes, and always admit. Tollgate keeps its
//! counters in a directory; governor keeps them in memory, in its default store.

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use governor::{Quota, RateLimiter};
use tollgate::{Limiter, Policy};

const POLICY: &str = r#"
    [limits.api]
    rate = "1000000000/s"
    key = "user"
"#;

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user-{number:019}")).collect()
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn pick(state: &mut u64, count: usize) -> usize {
    usize::try_from(next(state) >> 1).unwrap_or(0) % count
}

fn compare(criterion: &mut Criterion) {
    for count in [1_usize, 10_000, 1_000_000] {
        let keys = keys(count);
        let dir = tempfile::tempdir().expect("a directory");
        let policy = Policy::from_toml(POLICY).expect("the policy is sound");
        let limiter = Limiter::builder(policy).counters(2_000_000).open(dir.path().join("data"));
        let limiter = limiter.expect("it opens");
        let ours = limiter.limit("api").expect("a limit");
        let theirs = RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX));
        for key in &keys {
            assert!(ours.check(key).is_allowed());
            assert!(theirs.check_key(key).is_ok());
        }
        let mut group = criterion.benchmark_group("check");
        let mut state = 0x9E37_79B9_7F4A_7C15;
        group.bench_function(BenchmarkId::new("tollgate", count), |bench| {
            bench.iter(|| black_box(ours.check(&keys[pick(&mut state, count)]).is_allowed()));
        });
        let mut state = 0x9E37_79B9_7F4A_7C15;
        group.bench_function(BenchmarkId::new("governor", count), |bench| {
            bench.iter(|| black_box(theirs.check_key(&keys[pick(&mut state, count)]).is_ok()));
        });
        group.finish();
    }
}

criterion_group!(benches, compare);
criterion_main!(benches);
