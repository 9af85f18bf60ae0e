//! What a change of rate keeps: tokens, not time, whoever brings the change about.

use std::time::Duration;

use tollgate::Request;

use super::{World, open, policy, world};

const DAY: Duration = Duration::from_secs(86_400);

/// How a key comes to another rate.
#[derive(Clone, Copy, Debug)]
enum Way {
    Policy,
    Tier,
    Override,
    /// A policy, by another process that has but the directory.
    Restart,
    /// The same, after a power cut: the table is lost, and the journal is there.
    Cut,
}

const WAYS: [Way; 5] = [
    Way::Policy,
    Way::Tier,
    Way::Override,
    Way::Restart,
    Way::Cut,
];

/// A policy with a rate for all but the callers of one tier.
fn rates(rate: &str, of_tier: &str) -> String {
    format!(
        "[limits.calls]\nrate = {rate:?}\nkey = \"user\"\ndurability = \"logged\"\n\
         [tiers.other]\nwhen = {{ plan = \"other\" }}\nrates = {{ calls = {of_tier:?} }}\n"
    )
}

/// A limiter whose callers come to rates of their own.
struct Rated {
    world: World,
    way: Way,
    /// The rate that the tier has, if that is the way.
    is_other: bool,
}

impl Rated {
    fn new(way: Way, first: &str, second: &str) -> Self {
        Self {
            world: world(&rates(first, second)),
            way,
            is_other: false,
        }
    }

    fn change(&mut self, to: &str) {
        let world = &mut self.world;
        match self.way {
            Way::Tier => self.is_other = !self.is_other,
            Way::Policy => {
                let next = policy(&rates(to, "1/s"));
                world.limiter.replace_policy(next).unwrap();
            }
            Way::Override => world.limiter.set_override("calls", "alice", to).unwrap(),
            Way::Restart | Way::Cut => {
                world.limiter.flush().unwrap();
                world.limiter.close().unwrap();
                if matches!(self.way, Way::Cut) {
                    std::fs::remove_dir_all(world.data().join("table")).unwrap();
                }
                // Lets go of the directory.
                let elsewhere = world.dir.path().join("elsewhere");
                let other = open(elsewhere, &rates(to, "1/s"), &world.clock);
                drop(std::mem::replace(&mut world.limiter, other));
                world.limiter = open(world.data(), &rates(to, "1/s"), &world.clock);
            }
        }
    }

    /// Takes as many at once as there are, at most `most`.
    fn take(&self, most: u64) -> u64 {
        let plan = if self.is_other { "other" } else { "none" };
        let request = Request::new()
            .attribute("user", "alice")
            .attribute("plan", plan);
        let admitted = (0..most).take_while(|_| self.world.limiter.check(&request).is_allowed());
        admitted.count() as u64
    }
}

#[test]
fn w3_a_spent_key_that_gets_a_faster_rate_has_what_that_leaves() {
    for way in WAYS {
        let mut rated = Rated::new(way, "10/day", "100/min");
        assert_eq!(rated.take(100), 10, "{way:?}");
        rated.change("100/min");
        assert_eq!(rated.take(200), 90, "{way:?}: ten of a hundred are used");
        // And all of it is back when the new rate has filled it.
        rated.world.clock.advance(Duration::from_secs(60));
        assert_eq!(rated.take(200), 100, "{way:?}");
    }
}

/// What does not fit the new burst is let go of, where an operator changed the rate.
#[test]
fn w3_nobody_waits_longer_than_the_new_rate_takes_to_fill() {
    for way in [Way::Policy, Way::Override, Way::Restart, Way::Cut] {
        let mut rated = Rated::new(way, "1000/day", "100/min");
        assert_eq!(rated.take(2_000), 1_000, "{way:?}");
        rated.change("100/min");
        assert_eq!(
            rated.take(1),
            0,
            "{way:?}: all that the burst holds is used"
        );
        rated.world.clock.advance(Duration::from_millis(600));
        assert_eq!(rated.take(2), 1, "{way:?}");
        rated.world.clock.advance(Duration::from_secs(60));
        assert_eq!(rated.take(200), 100, "{way:?}");
    }
}

