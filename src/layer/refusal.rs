//! An answer as HTTP: headers put on a response, and the response of a refusal.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::headers::Answer;
use crate::limiter::Decision;

/// Headers of dialects, so that their names need not be made anew for each response.
static KNOWN: [HeaderName; 9] = [
    RETRY_AFTER,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("x-ratelimit-reset-after"),
    HeaderName::from_static("x-ratelimit-tier"),
    HeaderName::from_static("x-ratelimit-wait"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
];

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

/// True for a request of gRPC's.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// The response of a refusal.
pub(super) fn response(decision: &Decision, is_grpc: bool) -> Response<String> {
    let answer = decision.answer();
    let status = answer.status().unwrap_or(429);
    let mut body = String::new();
    let mut response = Response::new(String::new());
    add_headers(&answer, response.headers_mut());
    let headers = response.headers_mut();
    if is_grpc {
        // A response of headers only; the status is in them, not in HTTP's.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(grpc_status(status)));
        let reason = answer.reason().unwrap_or_default();
        headers.insert("grpc-message", HeaderValue::from_static(reason));
        return response;
    }
    if let Some(Ok(kind)) = answer.body(&mut body).map(HeaderValue::from_str) {
        headers.insert(CONTENT_TYPE, kind);
    }
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    *response.body_mut() = body;
    response
}

/// The code that says in gRPC what the HTTP status says.
fn grpc_status(status: u16) -> &'static str {
    match status {
        429 => "8",
        400 => "3",
        403 => "7",
        _ => "14",
    }
}
