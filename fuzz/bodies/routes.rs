//! The policy's routing against a reference that is slow and plain: every route that matches is
//! found by itself, and the first by the rules of precedence wins.
//!
//! The input is text: one route a line, and the last line is a request, `METHOD path`.

use std::cmp::Reverse;

use serde_json::json;
use tollgate::{Policy, Request, RequestError};

/// Each route has a limit of its own, so that the explanation tells which one matched.
const ROUTES_MAX: usize = 24;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// The last route of all: what keys name must be captured somewhere.
const CAPTURES_ALL: &str = "ALL /{a}/{b}/{c}/{d}";
/// The longest path that is not plain, as the errors say.
const ODD_PATH_BYTES_MAX: usize = 1_024;
/// Stands for a byte beyond ASCII that is not escaped, where nothing is decoded.
const RAW: u8 = 0xff;

/// Reads `bytes` as routes and a request, and compares what the policy and the reference say.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (routes, request) = text.rsplit_once('\n').unwrap_or(("", text));
    let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
    let texts: Vec<&str> = routes.lines().take(ROUTES_MAX).collect();
    // What a route's text may be is the policy's own to say; here it must be right about the rest.
    let texts: Vec<&str> = match policy(&texts) {
        Ok(_) => texts,
        Err(_) => {
            let is_route = |text: &&str| policy(&[text]).is_ok();
            texts.into_iter().filter(is_route).collect()
        }
    };
    let all = texts.iter().chain([&CAPTURES_ALL]);
    let routes: Vec<Route> = all.map(|text| Route::read(text)).collect();
    let is_twice = |(place, route): (usize, &Route)| {
        let before = routes.iter().take(place);
        before.filter(|other| other.is_same_as(route)).count() > 0
    };
    match policy(&texts) {
        Ok(policy) => {
            assert!(!routes.iter().enumerate().any(is_twice), "two are the same");
            compare(&policy, &routes, method, path);
        }
        Err(faults) => assert!(routes.iter().enumerate().any(is_twice), "{faults}"),
    }
}

fn policy(routes: &[&str]) -> Result<Policy, tollgate::PolicyFaults> {
    let limits = (0..=routes.len()).map(|place| {
        let key = NAMES.map(|name| format!("{{{name}}}?")).join(" + ");
        (format!("r{place}"), json!({"rate": "1/min", "key": key}))
    });
    let limits: serde_json::Map<_, _> = limits.collect();
    let routes = routes.iter().chain([&CAPTURES_ALL]);
    let routes = routes.enumerate().map(|(place, route)| {
        let limits = [format!("r{place}")];
        json!({"route": route, "limits": limits})
    });
    let policy = json!({
        "limits": limits,
        "routes": routes.collect::<Vec<_>>(),
        "default": {"exempt": true},
    });
    Policy::from_json(&policy.to_string())
}

fn compare(policy: &Policy, routes: &[Route], method: &str, raw: &str) {
    let found = match policy.explain(&Request::http(method, raw)) {
        Err(RequestError::PathTooLong) => {
            assert!(is_odd(raw), "{raw:?} is written plainly");
            assert!(raw.len() >= ODD_PATH_BYTES_MAX, "{raw:?}");
            return;
        }
        found => found,
    };
    let wanted = wanted(routes, method, raw);
    let (found, (place, captured)) = match (found, wanted) {
        (Ok(found), Ok(Some(wanted))) => (found, wanted),
        (Ok(found), Ok(None)) => {
            assert_eq!(found.route, None, "{method} {raw:?}");
            return;
        }
        (found, wanted) => {
            assert_eq!(found.err(), wanted.err(), "{method} {raw:?}");
            return;
        }
    };
    assert_eq!(found.limits.len(), 1, "{method} {raw:?}: {found}");
    assert_eq!(
        found.limits[0].limit,
        format!("r{place}"),
        "{method} {raw:?}"
    );
    let values = NAMES.iter().filter_map(|name| {
        let (_, value) = captured.iter().find(|(known, _)| known == name)?;
        let is_there = !value.is_empty();
        is_there.then(|| format!("{{{name}}}={}", value.escape_ascii()))
    });
    let key = values.collect::<Vec<_>>().join(" ");
    match key.is_empty() {
        true => assert!(!found.limits[0].key.contains('='), "{raw:?}: {found}"),
        false => assert_eq!(found.limits[0].key, key, "{raw:?}"),
    }
}

