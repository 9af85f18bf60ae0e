//! Real access logs replayed by the built command: what was read, and what became of it.
#![cfg(feature = "cli")]

mod model;
mod presets;
#[path = "../common/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where the logs are, unless they are not here.
fn logs() -> Option<PathBuf> {
    skipped::shared("logs")
}

const PER_ADDRESS: &str = "
    [limits.per-minute]
    rate = \"30/min\"
    key = \"ip\"
    when_key_missing = \"share\"
    [limits.per-day]
    rate = \"100/day\"
    algorithm = \"calendar\"
    key = \"ip\"
    when_key_missing = \"share\"
";

/// Replays `logs`.
fn command(logs: &[PathBuf], policy: &str, more: &[&str]) -> std::process::Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .arg("replay")
        .args(logs)
        .args(["--json", "--progress", "none", "--counters", "20000"])
        .args(["--worst", "1000", "--policy"])
        .args([&path, Path::new("--data"), &directory.path().join("data")])
        .args(more);
    command.output().unwrap()
}

/// Replays `logs` and gives the results.
fn replay_logs(logs: &[PathBuf], policy: &str, more: &[&str]) -> Value {
    let output = command(logs, policy, more);
    let fault = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{logs:?}: {fault}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Replays `log` and gives the results.
fn replay(log: &Path, policy: &str, more: &[&str]) -> Value {
    replay_logs(&[log.to_owned()], policy, more)
}

fn number(summary: &Value, path: &str) -> u64 {
    summary
        .pointer(path)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no {path}: {summary}"))
}

/// A log, and what is known of it.
struct Known {
    name: &'static str,
    map: &'static [&'static str],
    format: &'static str,
    lines: u64,
    requests: u64,
    malformed: u64,
    blank: u64,
    first: &'static str,
    last: &'static str,
    late: u64,
    largest_lag_ms: u64,
}

const KNOWN: [Known; 8] = [
    Known {
        name: "elastic_apache.combined.log",
        map: &[],
        format: "combined",
        lines: 10_000,
        requests: 9_999,
        malformed: 1,
        blank: 0,
        // Lines are shuffled within each minute, and time is held at the latest seen: the first
        // line is not the earliest. 4,915 steps back leave 9,447 entries behind the latest time.
        first: "2015-05-17T10:05:03Z",
        last: "2015-05-20T21:05:59Z",
        late: 9_447,
        largest_lag_ms: 59_000,
    },
    Known {
        name: "basjes_hackers.combined.log",
        map: &[],
        format: "combined",
        lines: 3_456,
        requests: 3_456,
        malformed: 0,
        blank: 0,
        first: "2015-10-25T03:11:25Z",
        last: "2015-10-30T14:59:39Z",
        late: 0,
        largest_lag_ms: 0,
    },
    Known {
        name: "erddap_nginx.combined.log",
        map: &[],
        format: "combined",
        lines: 16_275,
        // 10,394 whole records, and 85 with one quoted field too many, which are read here: what
        // comes after the agent is no matter. 5,796 orphan lines hold nothing but an agent.
        requests: 10_394 + 85,
        malformed: 5_796,
        blank: 0,
        first: "2024-05-12T00:00:17Z",
        last: "2024-05-20T23:54:29Z",
        late: 0,
        largest_lag_ms: 0,
    },
    Known {
        name: "nasa_http_19950701.common.log",
        map: &[],
        format: "common",
        lines: 9_999,
        requests: 9_999,
        malformed: 0,
        blank: 0,
        first: "1995-07-01T04:00:01Z",
        last: "1995-07-01T07:39:44Z",
        late: 0,
        largest_lag_ms: 0,
    },
    Known {
        name: "cloudtrail_stratus.jsonl",
        map: &[],
        format: "json",
        lines: 2_900,
        requests: 2_900,
        malformed: 0,
        blank: 0,
        first: "2023-07-10T11:42:18Z",
        last: "2023-07-10T12:37:50Z",
        late: 0,
        largest_lag_ms: 0,
    },
    Known {
        name: "azure_llm_code.csv",
        map: &["--map", "time=TIMESTAMP,cost=ContextTokens"],
        format: "csv",
        lines: 8_820,
        requests: 8_819,
        malformed: 0,
        blank: 1,
        first: "2023-11-16T18:17:03.97996Z",
        last: "2023-11-16T19:14:19.928016Z",
        late: 0,
        largest_lag_ms: 0,
    },
    Known {
        name: "formats_rla/apache_combined.log",
        map: &[],
        format: "combined",
        lines: 5,
        requests: 5,
        malformed: 0,
        blank: 0,
        first: "2009-09-02T01:33:46Z",
        last: "2009-09-02T10:02:40Z",
        late: 0,
        largest_lag_ms: 0,
    },
    Known {
        name: "formats_rla/apache_common.log",
        map: &[],
        format: "common",
        lines: 10,
        requests: 10,
        malformed: 0,
        blank: 0,
        first: "2009-09-08T11:54:07Z",
        last: "2009-09-08T11:54:10Z",
        late: 1,
        largest_lag_ms: 2_000,
    },
];

