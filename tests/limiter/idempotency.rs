//! Requests with an id of their own: recognised when they come again, and charged once where the
//! policy says so.

use std::sync::Barrier;
use std::thread;

use tollgate::{Decision, Limiter, Request, Verdict};

use super::{of, policy, user, world};

const RUNS: &str = r#"
    [idempotency]
    key = "user + run"
    remember = "24h"
    repeats = "answered by the service"
    max_repeats = 10

    [limits.action]
    rate = "3/day"
    algorithm = "fixed window from first hit"
    key = "user"

    [limits.all]
    rate = "1000/day"
    algorithm = "fixed window from first hit"
"#;

fn run<'r>(name: &'r str, id: &'r str) -> Request<'r> {
    user(name).attribute("run", id)
}

fn sum(limiter: &Limiter) -> u64 {
    limiter.limit("all").unwrap().usage(()).used()
}

#[test]
fn c7_a_settled_run_is_not_charged_twice() {
    let world = world(RUNS);
    let limiter = &world.limiter;
    let first = limiter.check(&run("alice", "r1"));
    assert_eq!(
        (first.verdict(), first.is_repeat()),
        (Verdict::Allowed, false)
    );
    for _ in 0..9 {
        let again = limiter.check(&run("alice", "r1"));
        assert_eq!(
            (again.verdict(), again.is_repeat()),
            (Verdict::Repeated, true)
        );
        assert_eq!(of(&again, "action").remaining(), 2);
        assert_eq!(of(&again, "action").cost(), 0);
    }
    assert_eq!((world.used("action", "alice"), sum(limiter)), (1, 1));
    let told = limiter.check(&run("alice", "r1")).to_string();
    assert!(
        told.starts_with("allowed by action: allowed, charged before, 2 of 3 left"),
        "{told}"
    );
}

#[test]
fn c7_answered_as_before_though_nothing_is_left() {
    let world = world(RUNS);
    let limiter = &world.limiter;
    for id in ["r1", "r2", "r3"] {
        assert!(limiter.check(&run("alice", id)).is_allowed());
    }
    assert!(!limiter.check(&run("alice", "r4")).is_allowed());
    assert!(limiter.check(&run("alice", "r2")).is_allowed());
    // Nor by a policy that would not let it in any more.
    let shut = RUNS.replacen("algorithm = \"fixed window from first hit\"", "", 1);
    world.replace(&shut.replace("3/day", "deny"));
    assert!(!limiter.check(&run("alice", "r5")).is_allowed());
    assert!(limiter.check(&run("alice", "r2")).is_repeat());
}

#[test]
fn c7_ids_are_told_apart_and_a_request_without_one_is_charged_each_time() {
    let world = world(RUNS);
    let limiter = &world.limiter;
    assert!(limiter.check(&run("alice", "r1")).is_allowed());
    assert!(
        !limiter.check(&run("bob", "r1")).is_repeat(),
        "another's id is not mine"
    );
    assert!(!limiter.check(&run("alice", "r1x")).is_repeat());
    assert!(!limiter.check(&user("alice")).is_repeat());
    assert!(
        !limiter
            .check(&user("alice").attribute("run", ""))
            .is_repeat(),
        "no id"
    );
    assert!(
        !limiter
            .check(&Request::new().attribute("run", "r1"))
            .is_repeat()
    );
    // Without a user the request was refused.
    assert_eq!((sum(limiter), world.used("action", "alice")), (4, 3));
}

#[test]
fn c7_what_was_refused_is_judged_anew() {
    let world = world(RUNS);
    let limiter = &world.limiter;
    for id in ["r1", "r2", "r3"] {
        assert!(limiter.check(&run("alice", id)).is_allowed());
    }
    assert!(!limiter.check(&run("alice", "r4")).is_allowed());
    limiter.limit("action").unwrap().reset("alice");
    let later = limiter.check(&run("alice", "r4"));
    assert_eq!(later.verdict(), Verdict::Allowed);
    assert_eq!(world.used("action", "alice"), 1);
}

#[test]
fn c7_the_time_is_as_stated_and_counts_from_the_first() {
    let world = world(&RUNS.replace("24h", "10 min"));
    let limiter = &world.limiter;
    assert!(limiter.check(&run("alice", "r1")).is_allowed());
    world.pass(599);
    assert!(limiter.check(&run("alice", "r1")).is_repeat());
    world.pass(1);
    let later = limiter.check(&run("alice", "r1"));
    assert_eq!(
        (later.is_repeat(), world.used("action", "alice")),
        (false, 2)
    );
}

