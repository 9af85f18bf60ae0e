//! Names of a policy on their way to becoming indices.

use std::collections::HashMap;

use super::fault::{Faults, Place, fix, nearest, quoted};
use super::route::Name;

/// Names of one kind and their places in a list.
pub(super) struct Names<'t> {
    what: &'static str,
    indices: HashMap<&'t str, usize>,
}

impl<'t> Names<'t> {
    pub(super) fn new(what: &'static str, names: impl Iterator<Item = &'t str>) -> Self {
        Self {
            what,
            indices: names
                .enumerate()
                .map(|(index, name)| (name, index))
                .collect(),
        }
    }

    /// The name's index, or a fault.
    pub(super) fn find(&self, name: &Name, faults: &mut Faults) -> Option<usize> {
        self.find_at(&name.text, &name.place, faults)
    }

    pub(super) fn get(&self, name: &str) -> Option<usize> {
        self.indices.get(name).copied()
    }

    pub(super) fn find_at(&self, name: &str, place: &Place, faults: &mut Faults) -> Option<usize> {
        let found = self.get(name);
        if found.is_none() {
            let mut known: Vec<_> = self.indices.keys().copied().collect();
            known.sort_unstable();
            let advice = match nearest(name, known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("add [{}s.{name}]", self.what),
            };
            let problem = format!("there is no {} {}", self.what, quoted(name));
            let is_unread = faults.is_at(&format!("{}s", self.what));
            if !is_unread {
                faults.push(place, fix(problem, super::fault::clip(&advice)));
            }
        }
        found
    }
}

/// A fault: what is said at `place` is said of limits of the other kind.
pub(super) fn wrong_kind(limit: &str, place: &Place, example: &str, faults: &mut Faults) {
    let is = match example.starts_with("max_concurrent") {
        true => "says how many run at a time",
        false => "is a rate",
    };
    let problem = format!("limit {} {is}", quoted(limit));
    let example = example.replace("NAME", limit);
    // A limit that lacks both counts as a rate, and is a fault already.
    if !faults.is_at(&Place::limit(limit).path) {
        faults.push(place, fix(problem, format!("write {example}")));
    }
}
