//! Route templates as people write them: `"PUT|PATCH /sessions/{id}/state"`.
//!
//! A segment is a literal, a capture (`{name}`, `:name`, or `*` without a name), or literals and
//! captures in turn (`{sha}.{type}`, `{id}.json`). The last may be the rest of the path: `{*name}`,
//! which as in axum is at least a byte, or `**`, which also stands for nothing at all. Names of
//! captures do not tell templates apart; a slash at the end does.

use arrayvec::ArrayVec;

use super::bounds::{CAPTURES_MAX, METHODS_MAX, NAME_BYTES_MAX, SEGMENTS_MAX};
use super::fault::{Fix, fix, quoted};

/// Where in the path each capture lies, in the order of the template.
pub(super) type Captures = ArrayVec<(usize, usize), CAPTURES_MAX>;

/// Methods that nobody means to be others, near as they are.
const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY",
    "COPY", "MOVE", "LINK", "UNLINK", "BIND", "UNBIND", "LOCK", "UNLOCK", "PURGE", "BAN", "SET",
];
/// What a mistyped method was probably meant to be.
const COMMON_METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];

/// A route's methods and template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RouteText {
    /// None for every method that no other route names.
    pub(super) methods: Vec<String>,
    pub(super) template: Template,
}

/// A path with captures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Template {
    /// As written.
    pub(super) text: String,
    pub(super) segments: Vec<Segment>,
    /// It ends with a slash, and is not the root.
    pub(super) has_slash: bool,
    /// In the order of the template; empty for a capture without a name.
    pub(super) captures: Vec<String>,
}

/// A segment's shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Segment {
    Literal(String),
    Pattern(Pattern),
    Capture,
    /// At least a byte.
    Rest,
    RestOrNothing,
}

impl Segment {
    fn is_rest(&self) -> bool {
        matches!(self, Self::Rest | Self::RestOrNothing)
    }
}

/// Literals with a capture between each two; the first and the last may be empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern {
    literals: Vec<String>,
}

impl Pattern {
    fn literal_bytes(&self) -> usize {
        self.literals.iter().map(String::len).sum()
    }

    /// True if `segment` is all that stands before the only capture, at whose end the pattern ends.
    pub(super) fn is_bare(&self, segment: &[u8]) -> bool {
        match self.literals.as_slice() {
            [first, last] => last.is_empty() && first.as_bytes() == segment,
            _ => false,
        }
    }

    /// Matches a whole segment that starts at `from` in its path. Each capture takes at least a
    /// byte, and an earlier one takes as much as it can: `{a}.{b}` splits at the last dot.
    pub(super) fn matches(&self, segment: &[u8], from: usize, captures: &mut Captures) -> bool {
        let Some((first, others)) = self.literals.split_first() else {
            return false;
        };
        let Some(mut middle) = segment.strip_prefix(first.as_bytes()) else {
            return false;
        };
        let start = from + first.len();
        let before = captures.len();
        // From the right: the last place of the last literal leaves the most to the left.
        for (index, literal) in others.iter().enumerate().rev() {
            let is_last = index + 1 == others.len();
            let left = if is_last {
                middle.strip_suffix(literal.as_bytes())
            } else {
                before_last(literal.as_bytes(), middle)
            };
            let Some(left) = left else {
                captures.truncate(before);
                return false;
            };
            // Between this literal and the one to its right lies a capture, pushed next round.
            if !is_last {
                let capture = (start + left.len() + literal.len(), start + middle.len());
                if captures.try_push(capture).is_err() {
                    return false;
                }
            }
            middle = left;
        }
        if middle.is_empty() || captures.try_push((start, start + middle.len())).is_err() {
            captures.truncate(before);
            return false;
        }
        if let Some(found) = captures.get_mut(before..) {
            found.reverse();
        }
        true
    }
}

/// The bytes before the last `literal` in `text` that still leaves a byte after it.
fn before_last<'t>(literal: &[u8], text: &'t [u8]) -> Option<&'t [u8]> {
    let (_, searched) = text.split_last()?;
    let at = searched
        .windows(literal.len().max(1))
        .rposition(|window| window == literal)?;
    text.get(..at)
}

