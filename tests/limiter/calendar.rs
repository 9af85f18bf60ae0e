//! Calendar quotas seen through the limiter: days of 23 and 25 hours, months, weeks, midnights.

use std::time::Duration;

use tollgate::{Outcome, Timestamp};

use super::{World, user, world_at};

fn instant(text: &str) -> Timestamp {
    let nanos = text.parse::<jiff::Timestamp>().unwrap().as_nanosecond();
    Timestamp::from_nanos(u64::try_from(nanos).unwrap())
}

/// A quota of five, at an instant.
fn quota(unit: &str, zone: &str, at: &str) -> World {
    let text = format!(
        "[limits.quota]\nrate = \"5/{unit}\"\nkey = \"user\"\nalgorithm = \"calendar\"\n\
         time_zone = \"{zone}\""
    );
    world_at(&text, instant(at))
}

fn outcome(world: &World) -> Outcome {
    world.limiter.limit("quota").unwrap().usage("alice")
}

/// Spends all of it, and finds the next period opening exactly at `next`.
fn opens_at(world: &World, next: &str) {
    assert_eq!(world.drain(&user("alice")), 5);
    let refused = outcome(world);
    assert_eq!(refused.retry_at().unwrap().to_string(), next);
    assert_eq!(refused.reset_at().to_string(), next);
    world.clock.set(instant(next) - Duration::from_nanos(1));
    assert!(
        !world.limiter.check(&user("alice")).is_allowed(),
        "before {next}"
    );
    world.clock.set(instant(next));
    assert_eq!(outcome(world).used(), 0, "at {next}");
}

#[test]
fn edge_24_a_day_is_as_long_as_its_zone_says() {
    // 2025-03-30: 23 hours in Berlin. 2025-10-26: 25.
    let world = quota("day", "Europe/Berlin", "2025-03-29T23:00:00Z");
    opens_at(&world, "2025-03-30T22:00:00Z");
    opens_at(&world, "2025-03-31T22:00:00Z");
    let world = quota("day", "Europe/Berlin", "2025-10-25T22:00:00Z");
    opens_at(&world, "2025-10-26T23:00:00Z");
    opens_at(&world, "2025-10-27T23:00:00Z");
}

#[test]
fn edge_24_a_midnight_that_is_skipped() {
    // In Beirut 2025-03-30 begins at one o'clock.
    let world = quota("day", "Asia/Beirut", "2025-03-29T10:00:00Z");
    opens_at(&world, "2025-03-29T22:00:00Z");
    opens_at(&world, "2025-03-30T21:00:00Z");
}

#[test]
fn edge_24_months_weeks_and_the_turn_of_the_year() {
    let world = quota("month", "UTC", "2028-02-01T00:00:00Z");
    opens_at(&world, "2028-03-01T00:00:00Z");
    opens_at(&world, "2028-04-01T00:00:00Z");
    let world = quota("month", "America/New_York", "2025-12-31T12:00:00Z");
    opens_at(&world, "2026-01-01T05:00:00Z");
    opens_at(&world, "2026-02-01T05:00:00Z");
    let world = quota("week", "UTC", "2025-10-09T08:00:00Z");
    opens_at(&world, "2025-10-13T00:00:00Z");
    let text = "[limits.quota]\nrate = \"5/week\"\nkey = \"user\"\nalgorithm = \"calendar\"\n\
                week_starts = \"sunday\"";
    let world = world_at(text, instant("2025-10-09T08:00:00Z"));
    opens_at(&world, "2025-10-12T00:00:00Z");
}

#[test]
fn edge_24_both_hours_from_two_to_three_are_hours() {
    let world = quota("hour", "Europe/Berlin", "2025-10-26T00:10:00Z");
    opens_at(&world, "2025-10-26T01:00:00Z");
    opens_at(&world, "2025-10-26T02:00:00Z");
}

#[test]
fn edge_25_units_and_zones_do_not_collide() {
    let text = r#"
        [limits.hour]
        rate = "9/hour"
        key = "user"
        algorithm = "calendar"
        [limits.day]
        rate = "9/day"
        key = "user"
        algorithm = "calendar"
        [limits.berlin]
        rate = "9/day"
        key = "user"
        algorithm = "calendar"
        time_zone = "Europe/Berlin"
        [limits.plain-day]
        rate = "9/day"
        key = "user"
        algorithm = "fixed window"
    "#;
    let world = world_at(text, instant("2025-10-09T00:30:00Z"));
    let take = |limit: &str, cost| {
        let limit = world.limiter.limit(limit).unwrap();
        assert!(limit.check_cost("alice", cost).is_allowed());
    };
    take("hour", 1);
    take("day", 2);
    take("berlin", 3);
    take("plain-day", 4);
    let used = || ["hour", "day", "berlin", "plain-day"].map(|limit| world.used(limit, "alice"));
    assert_eq!(used(), [1, 2, 3, 4]);
    world.pass(1_800);
    assert_eq!(used(), [0, 2, 3, 4]);
    world.clock.set(instant("2025-10-09T22:00:00Z"));
    assert_eq!(used(), [0, 2, 0, 4], "Berlin's day is over first");
    world.clock.set(instant("2025-10-10T00:00:00Z"));
    assert_eq!(used(), [0, 0, 0, 0]);
}

#[test]
fn edge_57_offline_past_the_edge_is_fresh_and_within_it_kept() {
    let world = quota("day", "Europe/Berlin", "2025-03-29T23:00:00Z");
    assert_eq!(world.drain(&user("alice")), 5);
    let text = "[limits.quota]\nrate = \"5/day\"\nkey = \"user\"\nalgorithm = \"calendar\"\n\
                time_zone = \"Europe/Berlin\"";
    world.clock.set(instant("2025-03-30T21:59:59Z"));
    let world = world.reopened(text);
    assert_eq!(world.drain(&user("alice")), 0);
    world.clock.set(instant("2025-03-30T22:00:00Z"));
    let world = world.reopened(text);
    assert_eq!(world.drain(&user("alice")), 5);
}

#[test]
fn edge_22_and_23_a_window_edge() {
    let text = |algorithm: &str| {
        format!("[limits.quota]\nrate = \"10/min\"\nkey = \"user\"\nalgorithm = \"{algorithm}\"")
    };
    let just_before = instant("2025-10-09T08:00:59.990Z");
    let after = Duration::from_millis(10);
    // A fixed window is documented to let twice its amount through around an edge.
    let fixed = world_at(&text("fixed window"), just_before);
    assert_eq!(fixed.drain(&user("alice")), 10);
    fixed.clock.advance(after);
    assert_eq!(fixed.drain(&user("alice")), 10);
    // A sliding one lets nothing through right after, and says when.
    let sliding = world_at(&text("sliding window"), just_before);
    assert_eq!(sliding.drain(&user("alice")), 10);
    sliding.clock.advance(after);
    assert_eq!(sliding.drain(&user("alice")), 0);
    let wait = outcome(&sliding).retry_after().unwrap();
    assert_eq!(
        wait,
        Duration::from_secs(6),
        "a tenth of the last minute must have left"
    );
    sliding.clock.advance(wait - Duration::from_nanos(1));
    assert_eq!(sliding.drain(&user("alice")), 0);
    sliding.clock.advance(Duration::from_nanos(1));
    assert_eq!(sliding.drain(&user("alice")), 1);
    // Nor does one that opens with the first hit end early.
    let first = world_at(&text("fixed window from first hit"), just_before);
    assert_eq!(first.drain(&user("alice")), 10);
    first.pass(59);
    assert_eq!(first.drain(&user("alice")), 0);
}
