//! Permits beside `tokio::sync::Semaphore`: alone, contended, with a line of waiters, and keyed.
//!
//! Keyed, the peer is what services build: a `DashMap` from the key to a shared semaphore, which
//! grows with every key. Ours forgets idle keys; keys are hashed with the standard library's
//! hasher on both sides. `acquire` of a limiter is the whole way: the policy, the key, the permit.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use tokio::sync::Semaphore;
use tollgate::{Limiter, PermitRule, Permits, Policy, Request};

const POLICY: &str = r#"
    [limits.heavy]
    max_concurrent = 4
    queue = 16
    key = "user"
    max_keys = 100000
"#;

fn permits(limit: u32, keys_max: u32) -> Permits {
    let rule = PermitRule {
        queue_max: 1_000,
        wait_max: Duration::MAX,
        keys_max,
        ..PermitRule::new(limit)
    };
    Permits::new(rule).expect("the rule is sound")
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks a thread on a future: what a blocking call costs a semaphore that has none.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// In and out with nobody else there.
fn uncontended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("permits/uncontended");
    let ours = permits(4, 64);
    group.bench_function("tollgate", |bench| {
        bench.iter(|| drop(black_box(ours.try_acquire(1, 1).expect("there is room"))));
    });
    let theirs = Semaphore::new(4);
    group.bench_function("tokio", |bench| {
        bench.iter(|| drop(black_box(theirs.try_acquire().expect("there is room"))));
    });
    group.finish();
}

/// How long `threads` take for so many rounds each of `round`.
fn race(threads: usize, rounds: u64, round: impl Fn() + Sync) -> Duration {
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                barrier.wait();
                (0..rounds).for_each(|_| round());
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        start.elapsed()
    })
}

/// Two threads: with room for both, and with room for one, so that each waits for the other.
fn contended(criterion: &mut Criterion) {
    for limit in [2_u32, 1] {
        let mut group = criterion.benchmark_group("permits/two threads");
        let ours = permits(limit, 64);
        group.bench_function(BenchmarkId::new("tollgate", limit), |bench| {
            let round = || drop(black_box(ours.acquire(1, 1).expect("its turn comes")));
            bench.iter_custom(|rounds| race(2, rounds, round));
        });
        let theirs = Semaphore::new(usize::try_from(limit).unwrap_or(1));
        group.bench_function(BenchmarkId::new("tokio", limit), |bench| {
            let round = || drop(black_box(block_on(theirs.acquire()).expect("its turn comes")));
            bench.iter_custom(|rounds| race(2, rounds, round));
        });
        group.finish();
    }
}

/// Sixty-four tasks of one thread in line for one permit, which each holds over a yield: the time
/// of one turn.
fn waiters(criterion: &mut Criterion) {
    const TASKS: u64 = 64;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = criterion.benchmark_group("permits/64 waiters");
    let ours = Arc::new(permits(1, 64));
    group.bench_function("tollgate", |bench| {
        bench.iter_custom(|rounds| {
            runtime.block_on(run(TASKS, rounds, |turns| {
                let ours = ours.clone();
                async move {
                    for _ in 0..turns {
                        let permit = ours.acquire_async(1, 1).await;
                        tokio::task::yield_now().await;
                        drop(permit);
                    }
                }
            }))
        });
    });
    let theirs = Arc::new(Semaphore::new(1));
    group.bench_function("tokio", |bench| {
        bench.iter_custom(|rounds| {
            runtime.block_on(run(TASKS, rounds, |turns| {
                let theirs = theirs.clone();
                async move {
                    for _ in 0..turns {
                        let permit = theirs.acquire().await;
                        tokio::task::yield_now().await;
                        drop(permit);
                    }
                }
            }))
        });
    });
    group.finish();
}

/// The time of `rounds` turns, shared by so many tasks.
async fn run<F: Future<Output = ()> + Send + 'static>(
    tasks: u64,
    rounds: u64,
    task: impl Fn(u64) -> F,
) -> Duration {
    let turns = rounds.div_ceil(tasks);
    let start = Instant::now();
    let all: Vec<_> = (0..tasks).map(|_| tokio::spawn(task(turns))).collect();
    for one in all {
        one.await.expect("no task panics");
    }
    // As many turns as were taken, not as many as were asked for.
    start.elapsed().mul_f64(rounds as f64 / (turns * tasks) as f64)
}

fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 1).unwrap_or(0)
}

/// One of ten thousand keys.
fn keyed(criterion: &mut Criterion) {
    let keys: Vec<String> = (0..10_000).map(|number| format!("user-{number:019}")).collect();
    let mut group = criterion.benchmark_group("permits/10000 keys");
    let (ours, hasher) = (permits(4, 100_000), RandomState::new());
    let mut state = 0x9E37_79B9_7F4A_7C15;
    group.bench_function("tollgate", |bench| {
        bench.iter(|| {
            let key = &keys[next(&mut state) % keys.len()];
            drop(black_box(ours.try_acquire(hasher.hash_one(key), 1).expect("there is room")));
        });
    });
    let theirs: DashMap<String, Arc<Semaphore>> = DashMap::new();
    group.bench_function("dashmap of tokio", |bench| {
        bench.iter(|| {
            let key = &keys[next(&mut state) % keys.len()];
            // A key is only copied when it is new.
            let known = theirs.get(key).map(|one| Arc::clone(&one));
            let own = known.unwrap_or_else(|| {
                let fresh = || Arc::new(Semaphore::new(4));
                Arc::clone(&theirs.entry(key.clone()).or_insert_with(fresh))
            });
            drop(black_box(own.try_acquire_owned().expect("there is room")));
        });
    });
    let dir = tempfile::tempdir().expect("a directory");
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    let limiter = Limiter::open(dir.path().join("data"), policy).expect("it opens");
    group.bench_function("tollgate, by policy", |bench| {
        bench.iter(|| {
            let key = &keys[next(&mut state) % keys.len()];
            let admission = limiter.acquire(&Request::new().attribute("user", key));
            assert!(black_box(admission).is_allowed());
        });
    });
    group.finish();
}

criterion_group!(benches, uncontended, contended, waiters, keyed);
criterion_main!(benches);