/// A route's place, and what its template captures by name.
type Matched = (usize, Vec<(String, Vec<u8>)>);

/// The route that the request is to meet, in every reading of its path.
fn wanted(routes: &[Route], method: &str, raw: &str) -> Result<Option<Matched>, RequestError> {
    let path = raw.split(['?', '#']).next().unwrap_or_default();
    // A path without its first slash is nobody's as it is written.
    let written = path.strip_prefix('/').map(Reading::written);
    let written = written.and_then(|path| first(routes, method, &path));
    let ambiguous = Err(RequestError::PathAmbiguous);
    // What a template takes for the rest of a path may be nothing; a capture may not.
    let has_empty = |(place, captured): &Matched| {
        let rests = usize::from(routes[*place].ends_in_rest());
        let mut before = captured.iter().rev().skip(rests);
        before.any(|(_, value)| value.is_empty())
    };
    if written.as_ref().is_some_and(has_empty) {
        return ambiguous;
    }
    if !is_odd(raw) {
        return Ok(written);
    }
    let all = Reading::all_decoded(path);
    if all
        .segments
        .iter()
        .any(|name| matches!(name.as_slice(), b"." | b".."))
    {
        return ambiguous;
    }
    let normal = first(routes, method, &Reading::normal(path));
    let place = |matched: &Option<Matched>| matched.as_ref().map(|(place, _)| *place);
    fn captured(matched: &Option<Matched>) -> impl Iterator<Item = &Vec<u8>> {
        let all = matched.iter().flat_map(|(_, captured)| captured);
        all.map(|(_, value)| value)
    }
    let is_same = |(one, other): (&Vec<u8>, &Vec<u8>)| {
        let one = cleaned(one);
        let fits = |(one, other): (&u8, &u8)| one == other || (*one == RAW && !other.is_ascii());
        one.len() == other.len() && one.iter().zip(other).all(fits)
    };
    let is_same = captured(&written).zip(captured(&normal)).all(is_same);
    if place(&written) != place(&normal) || !is_same {
        return ambiguous;
    }
    // The default is exempt here.
    if normal.is_none() && first(routes, method, &all).is_some() {
        return ambiguous;
    }
    Ok(normal)
}

/// The most specific route.
fn first(routes: &[Route], method: &str, reading: &Reading) -> Option<Matched> {
    let matching = routes.iter().enumerate().filter_map(|(place, route)| {
        let method = route.method_rank(method)?;
        let captured = route.captured(reading)?;
        Some(((route.rank(), method), place, captured))
    });
    let (_, place, captured) = matching.min_by(|(one, ..), (other, ..)| one.cmp(other))?;
    Some((place, captured))
}

/// A path as somebody may read it.
struct Reading {
    segments: Vec<Vec<u8>>,
    /// It ends with a slash.
    slash: bool,
    /// Nothing is decoded or left out.
    is_written: bool,
}

impl Reading {
    fn written(path: &str) -> Self {
        let mut segments: Vec<_> = path.split('/').map(properly_decoded).collect();
        let slash = segments.len() > 1 && segments.last().is_some_and(Vec::is_empty);
        if slash || path.is_empty() {
            segments.pop();
        }
        Self {
            segments,
            slash,
            is_written: true,
        }
    }

    fn normal(path: &str) -> Self {
        Self::cleaned(path.split('/').map(decoded).collect(), path.ends_with('/'))
    }

    fn all_decoded(path: &str) -> Self {
        let path = path
            .replace("%2f", "/")
            .replace("%2F", "/")
            .replace("%5c", "/");
        let path = path.replace("%5C", "/").replace('\\', "/");
        let path = path.replace("%3b", ";").replace("%3B", ";");
        let names = path
            .split('/')
            .map(|name| name.split(';').next().unwrap_or_default());
        let slash = names.clone().next_back().is_some_and(str::is_empty);
        Self::cleaned(names.map(decoded).collect(), slash)
    }

    fn cleaned(mut segments: Vec<Vec<u8>>, slash: bool) -> Self {
        segments.retain(|segment| !segment.is_empty());
        let slash = slash && !segments.is_empty();
        Self {
            segments,
            slash,
            is_written: false,
        }
    }
}

