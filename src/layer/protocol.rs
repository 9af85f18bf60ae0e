//! Which protocol a request speaks: plain HTTP, or gRPC, which has its statuses elsewhere.

use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::headers::http_status;

/// Where gRPC has its status: among the last headers, which may be the first ones, too.
pub(super) const GRPC_STATUS: &str = "grpc-status";

/// How a request is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Http,
    /// Of this media type.
    Grpc(&'static str),
}

impl Protocol {
    /// A call by gRPC is a POST. A client that writes its media type on anything else is no client
    /// of gRPC, and a refusal that it might keep (a GET's 200) would be taken for an answer.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        if method != Method::POST {
            return Self::Http;
        }
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        // What follows a media type is how messages are encoded.
        let is = |known: &&str| {
            let rest = kind.and_then(|kind| kind.strip_prefix(known.as_bytes()));
            rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';' | b' ', ..]))
        };
        let kinds = [
            "application/grpc",
            "application/grpc-web",
            "application/grpc-web-text",
        ];
        kinds.into_iter().find(is).map_or(Self::Http, Self::Grpc)
    }
}

/// The HTTP status that gRPC's in `headers` stands for, if there is one.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    let value = headers.get(GRPC_STATUS)?.to_str().ok();
    Some(http_status(value.and_then(|code| code.parse().ok())))
}
