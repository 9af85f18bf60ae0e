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
use std::time::Duration;

use dashmap::DashMap;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tollgate::{Limiter, PermitKey, PermitRule, PermitWeight, Permits, Policy, Request};

use crate::Plan;
use crate::keys::{Keys, Order};
use crate::peers::directory;
use crate::report::Report;
use crate::rounds::{Figure, Timed, turns};

const POLICY: &str = r#"
    [limits.heavy]
    max_concurrent = 4
    queue = 16
    key = "user"
    max_keys = 100000
"#;
/// Tasks that wait in line.
const TASKS: u64 = 64;

pub fn table(plan: &Plan, report: &mut Report) {
    let title = "Permits beside tokio's semaphore, in and out";
    report.table(
        title,
        "Nanoseconds a turn.",
        &["case", "Tollgate", "tokio", "ratio"],
    );
    let mut told = |case: &str, found: &[Figure], most| {
        let (ours, theirs) = (&found[0], &found[1]);
        let ratio = format!("**{:.2}**", ours.median / theirs.median);
        report.row(&[&case, ours, theirs, &ratio]);
        report.compare(&format!("permits: {case}"), found);
        report.goal(format!("permits: {case}"), ours, theirs, most);
    };
    told("one semaphore, nobody else there", &uncontended(plan), 1.0);
    told("one, two threads, room for both", &contended(plan, 2), 1.0);
    told("one, two threads, room for one", &contended(plan, 1), 1.0);
    told("one, 64 tasks in line", &waiters(plan, 1), 1.0);
    let [ours, theirs, by_policy] = keyed(plan);
    told("10000 keys; a DashMap of semaphores", &[ours, theirs], 0.8);
    told(
        "16 keys, 64 tasks in line; a DashMap of semaphores",
        &waiters(plan, 16),
        0.8,
    );
    report.row(&[
        &"10000 keys by a policy: Limiter::acquire",
        &by_policy,
        &"",
        &"",
    ]);
}

fn permits(limit: u32, keys_max: u32) -> Permits {
    let mut rule = PermitRule::new(limit);
    rule.queue_max = 1_000;
    rule.wait_max = Duration::MAX;
    rule.keys_max = keys_max;
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

fn uncontended(plan: &Plan) -> Vec<Figure> {
    let (ours, theirs) = (permits(4, 64), Semaphore::new(4));
    let our = || {
        drop(black_box(
            ours.try_acquire(PermitKey(1), PermitWeight::ONE)
                .expect("there is room"),
        ))
    };
    let their = || drop(black_box(theirs.try_acquire().expect("there is room")));
    let mut all: Vec<Timed<'_>> = vec![
        ("Tollgate", Box::new(|times| (0..times).for_each(|_| our()))),
        ("tokio", Box::new(|times| (0..times).for_each(|_| their()))),
    ];
    turns(&mut all, plan.pick(5, 51), 100_000)
}

/// Two threads at once, each so many times.
fn race(times: u64, turn: impl Fn() + Sync) {
    let barrier = Barrier::new(2);
    let run = || {
        barrier.wait();
        (0..times).for_each(|_| turn());
    };
    thread::scope(|scope| {
        scope.spawn(run);
        scope.spawn(run);
    });
}

/// Two threads: with room for both, or with room for one, so that each waits for the other.
fn contended(plan: &Plan, limit: u32) -> Vec<Figure> {
    let (ours, theirs) = (permits(limit, 64), Semaphore::new(limit as usize));
    let our = || {
        drop(black_box(
            ours.acquire(PermitKey(1), PermitWeight::ONE)
                .expect("its turn comes"),
        ))
    };
    let their = || {
        drop(black_box(
            block_on(theirs.acquire()).expect("its turn comes"),
        ))
    };
    let mut all: Vec<Timed<'_>> = vec![
        ("Tollgate", Box::new(|times| race(times, our))),
        ("tokio", Box::new(|times| race(times, their))),
    ];
    turns(&mut all, plan.pick(5, 21), 20_000)
}