/// True for a path that may be read in more than one way.
fn is_odd(raw: &str) -> bool {
    let path = raw.split(['?', '#']).next().unwrap_or_default();
    let Some(rest) = path.strip_prefix('/') else {
        return true;
    };
    let odd = |segment: &str| matches!(segment, "" | "." | "..");
    !path.is_ascii() || path.contains(['%', ';', '\\']) || (path != "/" && rest.split('/').any(odd))
}

/// As it is written, but for what has no other proper spelling: escapes of bytes beyond ASCII.
/// Such a byte itself is nothing that a template has.
fn properly_decoded(segment: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [byte, after @ ..] = rest {
        let digits = rest.get(1..3).filter(|_| *byte == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let is_proper = |digits: &&str| {
            let upper = |digit: u8| matches!(digit, b'0'..=b'9' | b'A'..=b'F');
            digits.bytes().all(upper)
        };
        let value = digits.filter(is_proper);
        let value = value.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value.filter(|value| *value >= 0x80) {
            Some(value) => {
                bytes.push(value);
                rest = &rest[3..];
            }
            None => {
                bytes.push(if byte.is_ascii() { *byte } else { RAW });
                rest = after;
            }
        }
    }
    bytes
}

/// A part of a path as it is written, normalised.
fn cleaned(part: &[u8]) -> Vec<u8> {
    let names = part
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty());
    let names = names.map(decoded_bytes);
    names.collect::<Vec<_>>().join(&b'/')
}

fn decoded(segment: &str) -> Vec<u8> {
    decoded_bytes(segment.as_bytes())
}

/// Decoded once, but for slashes.
fn decoded_bytes(segment: &[u8]) -> Vec<u8> {
    let mut pieces = segment.split(|byte| *byte == b'%');
    let mut bytes = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let digits = piece
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| {
            let mut all = digits.bytes();
            all.all(|digit| digit.is_ascii_hexdigit())
        });
        match digits.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(b'/')) => bytes.extend_from_slice(b"%2F"),
            Some(Ok(byte)) => bytes.push(byte),
            _ => bytes.push(b'%'),
        }
        let rest = if digits.is_some() { &piece[2..] } else { piece };
        bytes.extend_from_slice(rest);
    }
    bytes
}

/// A route, read anew from a text that the policy takes.
#[derive(Debug)]
struct Route {
    methods: Vec<String>,
    segments: Vec<Segment>,
    /// It ends with a slash, and is not the root.
    slash: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    /// Texts with a capture between each two, and the captures' names. One text is a literal.
    Parts(Vec<String>, Vec<String>),
    /// Its name, and whether it may be nothing.
    Rest(String, bool),
}

/// What precedence looks at, the smallest first: where a path ends, with a slash or without; where
/// one that goes on is matched by a literal, by a pattern with the most literal bytes, by a
/// capture, by the rest of a path.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
    Slash,
    End,
    Literal(String),
    Pattern(Reverse<usize>, Vec<String>),
    Capture,
    Rest,
}

impl Route {
    fn read(text: &str) -> Self {
        let text = text.trim();
        let (methods, path) = text.split_once(char::is_whitespace).unwrap_or(("*", text));
        let is_any = methods == "*" || methods.eq_ignore_ascii_case("any");
        let methods = methods.split(['|', ',']).map(str::to_owned);
        let segments = path.trim_start().split('/').filter(|part| !part.is_empty());
        Self {
            methods: if is_any {
                Vec::new()
            } else {
                methods.collect()
            },
            segments: segments.map(Segment::read).collect(),
            slash: path.ends_with('/') && path.trim_start() != "/",
        }
    }

