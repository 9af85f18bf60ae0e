//! Policies: from a text that people read to a plan that requests are asked against.
//!
//! ```text
//! text -> tree -> what was read -> plan            once; every fault told in one go
//! request -> route, tier, limits, keys             each check; no allocation, no lock
//! ```
//!
//! Pure: no clock, no file, no counter. What a key's parts hash to is not known here.

mod address;
mod amounts;
mod ask;
mod bounds;
mod buckets;
mod builder;
mod common;
mod compile;
mod concurrency;
mod diff;
mod direct;
mod explain;
mod fault;
mod idempotency;
mod intake;
mod key;
mod limit;
mod meaning;
mod names;
mod new_keys;
mod overrides;
mod path;
mod pieces;
#[cfg(feature = "openapi")]
mod plain;
mod plan;
mod rate;
mod rates;
#[cfg(feature = "openapi")]
mod refusals;
mod request;
mod resolve;
mod response;
mod route;
mod router;
mod scan;
mod scope;
mod shape;
mod shown;
mod statuses;
mod syntax;
mod template;
mod terms;
mod text;
mod texts;
mod tier;
mod tree;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub(crate) use amounts::UNLIMITED;
pub(crate) use ask::AskSpec;
pub(crate) use bounds::{KEY_PARTS_MAX, PERMIT_PICKS_MAX, PICKS_MAX};
pub use builder::{LimitAlgorithm, LimitDurability, LimitRule, PolicyBuilder};
pub(crate) use concurrency::ConcurrencySpec;
pub use diff::{LimitChange, LimitFate, PolicyDiff};
pub use explain::{Explanation, LimitExplanation};
pub use fault::{PolicyFault, PolicyFaults};
#[cfg(feature = "tower")]
pub(crate) use intake::{Forwarded, IntakeSpec, Origin};
pub(crate) use pieces::{Fact, Filled, Piece, fill};
#[cfg(feature = "openapi")]
pub(crate) use plain::PlainLimit;
pub(crate) use plan::{LimitSpec, Overridden, Plan};
#[cfg(feature = "openapi")]
pub(crate) use refusals::{PlainBody, PlainHeader, PlainRefusal};
pub(crate) use request::AttributeValue;
pub use request::{Request, RequestError};
pub(crate) use resolve::{PermitPick, Pick, Refusal, Resolution};
pub(crate) use response::{HeaderSpec, LimitTold, RefusalKind, RefusalSpec, ResponseSpec};
pub(crate) use shown::{ShownKey, ShownPart};
pub(crate) use terms::{
    AttributeIndex, ConcurrencyIndex, Durability, KeyIndex, KeyParts, KeySink, KeyValue,
    LimitIndex, RouteIndex, TierIndex, WhenFull, WhenUnwritable,
};

use fault::{Faults, Place, fix};
use key::Attributes;
use texts::{HttpText, PolicyText};
use tree::{Fields, Node, Spot};

/// The limits of a service, read from a text.
///
/// Immutable and cheap to clone. The README shows the language; a taste of it:
///
/// ```
/// let policy = tollgate::Policy::from_toml(r#"
///     [limits.per-minute]
///     rate = "100/min burst 150"
///     key = "api_key | ip"
/// "#)?;
/// assert_eq!(policy.limits().count(), 1);
/// # Ok::<(), tollgate::PolicyFaults>(())
/// ```
#[derive(Clone)]
pub struct Policy {
    plan: Arc<Plan>,
    /// The file that it was read from.
    path: Option<Arc<Path>>,
}

impl Policy {
    /// Reads a policy from TOML.
    ///
    /// # Errors
    /// Every fault of the text, each with its place and what to write instead.
    pub fn from_toml(text: &str) -> Result<Self, PolicyFaults> {
        Self::read(text, text::from_toml)
    }

    /// Reads a policy from JSON: the same structure, so every table is an object. Faults tell
    /// the path of a value, but its line only where the syntax is broken.
    ///
    /// # Errors
    /// Every fault of the text, each with its path and what to write instead.
    pub fn from_json(text: &str) -> Result<Self, PolicyFaults> {
        Self::read(text, text::from_json)
    }

    /// Reads a policy from a file's bytes.
    pub(crate) fn from_bytes(bytes: &[u8], is_json: bool) -> Result<Self, PolicyFaults> {
        let read = match is_json {
            true => Self::from_json,
            false => Self::from_toml,
        };
        std::str::from_utf8(bytes)
            .map_err(|error| {
                let at = error.valid_up_to();
                let place = Place {
                    offset: Some(at),
                    path: String::new(),
                };
                let mut faults = Faults::default();
                faults.push(&place, fix("this is not UTF-8", "save the file as UTF-8"));
                faults.report(&String::from_utf8_lossy(
                    bytes.get(..at).unwrap_or_default(),
                ))
            })
            .and_then(read)
    }

