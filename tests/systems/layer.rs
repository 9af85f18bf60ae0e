//! What the layer does beside asking: permits and bodies, readiness, statuses, other protocols.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::mpsc;
use tollgate::layer::{LimitLayer, Peer};
use tollgate::{Limiter, Policy};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;

use crate::world::{agent, send, serve_policy};
use crate::{common, hyper_example};

fn limiter(policy: &str) -> (Limiter, tempfile::TempDir) {
    let dir = common::scratch();
    let policy = Policy::from_toml(policy).unwrap_or_else(|faults| panic!("{faults}"));
    let builder = Limiter::builder(policy).counters(1_000);
    (builder.open(dir.path().join("data")).unwrap(), dir)
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

const ONE_AT_A_TIME: &str = r#"
    [limits.running]
    max_concurrent = 1
    queue = 4
    wait = "30s"
"#;

/// A body that has what is sent to it.
struct Channel(mpsc::UnboundedReceiver<Bytes>);

impl Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let sent = self.0.poll_recv(cx);
        sent.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn permits_are_held_until_the_body_has_ended_or_is_dropped() {
    let (limiter, _dir) = limiter(ONE_AT_A_TIME);
    let running = || limiter.running("running").unwrap().running;
    let (bodies, mut opened) = mpsc::unbounded_channel();
    let service = LimitLayer::new(limiter.clone()).layer(service_fn(move |_: Request<_>| {
        let (sender, receiver) = mpsc::unbounded_channel();
        bodies.send(sender).unwrap();
        ready(Ok::<_, Infallible>(Response::new(Channel(receiver))))
    }));
    for drops in [false, true] {
        let response = service.clone().oneshot(request("/x")).await.unwrap();
        let sender = opened.recv().await.unwrap();
        assert_eq!(running(), 1, "the answer has begun");
        let mut body = response.into_body();
        sender.send(Bytes::from_static(b"part")).unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "part");
        assert_eq!(running(), 1, "and goes on");
        if drops {
            drop(body);
        } else {
            drop(sender);
            assert!(body.frame().await.is_none());
            assert_eq!(running(), 0, "over, though the body is still there");
            drop(body);
        }
        assert_eq!(running(), 0);
    }
}

#[tokio::test]
async fn who_waits_and_goes_away_gives_up_his_place_and_is_charged_nothing() {
    let policy = format!("{ONE_AT_A_TIME}\n[limits.rate]\nrate = \"10/h\"");
    let (limiter, _dir) = limiter(&policy);
    let held = limiter.acquire(&tollgate::Request::new());
    let answer =
        |_: Request<_>| ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let mut service = LimitLayer::new(limiter.clone()).layer(service_fn(answer));
    let mut waiting = Box::pin(service.ready().await.unwrap().call(request("/x")));
    let polled = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
    assert!(polled.await, "it waits");
    assert_eq!(limiter.running("running").unwrap().waiting, 1);
    drop(waiting);
    assert_eq!(limiter.running("running").unwrap().waiting, 0);
    drop(held);
    assert_eq!(
        limiter.limit("rate").unwrap().usage(()).used(),
        1,
        "of who held it"
    );
    let response = service.ready().await.unwrap().call(request("/x")).await;
    assert_eq!(response.unwrap().status(), 200);
}

/// Must be asked whether it is ready before each call, as a service may demand.
struct Demanding {
    is_ready: bool,
}

impl Clone for Demanding {
    fn clone(&self) -> Self {
        Self { is_ready: false }
    }
}

impl Service<Request<Empty<Bytes>>> for Demanding {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        assert!(self.is_ready, "called without being ready");
        self.is_ready = false;
        ready(Ok(Response::new(Full::default())))
    }
}

#[tokio::test]
async fn edge_49_the_service_that_was_ready_is_the_one_called_even_after_a_wait() {
    let (limiter, _dir) = limiter(ONE_AT_A_TIME);
    let mut service = LimitLayer::new(limiter.clone()).layer(Demanding { is_ready: false });
    for _ in 0..2 {
        let response = service.ready().await.unwrap().call(request("/x")).await;
        assert_eq!(response.unwrap().status(), 200);
    }
    let held = limiter.acquire(&tollgate::Request::new());
    let waiting = service.ready().await.unwrap().call(request("/x"));
    let waiting = tokio::spawn(waiting);
    while limiter.running("running").unwrap().waiting == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(held);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    let response = service.ready().await.unwrap().call(request("/x")).await;
    assert_eq!(response.unwrap().status(), 200);
}

