//! Overrides: a rate of its own for one key of a limit.

use std::collections::HashSet;

use super::fault::{Faults, Fix, fix, quoted};
use super::key::{Attributes, KeySpec, Sequence};
use super::names::{Names, PolicyText};
use super::plan::{LimitSpec, OverrideSpec};
use super::rates::{Allowance, plain};
use super::route::{OverrideKey, OverrideText};
use super::terms::{AttributeIndex, LimitIndex};

/// An override whose limit is known.
pub(super) struct Pending {
    /// Which of the overrides it is.
    index: usize,
    pub(super) limit: LimitIndex,
    pub(super) allowance: Allowance,
}

/// Looks up the limits of the overrides.
pub(super) fn look_up(
    texts: &[OverrideText],
    limit_names: &Names<'_>,
    faults: &mut Faults,
) -> Vec<Pending> {
    let mut pending = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let limit = limit_names.find(&text.limit, faults);
        let allowance = text
            .rate
            .rate
            .as_ref()
            .and_then(|rate| faults.take(&text.rate.place, plain(rate)));
        if let (Some(limit), Some(allowance)) = (limit, allowance) {
            pending.push(Pending {
                index,
                limit: LimitIndex(limit),
                allowance,
            });
        }
    }
    pending
}

/// The overrides, with their keys checked against their limits'.
pub(super) fn compile(
    text: &PolicyText,
    pending: Vec<Pending>,
    limits: &[Option<LimitSpec>],
    keys: &[KeySpec],
    faults: &mut Faults,
) -> Vec<OverrideSpec> {
    let mut seen = HashSet::new();
    let mut overrides = Vec::new();
    for pending in pending {
        let Some(entry) = text.overrides.get(pending.index) else {
            continue;
        };
        let Some(Some(limit)) = limits.get(pending.limit.0) else {
            continue;
        };
        let Some(key) = keys.get(limit.key.0) else {
            continue;
        };
        let values = values(&entry.key, key, &text.attributes);
        let rate = pending.allowance.rate(&limit.shape);
        let values = faults.take(&entry.key_place, values);
        let rate = faults.take(&entry.rate.place, rate);
        let (Some(values), Some(rate)) = (values, rate) else {
            continue;
        };
        let made = OverrideSpec {
            limit: pending.limit,
            key: limit.key,
            values,
            rate,
        };
        let parts = format!("{:?}", made.parts_of(key, &text.attributes.specs));
        if !seen.insert((pending.limit, parts)) {
            let problem = format!("this key of {} has an override already", limit.name);
            faults.push(&entry.place, fix(problem, "keep one of them"));
        }
        overrides.push(made);
    }
    overrides
}

/// The values by attribute, if the limit's key can have them.
fn values(
    text: &OverrideKey,
    key: &KeySpec,
    attributes: &Attributes,
) -> Result<Vec<(AttributeIndex, Box<str>)>, Fix> {
    if key.is_global() {
        let advice = "change the limit's own rate, or give it a key";
        return Err(fix("the limit has one counter for all", advice));
    }
    let mut words = String::new();
    key.write(&attributes.specs, false, &mut words);
    let example = format!("the limit's key is \"{words}\"");
    let values: Vec<(AttributeIndex, Box<str>)> = match text {
        OverrideKey::Named(named) => {
            let mut values = Vec::new();
            for (name, value) in named {
                let spec = attributes
                    .specs
                    .iter()
                    .position(|spec| *spec.name == **name);
                let Some(index) = spec else {
                    let problem = format!("{} is no part of the key", quoted(name));
                    return Err(fix(problem, example));
                };
                values.push((AttributeIndex(index), value.as_str().into()));
            }
            values
        }
        OverrideKey::Values(list) => {
            let mut sequence = Sequence::new();
            if !key.sequence(&mut sequence) {
                let advice = format!("{example}: write key = {{ NAME = \"...\" }}");
                return Err(fix("it is not said which attribute this is", advice));
            }
            if list.len() > sequence.len() {
                return Err(fix("there are more values than the key has parts", example));
            }
            let texts = list.iter().map(|value| value.as_str().into());
            sequence.into_iter().zip(texts).collect()
        }
    };
    let borrowed: Vec<_> = values
        .iter()
        .map(|(index, text)| (*index, &**text))
        .collect();
    let parts = key.parts_of(&attributes.specs, &borrowed);
    if parts.is_none_or(|parts| parts.is_empty()) {
        return Err(fix("no request has such a key", example));
    }
    Ok(values)
}
