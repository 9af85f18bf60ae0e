//! Which requests share a counter.

use std::collections::HashSet;
use std::net::IpAddr;

use tollgate::Request;

use super::{user, world};

fn at<'r>(address: &str) -> Request<'r> {
    let address: IpAddr = address.parse().unwrap();
    Request::new().address("ip", address)
}

const BY_IP: &str = "[limits.each]\nrate = \"3/h\"\nkey = \"ip\"";

#[test]
fn edge_39_parts_of_a_key_never_run_into_each_other() {
    let world = world("[limits.pair]\nrate = \"1/h\"\nkey = \"user + device\"");
    let long = "x".repeat(65_536);
    let pairs = [
        ("a:b", "c"),
        ("a", "b:c"),
        ("a:", "b:c"),
        ("a\0", "b"),
        ("a", "\0b"),
        ("a b", "c"),
        ("a", "b c"),
        (long.as_str(), "y"),
        (&long[1..], "xy"),
        ("device", "user"),
        ("user", "device"),
    ];
    for (name, device) in pairs {
        let request = user(name).attribute("device", device);
        assert!(
            world.limiter.check(&request).is_allowed(),
            "{name:.9} {device:.9}"
        );
        assert!(
            !world.limiter.check(&request).is_allowed(),
            "{name:.9} {device:.9}"
        );
    }
    // Bytes that are no UTF-8 are a value like any other.
    for bytes in [b"\xff\xfe".as_slice(), b"\xff", b"\xff\xfe\xfd"] {
        let request = user("a").attribute("device", bytes);
        assert!(world.limiter.check(&request).is_allowed());
        assert!(!world.limiter.check(&request).is_allowed());
    }
}

#[test]
fn edge_39_an_empty_value_is_none() {
    let world = world("[limits.pair]\nrate = \"1/h\"\nkey = \"user + device?\"");
    assert!(
        world
            .limiter
            .check(&user("a").attribute("device", ""))
            .is_allowed()
    );
    assert!(!world.limiter.check(&user("a")).is_allowed());
    assert!(
        world
            .limiter
            .check(&user("a").attribute("device", "d"))
            .is_allowed()
    );
}

#[test]
fn edge_40_addresses_count_by_what_they_are() {
    let world = world(BY_IP);
    let same = |a: &str, b: &str| {
        let limit = world.limiter.limit("each").unwrap();
        let [a, b]: [IpAddr; 2] = [a, b].map(|text| text.parse().unwrap());
        limit.reset(a);
        limit.reset(b);
        assert!(limit.check(a).is_allowed());
        limit.usage(b).used() == 1
    };
    assert!(
        same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        "one /64"
    );
    assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"), "two /64");
    assert!(same("192.0.2.7", "::ffff:192.0.2.7"), "v4-mapped");
    assert!(!same("192.0.2.7", "192.0.2.8"));
    assert!(!same("192.0.2.7", "::192.0.2.7"), "v4-compatible is v6");
    assert!(!same("0.0.0.0", "::"));
    // As texts, too, in every spelling.
    assert_eq!(world.drain(&at("2001:db8:9::1")), 3);
    for text in [
        "2001:DB8:9::2",
        "2001:0db8:0009:0000:0:0:0:3",
        "2001:db8:9:0::",
    ] {
        let request = Request::new().attribute("ip", text);
        assert!(!world.limiter.check(&request).is_allowed(), "{text}");
    }
    let request = Request::new().attribute("ip", "::ffff:198.51.100.1");
    assert!(world.limiter.check(&request).is_allowed());
    assert_eq!(world.drain(&at("198.51.100.1")), 2);
}

#[test]
fn edge_40_the_policy_says_how_wide_a_prefix_is() {
    let world = world(&format!("ipv6_prefix = 56\n{BY_IP}"));
    assert_eq!(world.drain(&at("2001:db8:1:200::1")), 3);
    assert_eq!(world.drain(&at("2001:db8:1:2ff::1")), 0, "one /56");
    assert_eq!(world.drain(&at("2001:db8:1:300::1")), 3);
    let wide = world.reopened(&format!("ipv6_prefix = 48\n{BY_IP}"));
    assert_eq!(wide.drain(&at("2001:db8:1:9900::1")), 3);
    assert_eq!(wide.drain(&at("2001:db8:1:1100::1")), 0, "one /48");
}

#[test]
fn edge_41_no_two_of_many_keys_share_a_counter() {
    let world = world("[limits.each]\nrate = \"1/day\"\nkey = \"user\"");
    let mut refused = HashSet::new();
    // Within the room there is, each of them has one and only one.
    for number in 0..900 {
        let name = format!("user {number}");
        if !world.limiter.check(&user(&name)).is_allowed() {
            refused.insert(name.clone());
        }
        assert!(!world.limiter.check(&user(&name)).is_allowed());
    }
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn h7_requests_without_the_key_are_refused_or_what_the_policy_says() {
    let policy = |then: &str| {
        format!("[limits.each]\nrate = \"3/h\"\nkey = \"user\"\nwhen_key_missing = \"{then}\"")
    };
    let nobody = Request::new();
    let shared = world(&policy("share"));
    assert_eq!(shared.drain(&nobody), 3);
    assert_eq!(shared.drain(&user("alice")), 3);
    let skipped = world(&policy("skip"));
    assert_eq!(skipped.drain(&nobody), 10_000);
    let refused = world(&policy("refuse"));
    let decision = refused.limiter.check(&nobody);
    assert_eq!(decision.verdict(), tollgate::Verdict::KeyMissing);
    assert_eq!(decision.retry_after(), None);
    let unsaid = world("[limits.each]\nrate = \"3/h\"\nkey = \"user\"");
    let decision = unsaid.limiter.check(&nobody);
    assert_eq!(decision.verdict(), tollgate::Verdict::KeyMissing);
    assert_eq!(unsaid.limiter.health().requests_without_key, 1);
    assert_eq!(unsaid.drain(&user("alice")), 3);
    // Nothing is missing where one counter is wanted.
    assert_eq!(world("[limits.all]\nrate = \"3/h\"").drain(&nobody), 3);
}

#[test]
fn h9_clients_behind_a_translator_count_each_by_itself() {
    let world = world("[limits.each]\nrate = \"3/h\"\nkey = \"ip\"");
    assert_eq!(world.drain(&at("64:ff9b::198.51.100.1")), 3);
    assert_eq!(world.drain(&at("64:ff9b::203.0.113.9")), 3);
    assert_eq!(world.drain(&at("198.51.100.1")), 0, "the same client");
    let direct = world.limiter.limit("each").unwrap();
    assert_eq!(direct.usage("64:ff9b::198.51.100.1").used(), 3);
}

#[test]
fn the_first_alternative_that_is_present_is_the_key() {
    let world = world("[limits.each]\nrate = \"3/h\"\nkey = \"api_key | ip\"");
    let keyed = at("192.0.2.1").attribute("api_key", "pk_1");
    assert_eq!(world.drain(&keyed), 3);
    assert_eq!(
        world.drain(&at("192.0.2.1")),
        3,
        "without the key, by address"
    );
    assert_eq!(
        world.drain(&at("192.0.2.2").attribute("api_key", "pk_1")),
        0
    );
    // A key that looks like an address is none.
    assert_eq!(
        world.drain(&at("192.0.2.2").attribute("api_key", "192.0.2.1")),
        3
    );
}
