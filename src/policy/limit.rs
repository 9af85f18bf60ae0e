//! Reads `[attributes]` and `[limits]`.

use super::amounts::{RateText, read_rate};
use super::bounds::{ATTRIBUTES_MAX, LIMITS_MAX, NAME_BYTES_MAX};
use super::common::{Common, read_common, read_key};
use super::concurrency::{self, ConcurrencyText};
use super::fault::{Faults, Fix, Place, fix, quoted};
use super::key::{Attributes, KeySpec, NAME_ADVICE, Source, parse_one};
use super::new_keys::{self, NewKeysText};
use super::rate::{Quota, Rate};
use super::shape::{Algorithm, check_zone};
use super::statuses::Statuses;
use super::terms::{Durability, Strict, WhenFull, WhenUnwritable};
use super::tree::{Fields, Like, Spot, Value, check_name};

/// A rate limit as read.
pub(super) struct LimitText {
    pub(super) place: Place,
    pub(super) rate: Option<RateText>,
    pub(super) algorithm: Algorithm,
    pub(super) zone: String,
    pub(super) week_from_sunday: bool,
    pub(super) durability: Option<Durability>,
    /// Means something to a strict limit only.
    pub(super) strict: Strict,
    pub(super) when_full: WhenFull,
    /// The statuses that are charged, if it says so.
    pub(super) charged: Option<Statuses>,
    /// What overrides are for, if not for its key.
    pub(super) override_key: Option<KeySpec>,
    /// The limit on keys that have no counter yet.
    pub(super) new_keys: Option<NewKeysText>,
    pub(super) common: Common,
}

/// The limits as read, by kind.
#[derive(Default)]
pub(super) struct LimitTexts {
    pub(super) rates: Vec<LimitText>,
    pub(super) concurrency: Vec<ConcurrencyText>,
}