#[test]
fn c7_ids_are_kept_over_a_restart_and_a_change_of_the_limits() {
    let world = world(RUNS);
    assert!(world.limiter.check(&run("alice", "r1")).is_allowed());
    let world = world.reopened(RUNS);
    assert!(world.limiter.check(&run("alice", "r1")).is_repeat());
    world.replace(&RUNS.replace("3/day", "30/day"));
    assert!(world.limiter.check(&run("alice", "r1")).is_repeat());
    assert_eq!(world.used("action", "alice"), 1);
    // Without the table, as ids do not count beyond that.
    let (_, limits) = RUNS.split_once("max_repeats = 10").unwrap();
    world.replace(limits);
    assert!(!world.limiter.check(&run("alice", "r1")).is_repeat());
    assert_eq!(world.used("action", "alice"), 2);
}

#[test]
fn c7_looking_neither_charges_nor_remembers() {
    let world = world(RUNS);
    let limiter = &world.limiter;
    assert_eq!(
        limiter.usage(&run("alice", "r1")).verdict(),
        Verdict::Allowed
    );
    assert!(!limiter.check(&run("alice", "r1")).is_repeat());
    assert_eq!(
        limiter.usage(&run("alice", "r1")).verdict(),
        Verdict::Repeated
    );
    assert_eq!(world.used("action", "alice"), 1);
}

#[test]
fn a_refund_forgets_the_id_and_a_repeat_has_nothing_to_give_back() {
    let world = world(RUNS);
    let limiter = &world.limiter;
    let first = limiter.check(&run("alice", "r1"));
    let again = limiter.check(&run("alice", "r1"));
    limiter.refund(again.clone());
    limiter.settle(again, 100);
    assert_eq!(world.used("action", "alice"), 1);
    limiter.refund(first);
    assert_eq!(world.used("action", "alice"), 0);
    assert!(!limiter.check(&run("alice", "r1")).is_repeat());
    assert_eq!(world.used("action", "alice"), 1);
}

#[test]
fn what_settles_differs_but_the_id_stays() {
    let world = world(RUNS);
    let first = world.limiter.check(&run("alice", "r1"));
    world.limiter.settle(first, 3);
    assert!(world.limiter.check(&run("alice", "r1")).is_repeat());
    assert_eq!(world.used("action", "alice"), 3);
}

#[test]
fn an_exempt_route_asks_for_no_id() {
    let world = world(&format!(
        "{RUNS}\n[[routes]]\nroute = \"GET /health\"\nexempt = true\n"
    ));
    let request = Request::http("GET", "/health")
        .attribute("user", "a")
        .attribute("run", "r");
    for _ in 0..2 {
        let decision = world.limiter.check(&request);
        assert!(decision.is_exempt() && !decision.is_repeat());
    }
}

