//! Routes: from a method and a path to the most specific template, without allocating.
//!
//! A trie over segments. At each segment a literal is tried first, then patterns with the most
//! literal bytes, then a whole-segment capture, and last the rest of the path; a branch that leads
//! nowhere for the method is left again. A node is visited at most once a search, and a literal is
//! found by bisection, so the time hardly depends on the number of routes.
//!
//! Published routers (matchit, wayfind) allocate from the fifth capture on, or take no two
//! captures in a segment, and know no methods; a check here may not allocate.

use super::template::{Captures, Pattern, Segment, Template};
use super::terms::RouteIndex;

/// All routes of a policy.
pub(super) struct Router {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// By text.
    literals: Vec<(Box<str>, usize)>,
    /// Most literal bytes first.
    patterns: Vec<(Pattern, usize)>,
    capture: Option<usize>,
    /// Where the path ends.
    here: Endpoint,
    /// Where the path ends with a slash.
    slash: Endpoint,
    /// Whatever remains of the path from here, but not nothing.
    rest: Endpoint,
    /// Nothing remains of the path, and the template takes that for its rest.
    no_rest: Endpoint,
}

/// How the end of a path is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// A slash at the end of the path is one at the end of the template. A capture before a slash
    /// may be empty, as it may in axum.
    AsWritten,
    /// The path is given without a slash at its end; where `slash` says that there was one, it is
    /// passed over if no template has it.
    Normalised { slash: bool },
}

/// The routes that share a template's shape.
#[derive(Default)]
struct Endpoint {
    methods: Vec<(Box<str>, RouteIndex)>,
    any_method: Option<RouteIndex>,
}

impl Endpoint {
    /// The route for `method`. A `HEAD` is served by what serves `GET`.
    fn find(&self, method: &str) -> Option<RouteIndex> {
        let named = |name: &str| {
            let found = self.methods.iter().find(|(method, _)| **method == *name);
            found.map(|(_, route)| *route)
        };
        named(method)
            .or_else(|| (method == "HEAD").then(|| named("GET")).flatten())
            .or(self.any_method)
    }

    /// # Errors
    /// The route that is already there for this method.
    fn add(&mut self, method: Option<&str>, route: RouteIndex) -> Result<(), RouteIndex> {
        match method {
            None => match self.any_method {
                Some(existing) => Err(existing),
                None => {
                    self.any_method = Some(route);
                    Ok(())
                }
            },
            Some(method) => match self.methods.iter().find(|(name, _)| **name == *method) {
                Some((_, existing)) => Err(*existing),
                None => {
                    self.methods.push((method.into(), route));
                    Ok(())
                }
            },
        }
    }
}

impl Router {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }

    /// Adds a route for one method, or for all of which none is named.
    ///
    /// # Errors
    /// The route that already has this method and a template of this shape.
    pub(super) fn add(
        &mut self,
        method: Option<&str>,
        template: &Template,
        route: RouteIndex,
    ) -> Result<(), RouteIndex> {
        let mut at = 0;
        for segment in &template.segments {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else {
                return Ok(());
            };
            let child = match segment {
                Segment::Literal(text) => node.literal(text, next),
                Segment::Pattern(pattern) => node.pattern(pattern, next),
                Segment::Capture => *node.capture.get_or_insert(next),
                Segment::Rest => return node.rest.add(method, route),
                Segment::RestOrNothing => {
                    node.rest.add(method, route)?;
                    return node.no_rest.add(method, route);
                }
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            at = child;
        }
        match self.nodes.get_mut(at) {
            Some(node) if template.has_slash => node.slash.add(method, route),
            Some(node) => node.here.add(method, route),
            None => Ok(()),
        }
    }

    /// The most specific route for `method` and a reading of a path.
    #[inline]
    pub(super) fn find(
        &self,
        method: &str,
        path: &[u8],
        ending: Ending,
        captures: &mut Captures,
    ) -> Option<RouteIndex> {
        captures.clear();
        if path.first() != Some(&b'/') {
            return None;
        }
        let end = if path == b"/" { 0 } else { path.len() };
        let search = Search {
            nodes: &self.nodes,
            method,
            path: path.get(..end).unwrap_or_default(),
            slash: ending == Ending::Normalised { slash: true },
            takes_nothing: ending == Ending::AsWritten,
        };
        search.descend(0, 0, captures)
    }
}