    fn ends_in_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(..)))
    }

    /// How well the route's methods fit: by name, as what serves `HEAD`, as any.
    fn method_rank(&self, method: &str) -> Option<u8> {
        let named = |name: &str| self.methods.iter().any(|known| known == name);
        match () {
            () if named(method) => Some(0),
            () if method == "HEAD" && named("GET") => Some(1),
            () => self.methods.is_empty().then_some(2),
        }
    }

    fn rank(&self) -> Vec<Rank> {
        let mut rank: Vec<_> = self.segments.iter().map(Segment::rank).collect();
        match self.slash {
            true => rank.push(Rank::Slash),
            false if self.ends_in_rest() => {}
            false => rank.push(Rank::End),
        }
        rank
    }

    /// True if a policy cannot have both: one shape, and a method or all others in common.
    fn is_same_as(&self, other: &Self) -> bool {
        let in_common = |method| other.methods.contains(method);
        let both_any = self.methods.is_empty() && other.methods.is_empty();
        self.rank() == other.rank() && (both_any || self.methods.iter().any(in_common))
    }

    /// The captures by name, if the template matches the path.
    fn captured(&self, path: &Reading) -> Option<Vec<(String, Vec<u8>)>> {
        let mut captured = Vec::new();
        for (place, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Rest(name, may_be_nothing) => {
                    let left = path.segments.get(place..)?;
                    let mut rest = left.join(&b'/');
                    if path.is_written && path.slash && !left.is_empty() {
                        rest.push(b'/');
                    }
                    captured.push((name.clone(), rest));
                    return (*may_be_nothing || !left.is_empty()).then_some(captured);
                }
                Segment::Parts(texts, names) => {
                    let segment = path.segments.get(place)?;
                    let goes_on = place + 1 < path.segments.len() || path.slash;
                    let is_bare = matches!(texts.as_slice(), [first, last]
                        if last.is_empty() && first.as_bytes() == segment.as_slice());
                    if segment.is_empty() && texts.len() == 1 {
                        return None;
                    }
                    let values = match path.is_written && goes_on && is_bare {
                        true => vec![Vec::new()],
                        false => split(segment, texts)?,
                    };
                    captured.extend(names.iter().cloned().zip(values));
                }
            }
        }
        let is_end = self.segments.len() == path.segments.len();
        let is_slash = self.slash == path.slash || (!path.is_written && path.slash);
        (is_end && is_slash).then_some(captured)
    }
}

impl Segment {
    fn read(text: &str) -> Self {
        let braced = text
            .strip_prefix("{*")
            .and_then(|name| name.strip_suffix('}'));
        if let Some(name) = braced.or((text == "**").then_some("")) {
            return Self::Rest(name.to_owned(), text == "**");
        }
        let (mut texts, mut names) = (vec![String::new()], Vec::new());
        let mut rest = text;
        if let Some(after) = rest.strip_prefix(':') {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (name, after) = after.split_at(end.unwrap_or(after.len()));
            names.push(name.to_owned());
            texts.push(String::new());
            rest = after;
        }
        while let Some(at) = rest.find(['*', '{']) {
            texts
                .last_mut()
                .expect("one at least")
                .push_str(&rest[..at]);
            let (name, after) = match rest[at..].strip_prefix('{') {
                Some(named) => named.split_once('}').expect("the policy took it"),
                None => ("", &rest[at + 1..]),
            };
            names.push(name.to_owned());
            texts.push(String::new());
            rest = after;
        }
        texts.last_mut().expect("one at least").push_str(rest);
        Self::Parts(texts, names)
    }

    fn rank(&self) -> Rank {
        match self {
            Self::Rest(..) => Rank::Rest,
            Self::Parts(texts, _) => match texts.as_slice() {
                [text] => Rank::Literal(text.clone()),
                [first, last] if first.is_empty() && last.is_empty() => Rank::Capture,
                _ => {
                    let bytes = texts.iter().map(String::len).sum();
                    Rank::Pattern(Reverse(bytes), texts.clone())
                }
            },
        }
    }
}

/// What stands between `texts` in a segment; an earlier one is as long as it can be.
fn split(segment: &[u8], texts: &[String]) -> Option<Vec<Vec<u8>>> {
    let places = 0..=segment.len();
    // By text, from the last: where it can stand, with all that follow it.
    let mut fits: Vec<Vec<bool>> = Vec::new();
    for text in texts.iter().rev() {
        let stands = |at: usize| {
            let end = at + text.len();
            segment[at..].starts_with(text.as_bytes())
                && match fits.last() {
                    None => end == segment.len(),
                    Some(next) => next.iter().skip(end + 1).any(|fits| *fits),
                }
        };
        fits.push(places.clone().map(stands).collect());
    }
    let mut at = 0;
    let mut values = Vec::new();
    fits.pop()?.first()?.then_some(())?;
    for (text, next) in texts.iter().zip(fits.iter().rev()) {
        let start = at + text.len();
        at = next.iter().rposition(|fits| *fits)?;
        values.push(segment[start..at].to_vec());
    }
    Some(values)
}
