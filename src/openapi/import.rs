//! A policy of what the operations of a document say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::notes::{Notes, left_out};
use super::operations::{Operation, operations};
use super::reference::shown;
use super::throttle::{Audience, EXTENSION, Strategy, Throttle, throttles};
use super::tree::{Document, Kind, Node};
use super::{LeftOut, OpenApiError};
use crate::policy::Policy;

/// A policy made of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The policy, as TOML; without limits, and so none, if no operation is throttled.
    pub policy: String,
    /// What it leaves out, in the order of the document.
    pub left_out: Vec<LeftOut>,
}

/// A limit of the policy: one for all routes that say the same, for each has its own counters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Limit {
    throttle: Throttle,
    authenticated: Option<u64>,
}

impl Limit {
    fn name(&self) -> String {
        let strategy = self.throttle.name().replace('_', "-");
        let Throttle {
            limit,
            interval_secs,
            ..
        } = self.throttle;
        let mut name = format!("{strategy}-{limit}-per-{interval_secs}s");
        if let Some(limit) = self.authenticated {
            // Writing to a string does not fail.
            let _ = write!(name, "-authenticated-{limit}");
        }
        name
    }
}

/// Makes a policy of the `x-throttle` of every operation. `base` is put before every path, such as
/// `/v1` where the server's address ends so; empty for nothing.
///
/// Limits count in fixed windows, each route by itself; a refusal says `Retry-After`. `ip_user`
/// counts the user, and the address of who has none; a limit `for: [authenticated]` beside one for
/// `default` is the tier `authenticated`, whom the attribute `user` tells.
///
/// # Errors
/// If the document cannot be read, or the policy would not hold what it says (more than 256
/// different limits, say).
///
/// ```
/// let document = "
/// paths:
///   /v1/users:
///     post:
///       x-throttle:
///       - limit: 10
///         interval: 60
///         strategy: ip
///         for: [ default ]
/// ";
/// let imported = tollgate::openapi::import(document, "")?;
/// assert!(imported.left_out.is_empty());
/// let policy = tollgate::Policy::from_toml(&imported.policy)?;
/// let request = tollgate::Request::http("POST", "/v1/users");
/// assert_eq!(policy.explain(&request)?.limits[0].rate, "10 per 60 seconds");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import(document: &str, base: &str) -> Result<Imported, OpenApiError> {
    let document = Document::read(document)?;
    let mut notes = Notes::default();
    let mut limits = BTreeSet::new();
    // The routes that meet the same limits, by the names of these.
    let mut routes: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let operations = operations(&document, &mut notes);
    for operation in &operations {
        let throttles = throttles(&document, operation, &mut notes);
        let own = paired(operation, &throttles, &mut notes);
        if own.is_empty() {
            continue;
        }
        match route(operation, base, &mut seen) {
            Ok(route) => {
                let names: BTreeSet<_> = own.iter().map(Limit::name).collect();
                routes
                    .entry(names.into_iter().collect())
                    .or_default()
                    .push(route);
                limits.extend(own);
            }
            Err(why) => notes.push(operation.left_out(operation.key, why)),
        }
    }
    strays(&document, &operations, &mut notes);
    servers(&document, &operations, base, &mut notes);
    document.was_looked_at()?;
    if limits.is_empty() {
        let why = "no operation is throttled, and a policy without limits is none";
        notes.push(left_out(&document.root, "document".into(), why));
    }
    let left_out = notes.sorted()?;
    let policy = text(&limits, &routes);
    if !limits.is_empty()
        && let Err(faults) = Policy::from_toml(&policy)
    {
        let problem = format!("no policy can hold what the document says: {faults}");
        return Err(OpenApiError::at((1, 1), problem));
    }
    Ok(Imported { policy, left_out })
}

/// The limits that an operation's throttles make.
fn paired(operation: &Operation<'_>, throttles: &[Throttle], notes: &mut Notes) -> BTreeSet<Limit> {
    let alike = |a: &Throttle, b: &Throttle| {
        (a.strategy, a.interval_secs) == (b.strategy, b.interval_secs) && a.audience != b.audience
    };
    let mut limits = BTreeSet::new();
    for throttle in throttles {
        let others = throttles.iter().filter(|other| alike(throttle, other));
        // Of several that apply together the strictest counts.
        let other = others.min_by_key(|other| other.limit);
        match (throttle.audience, other) {
            (Audience::Everyone, other) => {
                // The same for all is no limit of its own.
                let authenticated = other.map(|other| other.limit);
                limits.insert(Limit {
                    throttle: *throttle,
                    authenticated: authenticated.filter(|limit| *limit != throttle.limit),
                });
            }
            (Audience::Authenticated, Some(_)) => {}
            // Whoever has a user is authenticated.
            (Audience::Authenticated, None) if throttle.strategy == Strategy::User => {
                limits.insert(Limit {
                    throttle: *throttle,
                    authenticated: None,
                });
            }
            (Audience::Authenticated, None) => {
                let why = "a limit for `authenticated` needs one for `default` beside it, of the \
                           same strategy and interval";
                notes.push(operation.left_out(operation.key, why));
            }
        }
    }
    limits
}

