//! Peers' own example policies, said in this language, and why some cannot be.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};
use tollgate::{Policy, Request};

/// A descriptor of envoy's: keys, the values they must have, and the rate.
struct Row {
    keys: Vec<String>,
    values: Vec<Option<String>>,
    /// None says that nothing limits what matches.
    rate: Option<String>,
}

/// The descriptors below `list`, or why they cannot be said here.
fn rows(list: &Value, above: &[(String, Option<String>)]) -> Result<Vec<Row>, &'static str> {
    let mut found = Vec::new();
    for descriptor in list.as_array().unwrap() {
        let mut path = above.to_vec();
        let value = descriptor["value"].as_str().map(str::to_owned);
        path.push((descriptor["key"].as_str().unwrap().to_owned(), value));
        let limit = &descriptor["rate_limit"];
        if !limit["replaces"].is_null() {
            return Err("a limit that stands in for others of the same request");
        }
        if descriptor["share_threshold"] == true {
            return Err("one counter for all values with a prefix");
        }
        if descriptor["shadow_mode"] == true && path.iter().any(|(_, value)| value.is_some()) {
            return Err("shadow for some values of a key only");
        }
        let inner = |value: &String| value.trim_end_matches('*').contains('*');
        if path
            .iter()
            .any(|(_, value)| value.as_ref().is_some_and(inner))
        {
            return Err("a wildcard in the middle of a value");
        }
        if limit.is_object() || descriptor["descriptors"].is_null() {
            let unit = limit["unit"].as_str();
            let rate = unit.map(|unit| format!("{}/{unit}", limit["requests_per_unit"]));
            let (keys, values) = path.iter().cloned().unzip();
            found.push(Row { keys, values, rate });
        }
        if !descriptor["descriptors"].is_null() {
            found.extend(rows(&descriptor["descriptors"], &path)?);
        }
    }
    Ok(found)
}

/// The rows as a policy: a limit for each set of keys, a tier for what has some values given, an
/// override for what has all.
fn policy(rows: &[Row]) -> Value {
    let mut limits = Map::new();
    let mut tiers = Map::new();
    let mut overrides = Vec::new();
    for row in rows {
        let name = row.keys.join("-");
        let rate = row.rate.clone().unwrap_or("unlimited".into());
        let limit = limits.entry(&name).or_insert_with(|| {
            json!({"rate": "unlimited", "key": row.keys.join(" + "), "when_key_missing": "skip"})
        });
        let given: BTreeMap<_, _> = row
            .keys
            .iter()
            .zip(&row.values)
            .filter_map(|(key, value)| value.as_ref().map(|value| (key, value)))
            .collect();
        if given.is_empty() {
            limit["rate"] = json!(rate);
        } else if given.len() == row.keys.len() && given.values().all(|v| !v.ends_with('*')) {
            overrides.push(json!({"limit": name, "key": given, "rate": rate}));
        } else {
            let tier = format!("tier-{}", tiers.len());
            tiers.insert(tier, json!({"when": given, "rates": {name: rate}}));
        }
    }
    json!({"limits": limits, "tiers": tiers, "overrides": overrides})
}

fn shared(name: &str) -> Option<Vec<Value>> {
    let path = skipped::shared(&format!("policies/{name}"))?;
    let text = fs::read_to_string(path).unwrap();
    Some(serde_json::from_str::<Vec<Value>>(&text).unwrap())
}

/// What cannot be said here, by file.
const OTHERWISE: [(&str, &str); 5] = [
    (
        "example.yaml",
        "a limit that stands in for others of the same request",
    ),
    (
        "shadowmode_config.yaml",
        "shadow for some values of a key only",
    ),
    ("wildcard.yaml", "a wildcard in the middle of a value"),
    (
        "share_threshold.yaml",
        "one counter for all values with a prefix",
    ),
    // Conditions in an expression language of its own.
    ("limits.yaml", "limitador"),
];

#[test]
fn peers_policies_are_said_here_or_have_a_reason() {
    let Some(examples) = shared("valid_examples.json") else {
        return;
    };
    let mut checked = 0;
    for example in &examples {
        let file = example["path"].as_str().unwrap();
        let reason = OTHERWISE.iter().find(|(name, _)| file.ends_with(name));
        let found = match example["config"]["descriptors"].is_array() {
            true => rows(&example["config"]["descriptors"], &[]),
            false => Err("limitador"),
        };
        let rows = match (found, reason) {
            (Ok(rows), None) => rows,
            (Err(why), Some((_, wanted))) => {
                assert_eq!(why, *wanted, "{file}");
                continue;
            }
            (Ok(_), Some((_, why))) => panic!("{file}: {why} is no reason any more"),
            (Err(why), None) => panic!("{file}: {why} is not listed"),
        };
        let text = policy(&rows).to_string();
        let policy = Policy::from_json(&text).unwrap_or_else(|faults| panic!("{file}\n{faults}"));
        for row in &rows {
            let values = row
                .values
                .iter()
                .map(|value| value.as_deref().unwrap_or("other"));
            let pairs = row.keys.iter().zip(values);
            let request = pairs.fold(Request::new(), |request, (key, value)| {
                request.attribute(key, value)
            });
            let limits = policy.explain(&request).unwrap().limits;
            let name = row.keys.join("-");
            let limit = limits.iter().find(|limit| limit.limit == name).unwrap();
            let wanted = match &row.rate {
                Some(rate) => rate.replace('/', " per "),
                None => "unlimited".to_owned(),
            };
            assert_eq!(limit.rate, wanted, "{file} {name} {:?}", row.values);
            checked += 1;
        }
    }
    assert!(checked >= 18, "only {checked} rows were said");
}
