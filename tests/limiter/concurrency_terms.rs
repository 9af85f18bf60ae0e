//! Limits on how many run at a time: whose number counts, and what happens when it changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tollgate::{Admission, Limiter, Request, Verdict};

use super::concurrency::{HEAVY, NO_QUEUE, acquire_elsewhere, load, only, poll, until_waiting};
use super::{user, world};

const LEVELS: &str = r#"
    [limits.heavy]
    max_concurrent = 1
    queue = 8
    wait = "5 min"
    key = "user"

    [tiers.gold]
    when = { plan = "gold" }
    max_concurrent = { heavy = 3 }

    [[overrides]]
    limit = "heavy"
    key = "acme"
    max_concurrent = 2
"#;

/// How many a request can have at a time.
fn room(limiter: &Limiter, request: &Request<'_>) -> usize {
    let tries = (0..100).map(|_| limiter.try_acquire(request));
    let held: Vec<_> = tries.take_while(Admission::is_allowed).collect();
    held.len()
}

#[test]
fn tiers_and_overrides_have_numbers_of_their_own() {
    let world = world(LEVELS);
    let gold = |name| user(name).attribute("plan", "gold");
    assert_eq!(room(&world.limiter, &user("alice")), 1);
    assert_eq!(room(&world.limiter, &gold("alice")), 3);
    assert_eq!(room(&world.limiter, &user("acme")), 2);
    assert_eq!(
        room(&world.limiter, &gold("acme")),
        2,
        "an override goes before a tier"
    );

    world.limiter.set_override("heavy", &["acme"], "5").unwrap();
    assert_eq!(room(&world.limiter, &user("acme")), 5);
    world
        .limiter
        .set_override("heavy", &["bob"], "unlimited")
        .unwrap();
    assert_eq!(room(&world.limiter, &user("bob")), 100);
    for wrong in ["0", "-1", "5/min", "many", ""] {
        let error = world.limiter.set_override("heavy", &["bob"], wrong);
        assert!(error.is_err_and(|error| error.is_invalid()), "{wrong}");
    }
    assert!(world.limiter.remove_override("heavy", &["acme"]).unwrap());
    assert_eq!(room(&world.limiter, &user("acme")), 2);

    let world = world.reopened(LEVELS);
    assert_eq!(
        room(&world.limiter, &user("bob")),
        100,
        "kept over a restart"
    );
}

#[test]
fn a_callers_tier_may_change_while_it_runs() {
    let world = world(LEVELS);
    let gold = user("alice").attribute("plan", "gold");
    let held = [0, 1, 2].map(|_| world.limiter.try_acquire(&gold));
    assert!(held.iter().all(Admission::is_allowed));
    let plain = world.limiter.try_acquire(&user("alice"));
    assert_eq!((only(&plain).running(), only(&plain).limit()), (3, 1));
    assert!(!plain.is_allowed());
}

#[test]
fn edge_35_a_raised_limit_lets_in_exactly_as_many_as_now_fit() {
    let world = world(LEVELS);
    let held = world.limiter.acquire(&user("alice"));
    let request = user("alice");
    let mut waiters: Vec<_> = (0..3)
        .map(|_| Box::pin(world.limiter.acquire_async(&request)))
        .collect();
    for waiter in &mut waiters {
        assert!(poll(waiter).is_pending());
    }
    world.replace(&LEVELS.replace("max_concurrent = 1", "max_concurrent = 3"));
    assert_eq!(load(&world.limiter, "alice"), (3, 1));
    let mut polled: Vec<_> = waiters.iter_mut().map(poll).collect();
    assert!(polled[2].is_pending(), "first come, first served");
    assert!(
        polled
            .drain(..2)
            .all(|one| matches!(one, Poll::Ready(one) if one.is_allowed()))
    );
    drop(held);
}

#[test]
fn edge_35_an_override_lets_in_who_waits_and_a_tier_keeps_its_own() {
    let world = world(LEVELS);
    let held = world.limiter.acquire(&user("alice"));
    let request = user("alice");
    let mut waiter = Box::pin(world.limiter.acquire_async(&request));
    assert!(poll(&mut waiter).is_pending());
    // Tiers may change their order: who waits goes by the name of his.
    let silver = "\n[tiers.silver]\nwhen = { plan = \"silver\" }\nmax_concurrent = { heavy = 9 }\n";
    let (limits, tiers) = LEVELS.split_once("[tiers.gold]").unwrap();
    world.replace(&format!("{limits}{silver}[tiers.gold]{tiers}"));
    assert!(poll(&mut waiter).is_pending());
    world
        .limiter
        .set_override("heavy", &["alice"], "2")
        .unwrap();
    assert!(matches!(poll(&mut waiter), Poll::Ready(one) if one.is_allowed()));
    drop(held);
}