/// The route of an operation as a policy has it.
fn route(
    operation: &Operation<'_>,
    base: &str,
    seen: &mut BTreeSet<String>,
) -> Result<String, String> {
    if operation.template.contains("/:") {
        return Err("`:` would begin a capture".into());
    }
    let route = format!("{} {base}{}", operation.method, operation.template);
    // Names of captures do not tell templates apart.
    let mut shape = String::new();
    let mut depth = 0_u32;
    for letter in route.chars() {
        depth = depth.saturating_sub(u32::from(letter == '}'));
        if depth == 0 {
            shape.push(letter);
        }
        depth += u32::from(letter == '{');
    }
    let alone = format!(
        "limits.a = {{ rate = \"1/s\" }}\nroutes = [{{ route = {}, limits = [\"a\"] }}]",
        quoted(&route)
    );
    if let Err(faults) = Policy::from_toml(&alone) {
        let fault = faults.iter().next();
        let why = fault.map_or("no route", |fault| fault.problem());
        return Err(format!("its path is no route: {why}"));
    }
    if !seen.insert(shape) {
        return Err("another path stands for the same requests".into());
    }
    Ok(route)
}

/// Every `x-throttle` that is none of an operation's.
fn strays(document: &Document<'_>, operations: &[Operation<'_>], notes: &mut Notes) {
    let own = operations.iter();
    let own = own.filter_map(|operation| document.entry(operation.map()?, EXTENSION));
    let own: BTreeSet<usize> = own.map(|(key, _)| key.start).collect();
    let mut nodes = vec![&document.root];
    while let Some(node) = nodes.pop() {
        match &node.kind {
            Kind::Scalar { .. } | Kind::Alias(_) => {}
            Kind::List(items) => nodes.extend(items),
            Kind::Map(map) => {
                for (key, value) in &map.entries {
                    if key.text() == Some(EXTENSION) && !own.contains(&key.start) {
                        let why = "only an operation's is read";
                        notes.push(left_out(key, EXTENSION.into(), why));
                    }
                    nodes.push(value);
                }
            }
        }
    }
}

/// Addresses of servers that end in a path which no route begins with: those of all operations, of
/// a path, and of one alone.
fn servers(document: &Document<'_>, operations: &[Operation<'_>], base: &str, notes: &mut Notes) {
    let Some(root) = document.root.map() else {
        return;
    };
    // Before OpenAPI 3 there was one path for all.
    if let Some(path) = document.get(root, "basePath") {
        server(path, path.text().unwrap_or_default(), base, notes);
    }
    let paths = document.get(root, "paths").and_then(Node::map);
    let items = paths.into_iter().flat_map(|paths| &paths.entries);
    let items = items.filter_map(|(_, item)| document.follow(item).map());
    let operations = operations.iter().filter_map(Operation::map);
    for map in std::iter::once(root).chain(items).chain(operations) {
        let servers = document.get(map, "servers");
        let Some(Kind::List(servers)) = servers.map(|servers| &servers.kind) else {
            continue;
        };
        for node in servers.iter().map(|server| document.follow(server)) {
            let url = node.map().and_then(|map| document.get(map, "url")?.text());
            let Some(url) = url else { continue };
            let after_host = url.split_once("://").map_or(url, |(_, rest)| rest);
            let path = after_host.find('/').map_or("", |at| &after_host[at..]);
            server(node, path, base, notes);
        }
    }
}

fn server(node: &Node, path: &str, base: &str, notes: &mut Notes) {
    let path = path.trim_end_matches('/');
    if path != base.trim_end_matches('/') {
        let path = shown(path);
        let why = format!("its path `{path}` is not what the routes begin with: `{base}`");
        notes.push(left_out(node, "server".into(), why));
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn text(limits: &BTreeSet<Limit>, routes: &BTreeMap<Vec<String>, Vec<String>>) -> String {
    let mut text =
        String::from("# Made of an OpenAPI document, of the x-throttle of its operations.\n");
    for limit in limits {
        let Throttle {
            limit: amount,
            interval_secs,
            ..
        } = limit.throttle;
        let _ = write!(
            text,
            "\n[limits.{}]\nrate = \"{amount} per {interval_secs} s\"\nkey = \"{}\"\n\
             algorithm = \"fixed window\"\n",
            limit.name(),
            limit.throttle.key(),
        );
        if limit.throttle.strategy == Strategy::User {
            // Who is no user is not limited by users' limits.
            text.push_str("when_key_missing = \"skip\"\n");
        }
    }
    let mut rates = Vec::new();
    for limit in limits {
        if let Some(amount) = limit.authenticated {
            let interval_secs = limit.throttle.interval_secs;
            let name = limit.name();
            rates.push(format!("{name} = \"{amount} per {interval_secs} s\""));
        }
    }
    if !limits.is_empty() {
        text.push_str("\n[response]\nheaders = [\"retry-after\"]\n");
    }
    if !rates.is_empty() {
        let _ = write!(
            text,
            "\n[tiers.authenticated]\nwhen = {{ user = true }}\n\n\
             [tiers.authenticated.rates]\n{}\n",
            rates.join("\n")
        );
    }
    for (limits, routes) in routes {
        let limits: Vec<_> = limits.iter().map(|name| quoted(name)).collect();
        let routes: Vec<_> = routes
            .iter()
            .map(|route| format!("  {},\n", quoted(route)))
            .collect();
        let _ = write!(
            text,
            "\n[[routes]]\nroute = [\n{}]\nlimits = [{}]\n",
            routes.concat(),
            limits.join(", ")
        );
    }
    text
}
