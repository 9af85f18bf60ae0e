//! Invented keys: how many of them an address may bring, `new_keys`. Row H8.

use std::net::Ipv4Addr;

use tollgate::{Policy, Request, Verdict};

use super::{of, world};

const TEXT: &str = r#"
    [limits.key]
    rate = "50/min"
    key = "api_key | ip"
    new_keys = "3/min"
"#;

fn from<'r>(last: u8, key: &'r str) -> Request<'r> {
    let address = Ipv4Addr::new(203, 0, 113, last);
    Request::new()
        .attribute("api_key", key)
        .address("ip", address)
}

#[test]
fn h8_an_address_brings_so_many_new_keys() {
    for algorithm in [
        "token bucket",
        "fixed window",
        "sliding window",
        "fixed window from first hit",
    ] {
        for durability in ["memory", "logged", "strict"] {
            let world = world(&format!(
                "{TEXT}\nalgorithm = \"{algorithm}\"\ndurability = \"{durability}\""
            ));
            let limiter = &world.limiter;
            // In a window in which a sliding limit counts in the second of its two words.
            world.pass(60);
            for key in ["a", "b", "c"] {
                assert!(limiter.check(&from(1, key)).is_allowed());
            }
            let refused = limiter.check(&from(1, "d"));
            assert_eq!(refused.verdict(), Verdict::Refused);
            assert_eq!(refused.retry_after().unwrap().as_secs(), 20);
            assert_eq!(refused.ruling().unwrap().name(), "key (new keys)");
            // Nothing was taken for it, and its wait is true.
            assert_eq!(world.used("key", "d"), 0);
            // Whose key is known is not concerned, nor is another address.
            for _ in 0..10 {
                assert!(limiter.check(&from(1, "a")).is_allowed());
            }
            assert!(limiter.check(&from(2, "d")).is_allowed());
            assert!(limiter.check(&from(1, "d")).is_allowed(), "known by now");
            world.pass(20);
            assert!(limiter.check(&from(1, "e")).is_allowed());
            assert!(!limiter.check(&from(1, "f")).is_allowed());
        }
    }
}

#[test]
fn h8_a_known_key_meets_its_limit_alone_and_a_new_one_shows_its_numbers() {
    let world = world(TEXT);
    let limiter = &world.limiter;
    // Looking brings nothing.
    for _ in 0..10 {
        assert!(limiter.usage(&from(1, "a")).is_allowed());
        assert!(limiter.check(&from(1, "a").cost(0)).is_allowed());
    }
    let first = limiter.check(&from(1, "a"));
    assert_eq!(first.limits().len(), 2);
    assert_eq!(first.ruling().unwrap().name(), "key");
    assert_eq!(of(&first, "key (new keys)").remaining(), 2);
    assert_eq!(limiter.check(&from(1, "a")).limits().len(), 1);
    // A refund leaves the slot, so it leaves the key one of three.
    limiter.refund(first);
    let next = limiter.check(&from(1, "b"));
    assert_eq!(of(&next, "key (new keys)").remaining(), 1);
    // Asked directly there is no address: the service vouches for the key.
    for key in ["x", "y", "z", "w"] {
        assert!(limiter.limit("key").unwrap().check(key).is_allowed());
    }
}

#[test]
fn h8_with_permits_in_shadow_and_without_an_address() {
    let heavy = "[limits.heavy]\nmax_concurrent = 5\nkey = \"api_key\"\n";
    let with_permits = world(&format!("{heavy}{TEXT}"));
    for key in ["a", "b", "c"] {
        assert!(with_permits.limiter.acquire(&from(1, key)).is_allowed());
    }
    assert!(!with_permits.limiter.acquire(&from(1, "d")).is_allowed());
    assert!(with_permits.limiter.acquire(&from(1, "a")).is_allowed());

    let shadow = world(&format!("{TEXT}shadow = true"));
    let verdicts: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|key| of(&shadow.limiter.check(&from(1, key)), "key (new keys)").verdict())
        .collect();
    assert_eq!(verdicts[2..], [Verdict::Allowed, Verdict::Shadowed]);

    // All who have no address are one.
    let without = world(TEXT);
    let keys = ["a", "b", "c", "d"];
    let admitted = keys.iter().filter(|key| {
        let request = Request::new().attribute("api_key", key);
        without.limiter.check(&request).is_allowed()
    });
    assert_eq!(admitted.count(), 3);
}

/// The attacker's keys fill nothing, so an honest newcomer has a counter of its own.
#[test]
fn h8_invented_keys_leave_room_for_the_honest() {
    let world = world(TEXT);
    let limiter = &world.limiter;
    let admitted = (0..20_000).filter(|number| {
        let key = format!("invented-{number}");
        limiter.check(&from(1, &key)).is_allowed()
    });
    assert_eq!(admitted.count(), 3);
    for number in 0..100 {
        let key = format!("honest-{number}");
        let last = 2 + u8::try_from(number / 3).unwrap();
        let decision = limiter.check(&from(last, &key));
        assert_eq!(of(&decision, "key").remaining(), 49, "{decision}");
    }
    assert_eq!(limiter.health().newcomers_without_slot, 0);
    // Without it they fill the table.
    let open = super::world(&TEXT.replace("new_keys = \"3/min\"", ""));
    for number in 0..20_000 {
        let key = format!("invented-{number}");
        let _ = open.limiter.check(&from(1, &key));
    }
    assert!(open.limiter.health().newcomers_without_slot > 0);
}

#[test]
fn h8_new_keys_of_a_limit_is_a_rate_for_keys_that_an_address_brings() {
    let policy = Policy::from_toml(
        "[limits.l]\nrate = '9/min'\nkey = 'user'\nnew_keys = '20/min'\n[tiers.t]\n\
         when = { plan = 'x' }\nrates = { l = '10/min' }",
    );
    let told: Vec<_> = policy
        .as_ref()
        .unwrap()
        .limits()
        .map(|(name, words)| format!("{name}: {words}"))
        .collect();
    assert_eq!(
        told[1],
        "l (new keys): 20 per minute (token bucket), for each ip"
    );
    for (said, told) in [
        ("key = 'ip'", "no address brings more than one key"),
        ("", "no address brings more than one key"),
        ("key = 'user'\nnew_keys = 5", "a text belongs here"),
        (
            "key = 'user'\nnew_keys = '1/10 of l per day'",
            "a share of \"l\" cannot stand here",
        ),
    ] {
        let new_keys = match said.contains("new_keys") {
            true => "",
            false => "new_keys = '5/min'",
        };
        let text = format!("[limits.l]\nrate = '9/min'\n{said}\n{new_keys}\n");
        let faults = Policy::from_toml(&text).expect_err(said).to_string();
        assert!(faults.contains(told), "{said}: {faults}");
    }
    // So many limits as a request may meet, and each counts new keys.
    let limits: String = (0..9)
        .map(|number| {
            format!("[limits.l{number}]\nrate = '9/min'\nkey = 'user'\nnew_keys = '5/min'\n")
        })
        .collect();
    let faults = Policy::from_toml(&limits).expect_err("18").to_string();
    assert!(faults.contains("18 limits"), "{faults}");
}