#[test]
fn every_log_is_read_as_it_is_known() {
    let Some(logs) = logs() else { return };
    for known in KNOWN {
        let summary = replay(&logs.join(known.name), PER_ADDRESS, known.map);
        let name = known.name;
        assert_eq!(summary["logs"][0]["format"], known.format, "{name}");
        for (path, expected) in [
            ("/lines/read", known.lines),
            ("/lines/requests", known.requests),
            ("/lines/malformed", known.malformed),
            ("/lines/blank", known.blank),
            ("/lines/without_request", 0),
            ("/requests/judged", known.requests),
            ("/time/late_entries", known.late),
            ("/time/largest_lag_ms", known.largest_lag_ms),
        ] {
            assert_eq!(number(&summary, path), expected, "{name}: {path}");
        }
        assert_eq!(summary["time"]["first"], known.first, "{name}");
        assert_eq!(summary["time"]["last"], known.last, "{name}");
        let requests =
            ["allowed", "refused"].map(|what| number(&summary, &format!("/requests/{what}")));
        assert_eq!(requests.iter().sum::<u64>(), known.requests, "{name}");
    }
}

/// The first host and the UTC day of each request of a combined log in order of time.
fn by_address_and_day(log: &Path) -> BTreeMap<(String, String), u64> {
    let text = std::fs::read(log).unwrap();
    let mut counts = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let (Some((host, _)), Some((_, time))) = (line.split_once(' '), line.split_once('['))
        else {
            continue;
        };
        let day = time.get(..11).unwrap_or_default();
        *counts.entry((host.to_owned(), day.to_owned())).or_default() += 1;
    }
    counts
}

/// With nothing but a day's quota for each address, what is refused and what it would have had to
/// be can be counted on one's fingers.
#[test]
fn a_days_quota_and_its_amounts_are_what_a_plain_count_says() {
    let Some(logs) = logs() else { return };
    // Strictly ordered, and its zone has no bearing: its days are counted in that zone.
    let log = logs.join("basjes_hackers.combined.log");
    let policy = "
        [limits.daily]
        rate = \"15/day\"
        algorithm = \"calendar\"
        time_zone = \"Europe/Amsterdam\"
        key = \"ip\"
    ";
    let summary = replay(&log, policy, &["--amounts"]);
    let counts = by_address_and_day(&log);
    let refused = |amount: u64| -> u64 {
        counts
            .values()
            .map(|count| count.saturating_sub(amount))
            .sum::<u64>()
    };
    let total: u64 = counts.values().sum();
    assert_eq!(number(&summary, "/requests/refused"), refused(15));
    let amounts = &summary["amounts"]["limits"][0];
    for (name, one_in) in [
        ("at_most_1_in_100", 100),
        ("at_most_1_in_1000", 1_000),
        ("nothing", 0),
    ] {
        let most = total.checked_div(one_in).unwrap_or(0);
        let smallest = (1_u64..).find(|&amount| refused(amount) <= most).unwrap();
        assert_eq!(
            amounts[name]["rate"],
            format!("{smallest} per day"),
            "{name}"
        );
        assert_eq!(amounts[name]["refused"], refused(smallest), "{name}");
    }
    assert_eq!(amounts["smallest"], true);

    let mut worst: BTreeMap<&str, u64> = BTreeMap::new();
    for ((host, _), count) in &counts {
        *worst.entry(host).or_default() += count.saturating_sub(15);
    }
    let mut worst: Vec<_> = worst
        .into_iter()
        .map(|(host, refused)| (refused, host))
        .collect();
    worst.sort_by_key(|(refused, _)| std::cmp::Reverse(*refused));
    let shown = summary["keys"]["worst"].as_array().unwrap();
    assert!(shown.len() > 5);
    for (key, (refused, _)) in shown.iter().zip(&worst) {
        assert_eq!(number(key, "/refused"), *refused, "{key}");
        let host = key["key"].as_str().unwrap().trim_start_matches("ip=");
        assert!(worst.contains(&(*refused, host)), "{key}");
    }
}

#[test]
fn costs_and_keys_come_out_of_the_records() {
    let Some(logs) = logs() else { return };
    let tokens = "
        [limits.tokens]
        rate = \"600000/min\"
    ";
    let csv = ["--map", "time=TIMESTAMP,cost=ContextTokens"];
    let summary = replay(&logs.join("azure_llm_code.csv"), tokens, &csv);
    // All tokens of the trace, by its description.
    assert_eq!(number(&summary, "/limits/0/cost"), 18_059_974);
    assert!(
        number(&summary, "/limits/0/refused") > 0,
        "the busiest minute has 1,257,868"
    );
    assert_eq!(summary["keys"]["worst"][0]["key"], "(everyone)");

    let per_key = "
        [limits.calls]
        rate = \"100/min\"
        key = \"api_key\"
        when_key_missing = \"skip\"
    ";
    let summary = replay(&logs.join("cloudtrail_stratus.jsonl"), per_key, &[]);
    // 84 events carry no key; the busiest key has 2,104 of the others.
    assert_eq!(number(&summary, "/limits/0/requests"), 2_900 - 84);
    assert_eq!(number(&summary, "/keys/tracked"), 134);
    let worst = &summary["keys"]["worst"][0];
    assert_eq!(worst["key"], "api_key=key-long-003");
    assert_eq!(number(worst, "/requests"), 2_104);
}
