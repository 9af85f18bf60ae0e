//! What a policy says, written into a document.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::edit::Edits;
use super::operations::{Operation, operations};
use super::throttle::{self, AUDIENCES, Audience, EXTENSION, STRATEGIES, Throttle};
use super::tree::{Document, Kind, Map, Node};
use super::{LeftOut, OpenApiError};
use crate::policy::{PlainHeader, PlainLimit, Policy, Request};

/// A document that says what a policy does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// The document.
    pub document: String,
    /// What of the policy it does not say, in the order of the document.
    pub left_out: Vec<LeftOut>,
}

/// Writes into a document what `policy` says to each of its operations: `x-throttle`, and where it
/// is limited the response 429 with its headers. An `x-throttle` that already says so stays as it
/// is; that of an operation without limits goes. `base` is as for [`import`](super::import).
///
/// # Errors
/// If the document cannot be read, or cannot be edited without changing something else.
pub fn export(document: &str, policy: &Policy, base: &str) -> Result<Exported, OpenApiError> {
    let document = Document::read(document)?;
    let mut left_out = Vec::new();
    let mut edits = Edits::new(&document);
    let mut wanted = Vec::new();
    let operations = operations(&document, &mut left_out);
    for operation in &operations {
        let own = plain(operation, policy, base, &mut left_out)?;
        change(&document, operation, &own, &mut edits, &mut left_out);
        wanted.push(own);
    }
    let text = edits.apply();
    verify(&document, &text, &wanted)?;
    left_out.sort();
    Ok(Exported {
        document: text,
        left_out,
    })
}

/// What a document can say of an operation.
struct Said {
    throttles: BTreeSet<Throttle>,
    headers: Vec<PlainHeader>,
}

/// What the policy says to an operation, as far as a throttle can.
fn plain(
    operation: &Operation<'_>,
    policy: &Policy,
    base: &str,
    left_out: &mut Vec<LeftOut>,
) -> Result<Said, OpenApiError> {
    let path = format!("{base}{}", sample(operation.template));
    let request = Request::http(&operation.method, &path)
        .attribute("user", "somebody")
        .address("ip", IpAddr::V4(Ipv4Addr::LOCALHOST));
    let (limits, others) = policy
        .plain_limits(&request)
        .map_err(|why| OpenApiError::at(operation.key.place, why.to_string()))?;
    let mut throttles = BTreeSet::new();
    let mut tell = |why: String| left_out.push(operation.left_out(operation.key, why));
    for limit in &limits {
        let own = of_limit(limit, &mut tell);
        throttles.extend(own);
    }
    for name in others {
        tell(format!(
            "limit {name}: how many may run at a time is not said"
        ));
    }
    Ok(Said {
        throttles,
        headers: policy.refusal_headers(&limits),
    })
}

fn of_limit(limit: &PlainLimit<'_>, tell: &mut impl FnMut(String)) -> Vec<Throttle> {
    let PlainLimit { name, words, .. } = limit;
    let Some((amount, interval_secs)) = limit.rate else {
        tell(format!("limit {name}: {words} is no number a time"));
        return Vec::new();
    };
    let strategies = STRATEGIES.iter();
    let mut strategies =
        strategies.filter(|(_, _, key, other)| *key == limit.key || *other == Some(&*limit.key));
    let Some((strategy, ..)) = strategies.next() else {
        tell(format!(
            "limit {name}: no strategy counts by `{}`",
            limit.key
        ));
        return Vec::new();
    };
    if !limit.is_whole {
        tell(format!("limit {name}: of {words} only the rate is said"));
    }
    let throttle = |limit, interval_secs, audience| Throttle {
        strategy: *strategy,
        interval_secs,
        limit,
        audience,
    };
    let mut throttles = vec![throttle(amount, interval_secs, Audience::Everyone)];
    for (tier, rate) in &limit.tiers {
        let audience = AUDIENCES.iter().find(|(_, name)| name == tier);
        match (audience, rate) {
            (Some((audience, _)), Some((amount, secs))) if *secs == interval_secs => {
                throttles.push(throttle(*amount, *secs, *audience));
            }
            _ => tell(format!("limit {name}: its rate for {tier} is not said")),
        }
    }
    throttles
}

/// A path that a template stands for.
fn sample(template: &str) -> String {
    let mut path = String::new();
    let mut inside = false;
    for letter in template.chars() {
        match letter {
            '{' => {
                path.push('x');
                inside = true;
            }
            '}' => inside = false,
            '*' if !inside => path.push('x'),
            other if !inside => path.push(other),
            _ => {}
        }
    }
    path
}

fn change<'d>(
    document: &'d Document<'d>,
    operation: &Operation<'d>,
    Said { throttles, headers }: &Said,
    edits: &mut Edits<'d>,
    left_out: &mut Vec<LeftOut>,
) {
    // What cannot be read is written anew; it was told by the import.
    let mut unread = Vec::new();
    let said: BTreeSet<_> = throttle::throttles(document, operation, &mut unread)
        .into_iter()
        .collect();
    let is_said = said == *throttles && unread.is_empty();
    let Some(map) = operation.node.map() else {
        if !is_said {
            let why = "it stands behind an alias, or is no map: not edited";
            left_out.push(operation.left_out(operation.key, why));
        }
        return;
    };
    let mut entries = Vec::new();
    if !is_said && throttles.is_empty() {
        edits.remove(map, EXTENSION);
    } else if !is_said {
        let values = throttles.iter().map(Throttle::value).collect();
        entries.push((EXTENSION, Value::Array(values)));
    }
    if !throttles.is_empty() {
        let mut response = Response {
            headers: headers_of(document, headers),
            operation,
            left_out,
        };
        entries.extend(response.responses(map, edits));
    }
    edits.set(operation.node, map, &entries);
}

