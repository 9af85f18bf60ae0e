//! What a policy says, written into a document.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::notes::Notes;
use super::operations::{Operation, operations};
use super::response::Response;
use super::said::Said;
use super::throttle::{EXTENSION, Throttle};
use super::tree::{Document, Kind, Node};
use super::verify::verify;
use super::wishes::Wishes;
use super::{LeftOut, OpenApiError};
use crate::policy::Policy;

/// A document that says what a policy does.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Exported {
    /// The document.
    pub document: String,
    /// What of the policy it does not say, in the order of the document.
    pub left_out: Vec<LeftOut>,
}

/// Writes into a document what `policy` says to each of its operations: `x-throttle`, and where it
/// is limited the response with its headers and body (429, unless the policy has another status).
///
/// An `x-throttle` that already says so stays as it is, and so does what a response says already;
/// the `x-throttle` of an operation without limits goes. What stands elsewhere (`$ref`, aliases)
/// is edited there, if all operations that share it have the same limits. `base` is as for
/// [`import`](super::import).
///
/// # Errors
/// If the document cannot be read, or cannot be edited without changing something else.
pub fn export(document: &str, policy: &Policy, base: &str) -> Result<Exported, OpenApiError> {
    let document = Document::read(document)?;
    let mut notes = Notes::default();
    let operations = operations(&document, &mut notes);
    let mut all = Vec::new();
    for operation in &operations {
        all.push(Said::of(&document, operation, policy, base, &mut notes)?);
    }
    let at_odds = at_odds(&operations, &all);
    let mut wishes = Wishes::default();
    for (operation, said) in operations.iter().zip(&mut all) {
        let mut tell = |node: &Node, why: &str| notes.push(operation.left_out(node, why));
        if at_odds.contains(&operation.node.number) {
            said.is_open = true;
            if !said.stands {
                tell(
                    operation.key,
                    "others that have other limits share it: not edited",
                );
            }
            continue;
        }
        if !said.stands {
            said.is_open = !throttled(&document, operation, &said.throttles, &mut wishes, tell);
        }
        let mut response = Response {
            document: &document,
            operation,
            wishes: &mut wishes,
            notes: &mut notes,
        };
        response.write(&said.refusals);
    }
    let text = wishes.apply(&document)?;
    document.was_looked_at()?;
    verify(&document, &text, &all)?;
    let left_out = notes.sorted()?;
    Ok(Exported {
        document: text,
        left_out,
    })
}

/// What several operations share that have not the same limits, by the numbers of the nodes.
fn at_odds(operations: &[Operation<'_>], all: &[Said]) -> HashSet<usize> {
    let mut first: HashMap<usize, &BTreeSet<Throttle>> = HashMap::new();
    let mut found = HashSet::new();
    for (operation, said) in operations.iter().zip(all) {
        let number = operation.node.number;
        if *first.entry(number).or_insert(&said.throttles) != &said.throttles {
            found.insert(number);
        }
    }
    found
}

/// Wishes an operation's `x-throttle` to say so; false if that cannot be.
fn throttled<'d>(
    document: &'d Document<'_>,
    operation: &Operation<'d>,
    throttles: &BTreeSet<Throttle>,
    wishes: &mut Wishes<'d>,
    mut tell: impl FnMut(&Node, &str),
) -> bool {
    let Some(map) = operation.map() else {
        tell(operation.key, "it is no map: not edited");
        return false;
    };
    let old = document.entry(map, EXTENSION);
    if let Some((key, value)) = old
        && (has_anchor(document, key) || has_anchor(document, value))
    {
        tell(key, "its `x-throttle` is where aliases lead to: not edited");
        return false;
    }
    let values = throttles.iter().map(Throttle::value).collect();
    let value = (!throttles.is_empty()).then_some(Value::Array(values));
    wishes.want(operation.node, map, EXTENSION, value)
}

/// Whether something in it is what an alias may stand for.
fn has_anchor(document: &Document<'_>, node: &Node) -> bool {
    let mut nodes = vec![node];
    while let Some(node) = nodes.pop() {
        if node.has_anchor || !document.look_at(1) {
            return true;
        }
        match &node.kind {
            Kind::Scalar { .. } | Kind::Alias(_) => {}
            Kind::List(items) => nodes.extend(items),
            Kind::Map(map) => {
                nodes.extend(map.entries.iter().flat_map(|(key, value)| [key, value]));
            }
        }
    }
    false
}