/// So many turns, shared by the tasks of one thread; each task is told its number.
fn in_line<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    times: u64,
    task: impl Fn(u64, u64) -> F,
) {
    runtime.block_on(async {
        let all: Vec<_> = (0..TASKS)
            .map(|number| tokio::spawn(task(number, times / TASKS)))
            .collect();
        for one in all {
            one.await.expect("no task panics");
        }
    });
}

/// Tasks of one thread in line for one permit of each key, which each holds over a yield.
fn waiters(plan: &Plan, keys: u64) -> Vec<Figure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let names: Arc<[String]> = Keys::new(usize::try_from(keys).expect("few keys")).0.into();
    let place = move |number: u64| usize::try_from(number % keys).expect("it is below a length");
    let (ours, hasher) = (Arc::new(permits(1, 64)), RandomState::new());
    let our = |number, turns| {
        let (ours, names, hasher) = (ours.clone(), names.clone(), hasher.clone());
        async move {
            for _ in 0..turns {
                let key = if keys == 1 {
                    1
                } else {
                    hasher.hash_one(&names[place(number)])
                };
                let permit = ours.acquire_async(PermitKey(key), PermitWeight::ONE).await;
                tokio::task::yield_now().await;
                drop(permit);
            }
        }
    };
    let one = Arc::new(Semaphore::new(1));
    let theirs = Arc::new(DashMap::<String, Arc<Semaphore>>::new());
    let their = |number, turns| {
        let (one, theirs, names) = (one.clone(), theirs.clone(), names.clone());
        async move {
            for _ in 0..turns {
                let permit = match keys {
                    1 => one.clone().acquire_owned().await,
                    _ => {
                        of_key(&theirs, &names[place(number)], 1)
                            .acquire_owned()
                            .await
                    }
                };
                tokio::task::yield_now().await;
                drop(permit);
            }
        }
    };
    let mut all: Vec<Timed<'_>> = vec![
        ("Tollgate", Box::new(|times| in_line(&runtime, times, our))),
        ("tokio", Box::new(|times| in_line(&runtime, times, their))),
    ];
    turns(&mut all, plan.pick(5, 21), 64 * 500)
}

/// The key's semaphore; a key is only copied when it is new.
fn of_key(all: &DashMap<String, Arc<Semaphore>>, key: &String, limit: usize) -> Arc<Semaphore> {
    let known = all.get(key).map(|one| Arc::clone(&one));
    known.unwrap_or_else(|| {
        let fresh = || Arc::new(Semaphore::new(limit));
        Arc::clone(&all.entry(key.clone()).or_insert_with(fresh))
    })
}

/// One of ten thousand keys, nobody waiting.
fn keyed(plan: &Plan) -> [Figure; 3] {
    let keys = Keys::new(10_000);
    let order = keys.order(Order::Uniform, 0, 20_000);
    let (ours, hasher) = (permits(4, 100_000), RandomState::new());
    let our = |key: &String| {
        drop(black_box(
            ours.try_acquire(PermitKey(hasher.hash_one(key)), PermitWeight::ONE)
                .expect("there is room"),
        ));
    };
    let theirs = DashMap::new();
    let their = |key: &String| {
        let own = of_key(&theirs, key, 4);
        drop(black_box(own.try_acquire_owned().expect("there is room")));
    };
    let dir = directory();
    let policy = Policy::from_toml(POLICY).expect("the policy is sound");
    let limiter = Limiter::open(dir.path().join("data"), policy).expect("it opens");
    let by_policy = |key: &String| {
        let admission = limiter.acquire(&Request::new().attribute("user", key));
        assert!(black_box(admission).is_allowed());
    };
    let each = |turn: &dyn Fn(&String)| order.iter().for_each(|at| turn(&keys.0[*at as usize]));
    let mut all: Vec<Timed<'_>> = vec![
        ("Tollgate", Box::new(|_| each(&our))),
        ("tokio", Box::new(|_| each(&their))),
        ("Tollgate", Box::new(|_| each(&by_policy))),
    ];
    let found = turns(&mut all, plan.pick(5, 21), order.len() as u64);
    found
        .try_into()
        .unwrap_or_else(|_| unreachable!("three were timed"))
}
