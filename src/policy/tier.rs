//! Tiers: classes of callers, told by what their requests bring.

use super::address;
use super::amounts::{MostText, RateText, read_most, read_rate};
use super::bounds::{CRITERION_VALUES_MAX, LIMITS_MAX, TIERS_MAX, VALUE_BYTES_MAX};
use super::fault::{Faults, Fix, Place, fix, quoted};
use super::key::{Attributes, NAME_ADVICE, parse_one};
use super::terms::{AttributeIndex, KeyValue};
use super::tree::{Like, Spot, Value, check_name};

/// A tier. The first whose criteria all hold is a request's tier.
#[derive(Debug)]
pub(crate) struct TierSpec {
    pub(crate) name: Box<str>,
    pub(super) when: Vec<Criterion>,
}

/// What must be true of one attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Criterion {
    pub(super) attribute: AttributeIndex,
    test: Test,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Test {
    Present,
    Absent,
    /// One of these.
    Any(Vec<Pattern>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Pattern {
    /// A text, and the address it writes if it writes one.
    Exact(Box<str>, Option<KeyValue<'static>>),
    Prefix(Box<str>),
}

impl Criterion {
    pub(super) fn holds(&self, value: Option<KeyValue<'_>>) -> bool {
        match (&self.test, value) {
            (Test::Present, value) => value.is_some(),
            (Test::Absent, value) => value.is_none(),
            (Test::Any(_), None) => false,
            (Test::Any(patterns), Some(value)) => {
                patterns.iter().any(|pattern| pattern.matches(value))
            }
        }
    }
}

impl Pattern {
    fn parse(text: &str, ipv6_prefix: u8) -> Result<Self, Fix> {
        if text.is_empty() {
            return Err(fix(
                "an empty value never matches",
                "write false for an attribute that must be absent",
            ));
        }
        let (start, is_prefix) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        if start.contains('*') {
            let problem = format!("{} has a * that is not at its end", quoted(text));
            return Err(fix(
                problem,
                "write a whole value, or a beginning and one *",
            ));
        }
        Ok(match is_prefix {
            true => Self::Prefix(start.into()),
            false => Self::Exact(
                start.into(),
                address::parse(start.as_bytes()).map(|ip| address::value(ip, ipv6_prefix)),
            ),
        })
    }

    fn matches(&self, value: KeyValue<'_>) -> bool {
        match (self, value) {
            (Self::Exact(text, _), KeyValue::Text(value)) => text.as_bytes() == value,
            (Self::Prefix(text), KeyValue::Text(value)) => value.starts_with(text.as_bytes()),
            (Self::Exact(_, address), value) => *address == Some(value),
            // Any address begins with nothing at all.
            (Self::Prefix(text), KeyValue::V4(_) | KeyValue::V6(_)) => text.is_empty(),
        }
    }
}

/// A tier as read, its limits not yet looked up.
pub(super) struct TierText {
    pub(super) spec: TierSpec,
    pub(super) rates: Vec<(String, RateText)>,
    /// How many run at a time.
    pub(super) most: Vec<(String, MostText)>,
}

/// Reads `[tiers]`; `example` tells a rate that the limit of a name could have.
pub(super) fn read(
    spot: &Spot<'_>,
    example: &dyn Fn(&str) -> String,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> Vec<TierText> {
    let mut tiers = Vec::new();
    for (name, spot) in spot.entries(TIERS_MAX, faults) {
        check_name(name, &spot.place, faults);
        let fields = spot.fields(&["when", "rates", "max_concurrent"], faults);
        let when = fields
            .require("when", "when = { api_key = \"pk_*\" }", faults)
            .map(|when| read_when(when, attributes, faults))
            .unwrap_or_default();
        let rates = fields.get("rates").map(|rates| {
            let entries = rates.entries(LIMITS_MAX, faults).into_iter();
            entries
                .map(|(limit, rate)| {
                    let example = example(limit);
                    (limit.to_owned(), read_rate(&rate, &example, faults))
                })
                .collect()
        });
        let most = fields.get("max_concurrent").map(|most| {
            let entries = most.entries(LIMITS_MAX, faults).into_iter();
            entries
                .map(|(limit, most)| (limit.to_owned(), read_most(&most, faults)))
                .collect()
        });
        tiers.push(TierText {
            spec: TierSpec {
                name: name.into(),
                when,
            },
            rates: rates.unwrap_or_default(),
            most: most.unwrap_or_default(),
        });
    }
    tiers
}

fn read_when(spot: &Spot<'_>, attributes: &mut Attributes, faults: &mut Faults) -> Vec<Criterion> {
    let mut when = Vec::new();
    let entries = spot.entries(CRITERION_VALUES_MAX, faults);
    if entries.is_empty() && matches!(spot.value, Value::Table(_)) {
        let advice = "say what tells the tier, or give its rates to the limits themselves";
        faults.push(
            &spot.place,
            fix("a tier without criteria holds for all", advice),
        );
    }
    for (name, spot) in entries {
        attributes.here = spot.place.clone();
        let index = parse_one(name, attributes).map_err(|wrong| fix(wrong.problem, NAME_ADVICE));
        let Some(attribute) = faults.take(&spot.place, index) else {
            continue;
        };
        let ipv6_prefix = attributes.ipv6_prefix_of(attribute);
        if let Some(test) = read_test(&spot, ipv6_prefix, faults) {
            when.push(Criterion { attribute, test });
        }
    }
    when
}

fn read_test(spot: &Spot<'_>, ipv6_prefix: u8, faults: &mut Faults) -> Option<Test> {
    match spot.value {
        Value::Flag(true) => return Some(Test::Present),
        Value::Flag(false) => return Some(Test::Absent),
        _ => {}
    }
    let mut patterns = Vec::new();
    for item in spot.items_or_one(CRITERION_VALUES_MAX, faults) {
        let text = item.text(VALUE_BYTES_MAX, Like::Any, faults)?;
        patterns.push(faults.take(&item.place, Pattern::parse(text, ipv6_prefix))?);
    }
    if patterns.is_empty() {
        let place: &Place = &spot.place;
        faults.push(
            place,
            fix("no value is listed", "list at least one, or write true"),
        );
    }
    Some(Test::Any(patterns))
}
