//! Every command that takes a directory, while a service has it open.

use crate::service::{Bench, Service};

const POLICY: &str = r#"
[limits.per-user]
rate = "5/day"
algorithm = "fixed window from first hit"
key = "user"

[limits.per-member]
rate = "2/day"
key = "team + user"

[limits.all]
rate = "1000/day"
"#;

#[test]
fn usage_and_check_are_the_services_own() {
    let bench = Bench::new(POLICY);
    let mut service = bench.start();
    assert!(service.check("per-user alice"));
    let asks = format!("process {} has data open and is asked", service.pid());
    let usage = bench.says(
        "usage --data data --limit per-user --key alice",
        0,
        "4 of 5",
    );
    assert_eq!(usage.err().lines().count(), 1);
    assert!(usage.err().contains(&asks), "{}", usage.err());
    // With a policy, as beside no service, and as JSON.
    let line = "usage --policy policy.toml --data data --limit per-user --key alice --json";
    assert_eq!(bench.run(line).json()["used"], 1);
    // A check is charged where the service charges.
    for left in (1..4).rev() {
        let line = "check --data data --limit per-user --key alice --json";
        assert_eq!(bench.run(line).json()["remaining"], left);
    }
    assert!(service.check("per-user alice"));
    assert!(!service.check("per-user alice"));
    bench.says(
        "check --data data --limit per-user --key alice",
        1,
        "refused",
    );
    bench.says(
        "check --data data --attribute user=bob --attribute team=a",
        0,
        "allowed",
    );
    // A key of another shape is no refusal.
    bench.says(
        "check --data data --limit per-member --key red",
        2,
        "a value for user is missing",
    );
    bench.says(
        "check --data data --limit per-user --key a --key b",
        2,
        "no value number 2",
    );
    bench.says(
        "check --data data --attribute user=bob",
        2,
        "lacks what the key of limit per-member",
    );
    bench.says(
        "check --data data --limit none --key a",
        2,
        "no limit named",
    );
    bench.says(
        "usage --data data --limit all --at 2030-01-01T00:00:00Z",
        2,
        "leave --at out",
    );
    service.end();
    bench.says("usage --data data --limit all", 2, "say --policy FILE");
    bench.says(
        "usage --policy policy.toml --data data --limit per-user --key alice",
        0,
        "5 of 5",
    );
}

#[test]
fn overrides_and_resets_hold_at_once() {
    let bench = Bench::new(POLICY);
    let mut service = bench.start();
    for _ in 0..5 {
        assert!(service.check("per-user alice"));
    }
    assert!(!service.check("per-user alice"));
    bench.says(
        "override data set --limit per-user --key alice --rate 7/day",
        0,
        "alice has 7/day",
    );
    assert!(service.check("per-user alice"));
    bench.says("override data list", 0, "per-user: user=alice has 7/day");
    let listed = bench.run("override data list --json").json();
    assert_eq!(listed[0]["key"]["user"], "alice");
    bench.says(
        "override data remove --limit per-user --key alice",
        0,
        "no rate of its own",
    );
    bench.says(
        "override data remove --limit per-user --key alice",
        2,
        "had no rate",
    );
    bench.says(
        "override data set --limit per-user --key alice --rate fast",
        2,
        "fast",
    );
    assert!(!service.check("per-user alice"));
    bench.says("reset data alice", 0, "per-user: alice is reset");
    assert!(service.check("per-user alice"));
    assert!(service.check("per-member red alice") && service.check("per-member red alice"));
    assert!(!service.check("per-member red alice"));
    bench.says(
        "reset data red alice --limit per-member",
        0,
        "red + alice is reset",
    );
    assert!(service.check("per-member red alice"));
    bench.says("reset data a b c", 2, "no limit has a key like this one");
    // What is on the disk is what the service knows.
    bench.says(
        "override data set --limit per-user --key carol --rate 1/day",
        0,
        "carol",
    );
    service.kill();
    bench.says(
        "override data list --policy policy.toml",
        0,
        "user=carol has 1/day",
    );
    bench.says("reset data carol", 2, "say --policy FILE");
    bench.says("reset data carol --policy policy.toml", 0, "carol is reset");
}

#[test]
fn a_policy_is_read_again_or_another_put_in_force() {
    let bench = Bench::new(POLICY);
    let mut service = bench.start();
    for _ in 0..5 {
        assert!(service.check("per-user alice"));
    }
    bench.write("policy.toml", &POLICY.replace("5/day", "6/day"));
    bench.says("reload data", 0, "per-user");
    assert!(service.check("per-user alice") && !service.check("per-user alice"));
    bench.write(
        "trial.json",
        r#"{"limits": {"per-user": {"rate": "7/day", "key": "user",
            "algorithm": "fixed window from first hit"}}}"#,
    );
    bench.says("reload data trial.json", 0, "7 per day");
    assert!(service.check("per-user alice") && !service.check("per-user alice"));
    bench.write("bad.toml", "[limits.a]\nrate = 5");
    bench.says("reload data bad.toml", 2, "line 2");
    // The trial ends with the next reading of the service's own file.
    bench.says("reload data", 0, "to 6 per day");
    service.end();
    bench.says("reload data", 2, "no service has data open");
}

#[test]
fn health_and_the_doctor_beside_a_service() {
    let bench = Bench::new(POLICY);
    let service = bench.start();
    let health = bench.run("health data --json").json();
    assert_eq!(health["opened"]["how"], "new");
    assert!(
        health["control"]["path"]
            .as_str()
            .unwrap()
            .ends_with("data/control")
    );
    bench.says("health data", 0, "opened: how new");
    let asked = format!("process {} has data open", service.pid());
    let doctor = bench.says("doctor data", 0, "nothing is wrong");
    assert!(doctor.err().contains(&asked) && doctor.err().lines().count() == 1);
    assert_eq!(bench.run("doctor data --json").json()["healthy"], true);
    bench.says("doctor data --repair", 2, "stop that service first");
    service.kill();
    // What a killed process left is nothing wrong, and the next one listens there.
    bench.says("doctor data", 0, "nothing is wrong");
    let service = bench.start();
    assert_eq!(
        bench.run("health data --json").json()["opened"]["how"],
        "kept"
    );
    service.end();
    assert!(!bench.path("data/control").exists());
    bench.says("health data", 2, "no service has data open");
    bench.says("health nowhere", 2, "no directory");
}

#[test]
fn a_service_that_does_not_listen_is_told_of() {
    let bench = Bench::new(POLICY);
    let (data, policy) = (bench.path("data"), bench.path("policy.toml"));
    let service = Service::start_with(&data, &policy, false);
    assert!(!bench.path("data/control").exists());
    let held = format!("held by process {}", service.pid());
    bench.says(
        "usage --policy policy.toml --data data --limit all",
        2,
        &held,
    );
    bench.says(
        "doctor data",
        2,
        "no service has data open that could be asked",
    );
    service.end();
}
