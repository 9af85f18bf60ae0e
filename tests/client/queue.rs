//! A line in front of a limit of one's own.

use std::sync::{Arc, Mutex};

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

#[tokio::test]
async fn who_gives_up_is_charged_nothing() {
    let world = World::new();
    let (limiter, _dir) = limiter(&world, "limits.out = { rate = \"1/min\" }");
    let clock = world.clock.clone();
    let stuck = Timing::new(|_| std::future::pending()).clock(move || clock.now());
    let queue = Queue::new(limiter.limit("out").unwrap(), stuck);
    let turn = queue.turn().await.unwrap();
    let mut given_up = Box::pin(queue.turn());
    let polled = std::future::poll_fn(|context| {
        std::task::Poll::Ready(given_up.as_mut().poll(context).is_pending())
    });
    assert!(polled.await, "it waits");
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
