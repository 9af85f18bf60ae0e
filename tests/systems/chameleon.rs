//! Chameleon: a limit a minute, a bucket of requests started, and few heavy requests at a time;
//! which of them refused decides what is told.

use std::thread;
use std::time::{Duration, Instant};

use crate::world::{World, agent, send, serve};

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

/// Sends heavy requests that take `millis`, each on a thread and a connection of its own, and gives
/// their answers with how long each took.
fn heavy(world: &World, count: usize, millis: u64) -> Vec<(crate::world::Answered, Duration)> {
    let url = format!("{}/v3/analyze/x?ms={millis}", world.url);
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let url = url.clone();
            thread::spawn(move || {
                let start = Instant::now();
                (send(&agent(), "GET", &url, ME), start.elapsed())
            })
        })
        .collect();
    let answers = threads.into_iter().map(|thread| thread.join().unwrap());
    answers.collect()
}

#[test]
fn h2_max_concurrent_queues_up_to_four_seconds_then_refuses() {
    let world = serve("chameleon");
    // Eight short ones: four run, four wait for them and run then.
    let answers = heavy(&world, 8, 300);
    assert!(answers.iter().all(|(answer, _)| answer.status == 200));
    let waited = answers.iter().filter(|(_, took)| *took >= Duration::from_millis(600));
    assert!(waited.count() >= 4, "not more than four at a time: {answers:?}");
    // Four that run for longer than anybody waits, and one more.
    let answers = heavy(&world, 5, 6_000);
    let (refused, served): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|(answer, _)| answer.status == 429);
    assert_eq!((refused.len(), served.len()), (1, 4));
    let (answer, took) = &refused[0];
    assert!(*took >= Duration::from_secs(4), "it waited {took:?}");
    assert_eq!(answer.number("X-RateLimit-Limit"), 4);
    assert_eq!(answer.json()["limit"], 4);
    // When they have ended there is room again.
    assert_eq!(heavy(&world, 1, 0)[0].0.status, 200);
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
    let told = |answer: &crate::world::Answered| {
        let names = ["x-retry-after", "x-ratelimit-wait", "x-ratelimit-limit"];
        let headers = names.map(|name| answer.header(name).is_some());
        let body = answer.json();
        assert_eq!((&body["code"], body["messages"].is_array()), (&429.into(), true));
        (headers, body.get("wait").is_some(), body.get("limit").is_some())
    };
    world.must_pass(20, "POST", "/v3/edit/x", ME);
    let bucket = world.must_refuse("POST", "/v3/edit/x", ME);
    assert_eq!(told(&bucket), ([false, true, false], true, false));

    world.must_pass(40, "GET", "/v3/observe/x", ME);
    let global = world.must_refuse("GET", "/v3/observe/x", ME);
    assert_eq!(told(&global), ([true, false, false], true, false));

    world.clock.advance(Duration::from_secs(60));
    let answers = heavy(&world, 4 + 16 + 1, 1_000);
    let mut refused = answers.iter().filter(|(answer, _)| answer.status == 429);
    let (answer, took) = refused.next().expect("one more than run and wait");
    assert!(*took < Duration::from_secs(4), "it was refused at once");
    assert_eq!(told(answer), ([false, false, true], false, true));
}
