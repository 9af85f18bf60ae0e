//! Overrides: a rate of its own for one key of a limit.

use std::collections::HashSet;

use super::concurrency::ConcurrencySpec;
use super::fault::{Faults, Fix, Place, fix, quoted};
use super::key::{Attributes, KeySpec, Sequence};
use super::names::{Names, wrong_kind};
use super::plan::{LimitSpec, Overridden, OverrideSpec};
use super::rates::{Allowance, plain};
use super::route::{OverrideKey, OverrideText, OverrideValue};
use super::terms::{AttributeIndex, ConcurrencyIndex, KeyIndex, LimitIndex};
use super::texts::PolicyText;

/// An override whose limit is known.
pub(super) struct Pending {
    /// Which of the overrides it is.
    index: usize,
    value: PendingValue,
}

enum PendingValue {
    Rate(LimitIndex, Allowance),
    Most(ConcurrencyIndex, u32),
}

impl Pending {
    /// What it allows, if it is one of this limit.
    pub(super) fn allowance_of(&self, limit: LimitIndex) -> Option<Allowance> {
        match self.value {
            PendingValue::Rate(of, allowance) if of == limit => Some(allowance),
            _ => None,
        }
    }
}

/// What overrides can be of.
pub(super) struct Targets<'t> {
    pub(super) limits: &'t [Option<LimitSpec>],
    pub(super) concurrency: &'t [ConcurrencySpec],
    pub(super) keys: &'t [KeySpec],
}

/// Looks up the limits of the overrides.
pub(super) fn look_up(
    texts: &[OverrideText],
    limit_names: &Names<'_>,
    rates: usize,
    faults: &mut Faults,
) -> Vec<Pending> {
    let mut pending = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let limit = limit_names.find(&text.limit, faults);
        if let Some(value) = limit.and_then(|limit| look_up_value(text, limit, rates, faults)) {
            pending.push(Pending { index, value });
        }
    }
    pending
}

/// The value, if limit number `limit` is of its kind; rate limits are the first `rates`.
fn look_up_value(
    text: &OverrideText,
    limit: usize,
    rates: usize,
    faults: &mut Faults,
) -> Option<PendingValue> {
    let place = text.value.place();
    match (&text.value, limit.checked_sub(rates)) {
        (OverrideValue::Rate(rate), None) => {
            let allowance = faults.take(place, plain(rate.rate.as_ref()?))?;
            Some(PendingValue::Rate(LimitIndex(limit), allowance))
        }
        (OverrideValue::Most(text), Some(index)) => {
            Some(PendingValue::Most(ConcurrencyIndex(index), text.most?))
        }
        (OverrideValue::Rate(_), Some(_)) => {
            wrong_kind(&text.limit.text, place, "max_concurrent = 8", faults);
            None
        }
        (OverrideValue::Most(_), None) => {
            wrong_kind(&text.limit.text, place, "rate = \"500/min\"", faults);
            None
        }
    }
}

impl Targets<'_> {
    /// The limit's name and key; nothing if it is a fault already.
    fn key_of(&self, value: &PendingValue) -> Option<(&str, KeyIndex)> {
        match value {
            PendingValue::Rate(limit, _) => {
                let limit = self.limits.get(limit.0)?.as_ref()?;
                Some((&limit.name, limit.override_key))
            }
            PendingValue::Most(limit, _) => {
                let limit = self.concurrency.get(limit.0)?;
                Some((&limit.name, limit.key))
            }
        }
    }

    fn ready(&self, value: &PendingValue) -> Result<Option<Overridden>, Fix> {
        Ok(match value {
            PendingValue::Rate(index, allowance) => match self.limits.get(index.0) {
                Some(Some(limit)) => Some(Overridden::Rate(*index, allowance.rate(&limit.shape)?)),
                _ => None,
            },
            PendingValue::Most(index, most) => Some(Overridden::Concurrency(*index, *most)),
        })
    }
}

/// The overrides, with their keys checked against their limits'.
pub(super) fn compile(
    text: &PolicyText,
    pending: Vec<Pending>,
    targets: &Targets<'_>,
    faults: &mut Faults,
) -> Vec<OverrideSpec> {
    let mut seen = HashSet::new();
    let mut overrides = Vec::new();
    for pending in pending {
        let Some(entry) = text.overrides.get(pending.index) else {
            continue;
        };
        let Some((name, index)) = targets.key_of(&pending.value) else {
            continue;
        };
        let Some(key) = targets.keys.get(index.0) else {
            continue;
        };
        let values = match values(&entry.key, key, &text.attributes) {
            Ok(values) => Some(values),
            Err(fix) => {
                let limit = Place::limit(name);
                let own = ["key", "override_key"].map(|key| limit.inside(key, None).path);
                let causes = [&*own[0], &*own[1], &*entry.key_place.path];
                if !faults.is_at(&limit.path) {
                    faults.push_unless(&causes, &entry.key_place, fix);
                }
                None
            }
        };
        let of = faults.take(entry.value.place(), targets.ready(&pending.value));
        let (Some(values), Some(Some(of))) = (values, of) else {
            continue;
        };
        let made = OverrideSpec {
            of,
            key: index,
            values,
        };
        let parts = format!("{:?}", made.parts_of(key, &text.attributes.specs));
        if !seen.insert((name.to_owned(), parts)) {
            let problem = format!("this key of {name} has an override already");
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
