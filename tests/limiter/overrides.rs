//! Rates of their own for single keys, set while running.

use std::fs;
use std::os::unix::fs::FileExt;

use tollgate::Limiter;

use super::{START, World, common, open, policy, user, world};

const POLICY: &str = r#"
    [limits.bucket]
    rate = "10/h"
    key = "user"
    [limits.window]
    rate = "10/h"
    algorithm = "fixed window"
    key = "user"
"#;

fn limit_of(world: &World, limit: &str, key: &str) -> u64 {
    world.limiter.limit(limit).unwrap().usage(key).limit()
}

#[test]
fn c5_an_override_holds_at_once_and_keeps_the_counts() {
    for limit in ["bucket", "window"] {
        let world = world(POLICY);
        let handle = world.limiter.limit(limit).unwrap();
        assert!(handle.check_cost("alice", 6).is_allowed());
        world
            .limiter
            .set_override(limit, &["alice"], "10/h")
            .unwrap();
        assert_eq!(
            handle.usage("alice").used(),
            6,
            "the same rate changes nothing"
        );
        world
            .limiter
            .set_override(limit, &["alice"], "30/h")
            .unwrap();
        assert_eq!(limit_of(&world, limit, "alice"), 30);
        assert_eq!(limit_of(&world, limit, "bob"), 10, "one key only");
        assert_eq!(handle.usage("alice").used(), 6);
        assert_eq!(
            world.limiter.overrides().len(),
            1,
            "the second took the first's place"
        );
        // Lower than used: nothing is left, and nothing is forgotten.
        world
            .limiter
            .set_override(limit, &["alice"], "2/h")
            .unwrap();
        let lowered = handle.check("alice");
        assert!(!lowered.is_allowed() && lowered.remaining() == 0);
        assert!(world.limiter.remove_override(limit, &["alice"]).unwrap());
        // A bucket that was asked meanwhile has let go of what did not fit the burst of two.
        let kept = if limit == "bucket" { 2 } else { 6 };
        assert_eq!(handle.usage("alice").used(), kept, "edge 42: {limit}");
        assert_eq!(limit_of(&world, limit, "alice"), 10);
        assert!(!world.limiter.remove_override(limit, &["alice"]).unwrap());
    }
}

#[test]
fn c5_an_override_survives_a_restart_until_it_is_removed() {
    let world = world(POLICY);
    world
        .limiter
        .set_override("bucket", &["alice"], "3/h")
        .unwrap();
    world
        .limiter
        .set_override("window", &["bob"], "deny")
        .unwrap();
    world
        .limiter
        .set_override("window", &["root"], "unlimited")
        .unwrap();
    assert_eq!(world.drain(&user("alice")), 3);
    let set = world.limiter.overrides();
    let world = world.reopened(POLICY);
    assert_eq!(world.limiter.overrides(), set);
    assert_eq!(limit_of(&world, "bucket", "alice"), 3);
    assert_eq!(world.drain(&user("alice")), 0);
    assert_eq!(world.drain(&user("bob")), 0);
    let root = user("root").cost(1_000_000);
    assert!(
        !world.limiter.check(&root).is_allowed(),
        "by the other limit"
    );
    let window = world.limiter.limit("window").unwrap();
    assert!(window.check_cost("root", 1_000_000).is_allowed());
    drop(window);
    assert!(world.limiter.remove_override("bucket", &["alice"]).unwrap());
    let world = world.reopened(POLICY);
    assert_eq!(world.limiter.overrides().len(), 2);
    assert_eq!(limit_of(&world, "bucket", "alice"), 10);
}

#[test]
fn edge_42_the_nearest_word_holds() {
    let text = r#"
        [limits.calls]
        rate = "10/h"
        key = "user"
        [tiers.gold]
        when = { plan = "gold" }
        rates = { calls = "20/h" }
        [[overrides]]
        limit = "calls"
        key = ["alice"]
        rate = "30/h"
    "#;
    let world = world(text);
    let of = |name: &'static str| {
        let decision = world.limiter.usage(&user(name).attribute("plan", "gold"));
        decision.ruling().unwrap().limit()
    };
    assert_eq!((of("bob"), of("alice")), (20, 30), "policy before tier");
    world
        .limiter
        .set_override("calls", &["alice"], "40/h")
        .unwrap();
    assert_eq!(of("alice"), 40, "running before policy");
    assert!(world.limiter.remove_override("calls", &["alice"]).unwrap());
    assert_eq!(of("alice"), 30);
}

/// A burst cut short for a while must not come back as a fresh one.
#[test]
fn edge_43_overrides_to_and_fro_refill_nothing() {
    let world = world("[limits.bucket]\nrate = \"100/day\"\nkey = \"user\"");
    assert_eq!(world.drain(&user("alice")), 100);
    for _ in 0..5 {
        world
            .limiter
            .set_override("bucket", &["alice"], "100/day burst 5")
            .unwrap();
        assert_eq!(world.drain(&user("alice")), 0);
        assert!(world.limiter.remove_override("bucket", &["alice"]).unwrap());
        assert_eq!(world.drain(&user("alice")), 0);
    }
    assert_eq!(world.limiter.health().words_healed, 0);
}