/// What an export adds to a map that has it not, beside the headers themselves.
const ADDED: [&str; 4] = [EXTENSION, "responses", STATUS, "headers"];

/// Writes an operation's response 429.
struct Response<'a, 'd> {
    headers: Value,
    operation: &'a Operation<'d>,
    left_out: &'a mut Vec<LeftOut>,
}

const STATUS: &str = "429";

impl<'d> Response<'_, 'd> {
    /// Edits `responses` of an operation; gives it whole if there is none.
    fn responses(
        &mut self,
        operation: &'d Map,
        edits: &mut Edits<'d>,
    ) -> Option<(&'static str, Value)> {
        let headers = self.headers.clone();
        let is_empty = headers.as_object().is_none_or(serde_json::Map::is_empty);
        let whole = || match is_empty {
            true => json!({ "description": "Too Many Requests" }),
            false => json!({ "description": "Too Many Requests", "headers": headers }),
        };
        let Some(responses) = operation.get("responses").filter(|node| !node.is_null()) else {
            return Some(("responses", json!({ STATUS: whole() })));
        };
        let map = self.editable(responses)?;
        let Some(response) = map.get(STATUS).filter(|node| !node.is_null()) else {
            edits.set(responses, map, &[(STATUS, whole())]);
            return None;
        };
        if is_empty {
            return None;
        }
        let own = self.editable(response)?;
        let Some(own_headers) = own.get("headers").filter(|node| !node.is_null()) else {
            edits.set(response, own, &[("headers", headers)]);
            return None;
        };
        let named = self.editable(own_headers)?;
        let missing = headers
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| {
                let same = |(key, _): &(Node, Node)| {
                    key.text().is_some_and(|key| key.eq_ignore_ascii_case(name))
                };
                !named.entries.iter().any(same)
            });
        let missing: Vec<_> = missing
            .map(|(name, value)| (&**name, value.clone()))
            .collect();
        edits.set(own_headers, named, &missing);
        None
    }

    /// The map at `node`, unless it stands elsewhere.
    fn editable(&mut self, node: &'d Node) -> Option<&'d Map> {
        let map = node.map().filter(|map| map.get("$ref").is_none());
        if map.is_none() {
            let why = "its response 429 stands behind a reference, or is no map: not edited";
            self.left_out.push(self.operation.left_out(node, why));
        }
        map
    }
}

/// Headers as the document's version of OpenAPI has them.
fn headers_of(document: &Document<'_>, headers: &[PlainHeader]) -> Value {
    let root = document.root.map();
    let is_swagger = root.is_some_and(|root| root.get("swagger").is_some());
    let header = |header: &PlainHeader| {
        let kind = if header.is_number {
            "integer"
        } else {
            "string"
        };
        let value = match is_swagger {
            true => json!({ "description": header.what, "type": kind }),
            false => json!({ "description": header.what, "schema": { "type": kind } }),
        };
        (header.name.clone(), value)
    };
    Value::Object(headers.iter().map(header).collect())
}

/// That `text` says what is wanted, and else what it said before.
fn verify(before: &Document<'_>, text: &str, wanted: &[Said]) -> Result<(), OpenApiError> {
    let after = Document::read(text)?;
    let headers = wanted.iter().flat_map(|said| &said.headers);
    let headers = headers.map(|header| &*header.name);
    let added: BTreeSet<_> = headers.chain(ADDED).collect();
    if let Err(place) = kept(&before.root, &after.root, &added) {
        let problem = "cannot be edited without a change of something else";
        return Err(OpenApiError::at(place, problem));
    }
    let mut unread = Vec::new();
    let operations = operations(&after, &mut unread);
    for (operation, wanted) in operations.iter().zip(wanted) {
        let said: BTreeSet<_> = throttle::throttles(&after, operation, &mut unread)
            .into_iter()
            .collect();
        let is_alias = matches!(operation.node.kind, Kind::Alias(_));
        if said != wanted.throttles && !is_alias {
            let problem = "shares what is edited with another operation that has other limits";
            return Err(OpenApiError::at(operation.key.place, problem));
        }
    }
    Ok(())
}

/// That all of `old` is still in `new`, in its order, but for what an export replaces; if not,
/// where it is not.
fn kept(old: &Node, new: &Node, added: &BTreeSet<&str>) -> Result<(), (usize, usize)> {
    let wrong = Err(old.place);
    match (&old.kind, &new.kind) {
        _ if old.is_null() => Ok(()),
        (Kind::Scalar { text, .. }, Kind::Scalar { text: other, .. }) if text == other => Ok(()),
        (Kind::Alias(one), Kind::Alias(other)) if one == other => Ok(()),
        (Kind::List(old), Kind::List(new)) if old.len() == new.len() => old
            .iter()
            .zip(new)
            .try_for_each(|(old, new)| kept(old, new, added)),
        (Kind::Map(old), Kind::Map(new)) => {
            let mut old = old.entries.iter().peekable();
            for (key, value) in &new.entries {
                let is_own = |(old, _): &&(Node, Node)| old.text() == Some(EXTENSION);
                while old.next_if(is_own).is_some() {}
                match old.next_if(|(old, _)| old.text() == key.text()) {
                    Some((_, old)) => kept(old, value, added)?,
                    None if key.text().is_some_and(|key| added.contains(key)) => {}
                    None => return wrong,
                }
            }
            let mut lost = old.filter(|(key, _)| key.text() != Some(EXTENSION));
            lost.next().map_or(Ok(()), |(key, _)| Err(key.place))
        }
        _ => wrong,
    }
}
