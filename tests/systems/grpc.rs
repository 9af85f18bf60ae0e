//! gRPC behind the layer: tonic's own server and client, over a socket.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::io::ErrorKind;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate::layer::{LimitLayer, Peer};
use tollgate::{Limiter, Policy};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response};
use tonic_health::server::HealthReporter;
use tower::{Layer, ServiceExt, service_fn};

use crate::{common, grpc_example};

/// The example's server, which runs until this is dropped.
struct Served {
    address: String,
    limiter: Limiter,
    client: HealthClient<Channel>,
    reporter: HealthReporter,
    server: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(policy: &str) -> Served {
    let dir = common::scratch();
    let policy = Policy::from_toml(policy).unwrap_or_else(|faults| panic!("{faults}"));
    let builder = Limiter::builder(policy).counters(1_000);
    let limiter = builder.open(dir.path().join("data")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (reporter, health) = tonic_health::server::health_reporter();
    let serving = grpc_example::serve(listener, limiter.clone(), Routes::new(health));
    let server = tokio::spawn(async move { serving.await.unwrap() });
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = channel.connect().await.unwrap();
    Served {
        address,
        limiter,
        client: HealthClient::new(channel),
        reporter,
        server,
        _dir: dir,
    }
}

impl Served {
    async fn check(&self, service: &str) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let service = service.to_owned();
        let mut client = self.client.clone();
        client.check(HealthCheckRequest { service }).await
    }

    async fn watch(&self, service: &str) -> Result<Streaming<HealthCheckResponse>, Status> {
        let service = service.to_owned();
        let mut client = self.client.clone();
        let watched = client.watch(HealthCheckRequest { service }).await;
        watched.map(tonic::Response::into_inner)
    }

    fn running(&self) -> (u64, u64) {
        let usage = self.limiter.running("watching").unwrap();
        (usage.running, usage.waiting)
    }

    /// Returns once so many run and wait; what a client drops the server hears of later.
    async fn until(&self, wanted: (u64, u64)) {
        let arrives = async {
            while self.running() != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let arrived = tokio::time::timeout(Duration::from_secs(60), arrives).await;
        assert!(arrived.is_ok(), "{:?}, not {wanted:?}", self.running());
    }
}

/// A refused call's metadata.
fn told<'s>(status: &'s Status, name: &str) -> Option<&'s str> {
    let value = status.metadata().get(name);
    value.map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_is_resource_exhausted_and_says_when_to_come_again() {
    let served = serve(
        r#"
        [limits.checks]
        rate = "2/h"
        key = "ip"
        when_key_missing = "refuse"
        [[routes]]
        route = "POST /grpc.health.v1.Health/Check"
        limits = ["checks"]
        [response]
        headers = ["x-ratelimit-seconds", "retry-after"]
        "#,
    )
    .await;
    for left in ["1", "0"] {
        let answer = served.check("").await.unwrap();
        assert_eq!(
            answer.metadata().get("x-ratelimit-remaining").unwrap(),
            left
        );
        assert_eq!(
            answer.into_inner().status(),
            health_check_response::ServingStatus::Serving
        );
    }
    let refused = served.check("").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.message(), "refused, there is no room");
    assert_eq!(told(&refused, "x-ratelimit-limit"), Some("2"));
    let wait: u64 = told(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1..=1_800).contains(&wait), "{wait}");
    let millis = (wait * 1_000).to_string();
    assert_eq!(told(&refused, "grpc-retry-pushback-ms"), Some(&*millis));
    // What the limit does not concern goes on, on the same connection.
    assert!(served.watch("").await.unwrap().message().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_wait_helps_and_what_the_limiter_cannot_have_codes_of_their_own() {
    let refused = |limit: &'static str| async move {
        let served = serve(&format!("[limits.checks]\n{limit}")).await;
        if limit.contains("max_concurrent") {
            served.limiter.close().unwrap();
        }
        let status = served.check("").await.unwrap_err();
        let pushback = told(&status, "grpc-retry-pushback-ms").map(str::to_owned);
        (status.code(), pushback)
    };
    let never = Some("-1".to_owned());
    let deny = refused("rate = \"deny\"").await;
    assert_eq!(deny, (Code::PermissionDenied, never.clone()));
    let keyless = refused("rate = \"1/h\"\nkey = \"user\"\nwhen_key_missing = \"refuse\"").await;
    assert_eq!(keyless, (Code::InvalidArgument, never));
    assert_eq!(
        refused("max_concurrent = 1").await,
        (Code::Unavailable, None)
    );
}

