//! An answer as HTTP: headers put on a response, and the response of a refusal.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::protocol::{GRPC_STATUS, Protocol};
use crate::headers::Answer;
use crate::limiter::Decision;

/// Headers of dialects, so that their names need not be made anew for each response.
static KNOWN: [HeaderName; 10] = [
    RETRY_AFTER,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("x-ratelimit-reset-after"),
    HeaderName::from_static("x-ratelimit-tier"),
    HeaderName::from_static("x-ratelimit-wait"),
    HeaderName::from_static("x-retry-after"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
];

/// gRPC's status of a service that cannot.
const UNAVAILABLE: u8 = 14;

fn header_name(name: &str) -> Option<HeaderName> {
    let known = KNOWN.iter().find(|known| known.as_str() == name);
    known
        .cloned()
        .or_else(|| HeaderName::from_bytes(name.as_bytes()).ok())
}

/// Adds the answer's headers; one that is there already stays.
pub(super) fn add_headers(answer: &Answer<'_>, headers: &mut HeaderMap) {
    answer.headers(|name, value| {
        // A policy has only names and values that fit.
        if let (Some(name), Ok(value)) = (header_name(name), HeaderValue::from_str(value)) {
            headers.entry(name).or_insert(value);
        }
    });
}

/// The response of a refusal.
pub(super) fn response(decision: &Decision, protocol: Protocol) -> Response<String> {
    let answer = decision.answer();
    let mut response = Response::new(String::new());
    add_headers(&answer, response.headers_mut());
    match protocol {
        Protocol::Http => fill(&answer, &mut response),
        Protocol::Grpc(kind) => fill_grpc(&answer, kind, response.headers_mut()),
    }
    response
}

fn fill(answer: &Answer<'_>, response: &mut Response<String>) {
    let status = answer.status().map(StatusCode::from_u16);
    *response.status_mut() = match status {
        Some(Ok(status)) => status,
        _ => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut body = String::new();
    if let Some(Ok(kind)) = answer.body(&mut body).map(HeaderValue::from_str) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    *response.body_mut() = body;
}

/// A response of headers only, as gRPC has it: HTTP's status is 200, and its own is told.
fn fill_grpc(answer: &Answer<'_>, kind: &'static str, headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let code = answer.grpc_status().unwrap_or(UNAVAILABLE);
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    let reason = answer.reason().unwrap_or_default();
    headers.insert("grpc-message", HeaderValue::from_static(reason));
    if let Some(millis) = answer.grpc_pushback_ms() {
        headers.insert("grpc-retry-pushback-ms", HeaderValue::from(millis));
    }
}
