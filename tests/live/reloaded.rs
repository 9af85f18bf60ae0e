//! A reload says what it does, before it is done and after.

use crate::service::Bench;

const POLICY: &str = r#"
[limits.per-day]
rate = "5/day"
algorithm = "fixed window from first hit"
key = "user"

[limits.per-minute]
rate = "100/min"
key = "user"
"#;

#[test]
fn a_renamed_limit_keeps_its_counts_and_overrides() {
    let bench = Bench::new(POLICY);
    let mut service = bench.start();
    let set = "override data set --limit per-day --key bob --rate 2/day";
    bench.says(set, 0, "bob has 2/day");
    for _ in 0..3 {
        assert!(service.check("per-day alice"));
    }
    let renamed = POLICY.replace(
        "[limits.per-day]",
        "[limits.daily]\nrenamed_from = 'per-day'",
    );
    bench.write("policy.toml", &renamed);
    let told = bench.says("reload data", 0, "daily: changed");
    assert!(
        told.out().contains("it was called per-day"),
        "{}",
        told.out()
    );
    assert!(!told.out().contains("anew") && !told.out().contains("gone"));
    // By its new name, and by the old one, which the service still says.
    bench.says("usage --data data --limit daily --key alice", 0, "2 of 5");
    assert!(service.check("daily alice") && service.check("per-day alice"));
    assert!(!service.check("daily alice"));
    assert!(service.check("daily bob") && service.check("daily bob"));
    assert!(!service.check("daily bob"));
    let set = "override data set --limit daily --key bob --rate 3/day";
    bench.says(set, 0, "bob has 3/day");
    assert_eq!(bench.run("override data list").out().lines().count(), 1);
    assert!(service.check("daily bob") && !service.check("daily bob"));
    service.end();
    let mut service = bench.start();
    assert!(!service.check("daily alice"));
    service.end();
}

#[test]
fn what_a_reload_changes_is_told() {
    let bench = Bench::new(POLICY);
    let service = bench.start();
    let set = "override data set --limit per-minute --key bob --rate 200/min";
    bench.says(set, 0, "bob");
    bench.write(
        "next.toml",
        &POLICY
            .replace("5/day", "6/day")
            .replace("key = \"user\"\n\n", "key = \"team\"\n\n")
            .replace("per-minute", "per-min"),
    );
    let before = bench.says(
        "policy diff policy.toml next.toml",
        0,
        "per-day: begins anew",
    );
    let done = bench.says("reload data next.toml", 0, "its key was user and is team");
    let told = before.out() + "override without a limit: per-minute user=bob: 200/min\n";
    assert_eq!(done.out(), told);
    assert!(told.contains("renamed_from = \"per-minute\""), "{told}");
    let again = bench.run("reload data --json").json();
    let fates = again["limits"].as_array().unwrap().iter();
    let fates: Vec<_> = fates.map(|limit| limit["fate"].as_str().unwrap()).collect();
    assert_eq!(fates, ["begins_anew", "begins_anew", "gone"]);
    service.end();
}

#[test]
fn a_limit_without_a_route_is_warned_of() {
    let bench = Bench::new(POLICY);
    let routed = "[[routes]]\nroute = \"/a\"\nlimits = [\"per-day\"]\n";
    bench.write("routed.toml", &format!("{POLICY}{routed}"));
    let lint = bench.says(
        "policy lint routed.toml",
        0,
        "warning: no route names limit",
    );
    assert_eq!(lint.err().lines().count(), 1);
    let meant = POLICY.replace("\"100/min\"", "\"100/min\"\neverywhere = true");
    bench.write("meant.toml", &format!("{meant}{routed}"));
    assert_eq!(bench.says("policy lint meant.toml", 0, "").err(), "");
    bench.says(
        "policy diff routed.toml policy.toml",
        0,
        "it applies to every request now",
    );
}
