//! From what was read to the plan: every name looked up, every reference checked.

use std::collections::HashMap;
use std::mem;

use super::common::Common;
use super::concurrency;
use super::fault::{Faults, fix, nearest, quoted};
use super::key::{KeySpec, intern};
use super::limit::LimitText;
use super::names::{Names, wrong_kind};
use super::new_keys::NewKeysText;
use super::overrides::{self, Pending};
use super::plan::{LimitSpec, Plan};
use super::rates::{LimitKeys, Sources};
use super::scope;
use super::shape::{Algorithm, Calendars};
use super::terms::{
    Cost, Durability, LimitIndex, Strict, WhenFull, WhenKeyMissing, WhenUnwritable,
};
use super::texts::PolicyText;

/// The plan. Where there are faults it may lack something; it is then thrown away.
pub(super) fn compile(mut text: PolicyText, faults: &mut Faults) -> Plan {
    let response = mem::take(&mut text.http.response);
    let limit_names = Names::new("limit", text.limits.names());
    let response = response.compile(&limit_names, faults);
    check_tiers(&text, &limit_names, faults);
    let pending = overrides::look_up(
        &text.overrides,
        &limit_names,
        text.limits.rates.len(),
        faults,
    );
    let mut keys = Vec::new();
    let mut calendars = Calendars::default();
    let mut limits = compile_limits(&text, &pending, &mut keys, &mut calendars, faults);
    let concurrency = concurrency::compile(&text.limits.concurrency, &text.tiers, &mut keys);
    let new_keys = compile_new_keys(&text, &mut limits, &mut keys, &mut calendars, faults);
    let scopes = scope::compile(&text, &limit_names, &limits, &concurrency, faults);
    let targets = overrides::Targets {
        limits: &limits,
        concurrency: &concurrency,
        keys: &keys,
    };
    let overrides = overrides::compile(&text, pending, &targets, faults);
    // After the overrides: a key that captures what no route does is sound to them.
    check_captures(&text, faults);
    // Last of all: no route leads to these, and nothing can refer to them.
    let counts_new_keys = !new_keys.is_empty();
    limits.extend(new_keys);
    let idempotency = text.idempotency.as_ref().map(|limit| {
        let key = limit_keys(&mut keys, limit);
        let sources = Sources {
            limits: &[],
            tiers: &text.tiers,
        };
        limits.push(sources.limit(limit, &[], key, &mut calendars, faults));
        LimitIndex(limits.len() - 1)
    });
    Plan {
        // A limit that is missing here is a fault, and the plan is not used.
        limits: limits.into_iter().flatten().collect(),
        counts_new_keys,
        concurrency,
        idempotency,
        keys,
        attributes: text.attributes.specs,
        tiers: text.tiers.into_iter().map(|tier| tier.spec).collect(),
        calendars: calendars.list,
        overrides,
        routes: scopes.routes,
        router: scopes.router,
        scopes: scopes.scopes,
        everywhere: scopes.everywhere,
        warnings: scopes.warnings,
        default: scopes.default,
        intake: text.http.intake,
        ask: text.http.ask,
        response,
    }
}

fn check_tiers(text: &PolicyText, names: &Names<'_>, faults: &mut Faults) {
    let rates = text.limits.rates.len();
    for tier in &text.tiers {
        for (limit, rate) in &tier.rates {
            let found = names.find_at(limit, &rate.place, faults);
            if found.is_some_and(|index| index >= rates) {
                wrong_kind(limit, &rate.place, "max_concurrent = { NAME = 8 }", faults);
            }
        }
        for (limit, most) in &tier.most {
            let found = names.find_at(limit, &most.place, faults);
            if found.is_some_and(|index| index < rates) {
                wrong_kind(limit, &most.place, "rates = { NAME = \"9/min\" }", faults);
            }
        }
    }
}

fn compile_limits(
    text: &PolicyText,
    pending: &[Pending],
    keys: &mut Vec<KeySpec>,
    calendars: &mut Calendars,
    faults: &mut Faults,
) -> Vec<Option<LimitSpec>> {
    let sources = Sources {
        limits: &text.limits.rates,
        tiers: &text.tiers,
    };
    let mut limits = Vec::new();
    for (index, limit) in text.limits.rates.iter().enumerate() {
        let others: Vec<_> = pending
            .iter()
            .filter_map(|pending| pending.allowance_of(LimitIndex(index)))
            .collect();
        let key = limit_keys(keys, limit);
        limits.push(sources.limit(limit, &others, key, calendars, faults));
    }
    limits
}