/// Where the request says which tier it is of, a client could else empty the larger burst, take one
/// of the smaller, and find the larger full again but for that.
#[test]
fn w3_a_client_that_chooses_its_tier_refills_nothing_by_it() {
    let mut rated = Rated::new(Way::Tier, "1000/day", "1000/day burst 10");
    assert_eq!(rated.take(2_000), 1_000);
    rated.change("smaller");
    rated.world.clock.advance(DAY / 1_000);
    assert_eq!(rated.take(10), 0, "999 are used, of ten");
    rated.change("larger");
    assert_eq!(rated.take(10), 1);
    rated.change("smaller");
    rated.world.clock.advance(DAY - DAY / 100);
    assert_eq!(rated.take(10), 0);
    rated.world.clock.advance(DAY / 1_000);
    assert_eq!(rated.take(10), 1);
    assert_eq!(
        rated.world.limiter.health().words_healed,
        0,
        "no clock was wrong"
    );
}

#[test]
fn w3b_a_spent_key_that_gets_a_slower_rate_is_spent() {
    for way in WAYS {
        let mut rated = Rated::new(way, "100/min", "100/h");
        assert_eq!(rated.take(200), 100, "{way:?}");
        rated.change("100/h");
        assert_eq!(rated.take(200), 0, "{way:?}");
        // A tier's end is known to nobody: the bucket fills at its own rate until the next take.
        rated.world.clock.advance(Duration::from_secs(36));
        let back = if matches!(way, Way::Tier) { 60 } else { 1 };
        assert_eq!(rated.take(200), back, "{way:?}");
        rated.world.clock.advance(Duration::from_secs(35));
        assert_eq!(rated.take(200), 0, "{way:?}: one in 36 s");
        rated.world.clock.advance(Duration::from_secs(1));
        assert_eq!(rated.take(200), 1, "{way:?}: one in 36 s");
    }
}

#[test]
fn w3_changing_back_and_forth_refills_nothing() {
    for way in WAYS {
        let mut rated = Rated::new(way, "10/day", "100/min");
        assert_eq!(rated.take(7), 7, "{way:?}");
        for _ in 0..4 {
            rated.change("100/min");
            rated.change("10/day");
        }
        assert_eq!(rated.take(20), 3, "{way:?}");
        for _ in 0..4 {
            rated.change("100/min");
            assert_eq!(rated.take(1), 1, "{way:?}");
            rated.change("10/day");
        }
        assert_eq!(rated.take(20), 0, "{way:?}");
        rated.world.clock.advance(DAY);
        assert_eq!(rated.take(20), 10, "{way:?}");
    }
}

#[test]
fn w3_what_was_taken_at_another_rate_can_be_given_back() {
    for rate in ["100/min", "10/day", "7/h"] {
        let world = world(&rates("10/day", "1/s"));
        let limit = world.limiter.limit("calls").unwrap();
        let taken = limit.check_cost("alice", 6);
        let next = policy(&rates(rate, "1/s"));
        world.limiter.replace_policy(next).unwrap();
        assert_eq!(limit.usage("alice").used(), 6, "{rate}");
        assert!(limit.check("alice").is_allowed());
        limit.refund("alice", taken);
        assert_eq!(limit.usage("alice").used(), 1, "{rate}");
        assert_eq!(world.limiter.health().words_healed, 0);
    }
}

/// More rates than a word can name: a change among those that have no name keeps time, and nobody
/// waits longer than it takes to fill.
#[test]
fn w3_more_rates_than_words_can_name_are_bounded_by_the_filling() {
    let world = world(&rates("10/day", "1/s"));
    for count in 1..=60 {
        let (user, rate) = (format!("user {count}"), format!("{count}/h"));
        world.limiter.set_override("calls", &user, &rate).unwrap();
        let limit = world.limiter.limit("calls").unwrap();
        assert_eq!(
            (0..99).filter(|_| limit.check(&user).is_allowed()).count(),
            count
        );
    }
    for count in 1..=60 {
        let (user, rate) = (format!("user {count}"), "60/min");
        world.limiter.set_override("calls", &user, rate).unwrap();
        let usage = world.limiter.limit("calls").unwrap().usage(&user);
        assert!(
            usage.used() >= count && usage.used() <= 60,
            "{count}: {}",
            usage.used()
        );
        assert!(usage.reset_after() <= Duration::from_secs(60));
    }
    let world = world.reopened(&rates("10/day", "1/s"));
    assert_eq!(world.used("calls", "user 1"), 1);
}
