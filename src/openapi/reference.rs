//! `$ref`: what stands elsewhere in the document.

use percent_encoding::percent_decode_str;

use super::tree::{Document, Kind, Map, Node};

/// The key that makes a map a reference.
pub(super) const REFERENCE: &str = "$ref";

/// A reference that leads on to another is followed so many times.
pub(super) const STEPS_MAX: usize = 32;

/// A value and what is wrong with it.
pub(super) type Note<'n> = (&'n Node, String);

impl Document<'_> {
    /// What an alias or a reference stands for; any other node is itself.
    pub(super) fn resolve<'n>(&'n self, node: &'n Node) -> Result<&'n Node, Note<'n>> {
        let mut node = self.follow(node);
        for _ in 0..STEPS_MAX {
            let reference = node.map().and_then(|map| self.reference(map));
            match reference {
                Some(reference) => node = self.refer(reference)?,
                None => return Ok(node),
            }
        }
        Err((node, CIRCLE.into()))
    }

    /// The `$ref` of a map.
    pub(super) fn reference<'n>(&'n self, map: &'n Map) -> Option<&'n Node> {
        self.get(map, REFERENCE)
    }

    /// Where a `$ref` leads to: one step.
    pub(super) fn refer<'n>(&'n self, reference: &'n Node) -> Result<&'n Node, Note<'n>> {
        let wrong = |what: &str| {
            let text = reference.text().unwrap_or_default();
            Err((reference, format!("`$ref: {}` {what}", shown(text))))
        };
        let Some(text) = reference.text() else {
            return Err((reference, "`$ref` is a text".into()));
        };
        let Some(pointer) = text.strip_prefix('#') else {
            return wrong("leads to another document, which is not read");
        };
        let Ok(pointer) = percent_decode_str(pointer).decode_utf8() else {
            return wrong("is no text");
        };
        let mut names = pointer.split('/');
        if names.next() != Some("") {
            return wrong("is no path in the document");
        }
        let mut node = &self.root;
        for name in names {
            let name = name.replace("~1", "/").replace("~0", "~");
            let below = match &self.follow(node).kind {
                Kind::Map(map) => self.get(map, &name),
                Kind::List(items) => name.parse().ok().and_then(|place: usize| items.get(place)),
                _ => None,
            };
            match below {
                Some(below) => node = below,
                None => return wrong("leads nowhere"),
            }
        }
        Ok(self.follow(node))
    }
}

/// What is told of references that lead to one another.
pub(super) const CIRCLE: &str = "its references lead in a circle, or are too many";

/// The beginning of a text of the document, to be told.
pub(super) fn shown(text: &str) -> String {
    const LETTERS_MAX: usize = 80;
    let mut shown: String = text.chars().take(LETTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}
