//! The policy's routing against a reference that is slow and plain: every route that matches is
//! found by itself, and the first by the rules of precedence wins.
//!
//! The input is text: one route a line, and the last line is a request, `METHOD path`.

use std::cmp::Reverse;

use serde_json::json;
use tollgate::{Policy, Request};

/// Each route has a limit of its own, so that the explanation tells which one matched.
const ROUTES_MAX: usize = 24;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// The last route of all: what keys name must be captured somewhere.
const CAPTURES_ALL: &str = "ALL /{a}/{b}/{c}/{d}";
/// The longest path with escapes, empty or dot segments, as the errors say.
const ODD_PATH_BYTES_MAX: usize = 1_024;

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
        Ok(found) => found,
        Err(error) => {
            assert!(is_odd(raw), "{raw:?} is written plainly: {error}");
            assert!(raw.len() >= ODD_PATH_BYTES_MAX, "{raw:?}: {error}");
            return;
        }
    };
    let path = segments(raw);
    let length: usize = path.iter().map(|segment| segment.len() + 1).sum();
    assert!(!is_odd(raw) || length <= ODD_PATH_BYTES_MAX, "{length}");
    let matching = routes.iter().enumerate().filter_map(|(place, route)| {
        let method = route.method_rank(method)?;
        let captured = route.captured(&path)?;
        Some(((route.rank(), method), place, captured))
    });
    let Some((_, place, captured)) = matching.min_by(|(one, ..), (other, ..)| one.cmp(other))
    else {
        assert_eq!(found.route, None, "{method} {raw:?}");
        return;
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

/// True for a path that is not in its one spelling.
fn is_odd(raw: &str) -> bool {
    let path = raw.split(['?', '#']).next().unwrap_or_default();
    let Some(path) = path.strip_prefix('/') else {
        return true;
    };
    let odd = |segment: &str| matches!(segment, "" | "." | "..") || segment.contains('%');
    !path.is_empty() && path.split('/').any(odd)
}

/// The segments of a path: decoded once but for slashes, without empty and dot segments.
fn segments(raw: &str) -> Vec<Vec<u8>> {
    let path = raw.split(['?', '#']).next().unwrap_or_default();
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in path.split('/').map(decoded) {
        match segment.as_slice() {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments
}

fn decoded(segment: &str) -> Vec<u8> {
    let mut pieces = segment.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| {
            let mut all = digits.bytes();
            all.all(|digit| digit.is_ascii_hexdigit())
        });
        match digits.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(b'/')) => bytes.extend_from_slice(b"%2F"),
            Some(Ok(byte)) => bytes.push(byte),
            _ => bytes.push(b'%'),
        }
        let rest = if digits.is_some() { &piece[2..] } else { piece };
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

/// A route, read anew from a text that the policy takes.
#[derive(Debug)]
struct Route {
    methods: Vec<String>,
    segments: Vec<Segment>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    /// Texts with a capture between each two, and the captures' names. One text is a literal.
    Parts(Vec<String>, Vec<String>),
    Rest(String),
}

/// What precedence looks at, the smallest first: where a path that goes on is matched by a
/// literal, by a pattern with the most literal bytes, by a capture, by the rest of a path.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
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
        }
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
        self.segments.iter().map(Segment::rank).collect()
    }

    /// True if a policy cannot have both: one shape, and a method or all others in common.
    fn is_same_as(&self, other: &Self) -> bool {
        let in_common = |method| other.methods.contains(method);
        let both_any = self.methods.is_empty() && other.methods.is_empty();
        self.rank() == other.rank() && (both_any || self.methods.iter().any(in_common))
    }

    /// The captures by name, if the template matches the path.
    fn captured(&self, path: &[Vec<u8>]) -> Option<Vec<(String, Vec<u8>)>> {
        let mut captured = Vec::new();
        for (place, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Rest(name) => {
                    let rest = path.get(place..).unwrap_or_default();
                    captured.push((name.clone(), rest.join(&b'/')));
                    return (path.len() >= place).then_some(captured);
                }
                Segment::Parts(texts, names) => {
                    let values = split(path.get(place)?, texts)?;
                    captured.extend(names.iter().cloned().zip(values));
                }
            }
        }
        (self.segments.len() == path.len()).then_some(captured)
    }
}

impl Segment {
    fn read(text: &str) -> Self {
        let braced = text
            .strip_prefix("{*")
            .and_then(|name| name.strip_suffix('}'));
        if let Some(name) = braced.or((text == "**").then_some("")) {
            return Self::Rest(name.to_owned());
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
            Self::Rest(_) => Rank::Rest,
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
