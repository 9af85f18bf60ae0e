//! Chameleon: a limit a minute, a bucket of requests started, and few heavy requests at a time;
//! which of them refused decides what is told.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::world::{Answered, World, agent, send, serve};

const ME: &[&str] = &["X-Account-Secret: free-1"];

#[test]
fn h1_global_counts_all_but_the_exceptions() {
    for (account, most) in [("free-1", 60), ("growth-1", 90), ("enterprise-1", 120)] {
        let world = serve("chameleon");
        world.clock.advance(Duration::from_secs(41));
        let me = format!("X-Account-Secret: {account}");
        world.must_pass(most, "GET", "/v3/observe/segments", &[&me]);
        let refused = world.must_refuse("GET", "/v3/observe/segments", &[&me]);
        assert_eq!(refused.number("X-Retry-After"), 19, "{account}");
        assert_eq!(refused.header("X-Ratelimit-Wait"), None);
        assert_eq!(refused.header("X-Ratelimit-Limit"), None);
        assert_eq!(refused.json()["wait"], 19);
        // The exceptions are served all the same, and say nothing of limits.
        for (method, path) in [("GET", "/health"), ("POST", "/observe/hooks/1")] {
            let exempt = world.send(method, path, &[&me]);
            assert_eq!(exempt.status, 200);
            assert_eq!(exempt.header("X-Retry-After"), None);
        }
        // To wait as long as it says is enough.
        world.clock.advance(Duration::from_secs(19));
        world.must_pass(1, "GET", "/v3/observe/segments", &[&me]);
    }
}

type Timed = (Answered, Duration);

/// Sends heavy requests that take `millis`, each on a thread and a connection of its own.
fn begin(world: &World, count: usize, millis: u64) -> Vec<JoinHandle<Timed>> {
    let url = format!("{}/v3/analyze/x?ms={millis}", world.url);
    let one = |_| {
        let url = url.clone();
        thread::spawn(move || {
            let start = Instant::now();
            (send(&agent(), "GET", &url, ME), start.elapsed())
        })
    };
    (0..count).map(one).collect()
}

/// Their answers, and how long each took.
fn end(threads: Vec<JoinHandle<Timed>>) -> Vec<Timed> {
    let answers = threads.into_iter().map(|thread| thread.join().unwrap());
    answers.collect()
}

/// Waits until so many run and wait.
fn until(world: &World, running: u64, waiting: u64) {
    let start = Instant::now();
    loop {
        let usage = world.limiter.running("heavy").unwrap();
        if (usage.running, usage.waiting) == (running, waiting) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{usage:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn h2_max_concurrent_queues_up_to_four_seconds_then_refuses() {
    let world = serve("chameleon");
    // Four run; the fifth waits for one of them, and runs then.
    let running = begin(&world, 4, 1_500);
    until(&world, 4, 0);
    let fifth = begin(&world, 1, 0);
    until(&world, 4, 1);
    for (answer, _) in end(running).into_iter().chain(end(fifth)) {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // They run for longer than anybody waits.
    let running = begin(&world, 4, 6_000);
    until(&world, 4, 0);
    let (answer, took) = end(begin(&world, 1, 0)).remove(0);
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(took >= Duration::from_secs(4), "it waited {took:?}");
    assert_eq!(answer.number("X-RateLimit-Limit"), 4);
    assert_eq!(answer.json()["limit"], 4);
    assert!(end(running).iter().all(|(answer, _)| answer.status == 200));
    // When they have ended there is room again, and nothing is left behind.
    assert_eq!(end(begin(&world, 1, 0))[0].0.status, 200);
    until(&world, 0, 0);
}

#[test]
fn h3_the_bucket_counts_requests_started_in_its_window() {
    let world = serve("chameleon");
    world.must_pass(1, "POST", "/v3/edit/tours", ME);
    world.clock.advance(Duration::from_millis(2_500));
    world.must_pass(19, "POST", "/v3/edit/tours", ME);
    let refused = world.must_refuse("POST", "/v3/edit/tours", ME);
    let wait = refused.number("X-Ratelimit-Wait");
    assert_eq!(wait, 10, "twelve seconds from the first, rounded up");
    assert_eq!(refused.json()["wait"], wait);
    world.clock.advance(Duration::from_secs(wait));
    world.must_pass(20, "POST", "/v3/edit/tours", ME);
}

#[test]
fn h4_the_strategy_that_refused_decides_header_and_body() {
    let world = serve("chameleon");
    let told = |answer: &Answered| {
        let names = ["x-retry-after", "x-ratelimit-wait", "x-ratelimit-limit"];
        let headers = names.map(|name| answer.header(name).is_some());
        let body = answer.json();
        assert_eq!(
            (&body["code"], body["messages"].is_array()),
            (&429.into(), true)
        );
        (
            headers,
            body.get("wait").is_some(),
            body.get("limit").is_some(),
        )
    };
    world.must_pass(20, "POST", "/v3/edit/x", ME);
    let bucket = world.must_refuse("POST", "/v3/edit/x", ME);
    assert_eq!(told(&bucket), ([false, true, false], true, false));

    world.must_pass(40, "GET", "/v3/observe/x", ME);
    let global = world.must_refuse("GET", "/v3/observe/x", ME);
    assert_eq!(told(&global), ([true, false, false], true, false));

    // Four run and sixteen wait, so the next is refused at once.
    world.clock.advance(Duration::from_secs(60));
    let running = begin(&world, 4, 3_000);
    until(&world, 4, 0);
    let waiting = begin(&world, 16, 0);
    until(&world, 4, 16);
    let heavy = world.must_refuse("GET", "/v3/analyze/x", ME);
    assert_eq!(told(&heavy), ([false, false, true], false, true));
    for (answer, _) in end(running).into_iter().chain(end(waiting)) {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
