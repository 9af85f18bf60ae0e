//! What a caller may ask the limits of: `[ask]`, the endpoints and what else counters differ by.

use super::bounds::{ASK_MAX, CRITERION_VALUES_MAX, NAME_BYTES_MAX, PHRASE_BYTES_MAX, ROUTES_MAX};
use super::bounds::{REQUEST_ATTRIBUTES_MAX, VALUE_BYTES_MAX};
use super::fault::{Faults, Fix, fix, quoted};
use super::intake::is_referred_to;
use super::key::Attributes;
use super::template::check_method;
use super::tree::{Like, Spot, check_name};

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AskSpec {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Attributes, and the values that are asked about.
    pub(crate) by: Vec<(Box<str>, Vec<Box<str>>)>,
}

/// A request that stands for an endpoint: it meets the endpoint's limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: Box<str>,
    pub(crate) method: Box<str>,
    pub(crate) path: Box<str>,
}

/// Reads `[ask]`.
pub(super) fn read(spot: &Spot<'_>, attributes: &Attributes, faults: &mut Faults) -> AskSpec {
    let fields = spot.fields(&["endpoints", "by"], faults);
    let mut ask = AskSpec::default();
    let example = "endpoints = { Connect = \"GET /connect\" }";
    if let Some(spot) = fields.require("endpoints", example, faults) {
        for (name, spot) in spot.entries(ROUTES_MAX, faults) {
            check_name(name, &spot.place, faults);
            let read = |text: &str| endpoint(name, text);
            let read = spot.parsed(PHRASE_BYTES_MAX, "GET /connect", read, faults);
            ask.endpoints.extend(read);
        }
    }
    if let Some(spot) = fields.get("by") {
        for (name, spot) in spot.entries(REQUEST_ATTRIBUTES_MAX, faults) {
            is_referred_to(name, attributes, &spot.place, faults);
            let mut values = Vec::new();
            for item in spot.items_or_one(CRITERION_VALUES_MAX, faults) {
                let text = item.text(VALUE_BYTES_MAX.min(NAME_BYTES_MAX), Like::Any, faults);
                values.extend(text.map(Box::from));
            }
            ask.by.push((name.into(), values));
        }
    }
    let counts = ask.by.iter().map(|(_, values)| values.len());
    let answers = counts.fold(ask.endpoints.len(), usize::saturating_mul);
    if answers > ASK_MAX {
        let problem = format!("{answers} answers to one question are too many");
        let advice = format!("at most {ASK_MAX}: endpoints times values");
        faults.push(&spot.place, fix(problem, advice));
    }
    ask
}

fn endpoint(name: &str, text: &str) -> Result<Endpoint, Fix> {
    let words: Vec<_> = text.split_whitespace().collect();
    match words.as_slice() {
        [method, path]
            if method.bytes().all(|byte| byte.is_ascii_uppercase()) && path.starts_with('/') =>
        {
            check_method(method)?;
            Ok(Endpoint {
                name: name.into(),
                method: (*method).into(),
                path: (*path).into(),
            })
        }
        _ => Err(fix(
            format!("{} is no request", quoted(text)),
            "write a method and a path that the endpoint's route matches",
        )),
    }
}
