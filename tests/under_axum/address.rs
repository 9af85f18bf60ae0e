//! Row H7: a service that does not say where addresses are gets refusals and an error in the log,
//! and never one counter for all its clients that nobody asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use tollgate::layer::LimitLayer;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::service::{limiter, send, statuses};

/// The errors of a test's own thread.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tollgate" && *metadata.level() == Level::ERROR
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn router(layer: LimitLayer) -> Router {
    Router::new().fallback(|| async {}).layer(layer)
}

#[tokio::test]
async fn h7_without_addresses_requests_are_refused_and_the_log_says_why_once() {
    let errors = Errors::default();
    let _guard = tracing::subscriber::set_default(errors.clone());
    let (one, _dir) = limiter("[limits.one]\nrate = \"3/h\"\nkey = \"ip\"");
    // The address is there, but the layer was not told where.
    let router = router(LimitLayer::new(one.clone()));
    for _ in 0..5 {
        let mut request = Request::get("/x").body(Body::empty()).unwrap();
        let connection = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 9)));
        request.extensions_mut().insert(connection);
        let answer = send(&router, request).await;
        assert_eq!(answer.status, 400);
        let why = "the request lacks the limit's key";
        assert!(answer.body.contains(why), "{}", answer.body);
    }
    assert_eq!(one.health().requests_without_key, 5);
    let said = errors.0.lock().unwrap().clone();
    let [said] = &said[..] else {
        panic!("{said:?}")
    };
    assert!(said.contains("LimitLayer::axum"), "{said}");
}

#[tokio::test]
async fn h7_a_policy_may_want_one_counter_for_all_without_an_address() {
    let policy = "[limits.one]\nrate = \"3/h\"\nkey = \"ip\"\nwhen_key_missing = \"share\"";
    let (one, _dir) = limiter(policy);
    let answers = statuses(&router(LimitLayer::axum(one.clone())), "GET", "/x", 4).await;
    assert_eq!(answers, [200, 200, 200, 429]);
    assert_eq!(one.health().requests_without_key, 0);
}

#[tokio::test]
async fn h7_nothing_is_logged_where_no_address_is_wanted() {
    let errors = Errors::default();
    let _guard = tracing::subscriber::set_default(errors.clone());
    let (one, _dir) = limiter("[limits.one]\nrate = \"1/h\"");
    let answers = statuses(&router(LimitLayer::axum(one)), "GET", "/x", 2).await;
    assert_eq!(answers, [200, 429]);
    assert!(errors.0.lock().unwrap().is_empty());
}
