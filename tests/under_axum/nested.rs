//! Row H1: a layer inside of a nested router judges by the path that the client sent.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path};
use axum::http::{Request, Uri};
use axum::middleware::map_request;
use axum::routing::{any, get};
use tollgate::layer::{LimitLayer, Peer};
use tower::{Layer, ServiceExt};

use crate::service::{limiter, send, statuses};

const POLICY: &str = r#"
    [limits.items]
    rate = "2/min"
    key = "{id}"
    [limits.all]
    rate = "1000/min"
    [[routes]]
    route = "GET /api/items/{id}"
    limits = ["items"]
    [default]
    limits = ["all"]
"#;

/// The routes of one resource, with a layer around them.
fn items(layer: LimitLayer) -> Router {
    let item = get(|Path(id): Path<String>| async move { id });
    Router::new().route("/items/{id}", item).layer(layer)
}

async fn must_limit(router: Router, how: &str) {
    let answers = statuses(&router, "GET", "/api/items/7?x=y", 3).await;
    assert_eq!(answers, [200, 200, 429], "{how}");
    // Each item by itself, so the route's captures were found in the path.
    let answers = statuses(&router, "GET", "/api/items/8", 3).await;
    assert_eq!(answers, [200, 200, 429], "{how}");
    // axum serves HEAD by GET's handler.
    let answers = statuses(&router, "HEAD", "/api/items/8", 1).await;
    assert_eq!(answers, [429], "{how}");
}

#[tokio::test]
async fn h1_a_layer_in_a_nested_router_limits_by_the_path_that_was_sent() {
    for make in [LimitLayer::axum, LimitLayer::new] {
        let (one, _dir) = limiter(POLICY);
        let router = Router::new().nest("/api", items(make(one.clone())));
        must_limit(router, "nested").await;
        assert!(one.health().routes.is_any_met);

        let (one, _dir) = limiter(POLICY);
        let inner = Router::new().nest("/items", {
            let item = get(|Path(id): Path<String>| async move { id });
            Router::new().route("/{id}", item).layer(make(one))
        });
        must_limit(Router::new().nest("/api", inner), "nested twice").await;

        let (one, _dir) = limiter(POLICY);
        let router = Router::new().nest_service("/api", items(make(one)));
        must_limit(router, "nested as a service").await;

        let (one, _dir) = limiter(POLICY);
        let inner = Router::new().fallback(any(|uri: Uri| async move { uri.to_string() }));
        let router = Router::new().nest("/api", inner.layer(make(one)));
        must_limit(router, "a nested router's fallback").await;

        let (one, _dir) = limiter(POLICY);
        let inner = Router::new().route("/items/{id}", any(|| async {}));
        let router = Router::new().nest("/api", inner.route_layer(make(one)));
        must_limit(router, "route_layer").await;

        let (one, _dir) = limiter(POLICY);
        let item = get(|| async {}).layer(make(one));
        let inner = Router::new().route("/items/{id}", item);
        must_limit(Router::new().nest("/api", inner), "a layer of one route").await;

        let (one, _dir) = limiter(POLICY);
        let inner = Router::new().route("/items/{id}", get(|| async {}));
        let router = Router::new().nest("/api", inner).layer(make(one));
        must_limit(router, "around all").await;
    }
}

#[tokio::test]
async fn h1_what_rewrites_the_path_before_axum_routes_decides_what_after_it_does_not() {
    let strip = |mut request: Request<Body>| async move {
        let path = request.uri().path();
        let rest = path.strip_prefix("/svc").unwrap_or(path).to_owned();
        *request.uri_mut() = rest.parse().unwrap();
        request
    };
    // As a proxy would that mounts the service under a path: axum never sees the prefix.
    let (one, _dir) = limiter(POLICY);
    let inner = Router::new().nest("/api", items(LimitLayer::axum(one)));
    let outside = map_request(strip).layer(inner.into_service::<Body>());
    for status in [200, 200, 429] {
        let request = Request::get("/svc/api/items/7").body(Body::empty());
        let response = outside.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
    }
    // A layer within the router, outside of the limit: axum has routed by then.
    let (one, _dir) = limiter(POLICY);
    let inner = items(LimitLayer::axum(one));
    let rewrite = |mut request: Request<Body>| async move {
        *request.uri_mut() = "/elsewhere".parse().unwrap();
        request
    };
    let router = Router::new()
        .nest("/api", inner)
        .layer(map_request(rewrite));
    assert_eq!(
        statuses(&router, "GET", "/api/items/7", 3).await,
        [200, 200, 429]
    );
}

