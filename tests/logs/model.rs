//! The totals of three policies on real logs beside a model in Python.

use std::process::Command;

use serde_json::Value;

use super::{logs, number, replay, skipped};

const LOGS: [&str; 4] = [
    // Its first night has an hour twice: summer time ends.
    "basjes_hackers.combined.log",
    "elastic_apache.combined.log",
    "erddap_nginx.combined.log",
    "nasa_http_19950701.common.log",
];

const POLICIES: [(&str, &str); 3] = [
    ("bucket", "rate = \"20/min burst 5\""),
    (
        "sliding",
        "rate = \"12 per 90 s\"\nalgorithm = \"sliding window\"",
    ),
    (
        "calendar",
        "rate = \"15/day\"\nalgorithm = \"calendar\"\ntime_zone = \"Europe/Amsterdam\"",
    ),
];

#[test]
fn three_policies_refuse_what_a_model_refuses() {
    let Some(logs) = logs() else { return };
    let paths = LOGS.map(|name| logs.join(name));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/logs/model.py");
    let Ok(output) = Command::new("python3").arg(script).args(&paths).output() else {
        return skipped::say("the model needs python3");
    };
    let fault = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{fault}");
    let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut refused_in_all = 0;
    for (path, expected) in paths.iter().zip(expected.as_array().unwrap()) {
        for (name, rate) in POLICIES {
            let policy = format!("[limits.{name}]\nkey = \"host\"\n{rate}\n");
            let summary = replay(path, &policy, &[]);
            let expected = &expected[name];
            let at = format!("{}: {name}", path.display());
            let judged = number(&summary, "/requests/judged");
            assert_eq!(Some(judged), expected["requests"].as_u64(), "{at}");
            let by_key = expected["refused"].as_object().unwrap();
            let refused: u64 = by_key.values().filter_map(Value::as_u64).sum();
            // A path with dot segments is refused before any limit is asked; the model knows none.
            assert_eq!(number(&summary, "/limits/0/refused"), refused, "{at}");
            let worst = summary["keys"]["worst"].as_array().unwrap();
            assert_eq!(worst.len(), by_key.len(), "{at}");
            for key in worst {
                let host = key["key"].as_str().unwrap().trim_start_matches("host=");
                let expected = by_key.get(host).and_then(Value::as_u64);
                assert_eq!(key["refused"].as_u64(), expected, "{at}: {host}");
            }
            refused_in_all += refused;
        }
    }
    assert!(refused_in_all > 10_000, "{refused_in_all}");
}
