//! Changes of a document's text, each where something changes and nowhere else.

use std::ops::Range;

use serde_json::Value;

use super::OpenApiError;
use super::render;
use super::tree::{Document, Map, Node};

/// Changes that do not overlap.
pub(super) struct Edits<'d> {
    document: &'d Document<'d>,
    changes: Vec<(Range<usize>, String)>,
    /// The first key in the way of a change.
    in_the_way: Option<(usize, usize)>,
}

impl<'d> Edits<'d> {
    pub(super) fn new(document: &'d Document<'d>) -> Self {
        Self {
            document,
            changes: Vec::new(),
            in_the_way: None,
        }
    }

    /// Changes entries of a map, which stands at `node`: those it has in their place, the others
    /// before its first; what has no value goes. Once for each map.
    pub(super) fn change(&mut self, node: &Node, map: &Map, entries: &[(String, Option<Value>)]) {
        let mut keys = map.entries.iter().map(|(key, _)| key);
        if let Some(key) = keys.find(|key| !map.is_flow && !self.starts_its_line(key)) {
            self.in_the_way.get_or_insert(key.place);
            return;
        }
        let mut added = Vec::new();
        let mut gone = None;
        for (key, value) in entries {
            match (map.entry(key), value) {
                (Some((name, old)), Some(value)) => {
                    let text = self.entry(map, name, key, value);
                    self.changes.push((self.span(name, old), text));
                }
                (None, Some(value)) => added.push((&**key, value)),
                (Some((name, old)), None) => gone = Some((name, old)),
                (None, None) => {}
            }
        }
        match gone {
            // What comes takes the place of what goes.
            Some((name, old)) if !added.is_empty() => {
                let between = match map.is_flow {
                    true => ", ".to_owned(),
                    false => self.break_and_indent(name),
                };
                let added = added.iter();
                let added = added.map(|(key, value)| self.entry(map, name, key, value));
                let text = added.collect::<Vec<_>>().join(&between);
                self.changes.push((self.span(name, old), text));
            }
            Some((name, _)) => self.remove(map, name),
            None if !added.is_empty() => self.add(node, map, &added),
            None => {}
        }
    }

    /// Puts entries before the first of a map.
    fn add(&mut self, node: &Node, map: &Map, added: &[(&str, &Value)]) {
        let entries = added.iter();
        let Some((first, _)) = map.entries.first() else {
            let entries: Vec<_> = entries.map(|(key, value)| one_line(key, value)).collect();
            let after = self.brace(node) + 1;
            self.changes.push((after..after, entries.join(", ")));
            return;
        };
        if map.is_flow {
            let after = self.brace(node) + 1;
            let space = self
                .document
                .text
                .get(after..first.start)
                .unwrap_or_default();
            // A comment in between stays where it is.
            let space = if space.trim().is_empty() { space } else { " " };
            let text = match space {
                "" => entries
                    .map(|(key, value)| format!("{}, ", one_line(key, value)))
                    .collect(),
                space => entries
                    .map(|(key, value)| format!("{space}{},", one_line(key, value)))
                    .collect(),
            };
            self.changes.push((after..after, text));
        } else {
            let indent = self.break_and_indent(first);
            let entries = entries.map(|(key, value)| self.entry(map, first, key, value) + &indent);
            self.changes
                .push((first.start..first.start, entries.collect()));
        }
    }

    /// Takes the entry of this key out of a map.
    fn remove(&mut self, map: &Map, key: &Node) {
        let own = |(name, _): &(Node, Node)| name.number == key.number;
        let Some(place) = map.entries.iter().position(own) else {
            return;
        };
        let (name, value) = &map.entries[place];
        let end = self.span(name, value).end;
        let between = |from: usize, to: usize| self.document.text.get(from..to).unwrap_or("");
        let before = place
            .checked_sub(1)
            .and_then(|place| map.entries.get(place));
        let change = match (before, map.entries.get(place + 1)) {
            (_, Some((next, _))) => {
                // Comments on what follows stay, but for those before a comma.
                let gap = between(end, next.start);
                let comma = map
                    .is_flow
                    .then(|| gap.find(',').map_or(gap.len(), |at| at + 1));
                let comma = comma.unwrap_or(0);
                let spaces = gap.get(comma..).unwrap_or_default();
                let spaces = spaces.len() - spaces.trim_start().len();
                (name.start..end + comma + spaces, String::new())
            }
            (Some((last, value)), None) => {
                let last = self.span(last, value).end;
                let gap = between(last, name.start);
                let kept = if map.is_flow { 0 } else { gap.trim_end().len() };
                (last + kept..end, String::new())
            }
            (None, None) if map.is_flow => (name.start..end, String::new()),
            (None, None) => (name.start..end, "{}".into()),
        };
        self.changes.push(change);
    }

    /// The text with all changes.
    ///
    /// # Errors
    /// If two of them are in the same place, or a map has keys that are marked by a `?`.
    pub(super) fn apply(mut self) -> Result<String, OpenApiError> {
        if let Some(place) = self.in_the_way {
            let problem = "a map with a key that is marked by `?` cannot be edited";
            return Err(OpenApiError::at(place, problem));
        }
        // Stable: what is added stands before what it is added to.
        self.changes
            .sort_by_key(|(range, _)| (range.start, range.end));
        let mut text = String::new();
        let mut from = 0;
        for (range, change) in &self.changes {
            let Some(kept) = self.document.text.get(from..range.start) else {
                let problem = "a reference leads into what has to be replaced: not edited";
                return Err(OpenApiError::at((1, 1), problem));
            };
            text.push_str(kept);
            text.push_str(change);
            from = range.end;
        }
        text.push_str(self.document.text.get(from..).unwrap_or_default());
        Ok(text)
    }

    /// That only its indent, and the dashes of lists, stand before a key.
    fn starts_its_line(&self, key: &Node) -> bool {
        let before = self.document.text.get(..key.start).unwrap_or_default();
        let mut before = before.bytes().rev().take_while(|&byte| byte != b'\n');
        before.all(|byte| matches!(byte, b' ' | b'-' | b'\r'))
    }

    /// An entry as its map is written; `beside` is a key of it.
    fn entry(&self, map: &Map, beside: &Node, key: &str, value: &Value) -> String {
        if map.is_flow {
            return one_line(key, value);
        }
        let mut text = String::new();
        render::block(key, value, &self.break_and_indent(beside), &mut text);
        text
    }

    /// Where an entry stands.
    fn span(&self, key: &Node, value: &Node) -> Range<usize> {
        if value.end > value.start {
            return key.start..value.end;
        }
        // Nothing stands where the value should; but the colon is the entry's.
        let rest = self.document.text.get(key.end..).unwrap_or_default();
        let colon = rest.trim_start_matches([' ', '\t']).strip_prefix(':');
        key.start..colon.map_or(key.end, |after| self.document.text.len() - after.len())
    }

    /// The end of a line, and what stands before a key on the next.
    fn break_and_indent(&self, key: &Node) -> String {
        let line_break = if self.document.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        };
        format!("{line_break}{}", " ".repeat(key.place.1 - 1))
    }

    /// Where the brace of a map in braces stands, behind its anchor.
    fn brace(&self, node: &Node) -> usize {
        let text = self.document.text.get(node.start..node.end);
        let brace = text.and_then(|text| text.find('{')).unwrap_or(0);
        node.start + brace
    }
}

fn one_line(key: &str, value: &Value) -> String {
    let mut text = String::new();
    render::entry(key, value, &mut text);
    text
}