/// Sends the same request from many threads at once; what each was told.
fn together(limiter: &Limiter, threads: usize, id: &str) -> Vec<Decision> {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    limiter.check(&run("alice", id))
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn c7_of_many_at_once_one_charges_and_all_are_answered_alike() {
    let text = RUNS.replace("3/day", "100/day");
    let world = world(&text);
    for round in 0..200 {
        let told = together(&world.limiter, 4, &format!("r{round}"));
        let is_allowed = round < 100;
        assert!(
            told.iter().all(|one| one.is_allowed() == is_allowed),
            "round {round}"
        );
        let charged = told.iter().filter(|one| one.verdict() == Verdict::Allowed);
        assert_eq!(charged.count(), usize::from(is_allowed), "round {round}");
    }
    assert_eq!(
        (world.used("action", "alice"), sum(&world.limiter)),
        (100, 100)
    );
}

#[test]
fn c7_ids_without_room_are_charged_each_time_and_health_says_so() {
    let text = RUNS
        .replace("3/day", "100000/day")
        .replace("1000/day", "100000/day");
    let world = world(&text);
    let limiter = &world.limiter;
    let ids: Vec<String> = (0..5_000).map(|id| format!("r{id}")).collect();
    for id in &ids {
        assert!(limiter.check(&run("alice", id)).is_allowed());
    }
    let forgotten = limiter.health().newcomers_without_slot;
    assert!(forgotten > 0, "the table was made for a thousand counters");
    let repeats = ids
        .iter()
        .filter(|id| limiter.check(&run("alice", id)).is_repeat());
    let repeats = repeats.count() as u64;
    assert_eq!(repeats, 5_000 - forgotten, "all the others are remembered");
    assert_eq!(world.used("action", "alice"), 5_000 + forgotten);
}

/// Row H2: unless the policy says that the service answers repeats, one is like any other request.
#[test]
fn h2_a_repeat_is_marked_and_charged_and_refused_like_any_other() {
    let charged = RUNS.replace(ANSWERED, "");
    for text in [
        charged.clone(),
        RUNS.replace(ANSWERED, "repeats = \"charge\""),
    ] {
        let world = world(&text);
        let limiter = &world.limiter;
        assert!(!limiter.check(&run("alice", "r1")).is_repeat());
        for used in 2..=3 {
            let again = limiter.check(&run("alice", "r1"));
            assert_eq!(
                (again.verdict(), again.is_repeat()),
                (Verdict::Allowed, true)
            );
            assert_eq!(world.used("action", "alice"), used);
        }
        let spent = limiter.check(&run("alice", "r1"));
        assert_eq!(
            (spent.verdict(), spent.is_repeat()),
            (Verdict::Refused, true)
        );
        let looked = limiter.usage(&run("alice", "r1"));
        assert_eq!(
            (looked.verdict(), looked.is_repeat()),
            (Verdict::Refused, true)
        );
        // What was charged for a repeat is given back like any other charge.
        world.limiter.limit("action").unwrap().reset("alice");
        let again = limiter.check(&run("alice", "r1"));
        limiter.refund(again);
        assert_eq!(world.used("action", "alice"), 0);
        assert!(limiter.check(&run("alice", "r1")).is_repeat());
    }
    // With permits, too.
    let world = world(&format!("{charged}{HEAVY}"));
    for used in 1..=3 {
        assert!(world.limiter.acquire(&run("alice", "r1")).is_allowed());
        assert_eq!(world.used("action", "alice"), used);
    }
    assert!(!world.limiter.acquire(&run("alice", "r1")).is_allowed());
}

const ANSWERED: &str = "repeats = \"answered by the service\"\n    max_repeats = 10";

/// Row H2: the repeats that pass uncharged are few.
#[test]
fn h2_after_so_many_repeats_they_are_charged() {
    let world = world(&format!(
        "{}{HEAVY}",
        RUNS.replace("max_repeats = 10", "max_repeats = 2")
    ));
    let limiter = &world.limiter;
    let told: Vec<_> = (0..7)
        .map(|_| limiter.acquire(&run("alice", "r1")).into_parts().0)
        .map(|decision| (decision.verdict(), decision.is_repeat()))
        .collect();
    assert_eq!(told[0], (Verdict::Allowed, false));
    assert_eq!(told[1..3], [(Verdict::Repeated, true); 2]);
    assert_eq!(told[3..5], [(Verdict::Allowed, true); 2]);
    assert_eq!(told[5..], [(Verdict::Refused, true); 2]);
    assert_eq!(world.used("action", "alice"), 3);
    // The first alone is refunded, and the id forgotten with its repeats.
    let world = world.reopened(&RUNS.replace("3/day", "30/day"));
    let first = world.limiter.check(&run("alice", "r2"));
    for _ in 0..3 {
        assert!(world.limiter.check(&run("alice", "r2")).is_repeat());
    }
    world.limiter.refund(first);
    assert!(!world.limiter.check(&run("alice", "r2")).is_repeat());
}

/// Row H2: an id counts for its client, method, path, query and cost.
#[test]
fn h2_an_id_opens_nothing_but_what_it_came_with() {
    let text = r#"
        [idempotency]
        key = "run"
        repeats = "answered by the service"
        [limits.upload]
        rate = "4/day"
        key = "user"
        [limits.action]
        rate = "4/day"
        key = "user + {id}"
        cost = "size"
        [[routes]]
        route = "POST /upload"
        limits = ["upload"]
        [[routes]]
        route = "POST|PUT /action/{id}"
        limits = ["action"]
    "#;
    let world = world(text);
    let limiter = &world.limiter;
    let send = |user: &str, method: &str, path: &str, size: &str| {
        let request = Request::http(method, path)
            .attribute("user", user)
            .attribute("size", size)
            .attribute("run", "one id");
        limiter.check(&request).verdict()
    };
    let (is_new, is_repeat) = (Verdict::Allowed, Verdict::Repeated);
    assert_eq!(send("alice", "POST", "/action/1", "1"), is_new);
    assert_eq!(send("alice", "POST", "/action/1", "1"), is_repeat);
    // In every spelling of the path that is not refused.
    assert_eq!(send("alice", "POST", "/action/%31", "1"), is_repeat);
    assert_eq!(send("bob", "POST", "/action/1", "1"), is_new, "the client");
    assert_eq!(send("alice", "PUT", "/action/1", "1"), is_new, "the method");
    assert_eq!(send("alice", "POST", "/action/2", "1"), is_new, "the path");
    assert_eq!(send("alice", "POST", "/action/1?a", "1"), is_new, "query");
    assert_eq!(send("alice", "POST", "/action/1", "2"), Verdict::Refused);
    assert_eq!(send("bob", "POST", "/action/1", "2"), is_new, "the cost");
    assert_eq!(send("alice", "POST", "/upload", "1"), is_new, "the bucket");
    // Another bucket is spent by ids of its own, and then nothing opens it.
    for run in ["2", "3", "4", "5", "one id"] {
        let request = Request::http("POST", "/upload")
            .attribute("user", "alice")
            .attribute("run", run);
        let wanted = match run {
            "5" => Verdict::Refused,
            "one id" => is_repeat,
            _ => is_new,
        };
        assert_eq!(limiter.check(&request).verdict(), wanted, "{run}");
    }
}

const HEAVY: &str = r#"
    [limits.heavy]
    max_concurrent = 1
    queue = 4
    wait = "5 min"
    key = "user"
"#;

#[test]
fn c7_a_repeat_takes_its_permit_as_it_runs_and_is_charged_nothing() {
    let world = world(&format!("{RUNS}{HEAVY}"));
    let limiter = &world.limiter;
    let first = limiter.acquire(&run("alice", "r1"));
    assert!(first.is_allowed() && !first.decision().is_repeat());
    let busy = limiter.try_acquire(&run("alice", "r1"));
    assert_eq!(busy.decision().verdict(), Verdict::QueueFull);
    drop(first);
    let again = limiter.acquire(&run("alice", "r1"));
    assert!(again.is_allowed() && again.decision().is_repeat());
    assert_eq!(again.decision().concurrency().next().unwrap().running(), 1);
    assert_eq!(world.used("action", "alice"), 1);
    drop(again);
    let refused = limiter.check(&run("alice", "r1"));
    assert_eq!(refused.verdict(), Verdict::NeedsPermit);
}

#[test]
fn c7_of_two_that_wait_for_a_permit_one_is_charged() {
    let world = world(&format!("{RUNS}{HEAVY}"));
    let limiter = &world.limiter;
    let held = limiter.acquire(&user("alice"));
    thread::scope(|scope| {
        let both =
            [0, 1].map(|_| scope.spawn(|| limiter.acquire(&run("alice", "r1")).into_parts().0));
        let waiting = || {
            limiter
                .usage(&user("alice"))
                .concurrency()
                .next()
                .unwrap()
                .waiting()
        };
        while waiting() != 2 {
            thread::yield_now();
        }
        drop(held);
        let both = both.map(|one| one.join().unwrap());
        assert!(both.iter().all(Decision::is_allowed));
        assert_eq!(both.iter().filter(|one| one.is_repeat()).count(), 1);
    });
    assert_eq!(
        world.used("action", "alice"),
        2,
        "the holder's and one of the two"
    );
}

#[test]
fn the_policy_tells_how_ids_are_kept() {
    let policy = policy(RUNS);
    let told = policy.idempotency();
    assert_eq!(
        told.as_deref(),
        Some("ids kept for 24 hours, up to 10 repeats not charged, for each user + run")
    );
    assert_eq!(policy.limits().count(), 2, "it is no limit of the policy");
    let explained = policy.explain(&run("alice", "r1")).unwrap();
    assert_eq!(explained.id.as_deref(), Some("user=alice run=r1"));
    assert!(explained.to_string().contains(", id user=alice run=r1"));
    assert_eq!(policy.explain(&user("alice")).unwrap().id, None);
    let charged = crate::policy(&RUNS.replace(ANSWERED, "")).idempotency();
    assert_eq!(
        charged.as_deref(),
        Some("ids kept for 24 hours, repeats charged, for each user + run")
    );
    let world = world(RUNS);
    let error = world.limiter.limit("[idempotency]").expect_err("nor here");
    assert!(error.is_unknown_limit());
}
