//! One limit asked directly.

use std::net::IpAddr;
use std::time::Duration;

use tollgate::Verdict;

use super::{START, user, world};

const UPLOAD: &str = r#"
    [limits.upload]
    rate = "10/min"
    key = "user"
"#;

#[test]
fn a_handle_and_a_request_count_together() {
    let world = world(UPLOAD);
    let upload = world.limiter.limit("upload").unwrap();
    assert_eq!(upload.name(), "upload");
    assert!(upload.check("alice").is_allowed());
    assert!(world.limiter.check(&user("alice")).is_allowed());
    assert!(upload.limiter().check(&user("alice")).is_allowed());
    assert_eq!(upload.usage("alice").used(), 3);
    assert_eq!(upload.usage("bob").used(), 0);
}

#[test]
fn every_kind_of_key_reaches_its_counter() {
    let world = world(
        r#"
        [limits.all]
        rate = "10/min"
        [limits.pair]
        rate = "10/min"
        key = "user + device"
        [limits.from]
        rate = "10/min"
        key = "ip"
        "#,
    );
    let limit = |name| world.limiter.limit(name).unwrap();
    assert!(limit("all").check(()).is_allowed());
    assert_eq!(limit("all").usage(()).used(), 1);
    assert!(limit("pair").check(&["alice", "phone"]).is_allowed());
    assert_eq!(limit("pair").usage(["alice", "phone"].as_slice()).used(), 1);
    assert_eq!(limit("pair").usage(&["phone", "alice"]).used(), 0);
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    assert!(limit("from").check(address).is_allowed());
    assert_eq!(limit("from").usage("192.0.2.7").used(), 1, "as a text");
    let request = tollgate::Request::new().address("ip", address);
    assert_eq!(world.limiter.usage(&request).limits().count(), 3);
}

#[test]
fn a_key_of_the_wrong_shape_is_refused_not_mixed_up() {
    let world = world(
        r#"
        [limits.pair]
        rate = "10/min"
        key = "user + device"
        "#,
    );
    let pair = world.limiter.limit("pair").unwrap();
    let wrong: [&[&str]; 5] = [
        &[],
        &["alice"],
        &["a", "b", "c"],
        &["alice", ""],
        &["x"; 20],
    ];
    for key in wrong {
        let outcome = pair.check(key);
        assert_eq!(outcome.verdict(), Verdict::KeyMissing, "{key:?}");
        assert!(!outcome.is_allowed());
        assert_eq!(outcome.retry_after(), None, "no wait helps");
    }
    assert!(pair.check(&["alice", "phone"]).is_allowed());
}

#[test]
fn a_look_charges_nothing() {
    let world = world(UPLOAD);
    let upload = world.limiter.limit("upload").unwrap();
    for _ in 0..100 {
        assert_eq!(upload.usage("alice").remaining(), 10);
        assert_eq!(
            world.limiter.usage(&user("alice").cost(10)).verdict(),
            Verdict::Allowed
        );
    }
    assert_eq!(world.drain(&user("alice")), 10);
    let look = world.limiter.usage(&user("alice"));
    assert_eq!(look.verdict(), Verdict::Refused);
    assert_eq!(look.retry_after(), Some(Duration::from_secs(6)));
    assert_eq!(upload.usage("alice").verdict(), Verdict::Refused);
}

#[test]
fn the_numbers_are_those_after_the_take() {
    let world = world(UPLOAD);
    let upload = world.limiter.limit("upload").unwrap();
    let outcome = upload.check_cost("alice", 4);
    assert_eq!((outcome.cost(), outcome.limit()), (4, 10));
    assert_eq!((outcome.used(), outcome.remaining()), (4, 6));
    assert_eq!(outcome.reset_at(), START + Duration::from_secs(24));
    assert_eq!(outcome.reset_after(), Duration::from_secs(24));
    assert_eq!(outcome.at(), START);
    let refused = upload.check_cost("alice", 7);
    assert_eq!((refused.used(), refused.remaining()), (4, 6));
    assert_eq!(refused.retry_at(), Some(START + Duration::from_secs(6)));
}

#[test]
fn a_reset_forgets_one_key_and_no_other() {
    for algorithm in ["token bucket", "fixed window", "sliding window"] {
        let world = world(&format!(
            "[limits.a]\nrate = \"10/h\"\nkey = \"user\"\nalgorithm = \"{algorithm}\"\n\
             [limits.b]\nrate = \"20/h\"\nkey = \"user\"\nalgorithm = \"{algorithm}\""
        ));
        assert_eq!(world.drain(&user("alice")), 10);
        assert_eq!(world.drain(&user("bob")), 10);
        // The sliding window's previous hour counts, too.
        world.pass(if algorithm == "sliding window" {
            3_600
        } else {
            0
        });
        let a = world.limiter.limit("a").unwrap();
        assert!(a.usage("alice").used() > 0);
        a.reset("alice");
        assert_eq!(a.usage("alice").used(), 0, "{algorithm}");
        assert!(world.used("b", "alice") > 0, "another limit");
        assert!(world.used("a", "bob") > 0, "another key");
        a.reset("nobody");
        assert!(world.limiter.check(&user("alice")).is_allowed());
        assert_eq!(a.usage("alice").used(), 1);
        drop(a);
        let world = world
            .reopened("[limits.a]\nrate = \"10/h\"\nkey = \"user\"\nalgorithm = \"token bucket\"");
        assert!(
            world.used("a", "alice") <= 1,
            "{algorithm}: a reset stays one"
        );
    }
}

