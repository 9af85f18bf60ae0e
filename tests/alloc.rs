//! A check of a key seen before allocates nothing: counted by an allocator that counts.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::Ipv4Addr;

use tollgate::{Limiter, Policy, Request};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // Gone while the thread ends; nothing is measured then.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator is unsafe to be")]
// Safety: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(mut run: impl FnMut()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

const POLICY: &str = r#"
    [limits.second]
    rate = "100/s"
    key = "user | ip"

    [limits.day]
    rate = "1000/day"
    algorithm = "calendar"
    time_zone = "Europe/Berlin"
    key = "user | ip"

    [limits.sliding]
    rate = "2/min"
    algorithm = "sliding window"
    key = "ip + {one}? + {two}? + {three}? + {four}? + {five}?"

    [[routes]]
    route = "GET /a/{one}/{two}/{three}/{four}/{five}/state"
    limits = ["second", "day", "sliding"]

    [tiers.known]
    when = { user = true }

    [response]
    headers = ["x-ratelimit-unix", "x-ratelimit-tier", "retry-after"]
"#;

#[test]
fn a_check_allocates_nothing() {
    let dir = common::scratch();
    let policy = Policy::from_toml(POLICY).unwrap();
    let limiter = Limiter::open(dir.path().join("data"), policy).unwrap();
    let day = limiter.limit("day").unwrap();
    let check = || {
        let request = Request::http("GET", "/a/1/2/3/4/5/state?page=2")
            .attribute("user", "alice")
            .address("ip", Ipv4Addr::LOCALHOST);
        limiter.check(&request)
    };
    assert!(check().is_allowed());
    assert!(check().is_allowed());
    assert!(
        !check().is_allowed(),
        "the third is one too many for the sliding window"
    );
    assert!(day.check("alice").is_allowed());
    let bob = Request::http("GET", "/a/1/2/3/4/5/state").attribute("user", "bob");
    let bob = bob.address("ip", Ipv4Addr::BROADCAST);
    let (allowed, refused) = (limiter.usage(&bob), check());
    for (decision, count) in [(allowed, 4), (refused, 5)] {
        let mut written = 0;
        let headers = || {
            decision
                .answer()
                .headers(|_, value| written += value.len().min(1))
        };
        assert_eq!(allocations(headers), 0, "the headers of an answer");
        assert_eq!(written, count);
    }

    assert!(
        allocations(|| drop(black_box(String::from("counted")))) > 0,
        "the allocator counts"
    );
    assert_eq!(
        allocations(|| drop(black_box(check()))),
        0,
        "a refused request"
    );
    assert_eq!(
        allocations(|| assert!(black_box(day.check("alice")).is_allowed())),
        0,
        "a direct check"
    );
    let other = Request::http("GET", "/a/1/2/3/4/5/state").attribute("user", "bob");
    let other = other.address("ip", Ipv4Addr::BROADCAST);
    assert!(limiter.check(&other).is_allowed());
    assert_eq!(
        allocations(|| assert!(limiter.check(&other).is_allowed())),
        0,
        "an allowed request"
    );
    assert_eq!(
        allocations(|| drop(black_box(limiter.usage(&other)))),
        0,
        "a look"
    );
}

#[test]
fn an_acquire_that_need_not_wait_allocates_nothing() {
    let dir = common::scratch();
    let policy = Policy::from_toml(
        r#"
        [limits.day]
        rate = "1000/day"
        key = "user"

        [limits.heavy]
        max_concurrent = 2
        queue = 5
        key = "user"
        "#,
    );
    let limiter = Limiter::open(dir.path().join("data"), policy.unwrap()).unwrap();
    let request = Request::new().attribute("user", "alice");
    let acquire = || assert!(black_box(limiter.acquire(&request)).is_allowed());
    acquire();
    assert_eq!(allocations(acquire), 0, "in and out");
    let held = [0, 1].map(|_| limiter.acquire(&request));
    let refused = || assert!(!black_box(limiter.try_acquire(&request)).is_allowed());
    assert_eq!(allocations(refused), 0, "refused");
    drop(held);
}

/// As many limits as one request may meet: sixteen rates, and four on how many run at a time.
#[test]
fn a_request_that_meets_the_most_limits_allocates_nothing() {
    let dir = common::scratch();
    let rate = |number| format!("[limits.rate-{number}]\nrate = \"100/day\"\nkey = \"user\"\n");
    let running = |number| format!("[limits.run-{number}]\nmax_concurrent = 2\nkey = \"user\"\n");
    let text: String = (0..16).map(rate).chain((0..4).map(running)).collect();
    let policy = Policy::from_toml(&text).unwrap();
    let limiter = Limiter::open(dir.path().join("data"), policy).unwrap();
    let request = Request::new().attribute("user", "alice");
    assert_eq!(limiter.acquire(&request).decision().limits().len(), 16);
    let acquire = || assert!(black_box(limiter.acquire(&request)).is_allowed());
    assert_eq!(allocations(acquire), 0, "with permits");
    let check = || assert!(black_box(limiter.check_rates(&request)).is_allowed());
    assert_eq!(allocations(check), 0, "rates only");
    assert_eq!(
        allocations(|| drop(black_box(limiter.usage(&request)))),
        0,
        "a look"
    );
}
