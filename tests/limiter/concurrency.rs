//! Limits on how many run at a time: asked for together with rates, in one call.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tollgate::{Admission, ConcurrencyOutcome, Limiter, Verdict};

use super::{World, of, user, world};

pub(crate) const HEAVY: &str = r#"
    [limits.heavy]
    max_concurrent = 2
    queue = 1
    wait = "5 min"
    key = "user"

    [limits.hourly]
    rate = "5/h"
    algorithm = "fixed window"
    key = "user"
"#;

/// One running, nobody waiting, and a rate beside it.
pub(crate) const NO_QUEUE: &str = r#"
    [limits.heavy]
    max_concurrent = 1
    key = "user"

    [limits.hourly]
    rate = "5/h"
    key = "user"
"#;

/// The one limit on how many run that a request met.
pub(crate) fn only(admission: &Admission) -> ConcurrencyOutcome<'_> {
    let mut all = admission.decision().concurrency();
    let one = all.next().expect("it was asked");
    assert_eq!(all.len(), 0);
    one
}

/// How many run and wait for a user.
pub(crate) fn load(limiter: &Limiter, name: &str) -> (u64, u64) {
    let seen = limiter.usage(&user(name));
    let one = seen.concurrency().next().expect("it is met");
    (one.running(), one.waiting())
}

/// Until so many wait, which a thread just started will bring about.
pub(crate) fn until_waiting(limiter: &Limiter, name: &str, count: u64) {
    while load(limiter, name).1 != count {
        thread::yield_now();
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A runtime in six lines.
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

pub(crate) fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Acquires on a thread of its own; what came of it is sent once it is through.
pub(crate) fn acquire_elsewhere(world: &World, name: &'static str) -> mpsc::Receiver<Admission> {
    let limiter = world.limiter.clone();
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let _ = send.send(limiter.acquire(&user(name)));
    });
    receive
}

#[test]
fn edge_36_a_request_that_waits_is_charged_once_and_when_it_gets_in() {
    let world = world(HEAVY);
    let first = world.limiter.acquire(&user("alice"));
    let second = world.limiter.acquire(&user("alice"));
    assert!(first.is_allowed() && second.is_allowed());
    assert_eq!(world.used("hourly", "alice"), 2);

    let third = acquire_elsewhere(&world, "alice");
    until_waiting(&world.limiter, "alice", 1);
    assert_eq!(world.used("hourly", "alice"), 2, "a waiter is not charged");

    drop(first);
    let third = third.recv().unwrap();
    assert!(third.is_allowed(), "{third}");
    assert_eq!(world.used("hourly", "alice"), 3);
    assert_eq!(load(&world.limiter, "alice"), (2, 0));
    drop((second, third));
    assert_eq!(load(&world.limiter, "alice"), (0, 0));
    assert_eq!(
        world.used("hourly", "alice"),
        3,
        "a permit's return is no refund"
    );
}

#[test]
fn edge_36_three_refusals_are_told_apart_and_none_is_charged() {
    let world = world(&HEAVY.replace("5 min", "30 ms"));
    let held = [0, 1].map(|_| world.limiter.acquire(&user("alice")));
    assert_eq!(world.used("hourly", "alice"), 2);

    let late = world.limiter.acquire(&user("alice"));
    assert_eq!(late.decision().verdict(), Verdict::WaitedTooLong);
    assert_eq!((only(&late).limit(), only(&late).running()), (2, 2));

    world.replace(HEAVY);
    let waiter = acquire_elsewhere(&world, "alice");
    until_waiting(&world.limiter, "alice", 1);
    let full = world.limiter.acquire(&user("alice"));
    assert_eq!(full.decision().verdict(), Verdict::QueueFull);
    assert_eq!(only(&full).waiting(), 1);
    assert_eq!(full.decision().retry_after(), Some(Duration::ZERO));
    let told = full.to_string();
    assert!(
        told.starts_with("refused by heavy: refused, 2 of 2 running and 1 waiting"),
        "{told}"
    );

    world.limiter.close().unwrap();
    let closed = waiter.recv().unwrap();
    assert_eq!(closed.decision().verdict(), Verdict::Closed);
    assert_eq!(closed.decision().retry_after(), None);
    let after = world.limiter.acquire(&user("alice"));
    assert_eq!(after.decision().verdict(), Verdict::Closed);

    assert_eq!(
        world.used("hourly", "alice"),
        2,
        "no refused request was charged"
    );
    drop(held);
    assert_eq!(load(&world.limiter, "alice"), (0, 0));
}