impl Node {
    fn literal(&mut self, text: &str, next: usize) -> usize {
        let found = self
            .literals
            .binary_search_by(|(literal, _)| (**literal).cmp(text));
        match found {
            Ok(index) => self.literals.get(index).map_or(next, |(_, child)| *child),
            Err(index) => {
                self.literals.insert(index, (text.into(), next));
                next
            }
        }
    }

    fn pattern(&mut self, pattern: &Pattern, next: usize) -> usize {
        let found = self
            .patterns
            .binary_search_by(|(other, _)| other.cmp(pattern));
        match found {
            Ok(index) => self.patterns.get(index).map_or(next, |(_, child)| *child),
            Err(index) => {
                self.patterns.insert(index, (pattern.clone(), next));
                next
            }
        }
    }
}

struct Search<'s> {
    nodes: &'s [Node],
    method: &'s str,
    path: &'s [u8],
    /// There is a slash at the end that is not in `path`.
    slash: bool,
    /// A capture before a slash may be empty.
    takes_nothing: bool,
}

impl Search<'_> {
    /// The route at or below the node `at`, with the path's segments from `start` on.
    fn descend(&self, at: usize, start: usize, captures: &mut Captures) -> Option<RouteIndex> {
        let node = self.nodes.get(at)?;
        let rest = self.path.get(start..)?;
        if rest.len() < 2 {
            return self.end(node, start, captures);
        }
        // Each segment has its slash before it.
        let from = start + 1;
        let segment = self.path.get(from..)?;
        let segment = segment.split(|byte| *byte == b'/').next()?;
        let end = from + segment.len();
        let before = captures.len();
        let takes_nothing = self.takes_nothing && end < self.path.len();
        if segment.is_empty() && !takes_nothing {
            return self.rest(&node.rest, from, captures);
        }

        if let Ok(index) = node
            .literals
            .binary_search_by(|(literal, _)| literal.as_bytes().cmp(segment))
            && let Some((_, child)) = node.literals.get(index)
            && let Some(route) = self.descend(*child, end, captures)
        {
            return Some(route);
        }
        for (pattern, child) in &node.patterns {
            let is_match = pattern.matches(segment, from, captures)
                || (takes_nothing
                    && pattern.is_bare(segment)
                    && captures.try_push((end, end)).is_ok());
            if is_match && let Some(route) = self.descend(*child, end, captures) {
                return Some(route);
            }
            captures.truncate(before);
        }
        if let Some(child) = node.capture
            && captures.try_push((from, end)).is_ok()
            && let Some(route) = self.descend(child, end, captures)
        {
            return Some(route);
        }
        captures.truncate(before);
        self.rest(&node.rest, from, captures)
    }

    /// The route at the node where the path ends, or ends with the slash that stands at `start`.
    fn end(&self, node: &Node, start: usize, captures: &mut Captures) -> Option<RouteIndex> {
        let is_written = start < self.path.len();
        let slash = is_written || self.slash;
        let with_slash = slash.then(|| node.slash.find(self.method)).flatten();
        with_slash
            .or_else(|| (!is_written).then(|| node.here.find(self.method)).flatten())
            .or_else(|| self.rest(&node.no_rest, self.path.len(), captures))
    }

    fn rest(&self, of: &Endpoint, from: usize, captures: &mut Captures) -> Option<RouteIndex> {
        let route = of.find(self.method)?;
        captures.try_push((from, self.path.len())).ok()?;
        Some(route)
    }
}
