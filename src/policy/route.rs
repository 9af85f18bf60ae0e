//! Reads `[buckets]`, `[[routes]]`, `[default]` and `[[overrides]]`.

use super::amounts::{MostText, RateText, read_most, read_rate};
use super::bounds::{
    BUCKETS_MAX, KEY_PARTS_MAX, LIMITS_MAX, NAME_BYTES_MAX, OVERRIDES_MAX, PHRASE_BYTES_MAX,
    ROUTES_MAX, VALUE_BYTES_MAX,
};
use super::fault::{Faults, Place, fix};
use super::template::RouteText;
use super::tree::{Fields, Like, Spot, Value, check_name};

/// A reference by name.
#[derive(Clone)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) place: Place,
}

/// A bucket as read.
pub(super) struct BucketText {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) limits: Vec<Name>,
    pub(super) inside: Option<Name>,
}

/// What a route leads to, as read.
#[derive(Clone)]
pub(super) enum TargetText {
    Exempt,
    Bucket(Name),
    Limits(Vec<Name>),
}

/// A route as read.
pub(super) struct RouteEntry {
    pub(super) place: Place,
    pub(super) route: RouteText,
    pub(super) target: TargetText,
}

/// An override as read.
pub(super) struct OverrideText {
    pub(super) place: Place,
    pub(super) limit: Name,
    pub(super) key_place: Place,
    pub(super) key: OverrideKey,
    pub(super) value: OverrideValue,
}

/// What a key has of its own, as read.
pub(super) enum OverrideValue {
    Rate(RateText),
    Most(MostText),
}

impl OverrideValue {
    pub(super) fn place(&self) -> &Place {
        match self {
            Self::Rate(text) => &text.place,
            Self::Most(text) => &text.place,
        }
    }
}

/// An override's key as read.
pub(super) enum OverrideKey {
    /// In the order of the limit's key.
    Values(Vec<String>),
    /// By attribute.
    Named(Vec<(String, String)>),
}

/// A reference to something that `what` says, such as `a limit`.
fn read_name(spot: &Spot<'_>, what: &'static str, faults: &mut Faults) -> Option<Name> {
    let like = Like::NameOf(what);
    let text = spot.text(NAME_BYTES_MAX, like, faults)?.to_owned();
    let place = spot.place.clone();
    Some(Name { text, place })
}

fn read_names(spot: &Spot<'_>, faults: &mut Faults) -> Vec<Name> {
    let items = spot.items(LIMITS_MAX, Like::NameOf("a limit"), faults);
    let items = items.into_iter();
    items
        .filter_map(|item| read_name(&item, "a limit", faults))
        .collect()
}

/// Reads `[buckets]`; the routes that they list are added to `routes`.
pub(super) fn read_buckets(
    spot: &Spot<'_>,
    routes: &mut Vec<RouteEntry>,
    faults: &mut Faults,
) -> Vec<BucketText> {
    let mut buckets = Vec::new();
    for (name, spot) in spot.entries(BUCKETS_MAX, faults) {
        check_name(name, &spot.place, faults);
        let fields = spot.fields(&["limits", "inside", "routes"], faults);
        let limits = fields
            .get("limits")
            .map(|limits| read_names(limits, faults))
            .unwrap_or_default();
        let inside = fields
            .get("inside")
            .and_then(|inside| read_name(inside, "a bucket", faults));
        if fields.is_table && fields.get("limits").is_none() && fields.get("inside").is_none() {
            let advice = "write limits = [\"...\"], or inside = \"...\"";
            faults.push(&spot.place, fix("the bucket has no limits", advice));
        }
        if let Some(list) = fields.get("routes") {
            let target = TargetText::Bucket(Name {
                text: name.to_owned(),
                place: spot.place.clone(),
            });
            read_templates(list, &target, routes, faults);
        }
        buckets.push(BucketText {
            name: name.to_owned(),
            place: spot.place.clone(),
            limits,
            inside,
        });
    }
    buckets
}

fn read_templates(
    spot: &Spot<'_>,
    target: &TargetText,
    routes: &mut Vec<RouteEntry>,
    faults: &mut Faults,
) {
    for item in spot.items_or_one(ROUTES_MAX, faults) {
        let example = "GET /users/{id}";
        let route = item.parsed(PHRASE_BYTES_MAX, example, RouteText::parse, faults);
        if let Some(route) = route {
            routes.push(RouteEntry {
                place: item.place,
                route,
                target: target.clone(),
            });
        }
    }
}