#[test]
fn edge_36_a_request_that_its_rates_refuse_does_not_wait() {
    let world = world(&HEAVY.replace("5/h", "2/h"));
    let held = [0, 1].map(|_| world.limiter.acquire(&user("alice")));
    let start = Instant::now();
    let refused = world.limiter.acquire(&user("alice"));
    assert_eq!(refused.decision().verdict(), Verdict::Refused);
    assert!(
        start.elapsed() < Duration::from_secs(600),
        "it waited for a permit"
    );
    assert_eq!(
        refused.decision().concurrency().len(),
        0,
        "no permit was asked for"
    );
    drop(held);
}

#[test]
fn edge_36_rates_that_refuse_after_the_wait_give_the_permit_back() {
    let world = world(&HEAVY.replace("5/h", "3/h"));
    let held = [0, 1].map(|_| world.limiter.acquire(&user("alice")));
    let waiter = acquire_elsewhere(&world, "alice");
    until_waiting(&world.limiter, "alice", 1);
    // Somebody who needs no permit takes the last of the rate.
    assert!(
        world
            .limiter
            .limit("hourly")
            .unwrap()
            .check("alice")
            .is_allowed()
    );
    drop(held);
    let refused = waiter.recv().unwrap();
    assert_eq!(refused.decision().verdict(), Verdict::Refused);
    assert_eq!(of(refused.decision(), "hourly").used(), 3);
    assert_eq!(
        load(&world.limiter, "alice"),
        (0, 0),
        "though the admission is still here"
    );
}

#[test]
fn edge_36_time_that_passed_while_waiting_counts() {
    let watched = r#"
        [limits.watched]
        rate = "1/h"
        algorithm = "fixed window"
        key = "user"
        shadow = true
    "#;
    let world = world(&(HEAVY.replace("5/h", "3/h") + watched));
    let held = [0, 1].map(|_| world.limiter.acquire(&user("alice")));
    let before = of(held[1].decision(), "watched").verdict();
    assert_eq!(before, Verdict::Shadowed);
    let waiter = acquire_elsewhere(&world, "alice");
    until_waiting(&world.limiter, "alice", 1);
    world.pass(3600);
    drop(held);
    let admitted = waiter.recv().unwrap();
    for limit in ["hourly", "watched"] {
        let outcome = of(admitted.decision(), limit);
        assert_eq!(outcome.used(), 1, "{limit}: in the window it got in");
        assert_eq!(outcome.verdict(), Verdict::Allowed, "{limit}: by then");
    }
}

#[test]
fn edge_32_dropped_at_any_stage_an_async_request_leaves_nothing_behind() {
    let world = world(HEAVY);
    let (limiter, request) = (&world.limiter, user("alice"));
    fn can_move<F: Future + Send>(future: F) -> F {
        future
    }
    // Never polled.
    drop(can_move(limiter.acquire_async(&request)));
    let held = [0, 1].map(|_| block_on(limiter.acquire_async(&request)));
    // In line.
    let mut waiter = Box::pin(limiter.acquire_async(&request));
    assert!(poll(&mut waiter).is_pending());
    assert_eq!(load(limiter, "alice"), (2, 1));
    drop(waiter);
    assert_eq!(load(limiter, "alice"), (2, 0));
    // Granted, and not yet told.
    let mut waiter = Box::pin(limiter.acquire_async(&request));
    assert!(poll(&mut waiter).is_pending());
    drop(held);
    assert_eq!(load(limiter, "alice"), (1, 0));
    drop(waiter);
    assert_eq!(load(limiter, "alice"), (0, 0));
    assert_eq!(world.used("hourly", "alice"), 2);
}

#[test]
fn edge_32_a_panic_returns_the_permit_and_a_leak_does_not() {
    let world = world(NO_QUEUE);
    let limiter = world.limiter.clone();
    let panicked = thread::spawn(move || {
        let admission = limiter.acquire(&user("alice"));
        assert!(!admission.is_allowed(), "this panics on purpose");
    });
    assert!(panicked.join().is_err());
    assert_eq!(load(&world.limiter, "alice"), (0, 0));

    std::mem::forget(world.limiter.acquire(&user("alice")));
    assert_eq!(load(&world.limiter, "alice"), (1, 0));
    let next = world.limiter.acquire(&user("alice"));
    assert_eq!(next.decision().verdict(), Verdict::QueueFull);
}