#[test]
fn what_an_override_cannot_be_is_told() {
    let world = world(&format!(
        "{POLICY}\n[limits.either]\nrate = \"9/h\"\nkey = \"a | b + c\""
    ));
    let limiter = &world.limiter;
    assert!(
        limiter
            .set_override("none", &["x"], "1/h")
            .unwrap_err()
            .is_unknown_limit()
    );
    assert!(
        limiter
            .remove_override("none", &["x"])
            .unwrap_err()
            .is_unknown_limit()
    );
    let invalid = [
        limiter.set_override("bucket", &["a", "b"], "1/h"),
        limiter.set_override("bucket", &[""], "1/h"),
        limiter.set_override("bucket", &[("users", "alice")], "1/h"),
        limiter.set_override("bucket", &["alice"], "ten an hour"),
        limiter.set_override("bucket", &["alice"], "0/h"),
        limiter.set_override("window", &["alice"], "10/day"),
        limiter.set_override("window", &["alice"], "10/h burst 20"),
        limiter.set_override("either", &["x"], "1/h"),
        limiter.set_override("either", &[("b", "x")], "1/h"),
    ];
    for (number, result) in invalid.into_iter().enumerate() {
        let error = result.expect_err(&number.to_string());
        assert!(error.is_invalid(), "{number}: {error}");
        assert!(!error.to_string().is_empty());
    }
    assert!(limiter.overrides().is_empty(), "nothing was changed");
    limiter
        .set_override("either", &[("c", "z"), ("b", "y")], "1/h")
        .unwrap();
    let request = user("dave").attribute("b", "y").attribute("c", "z");
    assert_eq!(limiter.usage(&request).ruling().unwrap().limit(), 1);
}

#[test]
fn edge_40_one_key_has_one_override_in_all_its_spellings() {
    let world = world("[limits.each]\nrate = \"10/h\"\nkey = \"ip + user?\"");
    let limiter = &world.limiter;
    let limit_at = |ip: &'static str| limiter.limit("each").unwrap().usage(ip).limit();
    limiter
        .set_override("each", &["192.0.2.7"], "20/h")
        .unwrap();
    assert_eq!(limit_at("::ffff:192.0.2.7"), 20);
    limiter
        .set_override("each", &["::ffff:192.0.2.7"], "30/h")
        .unwrap();
    assert_eq!((limit_at("192.0.2.7"), limiter.overrides().len()), (30, 1));
    assert!(limiter.remove_override("each", &["192.0.2.7"]).unwrap());
    assert_eq!((limit_at("192.0.2.7"), limiter.overrides().len()), (10, 0));
    limiter
        .set_override("each", &[("ip", "2001:db8::1"), ("user", "a")], "20/h")
        .unwrap();
    limiter
        .set_override("each", &[("user", "a"), ("ip", "2001:db8::2")], "30/h")
        .unwrap();
    assert_eq!(limiter.overrides().len(), 1, "one /64, in another order");
    assert!(
        limiter
            .remove_override("each", &["2001:db8::", "a"])
            .unwrap()
    );
}

#[test]
fn overrides_wait_for_a_policy_that_can_take_them() {
    let world = world(POLICY);
    world
        .limiter
        .set_override("bucket", &["alice"], "3/h")
        .unwrap();
    world.replace("[limits.window]\nrate = \"10/h\"\nkey = \"user\"");
    assert_eq!(world.limiter.overrides().len(), 1);
    world.replace(POLICY);
    assert_eq!(limit_of(&world, "bucket", "alice"), 3);
}

#[test]
fn every_flipped_byte_of_the_overrides_is_noticed() {
    let world = world(POLICY);
    world
        .limiter
        .set_override("bucket", &["alice"], "3/h")
        .unwrap();
    let (path, data, clock) = (
        world.data().join("overrides"),
        world.data(),
        world.clock.clone(),
    );
    drop(world.limiter);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let bytes = fs::read(&path).unwrap();
    let reopen = || {
        Limiter::builder(policy(POLICY))
            .clock(clock.clone())
            .open(&data)
    };
    for (at, byte) in bytes.iter().enumerate() {
        for bit in [0x01, 0x10] {
            file.write_all_at(&[byte ^ bit], at as u64).unwrap();
            let error = reopen().expect_err(&format!("byte {at}"));
            assert!(error.is_damaged() || error.is_version(), "{at}: {error}");
            assert_eq!(error.path(), Some(path.as_path()));
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    for len in [0, 1, 20, bytes.len() - 1] {
        fs::write(&path, &bytes[..len]).unwrap();
        assert!(reopen().unwrap_err().is_damaged(), "cut to {len}");
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(reopen().unwrap().overrides().len(), 1);
}

#[test]
fn two_limiters_files_mixed_are_refused() {
    let one = world(POLICY);
    let other = world(POLICY);
    let (data, clock) = (one.data(), one.clock.clone());
    drop((one.limiter, other.limiter));
    let foreign = other.dir.path().join("data");
    for name in ["marks", "header"] {
        let own = fs::read(data.join(name)).unwrap();
        fs::write(data.join(name), fs::read(foreign.join(name)).unwrap()).unwrap();
        let error = Limiter::builder(policy(POLICY))
            .clock(clock.clone())
            .open(&data);
        let error = error.expect_err(name);
        assert!(error.is_damaged(), "{name}: {error}");
        fs::write(data.join(name), own).unwrap();
    }
    for name in ["table/00", "table/15", "table/16"] {
        fs::write(data.join(name), fs::read(foreign.join(name)).unwrap()).unwrap();
        let limiter = open(data.clone(), POLICY, &clock);
        // The table is set aside, and the counters rebuilt from the directory's own journal.
        let opened = limiter.health().opened.to_string();
        assert!(
            opened.contains(name) && opened.contains("another directory"),
            "{opened}"
        );
    }
    assert!(clock.now() >= START);
    drop(open(data, POLICY, &clock));
    drop(common::scratch());
}
