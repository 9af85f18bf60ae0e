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
mod format;
mod inflate;
mod json;
mod lines;
mod pattern;
mod source;
mod stamp;
mod w3c;

pub(crate) use fields::{FieldMap, quoted};
pub(crate) use format::Format;
pub(crate) use format::HELP as FORMATS_HELP;
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
    Pattern(pattern::Pattern),
    W3c(w3c::W3c),
}

/// How the lines of a log are to be understood, beside their format.
#[derive(Clone, Default)]
pub(crate) struct Reading {
    names: fields::Names,
    stamps: Stamps,
    /// How many proxies of one's own stand before the logging server: 0 takes the logged address
    /// as the client's, 1 the last one of X-Forwarded-For, and so on.
    trusted_hops: usize,
}

impl Reading {
    /// `mapped_only` says that only fields that `map` names are taken.
    pub(crate) fn new(
        map: FieldMap,
        mapped_only: bool,
        stamps: Stamps,
        trusted_hops: usize,
    ) -> Self {
        Self {
            names: fields::Names {
                map,
                mapped_only,
                ..fields::Names::default()
            },
            stamps,
            trusted_hops,
        }
    }

    /// As it is, but of the attributes only those that are of use are taken.
    pub(crate) fn wanting(mut self, attributes: Vec<String>) -> Self {
        self.names.wanted = Some(attributes.into());
        self
    }

    /// As it is, for one format's own fields.
    fn of(mut self, own: &'static [fields::Usual], http_only: bool) -> Self {
        self.names.own = own;
        self.names.http_only = http_only;
        self
    }

    fn wants(&self, attribute: &str) -> bool {
        let mut wanted = self.names.wanted.iter();
        wanted.all(|wanted| wanted.iter().any(|one| one == attribute))
    }
}

impl Parser {
    /// A parser for `format`; `heading` is a CSV's first line.
    ///
    /// # Errors
    /// If a heading or a format's text cannot be read, or lacks what the field map wants.
    pub(crate) fn new(
        format: &Format,
        heading: Option<&str>,
        reading: Reading,
    ) -> anyhow::Result<Self> {
        let reading = reading.of(format.fields(), format.is_http());
        Ok(match format {
            Format::Common | Format::Combined | Format::Traefik => {
                Self::Clf(clf::Clf::new(reading))
            }
            Format::Csv => {
                let heading = heading.unwrap_or_default();
                Self::Csv(Box::new(csv::Csv::new(heading, reading)?))
            }
            Format::W3c | Format::CloudFront => Self::W3c(w3c::W3c::new(reading)),
            _ => match format.pattern() {
                Some(pattern) => Self::Pattern(pattern::Pattern::new(pattern, reading)?),
                None => Self::Json(json::Json::new(reading)),
            },
        })
    }

    /// Reads one line, without its end.
    ///
    /// # Errors
    /// Says why it is not a record of this format.
    pub(crate) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Malformed> {
        if line.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Ok(Line::Blank);
        }
        match self {
            Self::Clf(clf) => clf.parse(line),
            Self::Csv(csv) => csv.parse(line),
            Self::Json(json) => json.parse(line),
            Self::Pattern(pattern) => pattern.parse(line),
            Self::W3c(w3c) => w3c.parse(line),
        }
    }

    /// The fields that the line in hand has, by the names that `--map` takes.
    fn fields(&self, line: &str) -> Vec<String> {
        match self {
            Self::Clf(_) => clf::FIELDS.map(str::to_owned).to_vec(),
            Self::Csv(csv) => csv.fields(),
            Self::Json(_) => json::fields(line),
            Self::Pattern(pattern) => pattern.fields(),
            Self::W3c(w3c) => w3c.fields(),
        }
    }

    /// The heading that the lines are read by, where it may change within a log.
    pub(crate) fn heading(&self) -> Option<String> {
        match self {
            Self::W3c(w3c) => w3c.heading(),
            _ => None,
        }
    }

    /// Goes on with a heading that came before.
    pub(crate) fn set_heading(&mut self, heading: &str) {
        if let Self::W3c(w3c) = self {
            w3c.set_heading(heading);
        }
    }
}

/// The parts of a request line such as `GET /a?b HTTP/1.1`; the protocol may be missing, and the
/// path may hold spaces that nobody escaped.
#[derive(Debug, PartialEq, Eq)]
struct RequestLine<'a> {
    method: Text<'a>,
    path: Text<'a>,
    query: Option<Text<'a>>,
    protocol: Option<Text<'a>>,
}

impl<'a> RequestLine<'a> {
    /// None if it is no request.
    fn of(request: Text<'a>) -> Option<Self> {
        match request {
            Text::Borrowed(request) => {
                let (method, path, query, protocol) = split_request(request)?;
                Some(Self {
                    method: method.into(),
                    path: path.into(),
                    query: query.map(Text::from),
                    protocol: protocol.map(Text::from),
                })
            }
            Text::Owned(request) => {
                let (method, path, query, protocol) = split_request(&request)?;
                let own = |text: &str| Text::Owned(text.to_owned());
                Some(Self {
                    method: own(method),
                    path: own(path),
                    query: query.map(own),
                    protocol: protocol.map(own),
                })
            }
        }
    }
}

/// Method, path, query and protocol.
type Parts<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>);

fn split_request(request: &str) -> Option<Parts<'_>> {
    let (method, rest) = request.trim().split_once(' ')?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    // A dash alone stands for what could not be read.
    if method.is_empty() || method == "-" || !method.bytes().all(is_token) {
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
    Some((method, path, query, protocol))
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
            ("- http://h.example:80- -", None),
            ("", None),
            ("\u{16}\u{3}\u{1} x", None),
            ("GET", None),
            ("GET  HTTP/1.1", None),
        ];
        for (request, expected) in cases {
            assert_eq!(split_request(request), expected, "{request:?}");
        }
    }
}