#[test]
fn an_unknown_limit_is_an_error_that_names_it() {
    let world = world(UPLOAD);
    let error = world.limiter.limit("uplaod").unwrap_err();
    assert!(error.is_unknown_limit() && !error.is_invalid(), "{error}");
    assert_eq!(
        error.to_string(),
        "the policy has no limit named \"uplaod\""
    );
}

#[test]
fn many_at_once_are_many_one_after_the_other() {
    let policy = UPLOAD.replace("10/min", "3/min");
    let (at_once, one_by_one) = (world(&policy), world(&policy));
    let keys: Vec<String> = (0..50)
        .map(|number| format!("user {}", number % 14))
        .collect();
    let mut seen = Vec::new();
    at_once.limiter.limit("upload").unwrap().check_many(
        &keys.iter().collect::<Vec<_>>(),
        |place, outcome| {
            assert_eq!(place, seen.len(), "in order");
            seen.push((outcome.verdict(), outcome.used()));
        },
    );
    let upload = one_by_one.limiter.limit("upload").unwrap();
    let expected = keys.iter().map(|key| upload.check(key));
    let expected: Vec<_> = expected.map(|one| (one.verdict(), one.used())).collect();
    assert_eq!(seen, expected);
    let refused = |verdict: Verdict| !verdict.is_allowed();
    assert_eq!(seen.iter().filter(|(one, _)| refused(*one)).count(), 8);
}

#[test]
fn what_is_told_of_one_of_many_may_check_and_replace_the_policy() {
    let world = world(UPLOAD);
    let upload = world.limiter.limit("upload").unwrap();
    let mut limits = Vec::new();
    upload.check_many(&["alice"; 20], |place, outcome| {
        limits.push(outcome.limit());
        if place == 1 {
            assert!(upload.check("bob").is_allowed());
            world.replace(&UPLOAD.replace("10/min", "5/min"));
        }
        if place == 4 {
            // Not even its key is the same.
            world.replace("[limits.upload]\nrate = \"7/min\"\nkey = \"ip\"");
        }
    });
    assert_eq!(
        limits[..16],
        [10; 16],
        "all taken before the first was told"
    );
    assert_eq!(limits[16..], [7; 4], "by what is in force then");
}

#[test]
fn up_to_sixteen_are_taken_before_the_first_is_told() {
    let world = world(UPLOAD);
    let upload = world.limiter.limit("upload").unwrap();
    assert!(upload.check("alice").is_allowed());
    let mut seen = Vec::new();
    upload.check_many(&["alice"; 20], |place, outcome| {
        seen.push((outcome.limit(), outcome.is_allowed()));
        if place == 0 {
            // Of this one there is more room, but none of the sixteen is asked again.
            world.replace(&UPLOAD.replace("10/min", "10/min burst 12"));
        }
    });
    assert_eq!(seen[..9], [(10, true); 9]);
    assert_eq!(seen[9..16], [(10, false); 7]);
    assert_eq!(seen[16..18], [(12, true); 2]);
    assert_eq!(seen[18..], [(12, false); 2]);
}

#[test]
fn sixteen_are_taken_at_one_instant_whatever_time_telling_takes() {
    let world = world(UPLOAD);
    let upload = world.limiter.limit("upload").unwrap();
    let mut allowed = Vec::new();
    upload.check_many(&["alice"; 32], |_, outcome| {
        allowed.push(outcome.is_allowed());
        world.clock.advance(Duration::from_secs(60));
    });
    let of_ten = |place| place % 16 < 10;
    assert_eq!(allowed, (0..32).map(of_ten).collect::<Vec<_>>());
}