#[tokio::test]
async fn h3_no_spelling_of_a_path_makes_a_request_exempt() {
    let policy = r#"
        [limits.all]
        rate = "1/h"
        key = "ip"
        [[routes]]
        route = "GET /health"
        exempt = true
    "#;
    let (one, _dir) = limiter(policy);
    let layer = LimitLayer::axum(one);
    let router = Router::new()
        .route("/health", get(|| async {}))
        .route(
            "/files/{*path}",
            get(|Path(path): Path<String>| async { path }),
        )
        .layer(layer);
    let from = |uri: &str| {
        let mut request = Request::get(uri).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer([192, 0, 2, 1].into()));
        request
    };
    assert_eq!(send(&router, from("/files/secret")).await.status, 200);
    assert_eq!(send(&router, from("/files/secret")).await.status, 429);
    assert_eq!(send(&router, from("/health")).await.status, 200);
    for uri in [
        "/files/secret/../../health",
        "/files/secret/%2e%2e/%2E%2E/health",
        "/files/secret/.%2e/%2e./health",
        "http://host/files/../health",
        "/files/..%2F..%2Fhealth",
        r"/files/..\..\health",
    ] {
        let answer = send(&router, from(uri)).await;
        assert_eq!(answer.status, 400, "{uri}");
        let why = "the path could mean another route";
        assert!(answer.body.contains(why), "{}", answer.body);
    }
}

#[tokio::test]
async fn h1_a_policy_may_count_by_the_route_that_axum_has_matched() {
    let policy = r#"
        [limits.each]
        rate = "2/min"
        key = "endpoint"
        [request.attributes]
        endpoint = "matched-path"
    "#;
    let (one, _dir) = limiter(policy);
    let layer = LimitLayer::axum(one.clone());
    let inner = items(layer.clone()).route("/other", any(|| async {}).layer(layer.clone()));
    let router = Router::new().nest("/api", inner);
    let mut answers = Vec::new();
    for uri in ["/api/items/1", "/api/items/2", "/api/items/3", "/api/other"] {
        answers.extend(statuses(&router, "GET", uri, 1).await);
    }
    assert_eq!(answers, [200, 200, 429, 200]);
    let used = |endpoint| one.limit("each").unwrap().usage(endpoint).used();
    assert_eq!((used("/api/items/{id}"), used("/api/other")), (2, 1));
    // A fallback has no route, so there is nothing to count it by.
    let router = Router::new().fallback(|| async {}).layer(layer);
    assert_eq!(statuses(&router, "GET", "/x", 1).await, [400]);
}

#[tokio::test]
async fn h1_health_says_when_no_request_meets_any_route() {
    let (one, _dir) = limiter(POLICY);
    assert_eq!(one.health().routes.to_string(), "no request was judged yet");
    let layer = LimitLayer::axum(one.clone()).remaining_path();
    let router = Router::new().nest("/api", items(layer));
    assert_eq!(
        statuses(&router, "GET", "/api/items/7", 5).await,
        [200; 5],
        "it sees /items/7, which the policy does not name"
    );
    // Limits asked directly meet no routes, and a look is no request.
    let _ = one.limit("all").unwrap().check(());
    let _ = one.usage(&tollgate::Request::http("GET", "/x"));
    let routes = one.health().routes;
    assert!(routes.is_suspicious() && !routes.is_any_met);
    assert_eq!((routes.routes, routes.missed), (1, 5));
    let said = routes.to_string();
    assert!(
        said.starts_with("none of 5 requests met any of the policy's 1 routes"),
        "{said}"
    );
    // An override makes no new policy of it.
    one.set_override("items", &["7"], "20/min").unwrap();
    assert_eq!(one.health().routes.missed, 5);
    let _ = one.check(&tollgate::Request::http("GET", "/api/items/7"));
    let _ = one.check(&tollgate::Request::http("GET", "/x"));
    let routes = one.health().routes;
    assert!(!routes.is_suspicious() && routes.is_any_met);
    assert_eq!(routes.missed, 5, "no longer counted");
    // A policy that names what the layer sees.
    let moved = POLICY.replace("/api/items", "/items");
    one.replace_policy(tollgate::Policy::from_toml(&moved).unwrap())
        .unwrap();
    assert!(!one.health().routes.is_any_met);
    assert_eq!(
        statuses(&router, "GET", "/api/items/9", 3).await,
        [200, 200, 429]
    );
    assert!(one.health().routes.is_any_met);
}

#[tokio::test]
async fn h1_the_address_of_a_connection_is_found() {
    let (one, _dir) = limiter("[limits.one]\nrate = \"1/h\"\nkey = \"ip\"");
    let router = Router::new().fallback(|| async {});
    let router = router.layer(LimitLayer::axum(one));
    let from = |address: [u8; 4]| {
        let mut request = Request::get("/x").body(Body::empty()).unwrap();
        let connection = ConnectInfo(SocketAddr::from((address, 9)));
        request.extensions_mut().insert(connection);
        request
    };
    for (address, status) in [(1, 200), (1, 429), (2, 200), (2, 429)] {
        let answer = send(&router, from([192, 0, 2, address])).await;
        assert_eq!(answer.status, status, "{address}");
    }
    // What a service says itself goes before.
    let mut request = from([192, 0, 2, 1]);
    request.extensions_mut().insert(Peer([192, 0, 2, 3].into()));
    assert_eq!(send(&router, request).await.status, 200);
}
