//! A router in front of which a limiter stands, asked without a socket.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Uri};
use http_body_util::BodyExt;
use tollgate::{Limiter, ManualClock, Policy, Timestamp};
use tower::ServiceExt;

use crate::common;

/// A limiter under `policy`, on a clock that stands still, and its directory.
pub(crate) fn limiter(policy: &str) -> (Limiter, tempfile::TempDir) {
    let dir = common::scratch();
    let policy = Policy::from_toml(policy).unwrap_or_else(|faults| panic!("{faults}"));
    let builder = Limiter::builder(policy).counters(1_000);
    let clock = ManualClock::new(Timestamp::from_secs(1_759_996_800));
    let limiter = builder.clock(clock).open(dir.path().join("data"));
    (limiter.unwrap(), dir)
}

/// What a request was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The header `X-Limit`.
    pub(crate) limit: Option<String>,
    pub(crate) body: String,
}

/// What `router` answers to a request without a body.
pub(crate) async fn ask(router: &Router, method: &str, uri: Uri) -> Answer {
    let request = Request::builder().method(method).uri(uri);
    send(router, request.body(Body::empty()).unwrap()).await
}

/// What `router` answers.
pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let limit = head.headers.get("x-limit");
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        limit: limit.map(|name| name.to_str().unwrap().to_owned()),
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// The statuses of `count` requests that are alike.
pub(crate) async fn statuses(router: &Router, method: &str, uri: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        let answer = ask(router, method, uri.parse().unwrap()).await;
        statuses.push(answer.status);
    }
    statuses
}