#[test]
fn edge_33_an_async_wait_ends_by_itself_though_nobody_polls() {
    let world = world(&HEAVY.replace("5 min", "30 ms"));
    let (limiter, request) = (&world.limiter, user("alice"));
    let held = [0, 1].map(|_| block_on(limiter.acquire_async(&request)));
    let mut waiter = Box::pin(limiter.acquire_async(&request));
    assert!(poll(&mut waiter).is_pending());
    until_waiting(limiter, "alice", 0);
    let late = block_on(waiter);
    assert_eq!(late.decision().verdict(), Verdict::WaitedTooLong);
    assert_eq!(world.used("hourly", "alice"), 2);
    drop(held);
}

#[test]
fn edge_34_without_a_queue_the_next_is_refused_at_once() {
    let world = world(NO_QUEUE);
    let held = world.limiter.acquire(&user("alice"));
    let next = world.limiter.acquire(&user("alice"));
    assert_eq!(next.decision().verdict(), Verdict::QueueFull);
    assert!(
        world.limiter.acquire(&user("bob")).is_allowed(),
        "keys are apart"
    );
    drop(held);
    assert!(world.limiter.try_acquire(&user("alice")).is_allowed());
}

#[test]
fn try_acquire_never_waits_and_parts_outlive_the_admission() {
    let world = world(HEAVY);
    let (decision, running) = world.limiter.try_acquire(&user("alice")).into_parts();
    assert!(decision.is_allowed() && !running.is_empty());
    let second = world.limiter.try_acquire(&user("alice"));
    let third = world.limiter.try_acquire(&user("alice"));
    assert_eq!(third.decision().verdict(), Verdict::QueueFull);
    world.limiter.refund(decision);
    assert_eq!(
        world.used("hourly", "alice"),
        1,
        "of two admitted one was refunded"
    );
    assert_eq!(
        load(&world.limiter, "alice"),
        (2, 0),
        "its permit is still held"
    );
    drop(running);
    assert_eq!(load(&world.limiter, "alice"), (1, 0));
    drop(second);
}

#[test]
fn a_check_refuses_to_pass_for_a_permit() {
    let world = world(NO_QUEUE);
    let refused = world.limiter.check(&user("alice"));
    assert_eq!(refused.verdict(), Verdict::NeedsPermit);
    assert_eq!(refused.retry_after(), None);
    assert_eq!(world.used("hourly", "alice"), 0);
    assert!(world.limiter.check_rates(&user("alice")).is_allowed());
    assert_eq!(world.used("hourly", "alice"), 1);
    let error = world.limiter.limit("heavy").expect_err("it is no rate");
    assert!(
        error.is_invalid() && error.to_string().contains("acquire"),
        "{error}"
    );
}

#[test]
fn usage_tells_what_a_try_would() {
    let world = world(HEAVY);
    let seen = |name| {
        let seen = world.limiter.usage(&user(name));
        let one = seen.concurrency().next().unwrap();
        (one.verdict(), one.running(), one.limit())
    };
    assert_eq!(seen("alice"), (Verdict::Allowed, 0, 2));
    let held = [0, 1].map(|_| world.limiter.acquire(&user("alice")));
    assert_eq!(seen("alice"), (Verdict::QueueFull, 2, 2));
    assert_eq!(seen("bob"), (Verdict::Allowed, 0, 2));
    drop(held);
    assert_eq!(world.used("hourly", "alice"), 2, "looking costs nothing");
}

#[test]
fn edge_37_another_life_starts_with_nothing_running() {
    let world = world(HEAVY);
    std::mem::forget(world.limiter.acquire(&user("alice")));
    assert_eq!(load(&world.limiter, "alice"), (1, 0));
    let world = world.reopened(HEAVY);
    assert_eq!(load(&world.limiter, "alice"), (0, 0));
    assert_eq!(
        world.used("hourly", "alice"),
        1,
        "what it was charged is kept"
    );
}

#[test]
fn edge_36_many_threads_never_run_more_than_may_nor_are_charged_more_than_once() {
    let text = HEAVY
        .replace("queue = 1", "queue = 100")
        .replace("5/h", "1000000/h");
    let world = world(&text);
    let running = std::sync::atomic::AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let held = world.limiter.acquire(&user("alice"));
                    assert!(held.is_allowed(), "{held}");
                    let order = std::sync::atomic::Ordering::SeqCst;
                    assert!(running.fetch_add(1, order) < 2);
                    thread::yield_now();
                    running.fetch_sub(1, order);
                }
            });
        }
    });
    assert_eq!(world.used("hourly", "alice"), 1800);
    assert_eq!(load(&world.limiter, "alice"), (0, 0));
}
