//! `x-throttle`: what an operation says of its limits.

use serde_json::{Value, json};

use super::notes::Notes;
use super::operations::Operation;
use super::reference::{Note, shown};
use super::tree::{Document, Kind, Map, Node};

/// The extension's name.
pub(super) const EXTENSION: &str = "x-throttle";

/// By what requests are counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Strategy {
    Ip,
    User,
    Route,
    IpUser,
}

/// Each with its name, the key that it is, and the key without the route that it may be, too.
pub(super) const STRATEGIES: [(Strategy, &str, &str, Option<&str>); 4] = [
    (Strategy::Ip, "ip", "ip + route", Some("ip")),
    (Strategy::User, "user", "user + route", Some("user")),
    (Strategy::Route, "route", "route", None),
    (
        Strategy::IpUser,
        "ip_user",
        "(user | ip) + route",
        Some("user | ip"),
    ),
];

/// Whom a limit is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Audience {
    Everyone,
    Authenticated,
}

/// The audiences, and their names.
pub(super) const AUDIENCES: [(Audience, &str); 2] = [
    (Audience::Everyone, "default"),
    (Audience::Authenticated, "authenticated"),
];

/// One limit of an operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Throttle {
    pub(super) strategy: Strategy,
    pub(super) interval_secs: u64,
    pub(super) limit: u64,
    pub(super) audience: Audience,
}

impl Throttle {
    pub(super) fn name(&self) -> &'static str {
        let mut all = STRATEGIES.iter();
        let own = all.find(|(strategy, ..)| *strategy == self.strategy);
        own.map_or("", |(_, name, ..)| name)
    }

    pub(super) fn key(&self) -> &'static str {
        let mut all = STRATEGIES.iter();
        let own = all.find(|(strategy, ..)| *strategy == self.strategy);
        own.map_or("", |(_, _, key, _)| key)
    }

    /// As the document has it.
    pub(super) fn value(&self) -> Value {
        let mut all = AUDIENCES.iter();
        let audience = all.find(|(audience, _)| *audience == self.audience);
        json!({
            "limit": self.limit,
            "interval": self.interval_secs,
            "strategy": self.name(),
            "for": [audience.map_or("", |(_, name)| name)],
        })
    }
}

/// More throttles of one operation are not read: no request meets so many limits.
const THROTTLES_MAX: usize = 64;

/// What an operation says of its limits; what cannot be taken over goes to `notes`.
pub(super) fn throttles(
    document: &Document<'_>,
    operation: &Operation<'_>,
    notes: &mut Notes,
) -> Vec<Throttle> {
    let map = operation.map();
    let Some((key, value)) = map.and_then(|map| document.entry(map, EXTENSION)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut tell = |(node, why): Note<'_>| notes.push(operation.left_out(node, why));
    let value = match document.resolve(value) {
        Ok(value) => value,
        Err(note) => {
            tell(note);
            return found;
        }
    };
    let items = match &value.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(value),
    };
    if items.len() > THROTTLES_MAX {
        tell((
            key,
            format!("only its first {THROTTLES_MAX} throttles are read"),
        ));
    }
    for item in items.iter().take(THROTTLES_MAX) {
        let read = document.resolve(item).and_then(|item| read(document, item));
        match read {
            Ok((throttles, notes)) => {
                found.extend(throttles);
                notes.into_iter().for_each(&mut tell);
            }
            Err(note) => tell(note),
        }
    }
    found
}

/// One entry: for each audience a limit, and what it says besides that nobody knows.
fn read<'n>(
    document: &'n Document<'_>,
    item: &'n Node,
) -> Result<(Vec<Throttle>, Vec<Note<'n>>), Note<'n>> {
    let Some(map) = item.map() else {
        return Err((
            item,
            "a throttle is a map of limit, interval, strategy".into(),
        ));
    };
    let limit = whole(document, item, map, "limit")?;
    let interval_secs = whole(document, item, map, "interval")?;
    let strategy = match document.get(map, "strategy") {
        None => Strategy::Ip,
        Some(node) => {
            let named = STRATEGIES
                .iter()
                .find(|(_, name, ..)| node.text() == Some(name));
            named.ok_or((node, unknown("strategy", node)))?.0
        }
    };
    let mut throttles = Vec::new();
    let mut notes = Vec::new();
    let mut known = |audience| {
        throttles.push(Throttle {
            strategy,
            interval_secs,
            limit,
            audience,
        });
    };
    let audiences = document.get(map, "for");
    match audiences.map(|node| (node, &node.kind)) {
        None => known(Audience::Everyone),
        Some((node, Kind::List(names))) => {
            if names.len() > THROTTLES_MAX {
                notes.push((
                    node,
                    format!("only its first {THROTTLES_MAX} audiences are read"),
                ));
            }
            for name in names.iter().take(THROTTLES_MAX) {
                let name = document.follow(name);
                let named = AUDIENCES.iter().find(|(_, own)| name.text() == Some(own));
                match named {
                    Some((audience, _)) => known(*audience),
                    None => notes.push((name, unknown("audience", name))),
                }
            }
        }
        Some((node, _)) => return Err((node, "`for` is a list of audiences".into())),
    }
    for (key, _) in &map.entries {
        let name = key.text().unwrap_or_default();
        if !["limit", "interval", "strategy", "for"].contains(&name) {
            notes.push((key, format!("`{}` of a throttle is not known", shown(name))));
        }
    }
    Ok((throttles, notes))
}

fn unknown(what: &str, node: &Node) -> String {
    match node.text() {
        Some(name) => format!("the {what} `{}` is not known", shown(name)),
        None => format!("a {what} is a name"),
    }
}

fn whole<'n>(
    document: &'n Document<'_>,
    item: &'n Node,
    map: &'n Map,
    name: &str,
) -> Result<u64, Note<'n>> {
    let Some(node) = document.get(map, name) else {
        return Err((item, format!("a throttle without its `{name}`")));
    };
    let number = node.text().and_then(|text| text.parse().ok());
    let number = number.filter(|number| *number > 0);
    number.ok_or((node, format!("`{name}` is a whole number of at least 1")))
}
