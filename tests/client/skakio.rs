//! Skakio's documented client (A7, A9) against the layer under the policy in the examples.

use http::Request;
use tollgate::client::{Backoff, Notice, Pace, PaceLayer, Pacer, with_retries};
use tollgate::{Limiter, Policy};
use tower::{Service, ServiceBuilder, ServiceExt};

use super::server::{Server, client};
use super::{START, World, common, secs};

/// The service, with the world's time.
async fn skakio(world: &World) -> (Server, Limiter, tempfile::TempDir) {
    let dir = common::scratch();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies/skakio.toml");
    let policy = Policy::from_toml(&std::fs::read_to_string(path).unwrap()).unwrap();
    let limiter = Limiter::builder(policy)
        .clock(world.clock.clone())
        .open(dir.path().join("data"))
        .unwrap();
    (Server::limited(limiter.clone()).await, limiter, dir)
}

fn skakio_request(server: &Server) -> Request<String> {
    let mut request = server.request("POST", "/auth/token");
    let key = "pk_live_1".parse().unwrap();
    request.headers_mut().insert("x-api-key", key);
    request
}

#[tokio::test]
async fn a7_reads_the_headers() {
    let world = World::new();
    let (server, _limiter, _dir) = skakio(&world).await;
    let response = client().request(skakio_request(&server)).await.unwrap();
    let notice = Notice::of(&response, world.clock.now());
    assert_eq!(notice.faults(), []);
    assert_eq!(notice.tier(), Some("public_key"));
    let limit = &notice.limits()[0];
    assert_eq!((limit.limit, limit.remaining), (Some(10), Some(9)));
    assert!(limit.reset_after.is_some());
}

#[tokio::test]
async fn a7_backs_off_by_retry_after_and_is_let_in_then() {
    let world = World::new();
    let (server, limiter, _dir) = skakio(&world).await;
    let client = client();
    let send = || client.request(skakio_request(&server));
    for _ in 0..20 {
        assert_eq!(send().await.unwrap().status(), 200);
    }
    let backoff = Backoff::doubling(secs(1)).tries(5).jitter_percent(0);
    let response = with_retries(&backoff, &world.timing(), send).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(world.slept(), [secs(1)], "one wait, as long as was said");
    assert_eq!(server.served(), 22);
    limiter.close().unwrap();
}

#[tokio::test]
async fn a7_slows_down_before_the_limit_and_is_never_refused() {
    let world = World::new();
    let (server, limiter, _dir) = skakio(&world).await;
    let pacer = Pacer::new(Pace::new(), world.timing());
    let mut sending = ServiceBuilder::new()
        .layer(PaceLayer(pacer))
        .service(client());
    for sent in 0..100 {
        let request = skakio_request(&server);
        let response = sending.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), 200, "after {sent}");
    }
    // Twenty at once, ten a second: without a pace the twenty-first would be refused; and held no
    // longer than a fifth more than the limit makes necessary.
    let took = world.clock.now().since(START);
    assert!(took >= secs(8), "{took:?}");
    limiter.close().unwrap();
}

/// The answer to a page that can never be had is no refusal to wait out.
#[tokio::test]
async fn a9_an_impossible_page_is_not_tried_again() {
    let world = World::new();
    let (server, _limiter, _dir) = skakio(&world).await;
    let client = client();
    let send = || client.request(server.request("GET", "/api/store-listings?limit=51"));
    let backoff = Backoff::doubling(secs(1)).tries(5);
    let response = with_retries(&backoff, &world.timing(), send).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!((server.served(), world.slept()), (1, vec![]));
}