/// Most literal bytes first; then by the text, so that equal shapes are equal.
impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other
            .literal_bytes()
            .cmp(&self.literal_bytes())
            .then_with(|| self.literals.cmp(&other.literals))
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl RouteText {
    /// What `text` says: methods, or none, and a template. A fault may lack its advice: who reads
    /// routes has an example.
    pub(super) fn parse(text: &str) -> Result<Self, Fix> {
        let text = text.trim();
        let (methods, path) = match text.split_once(char::is_whitespace) {
            Some((methods, path)) => (parse_methods(methods)?, path.trim_start()),
            None => (Vec::new(), text),
        };
        Ok(Self {
            methods,
            template: Template::parse(path)?,
        })
    }
}

fn parse_methods(text: &str) -> Result<Vec<String>, Fix> {
    if text == "*" || text.eq_ignore_ascii_case("any") {
        return Ok(Vec::new());
    }
    let mut methods: Vec<String> = Vec::new();
    for method in text.split(['|', ',']) {
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            let problem = format!("{} is no method", quoted(method));
            return Err(fix(problem, ""));
        }
        if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let problem = format!("methods count their case, so {method} matches nothing");
            let advice = format!("write {}", method.to_ascii_uppercase());
            return Err(fix(problem, advice));
        }
        check_method(method)?;
        if methods.iter().any(|known| known == method) {
            return Err(fix(format!("{method} is said twice"), "keep one of them"));
        }
        methods.push(method.to_owned());
    }
    if methods.len() > METHODS_MAX {
        let advice = format!("at most {METHODS_MAX}; leave them out to mean any");
        return Err(fix("too many methods", advice));
    }
    Ok(methods)
}

