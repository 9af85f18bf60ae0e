//! The operations of a document: which requests there are.

use super::LeftOut;
use super::notes::{Notes, left_out};
use super::reference::{CIRCLE, REFERENCE, STEPS_MAX};
use super::tree::{Document, Map, Node};

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// Of a path or an operation, what is not followed.
const MERGE: &str = "<<";

/// What one operation costs of the looks that there are: no document has so many as that.
const LOOKS: usize = 100;

/// A request that the document describes.
pub(super) struct Operation<'d> {
    /// In capitals.
    pub(super) method: String,
    pub(super) template: &'d str,
    /// Where its method stands.
    pub(super) key: &'d Node,
    /// What it says, wherever that stands.
    pub(super) node: &'d Node,
}

impl<'d> Operation<'d> {
    /// Such as `POST /users`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    pub(super) fn left_out(&self, node: &Node, why: impl Into<String>) -> LeftOut {
        left_out(node, self.name(), why)
    }

    /// Its entries; none if it is no map at all.
    pub(super) fn map(&self) -> Option<&'d Map> {
        self.node.map()
    }
}

/// Every operation in the order of the document; what cannot be followed goes to `notes`.
pub(super) fn operations<'d>(document: &'d Document<'_>, notes: &mut Notes) -> Vec<Operation<'d>> {
    let root = document.root.map();
    let Some(paths) = root.and_then(|root| document.get(root, "paths")?.map()) else {
        let why = "there are no `paths`, so nothing is throttled";
        notes.push(left_out(&document.root, "document".into(), why));
        return Vec::new();
    };
    let mut found = Vec::new();
    for (path, item) in &paths.entries {
        let template = path.text().filter(|text| text.starts_with('/'));
        if let Some(template) = template {
            of_path(document, template, item, &mut found, notes);
        }
    }
    found
}

/// The operations of a path: those that stand there, then those of what its `$ref` leads to.
fn of_path<'d>(
    document: &'d Document<'_>,
    template: &'d str,
    item: &'d Node,
    found: &mut Vec<Operation<'d>>,
    notes: &mut Notes,
) {
    let first = found.len();
    let mut item = document.follow(item);
    for _ in 0..STEPS_MAX {
        let mut tell = |node: &Node, why: String| {
            notes.push(left_out(node, template.to_owned(), why));
        };
        let Some(map) = item.map() else {
            if !item.is_null() {
                tell(item, "a path is a map of methods".into());
            }
            return;
        };
        if !document.look_at(map.entries.len() + 1) {
            return;
        }
        for (key, node) in &map.entries {
            let name = key.text().unwrap_or_default();
            if name == MERGE {
                tell(key, format!("`{MERGE}` is not followed"));
            }
            if !METHODS.contains(&name) {
                continue;
            }
            let method = name.to_ascii_uppercase();
            let own = found.get(first..).unwrap_or_default();
            if own.iter().any(|own| own.method == method) {
                tell(
                    key,
                    format!("`{name}` stands where it is referred to, too; that is read"),
                );
                continue;
            }
            if !document.look_at(LOOKS) {
                return;
            }
            match document.resolve(node) {
                Ok(node) => {
                    let own = node.map();
                    if let Some((key, _)) = own.and_then(|own| document.entry(own, MERGE)) {
                        tell(key, format!("`{MERGE}` is not followed"));
                    }
                    found.push(Operation {
                        method,
                        template,
                        key,
                        node,
                    });
                }
                Err((node, why)) => tell(node, why),
            }
        }
        match document
            .reference(map)
            .map(|reference| document.refer(reference))
        {
            None => return,
            Some(Ok(node)) => item = node,
            Some(Err((node, why))) => return tell(node, why),
        }
    }
    let why = format!("`{REFERENCE}`: {CIRCLE}");
    notes.push(left_out(item, template.to_owned(), why));
}
