//! A line in front of a limit of one's own.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tollgate::client::{Queue, QueueError, Timing};
use tollgate::{Limiter, Policy, Verdict};

use super::{World, common, millis, secs};

fn limiter(world: &World, text: &str) -> (Limiter, tempfile::TempDir) {
    let dir = common::scratch();
    let limiter = Limiter::builder(Policy::from_toml(text).unwrap())
        .clock(world.clock.clone())
        .open(dir.path().join("data"))
        .unwrap();
    (limiter, dir)
}

#[tokio::test]
async fn as_many_as_the_limit_says_and_in_order() {
    let world = World::new();
    let (limiter, _dir) = limiter(&world, "limits.out = { rate = \"4/s burst 2\" }");
    let queue = Queue::new(limiter.limit("out").unwrap(), world.timing());
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let (queue, order) = (queue.clone(), Arc::clone(&order));
            tokio::spawn(async move {
                let noted = queue.run(|| async { order.lock().unwrap().push(number) });
                noted.await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(world.slept(), [millis(250); 4]);
}

/// Looks once whether it waits.
async fn is_waiting<F: Future>(waiting: &mut Pin<Box<F>>) -> bool {
    poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await
}

/// Why there is no turn, told at once.
async fn refusal(queue: &Queue, longest: Duration) -> Option<QueueError> {
    let mut waiting = Box::pin(queue.turn_within(longest));
    poll_fn(|context| match waiting.as_mut().poll(context) {
        Poll::Ready(told) => Poll::Ready(told.err()),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn who_gives_up_is_charged_nothing() {
    let world = World::new();
    let (limiter, _dir) = limiter(&world, "limits.out = { rate = \"1/min\" }");
    let clock = world.clock.clone();
    let stuck = Timing::new(|_| std::future::pending()).clock(move || clock.now());
    let queue = Queue::new(limiter.limit("out").unwrap(), stuck);
    let turn = queue.turn().await.unwrap();
    let mut given_up = Box::pin(queue.turn());
    assert!(is_waiting(&mut given_up).await);
    drop(given_up);
    let used = || limiter.limit("out").unwrap().usage(()).used();
    assert_eq!(used(), 1);
    turn.give_back();
    assert_eq!(used(), 0, "a send that came to nothing");
}

#[tokio::test]
async fn one_key_does_not_wait_for_another() {
    let world = World::new();
    let (limiter, _dir) = limiter(&world, "limits.out = { rate = \"1/min\", key = \"host\" }");
    let queue = |host| {
        let limit = limiter.limit("out").unwrap();
        Queue::keyed(limit, host, world.timing(), 10)
    };
    for host in ["a.example", "b.example"] {
        let _charged = queue(host).turn().await.unwrap();
    }
    assert_eq!(world.slept(), []);
    let _charged = queue("a.example").turn().await.unwrap();
    assert_eq!(world.slept(), [secs(60)]);
}

#[tokio::test]
async fn full_and_never_are_told_apart() {
    let world = World::new();
    let (limiter, _dir) = limiter(&world, "limits.out = { rate = \"deny\" }");
    let queue = Queue::new(limiter.limit("out").unwrap(), world.timing());
    let never = queue.turn().await.map(drop);
    assert_eq!(never, Err(QueueError::Never(Verdict::Impossible)));

    let (limiter, _dir) = self::limiter(&world, "limits.out = { rate = \"1/min\" }");
    let stuck = Timing::new(|_| std::future::pending());
    let queue = Queue::keyed(limiter.limit("out").unwrap(), "", stuck, 0);
    // The limit has no key, and the queue gives one.
    assert!(matches!(queue.turn().await, Err(QueueError::Never(_))));
}

/// Row Q1: what is waited for is what the limit needs, and not a tick of the kernel more.
#[tokio::test]
async fn q1_each_wait_is_as_long_as_it_has_to_be() {
    let dir = common::scratch();
    let text = "limits.out = { rate = \"2/s burst 1\", key = \"host\" }";
    let limiter = Limiter::open(dir.path().join("data"), Policy::from_toml(text).unwrap()).unwrap();
    let excess = Arc::new(Mutex::new(Vec::new()));
    let callers = (0..10).map(|number| {
        let (limiter, excess) = (limiter.clone(), excess.clone());
        tokio::spawn(async move {
            let host = format!("{number}.example");
            let (limit, asked) = (limiter.limit("out").unwrap(), host.clone());
            // Not all at one point of a tick.
            tokio::time::sleep(Duration::from_micros(1_300 * number)).await;
            let timing = Timing::new(move |span| {
                let exact = limiter.limit("out").unwrap().usage(&asked).retry_after();
                let more = span.saturating_sub(exact.unwrap());
                excess.lock().unwrap().push(more);
                tokio::time::sleep(span)
            });
            let queue = Queue::keyed(limit, &host, timing, 10);
            for _ in 0..3 {
                let _charged = queue.turn().await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let mut excess = excess.lock().unwrap().clone();
    excess.sort_unstable();
    assert!(excess.len() >= 20);
    // On a busy machine some are late to look; a tick is 4 ms or 10.
    let most = excess[excess.len() * 3 / 4];
    assert!(most < Duration::from_micros(500), "{excess:?}");
}

/// Row Q2: who cannot have a turn in time is told so at once.
#[tokio::test]
async fn q2_who_cannot_be_served_in_time_is_refused_at_once() {
    for (rate, taken, waits) in [
        ("1/s burst 1", 1, [1_000, 2_000, 3_000, 4_000]),
        ("2/s burst 6", 6, [500, 1_000, 1_500, 2_000]),
        // A window's all come back together.
        (
            "2 per 10 s\", algorithm = \"fixed window",
            2,
            [10_000, 10_000, 20_000, 20_000],
        ),
    ] {
        let world = World::new();
        let (limiter, _dir) = limiter(&world, &format!("limits.out = {{ rate = \"{rate}\" }}"));
        let clock = world.clock.clone();
        let stuck = Timing::new(|_| std::future::pending()).clock(move || clock.now());
        let queue = Queue::new(limiter.limit("out").unwrap(), stuck);
        for _ in 0..taken {
            let _charged = queue.turn_within(Duration::ZERO).await.unwrap();
        }
        let mut waiting = Vec::new();
        for wait in waits {
            let short = refusal(&queue, millis(wait - 1)).await;
            assert_eq!(short, Some(QueueError::TooLong), "{rate} {wait}");
            let mut enough = Box::pin(queue.turn_within(millis(wait)));
            assert!(is_waiting(&mut enough).await, "{rate} {wait}");
            waiting.push(enough);
        }
        // Time passes, and the wait is shorter by that; those who gave up are no longer in line.
        world.clock.advance(millis(200));
        waiting.truncate(1);
        let short = refusal(&queue, millis(waits[1] - 201)).await;
        assert_eq!(short, Some(QueueError::TooLong), "{rate}");
        let mut enough = Box::pin(queue.turn_within(millis(waits[1] - 200)));
        assert!(is_waiting(&mut enough).await, "{rate}");
        assert_eq!(limiter.limit("out").unwrap().usage(()).used(), taken);
    }
}

/// Nor does it wait longer where those before it are slower than the limit.
#[tokio::test]
async fn q2_a_wait_ends_when_its_time_is_over() {
    let world = World::new();
    let (limiter, _dir) = limiter(&world, "limits.out = { rate = \"1/s burst 1\" }");
    let clock = world.clock.clone();
    let timing = Timing::new(|span| async move {
        match span < millis(100) {
            true => tokio::time::sleep(span).await,
            false => std::future::pending().await,
        }
    });
    let queue = Queue::new(
        limiter.limit("out").unwrap(),
        timing.clock(move || clock.now()),
    );
    let _charged = queue.turn().await.unwrap();
    let mut first = Box::pin(queue.turn());
    assert!(is_waiting(&mut first).await);
    world.clock.advance(secs(2));
    // The first could go, and does not.
    assert_eq!(
        queue.turn_within(millis(1)).await.map(drop),
        Err(QueueError::TooLong)
    );
    let began = std::time::Instant::now();
    let mut second = Box::pin(queue.turn_within(millis(1_050)));
    assert!(is_waiting(&mut second).await);
    drop(second);
    let late = queue.turn_within(millis(50)).await.map(drop);
    assert_eq!(late, Err(QueueError::TooLong), "{:?}", began.elapsed());
    drop(first);
    let _charged = queue.turn_within(Duration::ZERO).await.unwrap();
    assert_eq!(limiter.limit("out").unwrap().usage(()).used(), 1);
    let denied = self::limiter(&world, "limits.out = { rate = \"deny\" }");
    let queue = Queue::new(denied.0.limit("out").unwrap(), world.timing());
    let never = queue.turn_within(secs(9)).await.map(drop);
    assert_eq!(never, Err(QueueError::Never(Verdict::Impossible)));
}
