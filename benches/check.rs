//! The time of one check: a hot key, ten thousand keys, a million, and a refusal.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::{Limiter, Policy};

const POLICY: &str = r#"
    [limits.api]
    rate = "20000000/s burst 2000000000"
    key = "user"

    [limits.closed]
    rate = "1/day"
    key = "user"
"#;

fn limiter(dir: &std::path::Path) -> Limiter {
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    Limiter::builder(policy)
        .counters(2_000_000)
        .open(dir.join("data"))
        .expect("it opens")
}

/// Keys of 24 bytes.
fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("user-{number:019}"))
        .collect()
}

/// An order that no cache can guess, the same in every run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn checks(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let limiter = limiter(dir.path());
    let api = limiter.limit("api").expect("a limit");
    for count in [1_usize, 10_000, 1_000_000] {
        let keys = keys(count);
        for key in &keys {
            assert!(api.check(key).is_allowed());
        }
        let mut state = 0x9E37_79B9_7F4A_7C15;
        criterion.bench_function(&format!("check/{count} keys"), |bench| {
            bench.iter(|| {
                let pick = usize::try_from(next(&mut state) >> 1).unwrap_or(0) % count;
                black_box(api.check(&keys[pick]).is_allowed())
            });
        });
    }
    let closed = limiter.limit("closed").expect("a limit");
    assert!(closed.check("mallory").is_allowed());
    criterion.bench_function("refusal/1 key", |bench| {
        bench.iter(|| black_box(closed.check("mallory").is_allowed()));
    });
}

criterion_group!(benches, checks);
criterion_main!(benches);
