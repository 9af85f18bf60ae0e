//! Access logs: from files in many forms to requests, one line at a time.
//!
//! Reading is bounded in memory whatever the log holds: a line has a longest length, and a line
//! that cannot be read is an answer ([`Malformed`]), not an error.

mod clf;
#[cfg(test)]
mod corpus;
mod csv;
mod detect;
mod fields;
mod json;
mod lines;
mod source;
mod stamp;

pub(crate) use detect::Format;
pub(crate) use fields::FieldMap;
pub(crate) use lines::{LINE_BYTES_MAX, Read};
pub(crate) use source::{Identity, Source};
pub(crate) use stamp::Stamps;

use std::borrow::Cow;

use tollgate::Timestamp;

/// Text borrowed from the line wherever it needed no unescaping.
pub(crate) type Text<'a> = Cow<'a, str>;

/// What one line of a log says.
#[derive(Debug, PartialEq)]
pub(crate) enum Line<'a> {
    /// A request to be judged.
    Request(Entry<'a>),
    /// A whole record of a connection that never sent a request that could be read.
    NoRequest(Timestamp),
    /// An empty line, or a heading.
    Blank,
}

/// One request of a log.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry<'a> {
    pub(crate) time: Timestamp,
    pub(crate) method: Text<'a>,
    /// Without the query; none if the log is not one of HTTP requests.
    pub(crate) path: Option<Text<'a>>,
    /// None if the log has no costs.
    pub(crate) cost: Option<u64>,
    pub(crate) attributes: Vec<(Text<'a>, Text<'a>)>,
}

/// Why a line could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl Malformed {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// A reader of lines in one format.
pub(crate) enum Parser {
    Clf(clf::Clf),
    Csv(Box<csv::Csv>),
    Json(json::Json),
}

/// How the lines of a log are to be understood, beside their format.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) map: FieldMap,
    pub(crate) stamps: Stamps,
    /// How many proxies of one's own stand before the logging server: 0 takes the logged address
    /// as the client's, 1 the last one of X-Forwarded-For, and so on.
    pub(crate) trusted_hops: usize,
    /// True if only fields that the map names are taken.
    pub(crate) mapped_only: bool,
}

impl Parser {
    /// A parser for `format`; `heading` is a CSV's first line.
    ///
    /// # Errors
    /// If a CSV's heading cannot be read, or names columns that the field map wants but misses.
    pub(crate) fn new(
        format: Format,
        heading: Option<&str>,
        reading: Reading,
    ) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Common | Format::Combined => Self::Clf(clf::Clf::new(reading)),
            Format::Json => Self::Json(json::Json::new(reading)),
            Format::Csv => {
                let heading = heading.unwrap_or_default();
                Self::Csv(Box::new(csv::Csv::new(heading, reading)?))
            }
        })
    }

    /// Reads one line, without its end.
    ///
    /// # Errors
    /// Says why it is not a record of this format.
    pub(crate) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Malformed> {
        if line.trim().is_empty() {
            return Ok(Line::Blank);
        }
        match self {
            Self::Clf(clf) => clf.parse(line),
            Self::Csv(csv) => csv.parse(line),
            Self::Json(json) => json.parse(line),
        }
    }
}

/// Method and path out of a request line such as `GET /a?b HTTP/1.1`; the protocol may be missing,
/// and the path may hold spaces that nobody escaped. None if it is no request.
fn split_request(request: &str) -> Option<RequestLine<'_>> {
    let (method, rest) = request.trim().split_once(' ')?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || !method.bytes().all(is_token) {
        return None;
    }
    let (target, protocol) = match rest.rsplit_once(' ') {
        Some((target, protocol)) if protocol.starts_with("HTTP/") => (target, Some(protocol)),
        _ => (rest, None),
    };
    let target = target.trim();
    if target.is_empty() {
        return None;
    }
    let (path, query) = split_target(target);
    Some(RequestLine {
        method,
        path,
        query,
        protocol,
    })
}

/// The parts of a request line.
#[derive(Debug, PartialEq, Eq)]
struct RequestLine<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    protocol: Option<&'a str>,
}

/// Path and query of a request target, which may be a whole URL (RFC 9112, section 3.2.2).
fn split_target(target: &str) -> (&str, Option<&str>) {
    let local = match target.find("://") {
        Some(scheme_end) if !target.starts_with('/') => {
            let authority = target.get(scheme_end + 3..).unwrap_or_default();
            let path_start = authority.find(['/', '?']).unwrap_or(authority.len());
            authority.get(path_start..).unwrap_or_default()
        }
        _ => target,
    };
    let (path, query) = match local.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (local, None),
    };
    (if path.is_empty() { "/" } else { path }, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(request: &str) -> Option<(&str, &str, Option<&str>, Option<&str>)> {
        split_request(request).map(|line| (line.method, line.path, line.query, line.protocol))
    }

    #[test]
    fn request_lines_in_every_shape() {
        let cases = [
            (
                "GET /a HTTP/1.1",
                Some(("GET", "/a", None, Some("HTTP/1.1"))),
            ),
            (
                "GET /a?b=c?d HTTP/1.0",
                Some(("GET", "/a", Some("b=c?d"), Some("HTTP/1.0"))),
            ),
            ("GET /a", Some(("GET", "/a", None, None))),
            (
                "GET /a b c HTTP/1.1",
                Some(("GET", "/a b c", None, Some("HTTP/1.1"))),
            ),
            (
                "GET http://h.example/a?q HTTP/1.1",
                Some(("GET", "/a", Some("q"), Some("HTTP/1.1"))),
            ),
            (
                "GET http://h.example HTTP/1.1",
                Some(("GET", "/", None, Some("HTTP/1.1"))),
            ),
            (
                "GET /to?u=http://x/y HTTP/1.1",
                Some(("GET", "/to", Some("u=http://x/y"), Some("HTTP/1.1"))),
            ),
            (
                "OPTIONS * HTTP/1.1",
                Some(("OPTIONS", "*", None, Some("HTTP/1.1"))),
            ),
            (
                "CONNECT h.example:443 HTTP/1.1",
                Some(("CONNECT", "h.example:443", None, Some("HTTP/1.1"))),
            ),
            ("-", None),
            ("", None),
            ("\u{16}\u{3}\u{1} x", None),
            ("GET", None),
            ("GET  HTTP/1.1", None),
        ];
        for (request, expected) in cases {
            assert_eq!(parts(request), expected, "{request:?}");
        }
    }
}
