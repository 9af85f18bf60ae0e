//! A document as a tree that knows where everything stands in the text. JSON is read as the YAML
//! that it also is.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::OpenApiError;

/// A longer document is not read.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 20;
/// Nor one that is nested deeper,
const DEPTH_MAX: usize = 128;
/// or has more values. Aliases count as one each: they are never unfolded.
const NODES_MAX: usize = 2_000_000;
/// So many entries are looked at on the way to what is wanted: what aliases and references share is
/// looked at again for each that shares it.
const LOOKS_MAX: u64 = 20_000_000;

/// A value, and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// Bytes of the text: from its first, anchor and tag included, to the one after its last.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Line and column, from 1.
    pub(super) place: (usize, usize),
    /// Its own, in the order of the text.
    pub(super) number: usize,
    pub(super) has_anchor: bool,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar { text: String, is_plain: bool },
    List(Vec<Node>),
    Map(Map),
    Alias(usize),
}

#[derive(Debug)]
pub(super) struct Map {
    pub(super) entries: Vec<(Node, Node)>,
    /// In braces.
    pub(super) is_flow: bool,
}

impl Map {
    pub(super) fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        self.entries
            .iter()
            .find(|(name, _)| name.text() == Some(key))
    }
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(super) fn map(&self) -> Option<&Map> {
        match &self.kind {
            Kind::Map(map) => Some(map),
            _ => None,
        }
    }

    /// True for a value that is not there: nothing, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, is_plain } => {
                *is_plain && matches!(&**text, "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }
}

/// A document read.
#[derive(Debug)]
pub(super) struct Document<'t> {
    pub(super) text: &'t str,
    pub(super) root: Node,
    /// Paths of the nodes that have anchors, as places among children.
    anchors: HashMap<usize, Vec<usize>>,
    /// How many entries may still be looked at.
    looks: Cell<u64>,
}

impl<'t> Document<'t> {
    pub(super) fn read(text: &'t str) -> Result<Self, OpenApiError> {
        if text.len() > TEXT_BYTES_MAX {
            let most = TEXT_BYTES_MAX >> 20;
            return Err(OpenApiError::at(
                (1, 1),
                format!("the document is larger than {most} MiB"),
            ));
        }
        let is_json = text.trim_start().starts_with('{') && {
            serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        };
        let readable = if is_json {
            without_surrogates(text)
        } else {
            text.into()
        };
        let mut reader = Reader::new(&readable);
        let root = reader.document()?;
        let anchors = reader.anchors;
        Ok(Self {
            text,
            root,
            anchors,
            looks: Cell::new(LOOKS_MAX),
        })
    }

    /// Counts so many entries as looked at; false if that is more than may be.
    pub(super) fn look_at(&self, entries: usize) -> bool {
        let left = self.looks.get().checked_sub(entries as u64);
        self.looks.set(left.unwrap_or(0));
        left.is_some()
    }

    /// An error if not all that was wanted was looked at.
    pub(super) fn was_looked_at(&self) -> Result<(), OpenApiError> {
        if self.looks.get() > 0 {
            return Ok(());
        }
        let problem = "what its aliases and references share is too much to be read for each";
        Err(OpenApiError::at((1, 1), problem))
    }

    /// What an alias stands for; any other node is itself.
    pub(super) fn follow<'n>(&'n self, node: &'n Node) -> &'n Node {
        let Kind::Alias(id) = node.kind else {
            return node;
        };
        let path = self.anchors.get(&id).map_or(&[][..], |path| path);
        path.iter()
            .fold(&self.root, |node, place| match &node.kind {
                Kind::List(items) => items.get(*place).unwrap_or(node),
                Kind::Map(map) => {
                    let entry = map.entries.get(place / 2);
                    entry.map_or(
                        node,
                        |(key, value)| if place % 2 == 0 { key } else { value },
                    )
                }
                _ => node,
            })
    }

    /// An entry of a map.
    pub(super) fn entry<'n>(&self, map: &'n Map, key: &str) -> Option<&'n (Node, Node)> {
        // One more, so that what is empty counts, too.
        let may = self.look_at(map.entries.len() + 1);
        map.entry(key).filter(|_| may)
    }

    /// A value of a map, followed.
    pub(super) fn get<'n>(&'n self, map: &'n Map, key: &str) -> Option<&'n Node> {
        self.entry(map, key).map(|(_, value)| self.follow(value))
    }
}

/// JSON has characters beyond the first plane as two escapes, YAML has not. They matter to nothing
/// here, so each becomes an escape of the same length that both know.
fn without_surrogates(text: &str) -> Cow<'_, str> {
    let mut changed = Cow::Borrowed(text);
    let mut from = 0;
    while let Some(at) = text[from..].find('\\').map(|at| at + from) {
        let escape = text.as_bytes().get(at + 1..at + 4);
        if let Some([b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F']) = escape {
            changed.to_mut().replace_range(at + 2..at + 3, "e");
        }
        // Past the escaped character, which may be a backslash.
        from = at + 2;
    }
    changed
}

