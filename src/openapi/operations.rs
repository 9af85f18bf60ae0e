//! The operations of a document: which requests there are.

use super::LeftOut;
use super::tree::{Document, Map, Node};

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// Of a path or an operation, what is not followed.
const NOT_FOLLOWED: [&str; 2] = ["$ref", "<<"];

/// A request that the document describes.
pub(super) struct Operation<'d> {
    /// In capitals.
    pub(super) method: String,
    pub(super) template: &'d str,
    /// Where its method stands, and what it is.
    pub(super) key: &'d Node,
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
    pub(super) fn map(&self, document: &'d Document<'_>) -> Option<&'d Map> {
        document.follow(self.node).map()
    }
}

pub(super) fn left_out(node: &Node, place: String, why: impl Into<String>) -> LeftOut {
    let (line, column) = node.place;
    LeftOut {
        line,
        column,
        place,
        why: why.into(),
    }
}

/// Every operation in the order of the document; what cannot be followed goes to `left_out`.
pub(super) fn operations<'d>(
    document: &'d Document<'_>,
    left_out: &mut Vec<LeftOut>,
) -> Vec<Operation<'d>> {
    let root = document.root.map();
    let Some(paths) = root.and_then(|root| document.get(root, "paths")?.map()) else {
        let why = "there are no `paths`, so nothing is throttled";
        left_out.push(self::left_out(&document.root, "document".into(), why));
        return Vec::new();
    };
    let mut found = Vec::new();
    for (path, item) in &paths.entries {
        let Some(template) = path.text().filter(|text| text.starts_with('/')) else {
            continue;
        };
        let Some(item) = document.follow(item).map() else {
            continue;
        };
        for (key, node) in &item.entries {
            let name = key.text().unwrap_or_default();
            if NOT_FOLLOWED.contains(&name) {
                let why = format!("`{name}` is not followed");
                left_out.push(self::left_out(key, template.to_owned(), why));
            }
            if METHODS.contains(&name) {
                found.push(Operation {
                    method: name.to_ascii_uppercase(),
                    template,
                    key,
                    node,
                });
            }
        }
    }
    found
}
