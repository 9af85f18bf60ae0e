//! What is to be changed in a document, by map: operations that share one want it once.

use std::collections::HashMap;

use serde_json::Value;

use super::OpenApiError;
use super::edit::Edits;
use super::tree::{Document, Map, Node};

/// Entries of maps that are wanted to be different.
#[derive(Default)]
pub(super) struct Wishes<'d> {
    maps: Vec<Wish<'d>>,
    /// Places in `maps`, by the numbers of the nodes.
    places: HashMap<usize, usize>,
}

struct Wish<'d> {
    node: &'d Node,
    map: &'d Map,
    entries: Vec<(String, Option<Value>)>,
}

impl<'d> Wishes<'d> {
    /// Wants an entry of `map`, which stands at `node`, to have this value, or to be gone; false
    /// if it is wanted to say something else: what was wanted first stays, and what that does
    /// not have comes to it.
    pub(super) fn want(
        &mut self,
        node: &'d Node,
        map: &'d Map,
        key: &str,
        value: Option<Value>,
    ) -> bool {
        let next = self.maps.len();
        let place = *self.places.entry(node.number).or_insert(next);
        if place == next {
            self.maps.push(Wish {
                node,
                map,
                entries: Vec::new(),
            });
        }
        let Some(wish) = self.maps.get_mut(place) else {
            return false;
        };
        match wish.entries.iter_mut().find(|(own, _)| own == key) {
            None => {
                wish.entries.push((key.to_owned(), value));
                true
            }
            Some((_, Some(known))) => value.is_some_and(|value| join(known, value)),
            Some((_, None)) => value.is_none(),
        }
    }

    /// The document's text with all of it.
    pub(super) fn apply(self, document: &Document<'d>) -> Result<String, OpenApiError> {
        let mut edits = Edits::new(document);
        for wish in &self.maps {
            edits.change(wish.node, wish.map, &wish.entries);
        }
        edits.apply()
    }
}

/// What is only there to show what something may look like: one is enough.
const EXAMPLES: [&str; 2] = ["example", "examples"];

/// Adds what `other` has beyond `known`; false if the two differ.
fn join(known: &mut Value, other: Value) -> bool {
    match (known, other) {
        (Value::Object(known), Value::Object(other)) => {
            let mut is_same = true;
            for (key, value) in other {
                match known.get_mut(&key) {
                    None => {
                        known.insert(key, value);
                    }
                    Some(_) if EXAMPLES.contains(&&*key) => {}
                    Some(known) => is_same &= join(known, value),
                }
            }
            is_same
        }
        (known, other) => *known == other,
    }
}
