//! `tollgate top` beside a service that works.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::service::Bench;

const POLICY: &str = r#"
[limits.per-user]
rate = "5/day"
algorithm = "fixed window from first hit"
key = "user"

[limits.trial]
rate = "1/day"
shadow = true
"#;

/// Runs a command line while the service works.
fn beside_work(line: &str) -> crate::service::Ended {
    let bench = Bench::new(POLICY);
    let mut service = bench.start();
    // What was before anybody looked is not counted.
    for _ in 0..50 {
        service.check("per-user before");
    }
    std::thread::scope(|scope| {
        let top = scope.spawn(|| bench.run(line));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1_200) {
            for asked in ["per-user alice", "per-user bob", "per-user alice", "trial"] {
                service.check(asked);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        top.join().unwrap()
    })
}

#[test]
fn one_look_in_lines() {
    let top = beside_work("top data --seconds 1");
    let out = top.out();
    assert_eq!(top.err(), "");
    let line = |begins: &str| {
        let mut lines = out.lines();
        lines
            .find(|line| line.starts_with(begins))
            .unwrap_or_else(|| panic!("{begins}: {out}"))
    };
    assert!(line("data:").contains("slots"));
    assert!(!line("limit per-user:").contains(" 0 refused"));
    assert!(!line("limit trial:").contains(" 0 in shadow"));
    assert!(line("busiest user=alice of per-user").contains("5 of 5 used"));
    assert!(line("refused user=alice of per-user").contains("5 of 5 used"));
    line("busiest user=bob of per-user");
    assert!(!out.contains("before"), "{out}");
}

#[test]
fn one_look_as_json() {
    let top = beside_work("top data --json --seconds 1").json();
    let limits = top["limits"].as_array().unwrap();
    assert_eq!(limits[0]["name"], "per-user");
    let rate = limits[0]["per_second"].as_f64().unwrap();
    assert!((50.0..2_000.0).contains(&rate), "{rate}");
    let count = |key: &str| {
        let mut all = top["busiest"].as_array().unwrap().iter();
        all.find(|one| one["key"] == key).unwrap()["count"]
            .as_u64()
            .unwrap()
    };
    let (alice, bob) = (count("user=alice"), count("user=bob"));
    assert!(alice > bob && bob > 0, "{alice} and {bob}");
    assert!(top["health"]["slots"].is_u64());
    let hour = limits[0]["history"].as_array().unwrap();
    let total = |minute: &Value| minute[0].as_u64().unwrap() + minute[1].as_u64().unwrap();
    let counted: u64 = hour.iter().map(total).sum();
    let parts = ["allowed", "refused"].map(|part| limits[0][part].as_u64().unwrap());
    assert_eq!((hour.len(), counted), (60, parts.iter().sum()));
}

#[test]
fn nobody_to_look_at() {
    let bench = Bench::new(POLICY);
    bench.says("top data", 2, "no directory");
    bench.start().end();
    bench.says("top data", 2, "no service has data open");
    bench.says("top data --seconds 9", 2, "from above 0 to 4");
}