/// The limits on new keys, and to each limit that has one its place behind all others.
fn compile_new_keys(
    text: &PolicyText,
    limits: &mut [Option<LimitSpec>],
    keys: &mut Vec<KeySpec>,
    calendars: &mut Calendars,
    faults: &mut Faults,
) -> Vec<Option<LimitSpec>> {
    let first = limits.len();
    let having = text.limits.rates.iter().zip(limits);
    let having = having.filter_map(|(of, spec)| Some((of, of.new_keys.as_ref()?, spec)));
    let mut made = Vec::new();
    for (of, new_keys, spec) in having {
        if let Some(spec) = spec {
            spec.new_keys = Some(LimitIndex(first + made.len()));
        }
        let limit = limit_on_new_keys(of, new_keys);
        let sources = Sources {
            limits: &[],
            tiers: &text.tiers,
        };
        let key = limit_keys(keys, &limit);
        let own = sources.limit(&limit, &[], key, calendars, faults);
        made.push(own.map(|spec| LimitSpec {
            is_for_new_keys: true,
            ..spec
        }));
    }
    made
}

/// The limit on new keys of another limit.
fn limit_on_new_keys(of: &LimitText, new_keys: &NewKeysText) -> LimitText {
    let NewKeysText { rate, key } = new_keys;
    LimitText {
        place: rate.place.clone(),
        rate: Some(rate.clone()),
        algorithm: Algorithm::TokenBucket,
        zone: "UTC".to_owned(),
        week_from_sunday: false,
        // What is lost with the power is a minute or so of inventing keys.
        durability: Some(Durability::Memory),
        strict: Strict {
            reserve: None,
            when_unwritable: WhenUnwritable::Refuse,
        },
        when_full: WhenFull::Share,
        charged: None,
        override_key: None,
        new_keys: None,
        common: Common {
            // No limit of a policy can have this name.
            name: format!("{} (new keys)", of.common.name),
            key: key.clone(),
            cost: Cost::Fixed(1),
            max_cost: None,
            // Who has no address brings its keys together with all others who have none.
            when_key_missing: WhenKeyMissing::Share,
            shadow: of.common.shadow,
            renamed_from: of.common.renamed_from.as_ref().map(|(former, place)| {
                let former = format!("{former} (new keys)");
                (former, place.clone())
            }),
            everywhere: false,
        },
    }
}

fn limit_keys(keys: &mut Vec<KeySpec>, limit: &LimitText) -> LimitKeys {
    let own = intern(keys, &limit.common.key);
    let others = limit.override_key.as_ref().map(|key| intern(keys, key));
    LimitKeys {
        own,
        overrides: others.unwrap_or(own),
    }
}

/// Captures that no route captures, and names that were probably meant as captures.
fn check_captures(text: &PolicyText, faults: &mut Faults) {
    let captured: HashMap<&str, &str> = text
        .routes
        .iter()
        .flat_map(|entry| {
            let template = &entry.route.template;
            let names = template.captures.iter();
            names.map(|name| (name.as_str(), template.text.as_str()))
        })
        .collect();
    let attributes = text.attributes.specs.iter().zip(&text.attributes.places);
    for (spec, place) in attributes {
        let braced = spec
            .name
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        match braced {
            Some(name) if !captured.contains_key(name) => {
                let advice = match nearest(name, captured.keys().copied()) {
                    Some(near) if !near.is_empty() => format!("did you mean {{{near}}}?"),
                    _ => "capture it in a route's template".to_owned(),
                };
                let problem = format!("no route captures {}", spec.name);
                // A key that is a fault may have named it on the way to that.
                if !text.has_unread_routes {
                    faults.push_unless(&[&place.path], place, fix(problem, advice));
                }
            }
            None if !spec.is_declared => {
                if let Some(template) = captured.get(&*spec.name) {
                    let name = &spec.name;
                    let problem = format!("{name} is captured by {}", quoted(template));
                    let advice = format!(
                        "write {{{name}}} for the capture, or declare the attribute: \
                         [attributes] {name} = \"text\""
                    );
                    faults.push(place, fix(problem, advice));
                }
            }
            _ => {}
        }
    }
}
