//! Limits in shadow: they count and tell, and never refuse.

use std::time::Duration;

use tollgate::{Request, Verdict};

use super::{of, user, world};

const SHADOWED: &str = r#"
    [limits.tight]
    rate = "2/min"
    key = "user"
    shadow = true
    [limits.wide]
    rate = "5/h"
    key = "user"
"#;

#[test]
fn edge_50_a_shadow_counts_and_never_refuses() {
    let world = world(SHADOWED);
    for taken in 1..=5 {
        let decision = world.limiter.check(&user("alice"));
        assert!(decision.is_allowed());
        let tight = of(&decision, "tight");
        let expected = if taken > 2 {
            Verdict::Shadowed
        } else {
            Verdict::Allowed
        };
        assert_eq!(tight.verdict(), expected);
        assert_eq!(tight.used(), taken.min(2));
        assert_eq!(of(&decision, "wide").used(), taken);
        assert_eq!(decision.retry_after(), Some(Duration::ZERO));
    }
}

#[test]
fn edge_50_a_shadow_never_hides_a_refusal() {
    let world = world(SHADOWED);
    assert_eq!(world.drain(&user("alice")), 5);
    let refused = world.limiter.check(&user("alice"));
    assert!(!refused.is_allowed());
    assert_eq!(refused.verdict(), Verdict::Refused);
    assert_eq!(refused.ruling().unwrap().name(), "wide");
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(720)));
    assert_eq!(
        refused.to_string(),
        "refused by wide: refused, 5 of 5 used, 1 can be taken in 720.000 s; \
         tight (shadow): would be refused, 2 of 2 used"
    );
    // A refusal by another limit charges the shadow nothing either.
    world.pass(60);
    assert!(!world.limiter.check(&user("alice")).is_allowed());
    assert_eq!(world.used("tight", "alice"), 0);
}

#[test]
fn a_shadow_with_room_does_not_rule_over_an_enforced_limit() {
    let world = world(SHADOWED);
    let decision = world.limiter.check(&user("alice"));
    assert_eq!(decision.ruling().unwrap().name(), "wide");
    assert!(
        decision
            .limits()
            .any(|limit| limit.is_shadow() && limit.remaining() == 1)
    );
}

#[test]
fn a_shadow_lets_pass_what_could_never_be() {
    let world = world(
        r#"
        [limits.dark]
        rate = "deny"
        shadow = true
        [limits.rows]
        rate = "10/min"
        cost = "rows"
        max_cost = 5
        shadow = true
        [limits.keyed]
        rate = "10/min"
        key = "user"
        when_key_missing = "refuse"
        shadow = true
        "#,
    );
    let request = Request::new().attribute("rows", "6");
    let decision = world.limiter.check(&request);
    assert!(decision.is_allowed(), "{decision}");
    for limit in decision.limits() {
        assert_eq!(limit.verdict(), Verdict::Shadowed, "{}", limit.name());
    }
    let unreadable = Request::new().attribute("rows", "many");
    assert!(world.limiter.check(&unreadable).is_allowed());
}

#[test]
fn a_handle_of_a_shadow_never_refuses_either() {
    let world =
        world("[limits.tight]\nrate = \"2/min\"\nkey = \"user\"\nshadow = true\nmax_cost = 10");
    let tight = world.limiter.limit("tight").unwrap();
    for cost in [2, 1, 3, 11] {
        assert!(tight.check_cost("alice", cost).is_allowed(), "{cost}");
    }
    assert_eq!(tight.check("alice").verdict(), Verdict::Shadowed);
    assert_eq!(tight.usage("alice").verdict(), Verdict::Shadowed);
    assert_eq!(tight.usage("alice").used(), 2);
    // What was only let pass was not taken, and cannot be given back.
    let passed = tight.check("alice");
    tight.refund("alice", passed);
    assert_eq!(tight.settle("alice", passed, 0).used(), 2);
    assert_eq!(tight.settle("alice", passed, 9).used(), 2);
    let decision = world.limiter.check(&user("alice"));
    world.limiter.refund(decision);
    assert_eq!(tight.usage("alice").used(), 2);
}

#[test]
fn leaving_the_shadow_keeps_what_was_counted() {
    let world = world(SHADOWED);
    assert_eq!(world.drain(&user("alice")), 5);
    world.replace("[limits.tight]\nrate = \"2/min\"\nkey = \"user\"");
    assert!(!world.limiter.check(&user("alice")).is_allowed());
    assert!(world.limiter.check(&user("bob")).is_allowed());
}
