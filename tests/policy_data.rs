//! The policy language against what others write: rates of peers, real route lists, peers'
//! policies, and hostile texts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/skipped.rs"]
mod skipped;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use proptest::prelude::*;
use serde_json::Value;
use tollgate::{Policy, Request, RequestError};

fn rate(text: &str, algorithm: &str) -> Result<String, String> {
    let policy = serde_json::json!({"limits": {"l": {"rate": text, "algorithm": algorithm}}});
    let policy = Policy::from_json(&policy.to_string()).map_err(|faults| faults.to_string())?;
    Ok(policy.limits().map(|(_, words)| words).collect())
}

/// Rates that mean something else here, by id, and what the fault advises.
const OTHERWISE: [(&str, &str); 5] = [
    // Years have no one length, and no calendar period here is so long.
    ("python-limits/15", "365d"),
    ("python-limits/16", "365d"),
    ("python-limits/17", "365d"),
    // Two rates are two limits: each has a name, a counter and a durability of its own.
    ("python-limits/21", "a limit of its own for each rate"),
    ("python-limits/22", "a limit of its own for each rate"),
];

#[test]
fn rates_as_peers_write_them() {
    let Some(path) = skipped::shared("cases/limit_strings.json") else {
        return;
    };
    let data: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let cases = data["cases"].as_array().unwrap();
    let (mut same, mut otherwise, mut refused) = (0, 0, 0);
    for case in cases {
        let (id, text) = (case["id"].as_str().unwrap(), case["text"].as_str().unwrap());
        let limit = &case["limits"][0];
        let is_month = limit["unit"] == "month";
        let algorithm = if is_month { "calendar" } else { "fixed window" };
        let found = rate(text, algorithm);
        if case["ok"] == false {
            assert!(found.is_err(), "{id}: {text} is no rate");
            refused += 1;
        } else if let Some((_, advice)) = OTHERWISE.iter().find(|(known, _)| *known == id) {
            let fault = found.expect_err(text);
            assert!(fault.contains(advice), "{id}: {fault}");
            otherwise += 1;
        } else {
            let words = found.unwrap_or_else(|fault| panic!("{id}: {fault}"));
            let window = match limit["window_s"].as_u64() {
                Some(secs) => format!("fixed window of {secs} s"),
                None => "calendar month in UTC".to_owned(),
            };
            assert!(words.ends_with(&format!("({window})")), "{id}: {words}");
            let amount = limit["amount"].as_u64().unwrap();
            assert!(
                words.starts_with(&format!("{amount} per ")),
                "{id}: {words}"
            );
            same += 1;
        }
    }
    assert_eq!(same + otherwise + refused, cases.len());
    assert!(
        same >= 20 && refused >= 3 && otherwise == 5,
        "{same} {otherwise} {refused}"
    );
}

#[test]
fn every_sample_request_finds_its_template() {
    let Some(folder) = skipped::shared("routes") else {
        return;
    };
    let mut requests = 0;
    for name in [
        "asana",
        "box",
        "digitalocean",
        "gitea",
        "github",
        "jira",
        "twilio_2010",
    ] {
        let routes = fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
        let policy = with_routes(routes.lines());
        let file = fs::File::open(folder.join(format!("{name}.requests.jsonl.gz"))).unwrap();
        let mut samples = String::new();
        GzDecoder::new(file).read_to_string(&mut samples).unwrap();
        for line in samples.lines() {
            let sample: Value = serde_json::from_str(line).unwrap();
            let (method, path) = (&sample["method"], &sample["path"]);
            let request = Request::http(method.as_str().unwrap(), path.as_str().unwrap());
            let route = policy.explain(&request).unwrap().route;
            assert_eq!(route.as_deref(), sample["expect"].as_str(), "{name} {line}");
            requests += 1;
        }
    }
    assert_eq!(requests, 2_584);
    for name in ["github", "gplus", "parse", "static"] {
        let text = fs::read_to_string(folder.join(format!("go_bench_{name}.txt"))).unwrap();
        with_routes(text.lines());
    }
}

