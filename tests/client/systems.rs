//! The documented clients of the five systems, over sockets: C8, K6, A7.

use std::sync::Arc;

use tollgate::client::{Backoff, CallError, Queue, RateLimited, Retry, with_retries};
use tollgate::{Limiter, Policy};
use tower::{Service, ServiceBuilder, ServiceExt};

use super::server::{Server, answer, client};
use super::{World, common, millis, secs};

/// Chastify: four attempts, 500 ms and twice as long each time.
fn chastify() -> Backoff {
    Backoff::doubling(millis(500)).tries(4).jitter_percent(0)
}

#[tokio::test]
async fn c8_backs_off_from_500_ms_four_times() {
    let server = Server::start(|_| answer(429, &[])).await;
    let world = World::new();
    let mut sending = ServiceBuilder::new()
        .layer(tower::retry::RetryLayer::new(Retry::new(
            chastify(),
            world.timing(),
        )))
        .service(client());
    let request = server.request("GET", "/api/extensions/sessions/1");
    let response = sending.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.status(), 429, "the last refusal is the caller's");
    assert_eq!(server.served(), 4);
    assert_eq!(world.slept(), [millis(500), millis(1_000), millis(2_000)]);
}

#[tokio::test]
async fn c8_ends_with_the_first_that_is_let_in() {
    let server = Server::start(|before| answer(if before < 2 { 429 } else { 200 }, &[])).await;
    let world = World::new();
    let mut sending = ServiceBuilder::new()
        .retry(Retry::new(chastify(), world.timing()))
        .service(client());
    let request = server.request("PUT", "/api/extensions/sessions/1/state");
    let response = sending.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(server.served(), 3);
    assert_eq!(world.slept(), [millis(500), millis(1_000)]);
}

#[tokio::test]
async fn c8_only_on_429() {
    for status in [200, 400, 403, 500, 502, 503, 504] {
        let server = Server::start(move |_| answer(status, &[("Retry-After", "1")])).await;
        let world = World::new();
        let mut sending = ServiceBuilder::new()
            .retry(Retry::new(chastify(), world.timing()))
            .service(client());
        let request = server.request("GET", "/");
        let response = sending.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(server.served(), 1, "{status}");
    }
}

/// KATforge: waits what it is told, five seconds if nothing, three times.
fn katforge() -> Backoff {
    Backoff::constant(secs(5)).tries(3).jitter_percent(0)
}

#[tokio::test]
async fn k6_an_error_that_carries_the_wait() {
    let body = r#"{ "message": "Rate limit exceeded" }"#;
    let server = Server::start(move |_| answer(429, &[("Retry-After", "42")]).map(|_| body.into()));
    let server = server.await;
    let world = World::new();
    let request = server.request("POST", "/v1/gateway/login");
    let response = client().request(request).await.unwrap();
    let error = RateLimited::check(response, world.clock.now()).expect_err("it was refused");
    assert_eq!(error.retry_after(), Some(secs(42)));
    let told = error.to_string();
    assert!(told.ends_with("again in 42 s"), "{told}");
}

#[tokio::test]
async fn k6_waits_what_it_is_told_or_five_seconds() {
    let server = Server::start(|before| match before {
        0 => answer(429, &[("Retry-After", "42")]),
        _ => answer(429, &[]),
    })
    .await;
    let (world, client) = (World::new(), client());
    let send = || client.request(server.request("POST", "/v1/users"));
    let result = with_retries(&katforge(), &world.timing(), send).await;
    let Err(CallError::RateLimited(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!((error.sent(), error.retry_after()), (3, None));
    assert_eq!(server.served(), 3, "three times at most");
    assert_eq!(world.slept(), [secs(42), secs(5)]);
}

#[tokio::test]
async fn k6_says_when_nobody_answers() {
    let gone = Server::start(|_| answer(200, &[])).await;
    let request = gone.request("GET", "/");
    drop(gone);
    tokio::task::yield_now().await;
    let (world, client) = (World::new(), client());
    let send = || client.request(request.clone());
    let result = with_retries(&katforge(), &world.timing(), send).await;
    assert!(matches!(result, Err(CallError::Send(_))), "{result:?}");
    assert_eq!(world.slept(), [], "only a refusal is sent again");
}

#[tokio::test]
async fn a7_doubles_from_one_second_where_nothing_is_said() {
    let server = Server::start(|_| answer(429, &[])).await;
    let (world, client) = (World::new(), client());
    let backoff = Backoff::doubling(secs(1)).tries(5).jitter_percent(0);
    let send = || client.request(server.request("GET", "/api/listing/1"));
    let result = with_retries(&backoff, &world.timing(), send).await;
    assert!(matches!(result, Err(CallError::RateLimited(_))));
    assert_eq!(server.served(), 5);
    assert_eq!(world.slept(), [secs(1), secs(2), secs(4), secs(8)]);
}

#[tokio::test]
async fn a7_a_queue_of_two_a_second() {
    let world = World::new();
    let server = Server::start(|_| answer(200, &[])).await;
    let dir = common::scratch();
    let policy = Policy::from_toml("limits.outgoing = { rate = \"2/s burst 1\" }").unwrap();
    let limiter = Limiter::builder(policy)
        .clock(world.clock.clone())
        .open(dir.path().join("data"))
        .unwrap();
    let queue = Queue::new(limiter.limit("outgoing").unwrap(), world.timing());
    let (client, server) = (client(), Arc::new(server));
    let asked = (0..10).map(|_| {
        let (queue, client, server) = (queue.clone(), client.clone(), Arc::clone(&server));
        tokio::spawn(async move {
            let sent = queue.run(|| client.request(server.request("GET", "/api/listing/1")));
            sent.await.unwrap().unwrap().status()
        })
    });
    for answered in asked.collect::<Vec<_>>() {
        assert_eq!(answered.await.unwrap(), 200);
    }
    assert_eq!(server.served(), 10);
    assert_eq!(world.slept(), [millis(500); 9], "one each half second");
    limiter.close().unwrap();
}
