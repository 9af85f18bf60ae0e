//! Over every field of the language: one faulty value is one fault, and what it says to write is
//! accepted in the place of the faulty value.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tollgate::{Policy, PolicyFault, PolicyFaults};

/// Sound policies that say every field of the language between them.
fn sound() -> Vec<Value> {
    let texts = [
        include_str!("sound/every_field.toml"),
        include_str!("sound/few_limits.toml"),
        include_str!("sound/exempt.toml"),
    ];
    let value = |text: &str| serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    texts.into_iter().map(value).collect()
}

fn judge(policy: &Value) -> Result<Policy, PolicyFaults> {
    Policy::from_json(&policy.to_string())
}

/// A way from the root to a value: names, and places in lists.
type Way = Vec<Result<String, usize>>;

fn ways(value: &Value, here: &Way, out: &mut Vec<Way>) {
    let mut go = |step, value: &Value| {
        let mut way = here.clone();
        way.push(step);
        out.push(way.clone());
        ways(value, &way, out);
    };
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                go(Ok(name.clone()), value);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                go(Err(index), value);
            }
        }
        _ => {}
    }
}

fn at<'v>(policy: &'v mut Value, way: &[Result<String, usize>]) -> Option<&'v mut Value> {
    way.iter().try_fold(policy, |value, step| match step {
        Ok(name) => value.get_mut(name),
        Err(index) => value.get_mut(*index),
    })
}