fn with_routes<'t>(routes: impl Iterator<Item = &'t str>) -> Policy {
    let routes: Vec<_> = routes.collect();
    let policy = serde_json::json!({
        "limits": {"l": {"rate": "1/s"}},
        "routes": [{"route": routes, "limits": ["l"]}],
    });
    Policy::from_json(&policy.to_string()).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn a_match_takes_as_long_with_ten_thousand_routes_as_with_ten() {
    let time = |count: usize| {
        let routes: Vec<_> = (0..count)
            .map(|n| format!("GET /a{n}/{{x}}/b/{{y}}.json"))
            .collect();
        let policy = with_routes(routes.iter().map(String::as_str));
        let path = format!("/a{}/one/b/two.json", count / 2);
        let request = Request::http("GET", &path);
        let best = (0..50).map(|_| {
            let start = Instant::now();
            for _ in 0..50 {
                assert!(
                    policy
                        .explain(std::hint::black_box(&request))
                        .unwrap()
                        .route
                        .is_some()
                );
            }
            start.elapsed()
        });
        best.min().unwrap()
    };
    let (few, many) = (time(10), time(10_000));
    // Looked at one by one it would be a thousand times; the bound leaves room for a busy machine.
    assert!(many < 50 * few, "{few:?} with 10, {many:?} with 10,000");
}

/// A text is judged in well under this, whatever it is.
const JUDGED_WITHIN: Duration = Duration::from_secs(20);

fn judge(text: &str) {
    let start = Instant::now();
    let outcomes = [Policy::from_toml(text), Policy::from_json(text)];
    for faults in outcomes.into_iter().filter_map(Result::err) {
        assert!(faults.count() > 0 && faults.iter().count() <= 100);
        assert!(faults.to_string().len() < 1 << 20);
    }
    assert!(start.elapsed() < JUDGED_WITHIN, "{:?}", start.elapsed());
}

#[test]
fn hostile_texts_are_judged_soon_and_without_a_panic() {
    const MOST: usize = 1 << 20;
    for unit in [
        "[",
        "{",
        "a.",
        "[a.",
        "[[a]]\n",
        "a={",
        "\"",
        "a=1\n",
        "(",
        "\u{0}",
        "é",
        "[[routes]]\n",
    ] {
        judge(&unit.repeat(MOST / unit.len()));
        judge(&unit.repeat(MOST / unit.len() + 1));
    }
    for inner in ["(", "a+", "a|", "a?", "1/1 of ", "{", "9"] {
        let phrase = inner.repeat(900 / inner.len());
        judge(&format!(
            "[limits.l]\nrate = '{phrase}'\nkey = '{phrase}'\ncost = '{phrase}'"
        ));
        judge(&format!("[[routes]]\nroute = '/{phrase}'\nlimits = []"));
    }
    let deep = format!("x = {}{}", "[".repeat(40), "]".repeat(40));
    assert!(
        Policy::from_toml(&deep)
            .unwrap_err()
            .to_string()
            .contains("deeper than 32")
    );
    let many = |count, entry: fn(usize) -> String| (0..count).map(entry).collect::<String>();
    judge(&many(20_000, |n| format!("[limits.l{n}]\nrate = '1/s'\n")));
    judge(&many(8_000, |n| {
        format!("[buckets.b{n}]\ninside = 'b{}'\n", n + 1)
    }));
    judge(&many(12_000, |n| {
        format!("[[routes]]\nroute = '/{{a}}-{n}/**'\nlimits = ['l']\n")
    }));
    judge(&many(9_000, |n| {
        format!("[[overrides]]\nlimit = 'l'\nkey = 'k{n}'\nrate = '1/s'\n")
    }));
}

fn good() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_judged(text in "\\PC{0,400}") {
        judge(&text);
        judge(&format!("[limits.l]\nrate = {text:?}\nkey = {text:?}"));
    }

    #[test]
    fn a_mutated_policy_is_judged(
        which in 0usize..5,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..12),
    ) {
        let mut text = good()[which].clone().into_bytes();
        for (at, byte, kind) in edits {
            let at = at.index(text.len());
            match kind {
                0 => text[at] = byte,
                1 => { text.remove(at); }
                _ => text.insert(at, byte),
            }
        }
        judge(&String::from_utf8_lossy(&text));
    }

    #[test]
    fn any_request_is_resolved(
        method in "[A-Z]{0,7}",
        path in "\\PC{0,80}",
        value in "\\PC{0,20}",
    ) {
        for text in good() {
            let policy = Policy::from_toml(&text).unwrap();
            let request = Request::http(&method, &path).attribute("api_key", &value);
            match policy.explain(&request) {
                Ok(found) => prop_assert!(found.exempt || !found.to_string().is_empty()),
                Err(error) => prop_assert_eq!(error, RequestError::PathAmbiguous),
            }
        }
    }
}
