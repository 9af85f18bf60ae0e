//! The documented clients (C8, K6) where a service answers by a script that the example server has
//! not; against that they are in `tests/systems/clients.rs`.

use tollgate::client::{Backoff, CallError, Retry, with_retries};
use tower::{Service, ServiceBuilder, ServiceExt};

use super::server::{Server, answer, client};
use super::{World, millis, secs};

/// Chastify: four attempts, 500 ms and twice as long each time.
fn chastify() -> Backoff {
    Backoff::doubling(millis(500)).tries(4).jitter_percent(0)
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

/// KATforge: waits what it is told, five seconds if nothing, three times.
fn katforge() -> Backoff {
    Backoff::constant(secs(5)).tries(3).jitter_percent(0)
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
