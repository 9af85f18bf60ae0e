//! What permits promise, one thread at a time and in real time; races are in `loom` and `stress`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const KEY: PermitKey = PermitKey(42);
const ONE: PermitWeight = PermitWeight::ONE;

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(std::sync::atomic::AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Ordering: a count, read after the thread that rang was joined, or on the same thread.
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Drives a future with nothing but a thread: no runtime.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn permits(limit: u32, queue_max: u32) -> Permits {
    let mut rule = PermitRule::new(limit);
    (rule.queue_max, rule.wait_max) = (queue_max, Duration::from_secs(60));
    Permits::new(rule).unwrap()
}

fn with_keys(keys_max: u32) -> Result<Permits, PermitRuleError> {
    let rule = PermitRule::new(1);
    Permits::new(PermitRule { keys_max, ..rule })
}

fn counts(permits: &Permits) -> (u64, u64) {
    let usage = permits.usage_of(KEY);
    (usage.running, usage.waiting)
}

#[test]
fn edge_32_released_on_drop_panic_and_cancel_but_not_when_leaked() {
    let permits = Arc::new(permits(1, 1));
    drop(permits.acquire(KEY, ONE).unwrap());
    assert_eq!(counts(&permits), (0, 0));

    let shared = Arc::clone(&permits);
    let panicked = thread::spawn(move || {
        let _permit = shared.acquire(KEY, ONE).unwrap();
        panic!("on purpose, while holding a permit");
    });
    assert!(panicked.join().is_err());
    assert_eq!(counts(&permits), (0, 0));

    let held = permits.acquire(KEY, ONE).unwrap();
    let mut before_grant = permits.acquire_async(KEY, ONE);
    assert!(poll(&mut before_grant).is_pending());
    assert_eq!(counts(&permits), (1, 1));
    drop(before_grant);
    assert_eq!(counts(&permits), (1, 0));

    let mut after_grant = permits.acquire_async(KEY, ONE);
    assert!(poll(&mut after_grant).is_pending());
    drop(held);
    assert_eq!(counts(&permits), (1, 0));
    drop(after_grant);
    assert_eq!(counts(&permits), (0, 0));

    std::mem::forget(permits.acquire(KEY, ONE).unwrap());
    assert_eq!(counts(&permits), (1, 0));
}

#[test]
fn edge_33_a_cancelled_waiter_leaves_no_hole() {
    let permits = permits(2, 3);
    let held = permits.acquire(KEY, PermitWeight(2)).unwrap();
    let mut waiters: Vec<Acquire> = (0..3).map(|_| permits.acquire_async(KEY, ONE)).collect();
    assert!(waiters.iter_mut().all(|waiter| poll(waiter).is_pending()));
    assert_eq!(counts(&permits), (2, 3));
    drop(waiters.remove(1));
    assert_eq!(counts(&permits), (2, 2));
    let mut last = permits.acquire_async(KEY, ONE);
    assert!(poll(&mut last).is_pending());
    drop(held);
    assert_eq!(counts(&permits), (2, 1));
    let granted: Vec<_> = waiters.iter_mut().map(poll).collect();
    assert!(
        granted
            .iter()
            .all(|granted| matches!(granted, Poll::Ready(Ok(_))))
    );
    assert!(poll(&mut last).is_pending());
    drop(granted);
    assert!(matches!(poll(&mut last), Poll::Ready(Ok(_))));
    assert_eq!(counts(&permits), (0, 0));
}

#[test]
fn edge_33_waiting_too_long_is_not_a_full_queue() {
    let permits = permits(1, 1);
    let held = permits.acquire(KEY, ONE).unwrap();
    let wait = Duration::from_millis(30);
    for block in [false, true] {
        let start = Instant::now();
        let error = if block {
            permits.acquire_within(KEY, ONE, wait).err()
        } else {
            block_on(permits.acquire_async(KEY, ONE).within(wait)).err()
        };
        assert_eq!(error, Some(AcquireError::WaitedTooLong));
        let waited = start.elapsed();
        assert!(
            waited >= wait && waited < Duration::from_secs(30),
            "{waited:?}"
        );
        assert_eq!(counts(&permits), (1, 0));
    }
    let mut waiting = permits.acquire_async(KEY, ONE);
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(
        permits.acquire(KEY, ONE).err(),
        Some(AcquireError::QueueFull)
    );
    drop(held);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn edge_33_the_keeper_ends_a_wait_that_nobody_polls_and_lets_the_next_in() {
    let permits = permits(2, 2);
    let _held = permits.acquire(KEY, ONE).unwrap();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut big = permits
        .acquire_async(KEY, PermitWeight(2))
        .within(Duration::from_millis(20));
    assert!(
        Pin::new(&mut big)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let small = block_on(permits.acquire_async(KEY, ONE));
    assert!(small.is_ok(), "{small:?}");
    assert_eq!(counts(&permits), (2, 0));
    let answer = poll(&mut big);
    assert!(
        matches!(answer, Poll::Ready(Err(AcquireError::WaitedTooLong))),
        "{answer:?}"
    );
}

#[test]
fn edge_33_the_keeper_ends_waits_in_order_whatever_their_length() {
    let permits = permits(1, 8);
    let _held = permits.acquire(KEY, ONE).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        for wait_ms in [80, 20, 60, 40] {
            let permits = &permits;
            scope.spawn(move || {
                let wait = Duration::from_millis(wait_ms);
                let answer = block_on(permits.acquire_async(KEY, ONE).within(wait));
                assert_eq!(answer.err(), Some(AcquireError::WaitedTooLong));
                assert!(start.elapsed() >= wait);
            });
        }
    });
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(counts(&permits), (1, 0));
}

#[test]
fn edge_34_the_bound_is_exact() {
    for queue_max in [0, 1, 2, 5] {
        let permits = permits(1, queue_max);
        let _held = permits.acquire(KEY, ONE).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..queue_max {
            let mut waiter = permits.acquire_async(KEY, ONE);
            assert!(poll(&mut waiter).is_pending());
            waiting.push(waiter);
        }
        assert_eq!(counts(&permits), (1, u64::from(queue_max)));
        let start = Instant::now();
        assert_eq!(
            permits.acquire(KEY, ONE).err(),
            Some(AcquireError::QueueFull)
        );
        let mut one_more = permits.acquire_async(KEY, ONE);
        assert!(matches!(
            poll(&mut one_more),
            Poll::Ready(Err(AcquireError::QueueFull))
        ));
        assert_eq!(
            permits.try_acquire(KEY, ONE).err(),
            Some(AcquireError::QueueFull)
        );
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(permits.try_acquire(PermitKey(KEY.0 + 1), ONE).is_ok());
    }
}

#[test]
fn edge_35_a_big_acquire_at_the_head_holds_up_small_ones() {
    let permits = permits(3, 3);
    let held = permits.acquire(KEY, ONE).unwrap();
    let mut big = permits.acquire_async(KEY, PermitWeight(3));
    let mut small = permits.acquire_async(KEY, ONE);
    assert!(poll(&mut big).is_pending());
    assert!(poll(&mut small).is_pending());
    assert_eq!(
        permits.try_acquire(KEY, ONE).err(),
        Some(AcquireError::QueueFull)
    );
    drop(held);
    let Poll::Ready(Ok(all)) = poll(&mut big) else {
        panic!("the head fits now");
    };
    assert!(poll(&mut small).is_pending());
    assert_eq!(all.weight(), 3);
    drop(all);
    assert!(matches!(poll(&mut small), Poll::Ready(Ok(_))));
}

#[test]
fn edge_35_a_big_head_that_leaves_lets_the_small_ones_in() {
    let permits = permits(3, 3);
    let _held = permits.acquire(KEY, ONE).unwrap();
    let mut big = permits.acquire_async(KEY, PermitWeight(3));
    let mut small = [
        permits.acquire_async(KEY, ONE),
        permits.acquire_async(KEY, ONE),
    ];
    assert!(poll(&mut big).is_pending());
    assert!(small.iter_mut().all(|small| poll(small).is_pending()));
    drop(big);
    assert_eq!(counts(&permits), (3, 0));
    assert!(
        small
            .iter_mut()
            .all(|small| matches!(poll(small), Poll::Ready(Ok(_))))
    );
}

#[test]
fn edge_35_more_than_the_limit_or_nothing_at_all_is_an_error_not_a_hang() {
    let permits = permits(3, 3);
    for weight in [0, 4, u32::MAX] {
        assert_eq!(
            permits.acquire(KEY, PermitWeight(weight)).err(),
            Some(AcquireError::Impossible)
        );
        let answer = block_on(permits.acquire_async(KEY, PermitWeight(weight)));
        assert_eq!(answer.err(), Some(AcquireError::Impossible));
    }
}

#[test]
fn edge_35_a_raised_limit_wakes_exactly_enough() {
    let permits = permits(1, 9);
    let _held = permits.acquire(KEY, ONE).unwrap();
    let bells: Vec<Arc<Bell>> = (0..5).map(|_| Arc::default()).collect();
    let mut waiters: Vec<Acquire> = (0..5).map(|_| permits.acquire_async(KEY, ONE)).collect();
    for (waiter, bell) in waiters.iter_mut().zip(&bells) {
        let waker = Waker::from(Arc::clone(bell));
        assert!(
            Pin::new(waiter)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    permits.set_limit(3);
    assert_eq!(counts(&permits), (3, 3));
    // Ordering: rung on this very thread.
    let rung = |bell: &Arc<Bell>| bell.0.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(bells.iter().map(rung).collect::<Vec<_>>(), [1, 1, 0, 0, 0]);
    permits.set_limit(3);
    assert_eq!(bells.iter().map(rung).sum::<usize>(), 2);
}

#[test]
fn edge_35_a_lowered_limit_takes_nothing_away_and_refuses_the_impossible() {
    let permits = permits(4, 9);
    let mut held: Vec<Permit> = (0..4).map(|_| permits.acquire(KEY, ONE).unwrap()).collect();
    let mut heavy = permits.acquire_async(KEY, PermitWeight(3));
    let mut light = permits.acquire_async(KEY, PermitWeight(2));
    assert!(poll(&mut heavy).is_pending());
    assert!(poll(&mut light).is_pending());
    permits.set_limit(2);
    assert_eq!(counts(&permits), (4, 1));
    assert!(matches!(
        poll(&mut heavy),
        Poll::Ready(Err(AcquireError::Impossible))
    ));
    held.truncate(1);
    assert!(poll(&mut light).is_pending());
    held.clear();
    assert!(matches!(poll(&mut light), Poll::Ready(Ok(_))));
    assert_eq!((permits.limit(), counts(&permits)), (2, (0, 0)));
}

#[test]
fn edge_36_a_refused_wait_leaves_nothing_to_charge_for() {
    let permits = permits(1, 1);
    let held = permits.acquire(KEY, ONE).unwrap();
    let mut charged = 0;
    let mut admit = |wait| {
        permits
            .acquire_within(KEY, ONE, wait)
            .map(|_permit| charged += 1)
    };
    assert_eq!(admit(Duration::ZERO), Err(AcquireError::WaitedTooLong));
    assert_eq!(
        admit(Duration::from_millis(5)),
        Err(AcquireError::WaitedTooLong)
    );
    drop(held);
    assert_eq!(admit(Duration::ZERO), Ok(()));
    assert_eq!((charged, counts(&permits)), (1, (0, 0)));
}

#[test]
fn edge_37_permits_of_another_life_are_not_inherited() {
    let first = permits(1, 0);
    std::mem::forget(first.acquire(KEY, ONE).unwrap());
    assert_eq!(counts(&first), (1, 0));
    let second = permits(1, 0);
    assert_eq!(second.usage(), PermitUsage::default());
    assert!(second.acquire(KEY, ONE).is_ok());
}

#[test]
fn closing_refuses_all_who_wait_and_come_and_lets_holders_finish() {
    let permits = permits(1, 4);
    let held = permits.acquire(KEY, ONE).unwrap();
    let mut waiting = permits.acquire_async(KEY, ONE);
    let mut unpolled = permits.acquire_async(KEY, ONE);
    assert!(poll(&mut waiting).is_pending());
    thread::scope(|scope| {
        let blocked = scope.spawn(|| permits.acquire(KEY, ONE).err());
        while counts(&permits).1 < 2 {
            thread::yield_now();
        }
        permits.close();
        assert_eq!(blocked.join().unwrap(), Some(AcquireError::Closed));
    });
    for future in [&mut waiting, &mut unpolled] {
        assert!(matches!(
            poll(future),
            Poll::Ready(Err(AcquireError::Closed))
        ));
    }
    permits.set_limit(9);
    assert_eq!(
        permits.try_acquire(KEY, ONE).err(),
        Some(AcquireError::Closed)
    );
    assert_eq!(counts(&permits), (1, 0));
    drop(held);
    assert_eq!(permits.usage(), PermitUsage::default());
}

#[test]
fn closing_lets_nobody_in_behind_a_heavy_head() {
    let permits = permits(2, 4);
    let _held = permits.acquire(KEY, ONE).unwrap();
    let mut waiting = [2, 1].map(|weight| permits.acquire_async(KEY, PermitWeight(weight)));
    assert!(waiting.iter_mut().all(|one| poll(one).is_pending()));
    permits.close();
    let told = waiting.each_mut().map(|one| poll(one).map(Result::err));
    assert_eq!(told, [Poll::Ready(Some(AcquireError::Closed)); 2]);
}

#[test]
fn dropping_the_permits_ends_waits_and_leaves_guards_valid() {
    let permits = permits(1, 1);
    let held = permits.acquire(KEY, ONE).unwrap().into_owned();
    let mut waiting = permits.acquire_async(KEY, ONE);
    assert!(poll(&mut waiting).is_pending());
    let mut waiting = waiting.into_owned();
    assert_eq!(counts(&permits), (1, 1));
    drop(permits);
    assert!(matches!(
        poll(&mut waiting),
        Poll::Ready(Err(AcquireError::Closed))
    ));
    assert!(matches!(
        poll(&mut waiting),
        Poll::Ready(Err(AcquireError::Closed))
    ));
    drop(held);
}

#[test]
fn idle_keys_are_forgotten_and_busy_ones_never() {
    let permits = with_keys(100).unwrap();
    let busy: Vec<Permit> = (0..100)
        .map(|key| permits.acquire(PermitKey(key), ONE).unwrap())
        .collect();
    for key in 1000..50_000 {
        drop(permits.acquire(PermitKey(key), ONE).unwrap());
    }
    assert_eq!(permits.usage().keys, 100);
    for key in 0..100 {
        assert_eq!(
            permits.acquire(PermitKey(key), ONE).err(),
            Some(AcquireError::QueueFull)
        );
    }
    drop(busy);
    assert_eq!(permits.usage(), PermitUsage::default());
}

#[test]
fn a_key_too_many_is_refused_as_such() {
    let permits = with_keys(1).unwrap();
    let mut held = Vec::new();
    let error = loop {
        match permits.acquire(PermitKey(u64::try_from(held.len()).unwrap()), ONE) {
            Ok(permit) => held.push(permit),
            Err(error) => break error,
        }
    };
    assert_eq!((held.len(), error), (2, AcquireError::TooManyKeys));
    held.pop();
    assert!(permits.acquire(PermitKey(99), ONE).is_ok());
}

#[test]
fn as_many_keys_as_promised_have_room() {
    for keys_max in [1, 2, 63, 64, 1000, 4096] {
        for spread in [1, 0x0001_0001_0000_0000, 0xD6E8_FEB8_6659_FD93] {
            let permits = with_keys(keys_max).unwrap();
            let key = |n: u32| u64::from(n).wrapping_mul(spread);
            let held: Vec<_> = (0..keys_max)
                .map(|n| permits.try_acquire(PermitKey(key(n)), ONE))
                .collect();
            assert!(
                held.iter().all(Result::is_ok),
                "{keys_max} keys, spread {spread:#x}"
            );
        }
    }
}

#[test]
fn keys_out_of_range_are_an_error() {
    for keys_max in [0, PermitRule::KEYS_MAX + 1] {
        let error = with_keys(keys_max).unwrap_err();
        assert_eq!(error, PermitRuleError::Keys { keys_max });
        assert!(error.to_string().contains(&keys_max.to_string()));
    }
}

#[test]
fn a_future_may_change_its_task_while_it_waits() {
    let permits = permits(1, 1);
    let held = permits.acquire(KEY, ONE).unwrap();
    let [first, second] = [Arc::<Bell>::default(), Arc::default()];
    let mut waiting = permits.acquire_async(KEY, ONE);
    for bell in [&first, &second] {
        let waker = Waker::from(Arc::clone(bell));
        assert!(
            Pin::new(&mut waiting)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    drop(held);
    // Ordering: rung on this very thread.
    let rung = |bell: &Arc<Bell>| bell.0.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((rung(&first), rung(&second)), (0, 1));
    assert_eq!(Arc::strong_count(&first), 1, "the former waker is dropped");
}