#[test]
fn edge_35_lowered_under_holders_nobody_is_let_in_until_enough_are_done() {
    let world = world(HEAVY);
    let mut held = [0, 1].map(|_| Some(world.limiter.acquire(&user("alice"))));
    world.replace(&HEAVY.replace("max_concurrent = 2", "max_concurrent = 1"));
    assert_eq!(
        load(&world.limiter, "alice"),
        (2, 0),
        "held permits stay valid"
    );
    held[0] = None;
    assert!(!world.limiter.try_acquire(&user("alice")).is_allowed());
    held[1] = None;
    assert!(world.limiter.try_acquire(&user("alice")).is_allowed());
}

#[test]
fn edge_35_more_than_there_is_is_an_error_and_not_a_hang() {
    let text = HEAVY.replace(
        "key = \"user\"\n\n",
        "key = \"user\"\ncost = \"weight\"\n\n",
    );
    let world = world(&text);
    for (weight, verdict) in [
        ("2", Verdict::Allowed),
        ("3", Verdict::Impossible),
        ("99999999999999", Verdict::Impossible),
        ("many", Verdict::CostUnreadable),
    ] {
        let request = user("alice").attribute("weight", weight);
        let admission = world.limiter.acquire(&request);
        assert_eq!(admission.decision().verdict(), verdict, "{weight}");
        let hopeless = admission.decision().retry_after().is_none();
        assert_eq!(hopeless, verdict != Verdict::Allowed);
    }
    assert_eq!(world.used("hourly", "alice"), 1);
}

#[test]
fn a_limit_taken_out_of_the_policy_lets_in_who_waits_for_it() {
    let world = world(HEAVY);
    let held = [0, 1].map(|_| world.limiter.acquire(&user("alice")));
    let waiter = acquire_elsewhere(&world, "alice");
    until_waiting(&world.limiter, "alice", 1);
    let (_, hourly) = HEAVY.split_once("[limits.hourly]").unwrap();
    world.replace(&format!("[limits.hourly]{hourly}"));
    assert!(waiter.recv().unwrap().is_allowed());
    assert_eq!(world.used("hourly", "alice"), 3);
    drop(held);
}

#[test]
fn a_change_of_max_keys_is_refused_and_changes_nothing() {
    let world = world(HEAVY);
    let text = HEAVY.replace("queue = 1", "queue = 1\nmax_keys = 9");
    let error = world.limiter.replace_policy(super::policy(&text));
    let error = error.expect_err("it cannot");
    assert!(
        error.is_invalid() && error.to_string().contains("max_keys"),
        "{error}"
    );
    assert!(world.limiter.acquire(&user("alice")).is_allowed());
}

#[test]
fn a_limit_in_shadow_counts_and_neither_refuses_nor_makes_wait() {
    let world = world(&HEAVY.replace("queue = 1", "queue = 1\nshadow = true"));
    let held = [0, 1].map(|_| world.limiter.acquire(&user("alice")));
    assert!(
        held.iter()
            .all(|one| only(one).verdict() == Verdict::Allowed)
    );
    let third = world.limiter.acquire(&user("alice"));
    assert!(third.is_allowed());
    assert_eq!(only(&third).verdict(), Verdict::Shadowed);
    assert_eq!((only(&third).running(), only(&third).limit()), (3, 2));
    assert!(
        third
            .to_string()
            .contains("heavy (shadow): would be refused, 3 of 2"),
        "{third}"
    );
    assert!(
        world.limiter.check(&user("alice")).is_allowed(),
        "shadow never denies"
    );

    // Enforced from now on: those who run still count.
    world.replace(HEAVY);
    assert!(!world.limiter.try_acquire(&user("alice")).is_allowed());
    drop((held, third));
    assert!(world.limiter.try_acquire(&user("alice")).is_allowed());
}

#[test]
fn a_request_without_the_key_shares_skips_or_is_refused() {
    let nobody = Request::new();
    let with = |word: &str| {
        let own = format!("key = \"user\"\nwhen_key_missing = \"{word}\"");
        world(&NO_QUEUE.replace("key = \"user\"", &own))
    };
    let shared = with("share");
    let held = shared.limiter.acquire(&nobody);
    assert!(!shared.limiter.acquire(&nobody).is_allowed());
    drop(held);
    let skipped = with("skip");
    let held = skipped.limiter.acquire(&nobody);
    assert_eq!(held.decision().concurrency().len(), 0);
    assert!(skipped.limiter.acquire(&nobody).is_allowed());
    let refused = with("refuse");
    let refused = refused.limiter.acquire(&nobody);
    assert_eq!(refused.decision().verdict(), Verdict::KeyMissing);
}