struct Reader<'t> {
    text: &'t str,
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    /// How far the text was counted: characters and bytes.
    counted: (usize, usize),
    anchors: HashMap<usize, Vec<usize>>,
    /// Where in the tree it is.
    path: Vec<usize>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            events: Parser::new_from_str(text),
            counted: (0, 0),
            anchors: HashMap::new(),
            path: Vec::new(),
            nodes: 0,
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), OpenApiError> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(fault)) => Err(OpenApiError::at(
                place(fault.marker()),
                fault.info().to_owned(),
            )),
            None => Err(OpenApiError::at((1, 1), "the document ends too early")),
        }
    }

    fn document(&mut self) -> Result<Node, OpenApiError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => {
                    return Err(OpenApiError::at((1, 1), "the document is empty"));
                }
                event => {
                    let root = self.node(event, span)?;
                    return self.no_more().map(|()| root);
                }
            }
        }
    }

    fn no_more(&mut self) -> Result<(), OpenApiError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (_, span) => {
                    let problem = "there is a second document in the text";
                    return Err(OpenApiError::at(place(&span.start), problem));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, OpenApiError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || self.path.len() > DEPTH_MAX {
            let problem = format!("more than {NODES_MAX} values, or nested beyond {DEPTH_MAX}");
            return Err(OpenApiError::at(place(&span.start), problem));
        }
        let number = self.nodes;
        let start = self.bytes(span.start.index());
        let end = self.bytes(span.end.index());
        let at = place(&span.start);
        let (anchor, kind, end) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_plain = style == ScalarStyle::Plain;
                let text = text.into_owned();
                (anchor, Kind::Scalar { text, is_plain }, end)
            }
            Event::Alias(id) => (0, Kind::Alias(id), end),
            Event::SequenceStart(anchor, _) => {
                let (items, end) = self.list(end)?;
                (anchor, Kind::List(items), end)
            }
            Event::MappingStart(anchor, _) => {
                let (map, end) = self.map(end)?;
                (anchor, Kind::Map(map), end)
            }
            _ => return Err(OpenApiError::at(at, "a value should stand here")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, self.path.clone());
        }
        Ok(Node {
            start,
            end,
            place: at,
            number,
            has_anchor: anchor != 0,
            kind,
        })
    }

    fn list(&mut self, mut end: usize) -> Result<(Vec<Node>, usize), OpenApiError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                // A block ends where its last value does: the parser saw it end much later.
                let closed = self.bracket(&span);
                return Ok((items, closed.unwrap_or(end)));
            }
            self.path.push(items.len());
            let item = self.node(event, span)?;
            self.path.pop();
            end = item.end;
            items.push(item);
        }
    }

    fn map(&mut self, mut end: usize) -> Result<(Map, usize), OpenApiError> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                if let Some(key) = second(&entries) {
                    let problem = "this key stands twice in its map";
                    return Err(OpenApiError::at(key.place, problem));
                }
                let closed = self.bracket(&span);
                let is_flow = closed.is_some();
                return Ok((Map { entries, is_flow }, closed.unwrap_or(end)));
            }
            self.path.push(2 * entries.len());
            let key = self.node(event, span)?;
            self.path.pop();
            let (event, span) = self.next()?;
            self.path.push(2 * entries.len() + 1);
            let value = self.node(event, span)?;
            self.path.pop();
            end = value.end.max(key.end);
            entries.push((key, value));
        }
    }

    /// Behind the bracket that ends a list or a map; none for one without. The span goes on
    /// over what follows in the line.
    fn bracket(&mut self, span: &Span) -> Option<usize> {
        (!span.is_empty()).then(|| self.bytes(span.start.index()) + 1)
    }

    /// The byte that a character begins at. Events come in order but for a few steps back.
    fn bytes(&mut self, index: usize) -> usize {
        let (mut characters, mut bytes) = self.counted;
        if index < characters {
            let back = self.text[..bytes].chars().rev().take(characters - index);
            bytes -= back.map(char::len_utf8).sum::<usize>();
        } else {
            let on = self.text[bytes..].chars().take(index - characters);
            bytes += on.map(char::len_utf8).sum::<usize>();
        }
        characters = index;
        self.counted = (characters, bytes);
        bytes
    }
}

/// The first key that another before it is the same as: which of the two counts nobody could say.
fn second(entries: &[(Node, Node)]) -> Option<&Node> {
    let mut known = HashSet::new();
    let mut keys = entries.iter().map(|(key, _)| key);
    keys.find(|key| key.text().is_some_and(|text| !known.insert(text)))
}

fn place(marker: &saphyr_parser::Marker) -> (usize, usize) {
    (marker.line(), marker.col() + 1)
}