/// The way that a fault's path writes.
fn way_of(path: &str) -> Way {
    let mut way = Way::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(quoted) = rest.strip_prefix('"') {
            let (name, after) = quoted.split_once('"').unwrap();
            way.push(Ok(name.to_owned()));
            rest = after;
        } else if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']').unwrap();
            way.push(Err(index.parse().unwrap()));
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            way.push(Ok(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    way
}

/// What an advice says to write in the place of `value`; true if that must be accepted, false if it
/// only mends the first of several faults.
fn suggestions(problem: &str, advice: &str, value: &Value) -> Vec<(Value, bool)> {
    let mut found = Vec::new();
    let literal =
        |text: &str| Some(serde_json::to_value(text.parse::<toml::Value>().ok()?).unwrap());
    // As in `write it like "100/min" or "5/s"`; what has an equals sign is for another field.
    if advice.starts_with("write ") && !advice.contains(" = ") && !advice.contains('[') {
        let texts = advice.split('"').skip(1).step_by(2);
        found.extend(texts.map(|text| (Value::from(text), true)));
    }
    let after_write = advice.strip_prefix("write ").unwrap_or_default();
    let words = [" without quotes", " or false"].map(|end| after_write.strip_suffix(end));
    let list = Some(after_write).filter(|list| list.starts_with("[\""));
    let whole = words
        .into_iter()
        .chain([list])
        .flatten()
        .filter_map(literal);
    found.extend(whole.map(|value| (value, true)));
    if let Some(range) = after_write.strip_prefix("a whole number from ") {
        let ends = range
            .split([' ', ','])
            .filter_map(|word| word.parse::<u64>().ok());
        found.extend(ends.map(|end| (Value::from(end), true)));
    }
    // A word in the place of the one that the problem quotes, or of all.
    let wrong = problem.split('"').nth(1).unwrap_or_default();
    let wrong = problem
        .split(' ')
        .find(|word| word.starts_with('{'))
        .unwrap_or(wrong);
    let replaced = |name: &str| match value.as_str() {
        Some(text) => (Value::from(text.replacen(wrong, name, 1)), false),
        None => (Value::from(name), false),
    };
    if let Some((_, rest)) = advice.split_once("did you mean ") {
        found.push(replaced(rest.split_once('?').unwrap().0));
    }
    if let Some((_, known)) = advice.split_once("known here: ") {
        let known = known.split(';').next().unwrap_or_default().split(", ");
        found.extend(known.map(replaced));
    }
    found
}

/// What people write in the place of `value`.
fn wrong(value: &Value) -> Vec<Value> {
    let mut all = vec![
        json!(10),
        json!(-1),
        json!(10.5),
        json!(true),
        json!("10"),
        json!("true"),
        json!("10 secnd"),
        json!(""),
        json!("qqqqqqqqqq"),
        json!([]),
        json!({}),
        Value::Null,
    ];
    match value {
        Value::String(text) => {
            let letters: Vec<char> = text.chars().collect();
            for at in 1..letters.len() {
                let mut swapped = letters.clone();
                swapped.swap(at - 1, at);
                all.push(Value::from(swapped.iter().collect::<String>()));
                let mut less = letters.clone();
                less.remove(at);
                all.push(Value::from(less.iter().collect::<String>()));
            }
        }
        Value::Array(items) => all.extend(items.first().cloned()),
        Value::Object(_) => all.push(json!([value])),
        _ => all.push(Value::from(value.to_string())),
    }
    all
}

/// Every sound policy with each of its values replaced by each wrong one: the policy, the way to
/// what is wrong, and its faults. What is accepted all the same is left out.
fn each_fault(mut each: impl FnMut(&Value, &Way, PolicyFaults)) {
    for policy in sound() {
        judge(&policy).unwrap_or_else(|faults| panic!("{faults}"));
        let mut all = Vec::new();
        ways(&policy, &Way::new(), &mut all);
        for way in &all {
            let value = at(&mut policy.clone(), way).unwrap().clone();
            for wrong in wrong(&value) {
                let mut faulty = policy.clone();
                *at(&mut faulty, way).unwrap() = wrong;
                if let Err(faults) = judge(&faulty) {
                    each(&faulty, way, faults);
                }
            }
        }
    }
}

/// Rows T1 and T2.
#[test]
fn t1_what_a_fault_advises_is_accepted_in_the_place_of_what_is_wrong() {
    let (mut tried, mut refused) = (0, BTreeSet::new());
    each_fault(|faulty, _, faults| {
        for fault in faults.iter() {
            let way = way_of(fault.path());
            let Some(here) = at(&mut faulty.clone(), &way).cloned() else {
                continue;
            };
            for (value, must_be_accepted) in suggestions(fault.problem(), fault.advice(), &here) {
                let mut mended = faulty.clone();
                *at(&mut mended, &way).unwrap() = value.clone();
                tried += 1;
                let left = judge(&mended).err();
                let mut left = left.iter().flat_map(PolicyFaults::iter);
                let is_left = |other: &PolicyFault| {
                    let is_same = other.problem() == fault.problem();
                    other.path() == fault.path() && (must_be_accepted || is_same)
                };
                if left.any(is_left) {
                    refused.insert(format!("{fault}\n  but {value} is refused, too"));
                }
            }
        }
    });
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(tried > 1_000, "{tried}");
}

/// Row T4: what follows from a fault is not told beside it, for its advice leads away.
#[test]
fn t4_one_faulty_value_is_one_fault() {
    let (mut faulty_values, mut several) = (0, Vec::new());
    each_fault(|faulty, way, faults| {
        faulty_values += 1;
        // An empty table may lack several things.
        let is_empty = at(&mut faulty.clone(), way) == Some(&mut json!({}));
        if faults.count() > 1 && !is_empty {
            several.push(format!("{way:?}: {faults}"));
        }
    });
    assert!(several.is_empty(), "{several:#?}");
    assert!(faulty_values > 1_000, "{faulty_values}");
}

/// Row T5, for its kind: a text that is empty says nothing, so it is a fault wherever it stands,
/// but in a body and a question.
#[test]
fn t5_an_empty_text_is_a_fault() {
    for policy in sound() {
        let mut all = Vec::new();
        ways(&policy, &Way::new(), &mut all);
        for way in &all {
            let mut faulty = policy.clone();
            let value = at(&mut faulty, way).unwrap();
            // A question may be of callers that lack the attribute.
            let may_be_empty = ["body", "by"].map(|name| way.contains(&Ok(name.to_owned())));
            if !value.is_string() || may_be_empty.contains(&true) {
                continue;
            }
            *value = json!("");
            assert!(judge(&faulty).is_err(), "{way:?} may be empty");
        }
    }
}

#[test]
fn t5_a_method_that_was_mistyped_is_a_fault() {
    let with = |route: &str| {
        let text =
            format!("[limits.l]\nrate = '1/s'\n[[routes]]\nroute = '{route}'\nlimits = ['l']");
        Policy::from_toml(&text).map_err(|faults| faults.to_string())
    };
    for (route, meant) in [
        ("GTE /x", "GET"),
        ("GETT /x", "GET"),
        ("GET|PSOT /x", "POST"),
        ("OPTION /x", "OPTIONS"),
        ("DELET /x", "DELETE"),
    ] {
        let faults = with(route).unwrap_err();
        assert!(
            faults.contains(&format!("did you mean {meant}?")),
            "{faults}"
        );
    }
    for route in ["PURGE /x", "PROPFIND /x", "QUERY /x", "LINK /x", "PUT /x"] {
        assert!(with(route).is_ok(), "{route}: {:?}", with(route).err());
    }
    let ask = "[limits.l]\nrate = '1/s'\n[ask]\nendpoints = { X = 'GTE /x' }";
    let faults = Policy::from_toml(ask).unwrap_err().to_string();
    assert!(faults.contains("did you mean GET?"), "{faults}");
}

/// The sound policies say every field that there is.
#[test]
fn every_field_of_the_language_is_tried() {
    let mut said = BTreeSet::new();
    let mut known = BTreeSet::new();
    for policy in sound() {
        let mut all = vec![Way::new()];
        ways(&policy, &Way::new(), &mut all);
        for way in &all {
            let mut odd = policy.clone();
            let Some(table) = at(&mut odd, way).and_then(Value::as_object_mut) else {
                continue;
            };
            let names: Vec<_> = table.keys().cloned().collect();
            table.insert("zzzzzzzzzzzz".into(), json!(1));
            let Err(faults) = judge(&odd) else {
                continue;
            };
            let advice = faults.iter().next().unwrap().advice().to_owned();
            let Some(fields) = advice.strip_prefix("known here: ") else {
                continue;
            };
            known.extend(fields.split(", ").map(str::to_owned));
            said.extend(names);
        }
    }
    assert!(known.len() > 40, "{known:?}");
    assert!(
        !known.contains("..."),
        "more fields than are shown: {known:?}"
    );
    let untried: Vec<_> = known.difference(&said).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

/// Rows T1 to T4, as they were handed in.
#[test]
fn t1_to_t5_as_they_were_found() {
    for (text, told) in [
        (
            "[limits.l]\nmax_concurrent = 1\nqueue = 1\nwait = 10",
            "write \"10s\"",
        ),
        ("[limits.l]\nrate = 100", "write \"100/min\""),
        (
            "[limits.l]\nrate = '1/s'\n[idempotency]\nkey = 'u'\nremember = 10",
            "write \"10h\"",
        ),
        (
            "[limits.l]\nrate = '1/s'\n[routes]\nroute = '/x'",
            "write [[routes]] above each table",
        ),
        ("[limits.l]\nrate = '1/s'\nkey = ip", "write key = \"ip\""),
        (
            "[limits.l]\nrate = '10000/dya'\nalgorithm = 'calendar'",
            "did you mean day?",
        ),
        ("[limits.l]\nrate = '1/s'\nkey = ''", "leave it out"),
    ] {
        let faults = Policy::from_toml(text).unwrap_err();
        assert_eq!(faults.count(), 1, "{faults}");
        assert!(faults.to_string().contains(told), "{faults}");
    }
}