/// A fault if `method` is no method, but nearly one. Others may be a service's own.
pub(super) fn check_method(method: &str) -> Result<(), Fix> {
    if METHODS.contains(&method) {
        return Ok(());
    }
    let near = |known: &&&str| strsim::osa_distance(method, known) == 1;
    match COMMON_METHODS.iter().find(near) {
        Some(known) => Err(fix(
            format!("{} is no method", quoted(method)),
            format!("did you mean {known}?"),
        )),
        None => Ok(()),
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, Fix> {
        if !text.starts_with('/') {
            let problem = format!("a path starts with a slash, not with {}", quoted(text));
            return Err(fix(problem, ""));
        }
        if let Some(sign) = text
            .chars()
            .find(|c| "?#%".contains(*c) || c.is_whitespace())
        {
            let problem = format!("{sign:?} cannot be in a template");
            let advice = "a template has no query, and letters as they are, not percent-encoded";
            return Err(fix(problem, advice));
        }
        let mut template = Self {
            text: text.to_owned(),
            segments: Vec::new(),
            has_slash: text.len() > 1 && text.ends_with('/'),
            captures: Vec::new(),
        };
        let path = text.strip_prefix('/').unwrap_or(text);
        let path = path.strip_suffix('/').unwrap_or(path);
        // The root has no segments.
        for segment in path.split('/').filter(|_| text != "/") {
            if segment.is_empty() {
                let problem = "two slashes stand together in the template";
                return Err(fix(problem, "keep one of them"));
            }
            template.check_end()?;
            template.add(segment)?;
        }
        if template.has_slash {
            template.check_end()?;
        }
        template.check_bounds()?;
        Ok(template)
    }

    /// # Errors
    /// If nothing can follow, and something does.
    fn check_end(&self) -> Result<(), Fix> {
        if self.segments.last().is_some_and(Segment::is_rest) {
            let advice = "end the template with it";
            return Err(fix("the rest of the path has something after it", advice));
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), Fix> {
        if self.segments.len() > SEGMENTS_MAX {
            return Err(fix(
                "the template is too deep",
                format!("at most {SEGMENTS_MAX} segments; ** stands for the rest"),
            ));
        }
        if self.captures.len() > CAPTURES_MAX {
            return Err(fix(
                "the template captures too much",
                format!("at most {CAPTURES_MAX} captures; ** stands for the rest"),
            ));
        }
        Ok(())
    }

    fn add(&mut self, segment: &str) -> Result<(), Fix> {
        if segment == "." || segment == ".." {
            return Err(fix(
                "a dot segment never matches",
                "leave it out, as a path does",
            ));
        }
        if segment == "**" {
            self.captures.push(String::new());
            self.segments.push(Segment::RestOrNothing);
            return Ok(());
        }
        if let Some(name) = segment.strip_prefix("{*").and_then(|s| s.strip_suffix('}')) {
            self.capture(name)?;
            self.segments.push(Segment::Rest);
            return Ok(());
        }
        let literals = self.literals(segment)?;
        self.segments.push(match literals.as_slice() {
            [literal] => Segment::Literal(literal.clone()),
            [first, last] if first.is_empty() && last.is_empty() => Segment::Capture,
            _ => Segment::Pattern(Pattern { literals }),
        });
        Ok(())
    }

    /// The literals around the captures of a segment; the captures are noted.
    fn literals(&mut self, segment: &str) -> Result<Vec<String>, Fix> {
        let mut literals = vec![String::new()];
        let mut rest = segment;
        if let Some(after) = segment.strip_prefix(':') {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let (name, after) = after.split_at(after.find(|c| !fits(c)).unwrap_or(after.len()));
            self.capture(name)?;
            literals.push(String::new());
            rest = after;
        }
        while let Some(character) = rest.chars().next() {
            let after = rest.get(character.len_utf8()..).unwrap_or_default();
            rest = after;
            let name = match character {
                '*' => "",
                '{' => {
                    let Some((name, after)) = after.split_once('}') else {
                        let problem = format!("a brace in {} is not closed", quoted(segment));
                        return Err(fix(problem, ""));
                    };
                    rest = after;
                    self.capture(name)?;
                    literals.push(String::new());
                    continue;
                }
                '}' => {
                    let problem = format!("a brace in {} was not opened", quoted(segment));
                    return Err(fix(problem, ""));
                }
                literal => {
                    if let Some(last) = literals.last_mut() {
                        last.push(literal);
                    }
                    continue;
                }
            };
            self.captures.push(name.to_owned());
            literals.push(String::new());
        }
        let inner = literals.get(1..literals.len() - 1).unwrap_or_default();
        if inner.iter().any(String::is_empty) {
            let problem = format!("two captures touch in {}", quoted(segment));
            return Err(fix(problem, "put a letter or sign between them"));
        }
        Ok(literals)
    }

    fn capture(&mut self, name: &str) -> Result<(), Fix> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
            let problem = format!("{} cannot name a capture", quoted(name));
            return Err(fix(problem, "use letters, digits, _, . or -"));
        }
        if self.captures.iter().any(|known| known == name) {
            let problem = format!("{{{name}}} is captured twice");
            return Err(fix(problem, "give each capture a name of its own"));
        }
        self.captures.push(name.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &str, segment: &str) -> Option<Vec<String>> {
        let route = RouteText::parse(&format!("/{pattern}")).unwrap();
        let Some(Segment::Pattern(pattern)) = route.template.segments.first() else {
            panic!("{pattern} is no pattern");
        };
        let mut captures = Captures::new();
        captures.push((7, 8));
        let is_match = pattern.matches(segment.as_bytes(), 0, &mut captures);
        assert_eq!(captures.remove(0), (7, 8));
        assert!(is_match || captures.is_empty());
        let text = |(start, end)| segment[start..end].to_owned();
        is_match.then(|| captures.into_iter().map(text).collect())
    }

    #[test]
    fn a_pattern_splits_at_the_last_literal() {
        for (pattern, segment, wanted) in [
            ("{a}.{b}", "v1.2.diff", Some(vec!["v1.2", "diff"])),
            ("{a}.{b}", "x..", Some(vec!["x", "."])),
            ("{a}.{b}", "x.", None),
            ("{a}.{b}", "x...y", Some(vec!["x..", "y"])),
            ("{a}.{b}", ".y", None),
            ("{id}.json", "a.json", Some(vec!["a"])),
            ("{id}.json", ".json", None),
            (":id.json", "a.json", Some(vec!["a"])),
            ("v*-{b}", "v1-2-3", Some(vec!["1-2", "3"])),
            ("a{x}a", "aa", None),
            ("a{x}a", "aba", Some(vec!["b"])),
            ("{a}.{b}.{c}", "1.2.3.4", Some(vec!["1.2", "3", "4"])),
        ] {
            let found = captured(pattern, segment);
            let wanted = wanted.map(|parts| parts.into_iter().map(String::from).collect());
            assert_eq!(found, wanted, "{pattern} {segment}");
        }
    }

    #[test]
    fn what_is_no_route_is_a_fault() {
        for text in [
            "",
            "x",
            "GET",
            "GET x",
            "GET| /x",
            "get /x",
            "GET|GET /x",
            "/{}",
            "/{a",
            "/a}",
            "/{a}{b}",
            "/{a}/{a}",
            "/**/x",
            "/{*r}/x",
            "/{*r}/",
            "/**/",
            "/a//b",
            "//",
            "/a?b",
            "/a%20",
            "/a b",
            "/../x",
            "/:",
            "/{a b}",
        ] {
            let route = RouteText::parse(text);
            assert!(route.is_err(), "{text}: {route:?}");
        }
    }
}
