//! Slowing down before a limit: what is left is spread over the time until it is back.

use std::time::Duration;

use tollgate::AcquireError;
use tollgate::client::{Notice, Pace, Pacer};

use super::notice::{headers, refused};
use super::{START, World, millis, secs};

/// A response that says so much is left of a hundred, and is back in so many seconds.
fn left(remaining: u64, reset: u64) -> Notice {
    let [remaining, reset] = [remaining, reset].map(|number| number.to_string());
    let fields = [
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Remaining", &*remaining),
        ("X-RateLimit-Reset", &*reset),
    ];
    Notice::read(http::StatusCode::OK, &headers(&fields), START)
}

/// Sends one that is answered by `notice`.
async fn send(pacer: &Pacer, notice: &Notice) {
    pacer.ready().await.unwrap().answered(notice);
}

#[tokio::test]
async fn holds_nobody_while_there_is_plenty() {
    let world = World::new();
    let pacer = Pacer::new(Pace::new(), world.timing());
    for remaining in [99, 60, 21] {
        send(&pacer, &left(remaining, 60)).await;
        assert_eq!(pacer.delay(), Duration::ZERO, "{remaining}");
    }
    send(&pacer, &left(20, 63)).await;
    assert_eq!(
        pacer.delay(),
        secs(3),
        "63 s for 20 and the gap after the last"
    );
    assert_eq!(world.slept(), []);
}

#[tokio::test]
async fn spreads_the_rest_and_uses_all_of_it() {
    let world = World::new();
    let pacer = Pacer::new(Pace::new(), world.timing());
    let back_at = START + secs(60);
    send(&pacer, &left(5, 60)).await;
    for remaining in (0..5).rev() {
        let held = pacer.ready().await.unwrap();
        let seconds = back_at.since(world.clock.now()).as_secs();
        held.answered(&left(remaining, seconds));
    }
    assert_eq!(world.slept(), [secs(10); 5]);
    assert_eq!(pacer.delay(), secs(10), "nothing is left until it is back");
    world.clock.advance(secs(10));
    assert_eq!(pacer.delay(), Duration::ZERO, "and then it is forgotten");
}

#[tokio::test]
async fn those_under_way_count_as_used() {
    let world = World::new();
    let pacer = Pacer::new(Pace::new().below_percent(0), world.timing());
    send(&pacer, &left(2, 30)).await;
    let first = pacer.ready().await.unwrap();
    let second = pacer.ready().await.unwrap();
    assert_eq!(pacer.delay(), secs(30), "two of two are under way");
    drop(first);
    assert_eq!(pacer.delay(), Duration::ZERO, "one came to nothing");
    second.answered(&left(0, 30));
    assert_eq!(pacer.delay(), secs(30));
}

#[tokio::test]
async fn a_refusal_holds_all_and_no_longer_than_it_may() {
    let world = World::new();
    let pacer = Pacer::new(Pace::new().longest(secs(20)), world.timing());
    send(&pacer, &refused(&[("Retry-After", "7")])).await;
    assert_eq!(pacer.delay(), secs(7));
    send(&pacer, &refused(&[("Retry-After", "86400")])).await;
    assert_eq!(world.slept(), [secs(7)]);
    send(&pacer, &left(0, 86_400)).await;
    assert_eq!(world.slept(), [secs(7), secs(20)]);
    assert_eq!(pacer.delay(), secs(20));
}

#[tokio::test]
async fn goes_by_the_tightest_of_several() {
    let world = World::new();
    let pacer = Pacer::new(Pace::new(), world.timing());
    let policy = "\"minute\";q=100;w=60, \"day\";q=1000;w=86400";
    let fields = [
        ("RateLimit-Policy", policy),
        ("RateLimit", "\"minute\";r=90;t=40, \"day\";r=0;t=50"),
    ];
    send(
        &pacer,
        &Notice::read(http::StatusCode::OK, &headers(&fields), START),
    )
    .await;
    assert_eq!(pacer.delay(), secs(50));
    // The day's is not told of again; it stays known.
    let minute = [("RateLimit", "\"minute\";r=80;t=30")];
    let pacing = pacer.clone();
    send(
        &pacing,
        &Notice::read(http::StatusCode::OK, &headers(&minute), START),
    )
    .await;
    assert_eq!(world.slept(), [secs(50)]);
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let world = World::new();
    let never = world.timing();
    let stuck =
        tollgate::client::Timing::new(|_| std::future::pending()).clock(move || never.now());
    let pacer = Pacer::new(Pace::new().waiting_max(1), stuck);
    send(&pacer, &left(0, 30)).await;
    let waiting = |pacer: &Pacer| {
        let pacer = pacer.clone();
        tokio::spawn(async move { pacer.ready().await.map(drop) })
    };
    let first = waiting(&pacer);
    tokio::task::yield_now().await;
    let second = waiting(&pacer);
    tokio::task::yield_now().await;
    assert_eq!(pacer.ready().await.map(drop), Err(AcquireError::QueueFull));
    // Who gives up is no longer in line.
    first.abort();
    second.abort();
    assert!(first.await.is_err() && second.await.is_err());
    world.clock.advance(secs(30) + millis(1));
    assert_eq!(pacer.ready().await.map(drop), Ok(()));
}
