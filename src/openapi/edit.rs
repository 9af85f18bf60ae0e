//! Changes of a document's text, each where something changes and nowhere else.

use std::ops::Range;

use serde_json::Value;

use super::render;
use super::tree::{Document, Map, Node};

/// Changes that do not overlap.
pub(super) struct Edits<'d> {
    document: &'d Document<'d>,
    changes: Vec<(Range<usize>, String)>,
}

impl<'d> Edits<'d> {
    pub(super) fn new(document: &'d Document<'d>) -> Self {
        Self {
            document,
            changes: Vec::new(),
        }
    }

    /// Sets entries of a map, which stands at `node`: those it has in their place, the others
    /// before its first. Once for each map.
    pub(super) fn set(&mut self, node: &Node, map: &Map, entries: &[(&str, Value)]) {
        let mut added = Vec::new();
        for (key, value) in entries {
            match map.entry(key) {
                Some((name, old)) => {
                    let text = self.entry(map, name, key, value);
                    self.changes.push((name.start..old.end.max(name.end), text));
                }
                None => added.push((*key, value)),
            }
        }
        if added.is_empty() {
            return;
        }
        let Some((first, _)) = map.entries.first() else {
            let entries: Vec<_> = added
                .iter()
                .map(|(key, value)| one_line(key, value))
                .collect();
            let text = format!("{{{}}}", entries.join(", "));
            self.changes.push((self.brace(node)..node.end, text));
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
            let entries = added.iter();
            let entries = entries.map(|(key, value)| format!("{space}{},", one_line(key, value)));
            let mut text: String = entries.collect();
            if space.is_empty() {
                text.push(' ');
            }
            self.changes.push((after..after, text));
        } else {
            let indent = self.break_and_indent(first);
            let entries = added.iter();
            let entries = entries.map(|(key, value)| self.entry(map, first, key, value) + &indent);
            self.changes
                .push((first.start..first.start, entries.collect()));
        }
    }

    /// Takes an entry out of a map.
    pub(super) fn remove(&mut self, map: &Map, key: &str) {
        let of_key = |(name, _): &(Node, Node)| name.text() == Some(key);
        let Some(place) = map.entries.iter().position(of_key) else {
            return;
        };
        let (name, value) = &map.entries[place];
        let end = value.end.max(name.end);
        let before = place
            .checked_sub(1)
            .and_then(|place| map.entries.get(place));
        let change = match (before, map.entries.get(place + 1)) {
            (_, Some((next, _))) => (name.start..next.start, String::new()),
            (Some((last, value)), None) => (value.end.max(last.end)..end, String::new()),
            (None, None) if map.is_flow => (name.start..end, String::new()),
            (None, None) => (name.start..end, "{}".into()),
        };
        self.changes.push(change);
    }

    /// The text with all changes.
    pub(super) fn apply(mut self) -> String {
        // Stable: what is added stands before what it is added to.
        self.changes
            .sort_by_key(|(range, _)| (range.start, range.end));
        let mut text = String::new();
        let mut from = 0;
        for (range, change) in &self.changes {
            text.push_str(
                self.document
                    .text
                    .get(from..range.start)
                    .unwrap_or_default(),
            );
            text.push_str(change);
            from = range.end;
        }
        text.push_str(self.document.text.get(from..).unwrap_or_default());
        text
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