/// Whatever is known of a limit by heart is forgotten when it is no longer so. All is checked
/// twice: the first check under a policy is the one that learns.
#[test]
fn a_handle_goes_by_what_is_in_force() {
    let world = world(UPLOAD);
    let upload = world.limiter.limit("upload").unwrap();
    let check = |cost| {
        let one = upload.check_cost("alice", cost);
        (one.verdict(), one.limit())
    };
    let twice = |cost, expected| assert_eq!([check(cost), check(cost)], [expected; 2]);
    twice(1, (Verdict::Allowed, 10));
    world.replace(&UPLOAD.replace("10/min", "9/min"));
    twice(1, (Verdict::Allowed, 9));
    twice(0, (Verdict::Allowed, 9));
    twice(9, (Verdict::Refused, 9));
    twice(10, (Verdict::Impossible, 9));
    world.replace(&format!("{UPLOAD}\nshadow = true"));
    twice(10, (Verdict::Shadowed, 10));
    world.replace(&format!("{UPLOAD}\nmax_cost = 2"));
    assert_eq!(check(2).0, Verdict::Allowed);
    assert_eq!([check(3).0, check(3).0], [Verdict::Impossible; 2]);
    world.replace(&format!("{UPLOAD}\nalgorithm = \"fixed window\""));
    twice(5, (Verdict::Allowed, 10));
    world.replace("[limits.other]\nrate = \"1/s\"");
    assert_eq!([check(1).0, check(1).0], [Verdict::Unknown; 2]);
    world.replace(UPLOAD);
    twice(1, (Verdict::Allowed, 10));
    twice(10, (Verdict::Refused, 10));
    let limiter = &world.limiter;
    limiter
        .set_override("upload", &["alice"], "20/min")
        .unwrap();
    twice(1, (Verdict::Allowed, 20));
    assert!(limiter.remove_override("upload", &["alice"]).unwrap());
    twice(0, (Verdict::Allowed, 10));
}

/// Twice each, for what the first check learns is what the second goes by; at a rate
/// whose ticks are nanoseconds, as that takes.
#[test]
fn a_key_of_another_shape_is_missing() {
    let policy = "[limits.all]\nrate = \"6/min\"\n[limits.each]\nrate = \"6/min\"\nkey = \"user\"";
    let world = world(policy);
    let all = world.limiter.limit("all").unwrap();
    let each = world.limiter.limit("each").unwrap();
    for used in 1..=2 {
        assert_eq!(all.check(()).used(), used);
        assert_eq!(each.check("alice").used(), used);
        for other in [all.check("alice"), all.check(""), each.check(())] {
            assert_eq!(other.verdict(), Verdict::KeyMissing);
        }
    }
    let refused = all.check_cost((), 5);
    assert_eq!((refused.verdict(), refused.used()), (Verdict::Refused, 2));
    all.refund((), all.check(()));
    assert_eq!(all.usage(()).used(), 2);
}

/// A key is the same counter, however it is given.
#[test]
fn a_key_can_be_a_number_an_address_or_whatever_text() {
    use std::borrow::Cow;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    let world = world("[limits.l]\nrate = \"100/h\"\nkey = \"ip\"");
    let limit = world.limiter.limit("l").unwrap();
    let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    assert!(limit.check(v4).is_allowed() && limit.check(v6).is_allowed());
    assert_eq!(limit.usage(IpAddr::V4(v4)).used(), 1);
    assert_eq!(limit.usage("127.0.0.1").used(), 1);
    assert_eq!(limit.usage("::1").used(), 1);
    for (number, text) in [(0, "0"), (42, "42"), (u64::MAX, "18446744073709551615")] {
        assert!(limit.check(number).is_allowed());
        assert!(limit.check(u128::from(number)).is_allowed());
        assert_eq!(limit.usage(text).used(), 2, "{text}");
    }
    assert!(limit.check(u128::MAX).is_allowed());
    let text = u128::MAX.to_string();
    assert!(limit.check(&text).is_allowed());
    assert!(limit.check(&Cow::from(text.as_str())).is_allowed());
    assert!(limit.check(&Cow::from(text.clone())).is_allowed());
    assert_eq!(limit.usage(u128::MAX).used(), 4);
    assert!(limit.check(b"bytes").is_allowed());
    assert_eq!(limit.usage("bytes").used(), 1);
    // In a batch, and refunded.
    limit.check_many(&[7u64, 7], |_, outcome| assert!(outcome.is_allowed()));
    assert_eq!(limit.usage("7").used(), 2);
    let taken = limit.check(7u64);
    limit.refund(7u64, taken);
    assert_eq!(limit.usage(7u64).used(), 2);
}

#[test]
fn an_override_of_one_part_is_named_by_its_value() {
    let world = world(UPLOAD);
    world
        .limiter
        .set_override("upload", "alice", "50/h")
        .unwrap();
    let upload = world.limiter.limit("upload").unwrap();
    assert_eq!(upload.usage("alice").limit(), 50);
    upload.check("alice");
    world.limiter.reset("upload", "alice").unwrap();
    assert_eq!(upload.usage("alice").used(), 0);
    let name = "alice".to_owned();
    assert!(world.limiter.remove_override("upload", &name).unwrap());
    assert_ne!(upload.usage("alice").limit(), 50);
}

#[test]
fn clones_of_a_limit_count_together_and_follow_the_policy() {
    let world = world(UPLOAD);
    let upload = world.limiter.limit("upload").unwrap();
    assert!(upload.check("alice").is_allowed());
    let other = upload.clone();
    assert!(other.check("alice").is_allowed());
    assert_eq!(upload.usage("alice").used(), 2);
    world.replace(&UPLOAD.replace("10/min", "2/min"));
    assert_eq!(other.usage("alice").limit(), 2);
    assert_eq!(upload.usage("alice").limit(), 2);
}
