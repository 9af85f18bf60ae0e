//! Headers that are wrong, absurd, or meant to harm: told of, and never more than a wrong wait.

use std::time::Duration;

use proptest::prelude::*;
use tollgate::client::{Backoff, Notice, Pace, Pacer};

use super::notice::{headers, refused};
use super::{START, World, secs};

const HEADERS: [&str; 14] = [
    "date",
    "retry-after",
    "x-retry-after",
    "x-ratelimit-wait",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-reset-after",
    "x-rate-limit-reset",
    "ratelimit-reset",
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-tier",
    "x-should-retry",
];

#[test]
fn what_is_not_a_number_is_told_and_not_taken() {
    for value in [
        "-1", "+5", "1.5", "5s", "", "1e9", "0x10", "١٢", "5 5", "NaN", "\u{7f}",
    ] {
        let Ok(_) = http::HeaderValue::from_bytes(value.as_bytes()) else {
            continue;
        };
        for header in ["retry-after", "x-ratelimit-reset", "x-ratelimit-remaining"] {
            let notice = refused(&[(header, value)]);
            assert_eq!(notice.wait(), None, "{header}: {value}");
            assert_eq!(notice.faults()[0].header, header, "{value}");
            assert_eq!(notice.limits(), []);
        }
    }
}

#[test]
fn edge_58_an_absurd_wait_is_capped() {
    let backoff = Backoff::doubling(secs(1)).longest(secs(60));
    for value in [
        "31536000",
        "18446744073709551615",
        "99999999999999999999999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        let notice = refused(&[("Retry-After", value)]);
        assert!(notice.wait() > Some(secs(31_000_000)), "{value}");
        let delay = backoff.next_delay(1, notice.wait(), |most| most);
        assert_eq!(delay, Some(secs(60)), "{value}");
    }
}

#[test]
fn no_wait_at_all_is_no_leave_to_hammer() {
    let backoff = Backoff::doubling(secs(1)).jitter_percent(0);
    for value in ["0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let notice = refused(&[("Retry-After", value)]);
        assert_eq!(notice.wait(), Some(Duration::ZERO));
        let delay = backoff.next_delay(3, notice.wait(), |_| 0);
        assert_eq!(delay, Some(secs(4)), "{value}");
    }
}

#[test]
fn of_several_that_differ_the_more_cautious() {
    let notice = refused(&[
        ("Retry-After", "1"),
        ("Retry-After", "30"),
        ("Retry-After", "x"),
        ("X-RateLimit-Remaining", "90"),
        ("X-RateLimit-Remaining", "2"),
        ("X-RateLimit-Reset", "10"),
        ("X-RateLimit-Reset", "20"),
    ]);
    assert_eq!(notice.wait(), Some(secs(30)));
    let limit = &notice.limits()[0];
    assert_eq!(
        (limit.remaining, limit.reset_after),
        (Some(2), Some(secs(20)))
    );
    let at_fault: Vec<_> = notice.faults().iter().map(|fault| fault.header).collect();
    let remaining = "x-ratelimit-remaining";
    assert_eq!(
        at_fault,
        ["retry-after", "retry-after", "x-ratelimit-reset", remaining]
    );
    // The same twice is said once.
    let same = refused(&[("Retry-After", "5"), ("Retry-After", "5")]);
    assert_eq!((same.wait(), same.faults().len()), (Some(secs(5)), 0));
}

#[test]
fn more_than_is_read_is_told() {
    let long = format!("\"{}\";r=1;t=1", "a".repeat(9_000));
    let notice = refused(&[("RateLimit", &long)]);
    assert_eq!(notice.limits(), []);
    assert_eq!(notice.faults().len(), 1);
    let lines = vec![("RateLimit", "\"a\";r=1"); 2_000];
    assert_eq!(refused(&lines).faults().len(), 1, "long by its lines");

    let many: Vec<_> = (0..100).map(|name| format!("\"{name}\";r=1")).collect();
    let notice = refused(&[("RateLimit", &many.join(","))]);
    assert_eq!(notice.limits().len(), Notice::LIMITS_MAX);
    assert_eq!(notice.faults().len(), 1);
}

#[test]
fn a_draft_field_that_breaks_its_rules() {
    for value in [
        "\"a\";r=-1",
        "\"a\";r=1.5",
        "\"a\"",
        "(\"a\" \"b\");r=1",
        "7;r=1",
        "\"a;r=1",
        "\"a\";r=1;t=x",
        "\"a\";r=9999999999999999",
        "limit=1",
    ] {
        let notice = refused(&[("RateLimit", value)]);
        assert_eq!(notice.limits(), [], "{value}");
        assert_eq!(notice.faults().len(), 1, "{value}");
    }
}

proptest! {
    #[test]
    fn whatever_the_bytes(
        fields in prop::collection::vec(
            (0..HEADERS.len(), prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "[0-9]{0,25}(\\.[0-9]{0,12})?".prop_map(String::into_bytes),
                "(\"[a-c]\"(;[rtqw]=-?[0-9]{1,16}){0,3},? ?){0,4}".prop_map(String::into_bytes),
            ]),
            0..12,
        ),
    ) {
        let mut map = headers(&[]);
        for (name, value) in fields {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                map.append(HEADERS[name], value);
            }
        }
        let notice = Notice::read(http::StatusCode::TOO_MANY_REQUESTS, &map, START);
        prop_assert!(notice.limits().len() <= Notice::LIMITS_MAX);
        let backoff = Backoff::doubling(secs(1)).longest(secs(60));
        let delay = backoff.next_delay(1, notice.wait(), |most| most).unwrap();
        prop_assert!(delay <= secs(60));
        // And a pacer that was told so holds the next no longer than it may.
        let world = World::new();
        let pacer = Pacer::new(Pace::new().longest(secs(60)), world.timing());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            pacer.ready().await.unwrap().answered(&notice);
            pacer.ready().await.unwrap().answered(&notice);
        });
        prop_assert!(world.clock.now().since(START) <= secs(60));
    }
}