    fn read(
        text: &str,
        parse: fn(&str, &mut Faults) -> Option<Node>,
    ) -> Result<Self, PolicyFaults> {
        let mut faults = Faults::default();
        match parse(text, &mut faults) {
            Some(tree) => Self::of_tree(&tree, faults, text),
            None => Err(faults.report(text)),
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The file that it was read from, if it was read from one, or else the one before it was.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The same as one that was read from this file.
    pub(crate) fn read_from(mut self, path: &Path) -> Self {
        // As seen from here, wherever the process goes later.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.path = Some(path.into());
        self
    }

    /// The same in the place of another one: what is read again is the file that there is.
    pub(crate) fn after(mut self, before: &Self) -> Self {
        self.path = self.path.or_else(|| before.path.clone());
        self
    }
}

/// From TOML; from JSON if the text begins with a brace, as no TOML does.
///
/// ```
/// let policy: tollgate::Policy = "limits.all = { rate = \"100/s\" }".parse()?;
/// let same: tollgate::Policy = r#"{"limits": {"all": {"rate": "100/s"}}}"#.parse()?;
/// assert!(policy.limits().eq(same.limits()));
/// # Ok::<(), tollgate::PolicyFaults>(())
/// ```
impl FromStr for Policy {
    type Err = PolicyFaults;

    fn from_str(text: &str) -> Result<Self, PolicyFaults> {
        match text.trim_start().starts_with('{') {
            true => Self::from_json(text),
            false => Self::from_toml(text),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.limits())
            .entries(self.concurrency())
            .finish()
    }
}

const POLICY_FIELDS: &[&str] = &[
    "time_zone",
    "ipv6_prefix",
    "attributes",
    "limits",
    "tiers",
    "buckets",
    "routes",
    "default",
    "overrides",
    "idempotency",
    "request",
    "response",
    "ask",
];

fn read_policy(tree: &Node, faults: &mut Faults) -> PolicyText {
    let root = Spot {
        place: Place {
            offset: tree.offset,
            path: String::new(),
        },
        value: &tree.value,
    };
    let fields = root.fields(POLICY_FIELDS, faults);
    let zone = fields
        .get("time_zone")
        .and_then(|zone| limit::read_zone(zone, faults))
        .unwrap_or_else(|| "UTC".to_owned());
    let ipv6_prefix = fields
        .get("ipv6_prefix")
        .and_then(|bits| bits.whole(1..=128, faults))
        .and_then(|bits| u8::try_from(bits).ok())
        .unwrap_or(64);
    let mut attributes = Attributes::new(ipv6_prefix);
    if let Some(spot) = fields.get("attributes") {
        limit::read_attributes(spot, &mut attributes, faults);
    }
    let limits = fields
        .get("limits")
        .map(|spot| limit::read_limits(spot, &zone, &mut attributes, faults))
        .unwrap_or_default();
    if limits.is_empty() && !faults.is_within("limits") {
        let advice = "add [limits.NAME] with rate = \"100/min\"";
        faults.push(&fields.place, fix("the policy has no limits", advice));
    }
    let example = |name: &str| limits.example(name);
    let tiers = fields
        .get("tiers")
        .map(|spot| tier::read(spot, &example, &mut attributes, faults));
    let mut routes = Vec::new();
    let buckets = fields
        .get("buckets")
        .map(|spot| route::read_buckets(spot, &mut routes, faults));
    if let Some(spot) = fields.get("routes") {
        route::read_routes(spot, &mut routes, faults);
    }
    route::bound_routes(&mut routes, faults);
    let default = fields
        .get("default")
        .map(|spot| route::read_default(spot, faults));
    let has_unread_routes = ["buckets", "routes", "default"].map(|part| faults.is_within(part));
    let overrides = fields
        .get("overrides")
        .map(|spot| route::read_overrides(spot, &example, faults));
    let idempotency = fields
        .get("idempotency")
        .and_then(|spot| idempotency::read(spot, &mut attributes, faults));
    let http = read_http(&fields, &attributes, faults);
    PolicyText {
        attributes,
        limits,
        tiers: tiers.unwrap_or_default(),
        buckets: buckets.unwrap_or_default(),
        routes,
        has_unread_routes: has_unread_routes.contains(&true),
        default: default.flatten(),
        overrides: overrides.unwrap_or_default(),
        idempotency,
        http,
    }
}

/// What only services over HTTP need: how requests are read, what is answered, what may be asked.
fn read_http(fields: &Fields<'_>, attributes: &Attributes, faults: &mut Faults) -> HttpText {
    let ask = fields
        .get("ask")
        .map(|spot| ask::read(spot, attributes, faults));
    let response = fields
        .get("response")
        .map(|spot| response::read(spot, faults));
    HttpText {
        intake: intake::read(fields.get("request"), attributes, faults),
        ask: ask.unwrap_or_default(),
        response: response.unwrap_or_default(),
    }
}