impl LimitTexts {
    /// A rate that the limit of this name could have in a tier or for one key.
    pub(super) fn example(&self, name: &str) -> String {
        let limit = self.rates.iter().find(|limit| limit.common.name == name);
        let own = limit.and_then(|limit| limit.rate.as_ref()?.rate.as_ref());
        match (own, limit) {
            (Some(Rate::Quota(Quota { span, .. }) | Rate::Share { span, .. }), _) => {
                format!("100 per {span}")
            }
            (_, Some(limit)) => example(limit.algorithm).to_owned(),
            (_, None) => example(Algorithm::TokenBucket).to_owned(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.concurrency.is_empty()
    }

    /// The names: rate limits first, then the others. What refers to a limit by a number means
    /// its place in this list.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let rates = self.rates.iter().map(|limit| &limit.common);
        let others = self.concurrency.iter().map(|limit| &limit.common);
        rates.chain(others).map(|limit| limit.name.as_str())
    }
}

const LIMIT_FIELDS: &[&str] = &[
    "rate",
    "max_concurrent",
    "queue",
    "wait",
    "max_keys",
    "key",
    "algorithm",
    "time_zone",
    "week_starts",
    "cost",
    "cost_unsaid",
    "max_cost",
    "durability",
    "reserve",
    "when_unwritable",
    "when_full",
    "when_key_missing",
    "charged_status",
    "override_key",
    "new_keys",
    "shadow",
    "renamed_from",
    "everywhere",
];
/// What only a rate limit can say, and only one that says how many run at a time.
const RATE_FIELDS: &[&str] = &[
    "algorithm",
    "time_zone",
    "week_starts",
    "durability",
    "reserve",
    "when_unwritable",
    "when_full",
    "charged_status",
    "override_key",
    "new_keys",
];
const CONCURRENCY_FIELDS: &[&str] = &["queue", "wait", "max_keys"];

/// Reads `[attributes]`: which texts are addresses, and by which prefix they count.
pub(super) fn read_attributes(spot: &Spot<'_>, attributes: &mut Attributes, faults: &mut Faults) {
    for (name, spot) in spot.entries(ATTRIBUTES_MAX, faults) {
        let place = &spot.place;
        attributes.here = place.clone();
        let named = parse_one(name, attributes).map_err(|wrong| fix(wrong.problem, NAME_ADVICE));
        let Some(index) = faults.take(place, named) else {
            continue;
        };
        let like = Like::Form("address");
        let Some(text) = spot.text(NAME_BYTES_MAX, like, faults) else {
            continue;
        };
        let Some(kind) = faults.take(place, attribute_kind(text)) else {
            continue;
        };
        let Some(spec) = attributes.specs.get_mut(index.0) else {
            continue;
        };
        if spec.source != Source::Request {
            let problem = format!("{name} is not something that a request brings");
            faults.push(place, fix(problem, "leave it out: its kind is known"));
        }
        spec.is_declared = true;
        spec.is_address = kind.is_some();
        if let Some(Some(prefix)) = kind {
            spec.ipv6_prefix = prefix;
        }
    }
}

/// Nothing for a text; for an address, its prefix if it says one.
fn attribute_kind(text: &str) -> Result<Option<Option<u8>>, Fix> {
    if text == "text" {
        return Ok(None);
    }
    let prefix = match text.strip_prefix("address") {
        Some("") => Some(None),
        Some(rest) => rest
            .strip_prefix('/')
            .and_then(|bits| bits.parse().ok())
            .filter(|bits| (1..=128).contains(bits))
            .map(Some),
        None => None,
    };
    prefix.map(Some).ok_or_else(|| {
        let problem = format!("{} is no kind of attribute", quoted(text));
        fix(problem, "write \"text\", \"address\" or \"address/56\"")
    })
}

/// A zone's name, if the database knows it.
pub(super) fn read_zone(spot: &Spot<'_>, faults: &mut Faults) -> Option<String> {
    let name = spot.text(NAME_BYTES_MAX, Like::Form("Europe/Berlin"), faults)?;
    faults.take(&spot.place, check_zone(name))?;
    Some(name.to_owned())
}

/// Reads `[limits]`.
pub(super) fn read_limits(
    spot: &Spot<'_>,
    zone: &str,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> LimitTexts {
    let mut limits = LimitTexts::default();
    for (name, spot) in spot.entries(LIMITS_MAX, faults) {
        check_name(name, &spot.place, faults);
        let fields = spot.fields(LIMIT_FIELDS, faults);
        match fields.get("max_concurrent") {
            Some(most) => {
                refuse_fields(
                    &fields,
                    &["rate"],
                    "write a limit of its own for it",
                    faults,
                );
                let advice = "leave it out, or write rate = \"100/min\" in place of max_concurrent";
                refuse_fields(&fields, RATE_FIELDS, advice, faults);
                let read = concurrency::read(name, &fields, most, attributes, faults);
                limits.concurrency.push(read);
            }
            None => {
                let advice = "leave it out, or write max_concurrent = 10 in place of the rate";
                refuse_fields(&fields, CONCURRENCY_FIELDS, advice, faults);
                let read = read_limit(name, &fields, zone, attributes, faults);
                limits.rates.push(read);
            }
        }
    }
    check_renaming(&limits, faults);
    limits
}

/// A limit takes over the counts of one that is no longer there, and no two of the same.
fn check_renaming(limits: &LimitTexts, faults: &mut Faults) {
    let rates = limits.rates.iter().map(|limit| &limit.common);
    let all: Vec<_> = rates
        .chain(limits.concurrency.iter().map(|limit| &limit.common))
        .collect();
    let mut taken: Vec<&str> = Vec::new();
    for limit in &all {
        let Some((former, place)) = &limit.renamed_from else {
            continue;
        };
        let problem = if all.iter().any(|other| other.name == *former) {
            format!("there is a limit {} still", quoted(former))
        } else if taken.contains(&former.as_str()) {
            format!("another limit was renamed from {} already", quoted(former))
        } else {
            taken.push(former);
            continue;
        };
        let advice = "name the limit that this one was before, or leave it out";
        faults.push(place, fix(problem, advice));
    }
}

/// Fields that the other kind of limit has.
fn refuse_fields(fields: &Fields<'_>, names: &[&str], advice: &str, faults: &mut Faults) {
    for (name, spot) in names
        .iter()
        .filter_map(|name| Some((name, fields.get(name)?)))
    {
        let problem = match fields.get("max_concurrent") {
            Some(_) => format!("{name} means nothing beside max_concurrent"),
            None => format!("{name} means nothing to a rate"),
        };
        faults.push(&spot.place, fix(problem, advice));
    }
}

fn read_limit(
    name: &str,
    fields: &Fields<'_>,
    zone: &str,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> LimitText {
    let said = read_algorithm(fields, faults);
    let algorithm = said.unwrap_or(Algorithm::TokenBucket);
    let example = example(algorithm);
    let rate = fields
        .require("rate", &format!("rate = \"{example}\""), faults)
        .map(|rate| read_rate(rate, example, faults));
    let common = read_common(name, fields, attributes, faults);
    // If the algorithm is a fault, it may have been meant as a calendar.
    let has_calendar =
        algorithm == Algorithm::Calendar || said.is_none() && fields.get("algorithm").is_some();
    let (own_zone, week_from_sunday) = read_calendar(fields, has_calendar, faults);
    LimitText {
        place: fields.place.clone(),
        rate,
        algorithm,
        zone: own_zone.unwrap_or_else(|| zone.to_owned()),
        week_from_sunday,
        durability: read_durability(fields, faults),
        strict: read_strict(fields, faults),
        when_full: read_when_full(fields, faults),
        override_key: fields
            .get("override_key")
            .and_then(|spot| read_key(spot, attributes, faults)),
        charged: fields
            .get("charged_status")
            .map(|spot| Statuses::read(spot, faults)),
        new_keys: new_keys::read(&common, fields, attributes, faults),
        common,
    }
}

/// A rate that a limit with this algorithm can have.
fn example(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Calendar => "1000/day",
        _ => "100/min",
    }
}

fn read_algorithm(fields: &Fields<'_>, faults: &mut Faults) -> Option<Algorithm> {
    let options = [
        ("token bucket", Algorithm::TokenBucket),
        ("fixed window", Algorithm::FixedWindow),
        ("fixed window from first hit", Algorithm::FirstHit),
        ("sliding window", Algorithm::SlidingWindow),
        ("calendar", Algorithm::Calendar),
    ];
    choice(fields, "algorithm", &options, faults)
}

fn choice<T: Copy>(
    fields: &Fields<'_>,
    name: &str,
    options: &[(&'static str, T)],
    faults: &mut Faults,
) -> Option<T> {
    fields.get(name)?.choice(options, faults)
}

fn read_durability(fields: &Fields<'_>, faults: &mut Faults) -> Option<Durability> {
    let options = [
        ("memory", Durability::Memory),
        ("logged", Durability::Logged),
        ("strict", Durability::Strict),
    ];
    choice(fields, "durability", &options, faults)
}

/// What a strict limit says beside; nothing that any other limit may say.
fn read_strict(fields: &Fields<'_>, faults: &mut Faults) -> Strict {
    // What is no durability at all may have been meant as strict.
    let may_be_strict = |spot: &Spot<'_>| match spot.value {
        Value::Text(text) => !matches!(text.as_str(), "memory" | "logged"),
        _ => true,
    };
    for name in ["reserve", "when_unwritable"] {
        if let Some(spot) = fields.get(name)
            && !fields.get("durability").is_some_and(may_be_strict)
        {
            let problem = format!("{name} means nothing to a limit that is not strict");
            let advice = "add durability = \"strict\", or leave it out";
            faults.push(&spot.place, fix(problem, advice));
        }
    }
    let options = [
        ("refuse", WhenUnwritable::Refuse),
        ("admit", WhenUnwritable::Admit),
    ];
    let when_unwritable = choice(fields, "when_unwritable", &options, faults);
    Strict {
        reserve: fields
            .get("reserve")
            .and_then(|spot| spot.whole(1..=u64::MAX, faults)),
        when_unwritable: when_unwritable.unwrap_or(WhenUnwritable::Refuse),
    }
}

fn read_when_full(fields: &Fields<'_>, faults: &mut Faults) -> WhenFull {
    let options = [
        ("share", WhenFull::Share),
        ("refuse", WhenFull::Refuse),
        ("admit", WhenFull::Admit),
    ];
    choice(fields, "when_full", &options, faults).unwrap_or(WhenFull::Share)
}

/// The time zone and whether weeks start on Sunday; both only mean something for a calendar.
fn read_calendar(
    fields: &Fields<'_>,
    has_calendar: bool,
    faults: &mut Faults,
) -> (Option<String>, bool) {
    for name in ["time_zone", "week_starts"] {
        if let Some(spot) = fields.get(name)
            && !has_calendar
        {
            let problem = format!("{name} means nothing to this algorithm");
            let advice = "add algorithm = \"calendar\", or leave it out";
            faults.push(&spot.place, fix(problem, advice));
        }
    }
    let zone = fields
        .get("time_zone")
        .and_then(|zone| read_zone(zone, faults));
    let days = [("monday", false), ("sunday", true)];
    let sunday = choice(fields, "week_starts", &days, faults).unwrap_or(false);
    (zone, sunday)
}