#[test]
fn only_failed_log_ins_are_charged_where_the_limit_says_so() {
    let world = serve_policy(
        "any",
        r#"
        [limits.log-in]
        rate = "3/h"
        algorithm = "fixed window"
        charged_status = ["401", 403, "5xx"]
        [limits.all]
        rate = "100/h"
        algorithm = "fixed window"
        [response]
        headers = ["x-ratelimit-seconds"]
        "#,
    );
    let left = |status: u16| {
        let answer = world.send("POST", &format!("/login?status={status}"), &[]);
        assert_eq!(answer.status, status);
        answer.number("x-ratelimit-remaining")
    };
    assert_eq!([left(200), left(204), left(404)], [3, 3, 3]);
    assert_eq!([left(401), left(200), left(403), left(500)], [2, 2, 1, 0]);
    world.must_refuse("POST", "/login?status=200", &[]);
    let all = world.limiter.limit("all").unwrap().usage(());
    assert_eq!(all.used(), 7, "that limit charges whatever is answered");
}

#[tokio::test]
async fn what_the_service_says_itself_stays_and_grpc_is_refused_in_its_own_way() {
    let policy = r#"
        [limits.one]
        rate = "1/h"
        key = "ip"
        when_key_missing = "refuse"
        [response]
        headers = ["x-ratelimit-seconds", "retry-after"]
    "#;
    let (limiter, _dir) = limiter(policy);
    let service = LimitLayer::new(limiter).layer(service_fn(|_: Request<Empty<Bytes>>| {
        let response = Response::builder().header("x-ratelimit-limit", "of its own");
        ready(Ok::<_, Infallible>(
            response.body(Full::<Bytes>::default()).unwrap(),
        ))
    }));
    let from = |kind: &str| {
        let mut request = request("/pkg.Service/Method");
        *request.method_mut() = Method::POST;
        let address = [192, 0, 2, 1].into();
        request.extensions_mut().insert(Peer(address));
        let headers = request.headers_mut();
        headers.insert("content-type", kind.parse().unwrap());
        request
    };
    let response = service
        .clone()
        .oneshot(from("application/grpc"))
        .await
        .unwrap();
    assert_eq!(response.headers()["x-ratelimit-limit"], "of its own");
    assert_eq!(response.headers()["x-ratelimit-remaining"], "0");
    let refused = service
        .clone()
        .oneshot(from("application/grpc+proto"))
        .await
        .unwrap();
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert_eq!(refused.headers()["content-type"], "application/grpc");
    assert_eq!(refused.headers()["x-ratelimit-limit"], "1");
    let message = refused.headers()["grpc-message"].to_str().unwrap();
    assert!(message.contains("no room"), "{message}");
    assert!(
        refused.into_body().is_end_stream(),
        "headers are all there is"
    );
    // In the same family of media types; what only begins alike is another.
    for (kind, answered) in [
        ("application/grpc", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
        ("application/grpcs", "application/json"),
    ] {
        let refused = service.clone().oneshot(from(kind)).await.unwrap();
        assert_eq!(refused.headers()["content-type"], answered, "{kind}");
        assert_eq!(refused.status().as_u16() == 200, answered.contains("grpc"));
    }
    // No address, and the limit refuses such requests: no wait helps.
    let nobody = service.clone().oneshot(request("/x")).await.unwrap();
    assert_eq!(nobody.status(), 400);
    assert!(!nobody.headers().contains_key("retry-after"));
    let body = nobody.into_body().collect().await.unwrap().to_bytes();
    let wanted = r#"{"code":400,"message":"refused, the request lacks the limit's key"}"#;
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn h5_a_call_by_grpc_is_a_post_and_anything_else_is_refused_as_http() {
    let (limiter, _dir) = limiter("[limits.one]\nrate = \"1/h\"");
    let answer = |_: Request<Empty<Bytes>>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    };
    let service = LimitLayer::new(limiter.clone()).layer(service_fn(answer));
    assert!(limiter.check(&tollgate::Request::new()).is_allowed());
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST] {
        let mut request = request("/pkg.Service/Method");
        let kind = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", kind);
        *request.method_mut() = method.clone();
        let refused = service.clone().oneshot(request).await.unwrap();
        let is_grpc = method == Method::POST;
        assert_eq!(refused.status(), if is_grpc { 200 } else { 429 });
        assert_eq!(refused.headers().contains_key("grpc-status"), is_grpc);
        let kind = if is_grpc {
            "application/grpc"
        } else {
            "application/json"
        };
        assert_eq!(refused.headers()["content-type"], kind);
    }
}