/// Two limits whose permits are taken in one order, whatever the order of the routes' lists.
const TWO: &str = r#"
    [limits.b]
    max_concurrent = 1
    queue = 100
    wait = "5 min"

    [limits.a]
    max_concurrent = 1
    queue = 100
    wait = "5 min"

    [[routes]]
    route = "GET /one"
    limits = ["a", "b"]

    [[routes]]
    route = "GET /two"
    limits = ["b", "a"]
"#;

#[test]
fn two_limits_at_once_do_not_lock_each_other_out() {
    let world = world(TWO);
    thread::scope(|scope| {
        for path in ["/one", "/two", "/one", "/two"] {
            let limiter = &world.limiter;
            scope.spawn(move || {
                for _ in 0..200 {
                    let both = limiter.acquire(&Request::http("GET", path));
                    assert!(both.is_allowed(), "{both}");
                    let asked: Vec<_> = both.decision().concurrency().collect();
                    assert_eq!([asked[0].name(), asked[1].name()], ["a", "b"]);
                }
            });
        }
    });
}

#[test]
fn a_permit_of_one_limit_goes_back_if_the_next_refuses() {
    let world = world(&TWO.replace("queue = 100\n    wait = \"5 min\"", ""));
    let (limiter, request) = (&world.limiter, Request::http("GET", "/one"));
    let held = limiter.acquire(&request);
    world.replace(
        &TWO.replace("queue = 100\n    wait = \"5 min\"", "")
            .replacen(
                "[limits.a]\n    max_concurrent = 1",
                "[limits.a]\n    max_concurrent = 2",
                1,
            ),
    );
    let refused = limiter.acquire(&request);
    let said: Vec<_> = refused
        .decision()
        .concurrency()
        .map(|one| one.verdict())
        .collect();
    assert_eq!(said, [Verdict::Allowed, Verdict::QueueFull]);
    let seen = limiter.usage(&request);
    let running: Vec<_> = seen.concurrency().map(|one| one.running()).collect();
    assert_eq!(running, [1, 1], "though the refusal is still here");
    drop(held);
}

#[test]
fn a_whole_limit_tells_who_runs_and_waits() {
    let world = world(LEVELS);
    let held = ["alice", "bob"].map(|name| world.limiter.acquire(&user(name)));
    let request = user("bob");
    let mut waiter = Box::pin(world.limiter.acquire_async(&request));
    assert!(poll(&mut waiter).is_pending());
    let seen = world.limiter.running("heavy").unwrap();
    assert_eq!((seen.running, seen.waiting, seen.keys), (2, 1, 2));
    drop((held, waiter));
    let seen = world.limiter.running("heavy").unwrap();
    assert_eq!((seen.running, seen.waiting, seen.keys), (0, 0, 0));
    let error = world.limiter.running("light").expect_err("there is none");
    assert!(error.is_unknown_limit());
}

#[test]
fn edge_35_never_over_the_higher_limit_while_the_policy_changes() {
    let texts = [1, 3].map(|most| {
        let own = format!("max_concurrent = {most}");
        HEAVY
            .replace("max_concurrent = 2", &own)
            .replace("queue = 1", "queue = 100")
            .replace("5/h", "1000000/h")
    });
    let world = world(&texts[0]);
    let running = AtomicU64::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..5)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let held = world.limiter.acquire(&user("alice"));
                        assert!(held.is_allowed(), "{held}");
                        assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
                        thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for text in texts.iter().cycle() {
            world.replace(text);
            if threads.iter().all(|one| one.is_finished()) {
                break;
            }
        }
    });
    assert_eq!(world.used("hourly", "alice"), 1_000);
    assert_eq!(load(&world.limiter, "alice"), (0, 0));
}

/// Calls the limiter from where it wakes somebody.
struct Meddler(Limiter);

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        let Self(limiter) = &*self;
        assert_eq!(
            load(limiter, "alice"),
            (2, 0),
            "it was let in before it was told"
        );
        assert!(limiter.try_acquire(&user("bob")).is_allowed());
        limiter.replace_policy(super::policy(HEAVY)).unwrap();
    }
}

#[test]
fn who_is_woken_by_a_change_may_call_the_limiter_and_change_it_again() {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let world = world(LEVELS);
        let held = world.limiter.acquire(&user("alice"));
        let request = user("alice");
        let mut waiter = Box::pin(world.limiter.acquire_async(&request));
        let waker = Waker::from(Arc::new(Meddler(world.limiter.clone())));
        assert!(
            waiter
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        world
            .limiter
            .set_override("heavy", &["alice"], "2")
            .unwrap();
        assert!(matches!(poll(&mut waiter), Poll::Ready(one) if one.is_allowed()));
        drop(held);
        send.send(()).unwrap();
    });
    let through = receive.recv_timeout(Duration::from_secs(120));
    through.expect("neither stuck nor panicked");
}