/// Reads `[[routes]]` into `routes`.
pub(super) fn read_routes(spot: &Spot<'_>, routes: &mut Vec<RouteEntry>, faults: &mut Faults) {
    for item in spot.tables(ROUTES_MAX, faults) {
        let fields = item.fields(&["route", "bucket", "limits", "exempt"], faults);
        let target = read_target(&fields, faults);
        let list = fields.require("route", "route = \"GET /users/{id}\"", faults);
        if let (Some(list), Some(target)) = (list, target) {
            read_templates(list, &target, routes, faults);
        }
    }
}

/// Reads `[default]`.
pub(super) fn read_default(spot: &Spot<'_>, faults: &mut Faults) -> Option<(TargetText, Place)> {
    let fields = spot.fields(&["bucket", "limits", "exempt"], faults);
    read_target(&fields, faults).map(|target| (target, fields.place))
}

fn read_target(fields: &Fields<'_>, faults: &mut Faults) -> Option<TargetText> {
    let said: Vec<_> = ["bucket", "limits", "exempt"]
        .iter()
        .filter_map(|name| fields.get(name))
        .collect();
    let advice = "write one of bucket = \"...\", limits = [...] and exempt = true";
    let [spot] = said.as_slice() else {
        let problem = match said.len() {
            0 => "it leads nowhere",
            _ => "it leads to more than one place",
        };
        if fields.is_table {
            faults.push(&fields.place, fix(problem, advice));
        }
        return None;
    };
    if fields.get("bucket").is_some() {
        return read_name(spot, "a bucket", faults).map(TargetText::Bucket);
    }
    if fields.get("limits").is_some() {
        return Some(TargetText::Limits(read_names(spot, faults)));
    }
    match spot.flag(faults)? {
        true => Some(TargetText::Exempt),
        false => {
            faults.push(&spot.place, fix("it leads nowhere", advice));
            None
        }
    }
}

/// Reads `[[overrides]]`; `example` tells a rate that the limit of a name could have.
pub(super) fn read_overrides(
    spot: &Spot<'_>,
    example: &dyn Fn(&str) -> String,
    faults: &mut Faults,
) -> Vec<OverrideText> {
    let mut overrides = Vec::new();
    for item in spot.tables(OVERRIDES_MAX, faults) {
        let fields = item.fields(&["limit", "key", "rate", "max_concurrent"], faults);
        let limit = fields
            .require("limit", "limit = \"per-minute\"", faults)
            .and_then(|limit| read_name(limit, "a limit", faults));
        let key = fields.require("key", "key = \"pk_live_42\"", faults);
        let example = example(limit.as_ref().map_or("", |limit| &limit.text));
        let value = read_override_value(&fields, &example, faults);
        if let (Some(limit), Some(key), Some(value)) = (limit, key, value) {
            overrides.push(OverrideText {
                place: item.place,
                limit,
                key_place: key.place.clone(),
                key: read_override_key(key, faults),
                value,
            });
        }
    }
    overrides
}

fn read_override_value(
    fields: &Fields<'_>,
    example: &str,
    faults: &mut Faults,
) -> Option<OverrideValue> {
    let Some(most) = fields.get("max_concurrent") else {
        let rate = fields.require("rate", &format!("rate = \"{example}\""), faults)?;
        return Some(OverrideValue::Rate(read_rate(rate, example, faults)));
    };
    if let Some(rate) = fields.get("rate") {
        let advice = "keep the one that the limit has";
        let problem = "a limit has a rate or max_concurrent, not both";
        faults.push(&rate.place, fix(problem, advice));
    }
    Some(OverrideValue::Most(read_most(most, faults)))
}

fn read_override_key(spot: &Spot<'_>, faults: &mut Faults) -> OverrideKey {
    match spot.value {
        Value::Table(_) => OverrideKey::Named(
            spot.entries(KEY_PARTS_MAX, faults)
                .into_iter()
                .filter_map(|(name, value)| {
                    let value = value.text(VALUE_BYTES_MAX, Like::Any, faults)?;
                    Some((name.to_owned(), value.to_owned()))
                })
                .collect(),
        ),
        _ => OverrideKey::Values(
            spot.items_or_one(KEY_PARTS_MAX, faults)
                .into_iter()
                .filter_map(|item| item.text(VALUE_BYTES_MAX, Like::Any, faults))
                .map(str::to_owned)
                .collect(),
        ),
    }
}

/// Cuts `routes` to the most there may be, with a fault.
pub(super) fn bound_routes(routes: &mut Vec<RouteEntry>, faults: &mut Faults) {
    if let Some(first) = routes.get(ROUTES_MAX) {
        let problem = format!("{} routes are too many", routes.len());
        faults.push(&first.place, fix(problem, format!("at most {ROUTES_MAX}")));
        routes.truncate(ROUTES_MAX);
    }
}