#[tokio::test]
async fn edge_47_a_layer_for_cors_outside_answers_preflight_and_lets_pages_read_refusals() {
    let policy = "[limits.one]\nrate = \"1/h\"\n[response]\nheaders = [\"retry-after\"]";
    let (limiter, _dir) = limiter(policy);
    let answer = |_: Request<Empty<Bytes>>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    };
    let service = ServiceBuilder::new()
        .layer(CorsLayer::permissive().expose_headers([RETRY_AFTER]))
        .layer(LimitLayer::new(limiter.clone()))
        .service_fn(answer);
    let send = |method: &str| {
        let request = Request::builder().method(method).uri("/x");
        let request = request.header("origin", "https://a.example");
        let request = request.header("access-control-request-method", "GET");
        service.clone().oneshot(request.body(Empty::new()).unwrap())
    };
    for (method, status, left) in [("OPTIONS", 200, 1), ("GET", 200, 0), ("GET", 429, 0)] {
        let response = send(method).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(limiter.limit("one").unwrap().usage(()).remaining(), left);
        if status == 429 {
            assert_eq!(response.headers()["retry-after"], "3600");
            assert_eq!(
                response.headers()["access-control-expose-headers"],
                "retry-after"
            );
        }
    }
}

#[tokio::test]
async fn a_limiter_that_cannot_fails_closed_or_open_as_the_limit_says() {
    for (when_full, status) in [("refuse", 503), ("admit", 200)] {
        let policy = format!(
            "[limits.one]\nrate = \"1/h\"\nkey = \"ip\"\nwhen_full = \"{when_full}\"\n\
             [response]\nheaders = [\"retry-after\"]"
        );
        let dir = common::scratch();
        let policy = Policy::from_toml(&policy).unwrap();
        let builder = Limiter::builder(policy).counters(16);
        let limiter = builder.open(dir.path().join("data")).unwrap();
        let answer = |_: Request<Empty<Bytes>>| {
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
        };
        let service = LimitLayer::new(limiter.clone()).layer(service_fn(answer));
        let mut address = 0_u32;
        let full = loop {
            address += 1;
            let mut request = request("/x");
            request
                .extensions_mut()
                .insert(Peer(address.to_be_bytes().into()));
            let response = service.clone().oneshot(request).await.unwrap();
            if limiter.health().newcomers_without_slot > 0 {
                break response;
            }
            assert_eq!(response.status(), 200);
        };
        assert_eq!(full.status(), status, "{when_full}");
        let retry = full
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap());
        assert_eq!(retry, (status == 503).then_some("1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_hyper_is_served_and_limited() {
    let (limiter, _dir) = limiter(
        r#"
        [limits.per-address]
        rate = "10/h"
        key = "ip"
        [response]
        headers = ["x-ratelimit-seconds", "retry-after"]
        "#,
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(hyper_example::serve(listener, limiter));
    let answers = tokio::task::spawn_blocking(move || {
        let agent = agent();
        let send = |_| send(&agent, "GET", &url, &[]);
        (0..11).map(send).collect::<Vec<_>>()
    });
    let answers = answers.await.unwrap();
    let (last, served) = answers.split_last().unwrap();
    for (answer, left) in served.iter().zip((0..10).rev()) {
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello\n"));
        assert_eq!(answer.number("x-ratelimit-remaining"), left);
    }
    assert_eq!(last.status, 429);
    assert_eq!(last.number("retry-after"), 360);
    server.abort();
}