const ONE_WATCH: &str = r#"
    [limits.watching]
    max_concurrent = 1
    queue = 1
    wait = "60s"
    [[routes]]
    route = "POST /grpc.health.v1.Health/Watch"
    limits = ["watching"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_holds_its_permit_until_its_trailers_or_until_it_is_dropped() {
    let mut served = serve(ONE_WATCH).await;
    let reporter = served.reporter.clone();
    reporter
        .set_service_status("a", ServingStatus::Serving)
        .await;
    let mut first = served.watch("a").await.unwrap();
    assert!(first.message().await.unwrap().is_some());
    reporter
        .set_service_status("a", ServingStatus::NotServing)
        .await;
    assert!(first.message().await.unwrap().is_some());
    assert_eq!(served.running(), (1, 0), "it goes on");
    // One may wait for its end; no more.
    let mut client = served.client.clone();
    let second = tokio::spawn(async move {
        let service = String::new();
        client.watch(HealthCheckRequest { service }).await
    });
    served.until((1, 1)).await;
    let third = served.watch("").await.unwrap_err();
    assert_eq!(third.code(), Code::ResourceExhausted);
    assert_eq!(third.message(), "refused, no more may wait");
    assert_eq!(
        told(&third, "grpc-retry-pushback-ms"),
        None,
        "nobody knows when"
    );
    // The service ends the first by its trailers, and the second is served.
    served.reporter.clear_service_status("a").await;
    assert_eq!(first.message().await.unwrap(), None);
    let second = second.await.unwrap().unwrap();
    served.until((1, 0)).await;
    // Its client goes away in the middle.
    drop(second);
    served.until((0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_calls_alone_are_charged_where_the_limit_says_so() {
    let served = serve(
        "[limits.guesses]\nrate = \"2/h\"\nalgorithm = \"fixed window\"\ncharged_status = 404\n\
         [response]\nheaders = [\"x-ratelimit-seconds\"]",
    )
    .await;
    let used = || served.limiter.limit("guesses").unwrap().usage(()).used();
    // These end with trailers that say so.
    for _ in 0..5 {
        served.check("").await.unwrap();
    }
    for wanted in 1..=2 {
        let failed = served.check("nobody").await.unwrap_err();
        assert_eq!((failed.code(), used()), (Code::NotFound, wanted));
    }
    let refused = served.check("").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

/// A body of these frames.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// A call whose response ends as said: with these trailers, or dropped before them.
async fn used_after(trailers: Option<&'static str>, drops: bool) -> u64 {
    let dir = common::scratch();
    let policy = "[limits.guesses]\nrate = \"9/h\"\ncharged_status = [\"401\", \"5xx\"]";
    let policy = Policy::from_toml(policy).unwrap();
    let limiter = Limiter::open(dir.path().join("data"), policy).unwrap();
    let service =
        LimitLayer::new(limiter.clone()).layer(service_fn(move |_: Request<Empty<Bytes>>| {
            let mut frames = Frames(VecDeque::from([Frame::data("part".into())]));
            if let Some(status) = trailers {
                let mut last = HeaderMap::new();
                last.insert("grpc-status", status.parse().unwrap());
                frames.0.push_back(Frame::trailers(last));
            }
            ready(Ok::<_, Infallible>(Response::new(frames)))
        }));
    let mut request = Request::post("/x").body(Empty::new()).unwrap();
    request.extensions_mut().insert(Peer([127, 0, 0, 1].into()));
    let kind = "application/grpc+proto".parse().unwrap();
    request.headers_mut().insert("content-type", kind);
    let mut body = service.oneshot(request).await.unwrap().into_body();
    let used = || limiter.limit("guesses").unwrap().usage(()).used();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert_eq!(used(), 1, "charged before anybody knows how it ends");
    if !drops {
        while body.frame().await.is_some() {}
    }
    drop(body);
    used()
}

#[tokio::test]
async fn the_trailers_say_whether_a_call_is_charged() {
    assert_eq!(used_after(Some("0"), false).await, 0);
    assert_eq!(
        used_after(Some("5"), false).await,
        0,
        "not found is not among them"
    );
    assert_eq!(
        used_after(Some("16"), false).await,
        1,
        "unauthenticated is 401"
    );
    assert_eq!(used_after(Some("2"), false).await, 1, "unknown is 500");
    assert_eq!(
        used_after(Some("x"), false).await,
        1,
        "and so is what is no status"
    );
    assert_eq!(
        used_after(None, false).await,
        1,
        "who says nothing is charged"
    );
    assert_eq!(
        used_after(Some("0"), true).await,
        1,
        "who hangs up stays charged"
    );
}

/// Calls without trying again until it is refused, then by a policy that tries again after a
/// millisecond, four times in all, unless it is told otherwise.
const PYTHON: &str = r#"
import json, sys
try:
    import grpc
except ImportError:
    sys.exit("no module grpc")
policy = {
    "maxAttempts": 4,
    "initialBackoff": "0.001s",
    "maxBackoff": "0.001s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
}
again = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
def check(*options):
    with grpc.insecure_channel(sys.argv[1], options) as channel:
        try:
            call = channel.unary_unary("/grpc.health.v1.Health/Check")
            call(b"", timeout=60)
            return {"code": "OK"}
        except grpc.RpcError as error:
            told = {name: value for name, value in error.trailing_metadata()}
            return {"code": error.code().name, "details": error.details(), "told": told}
for _ in range(1000):
    refused = check(("grpc.enable_retries", 0))
    if refused["code"] != "OK":
        break
print(json.dumps([refused, check(("grpc.service_config", json.dumps(again)))]))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_is_told_and_comes_again_when_it_is_let_in() {
    let served = serve(
        "[limits.checks]\nrate = \"1 per 3 s\"\nkey = \"ip\"\n\
         [response]\nheaders = \"retry-after\"",
    )
    .await;
    let address = served.address.clone();
    let run = move || {
        Command::new("python3")
            .args(["-c", PYTHON, &address])
            .output()
    };
    let output = match tokio::task::spawn_blocking(run).await.unwrap() {
        Ok(output) if output.stderr.starts_with(b"no module grpc") => {
            return crate::skipped::say("Python's grpcio is not installed");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return crate::skipped::say("python3 is not installed");
        }
        output => output.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = serde_json::from_slice::<Value>(&output.stdout);
    let said = said.unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert_eq!(said[0]["code"], "RESOURCE_EXHAUSTED");
    assert_eq!(said[0]["details"], "refused, there is no room");
    let wait = said[0]["told"]["retry-after"].as_str().unwrap();
    assert!(["1", "2", "3"].contains(&wait), "{wait}");
    assert_eq!(
        said[1],
        json!({ "code": "OK" }),
        "it waited as long as it was told"
    );
}
