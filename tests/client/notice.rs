//! What is read from a response, in each of the dialects.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tollgate::Timestamp;
use tollgate::client::Notice;

use super::{START, json, millis, secs};
use crate::skipped::shared;

pub(super) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value);
    }
    headers
}

/// What a refusal says at [`START`].
pub(super) fn refused(fields: &[(&str, &str)]) -> Notice {
    Notice::read(StatusCode::TOO_MANY_REQUESTS, &headers(fields), START)
}

fn admitted(fields: &[(&str, &str)]) -> Notice {
    Notice::read(StatusCode::OK, &headers(fields), START)
}

type Numbers = (Option<u64>, Option<u64>, Option<Duration>);

/// The numbers of the one limit that a notice tells of, without any fault.
fn numbers(notice: &Notice) -> Numbers {
    assert_eq!(notice.faults(), []);
    let [limit] = notice.limits() else {
        panic!("{notice:?}");
    };
    (limit.limit, limit.remaining, limit.reset_after)
}

#[test]
fn retry_after_as_the_grammar_has_it() {
    let Some(path) = shared("cases/retry_after.json") else {
        return;
    };
    let file = json(&path);
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let value = case["value"].as_str().unwrap();
        let now = Timestamp::from_secs(700_000_000);
        let headers = headers(&[("Retry-After", value)]);
        let notice = Notice::read(StatusCode::TOO_MANY_REQUESTS, &headers, now);
        let expected = match (case["delay_s"].as_u64(), case["unix_s"].as_u64()) {
            (Some(delay), _) => Some(secs(delay)),
            (_, Some(unix)) => Some(Timestamp::from_secs(unix).since(now)),
            _ => None,
        };
        assert_eq!(expected.is_some(), case["ok"].as_bool().unwrap(), "{case}");
        assert_eq!(notice.wait(), expected, "{case}");
        assert_eq!(notice.faults().is_empty(), expected.is_some(), "{case}");
    }
}

#[test]
fn every_header_about_waiting_and_the_longest_of_them() {
    for name in ["Retry-After", "X-Retry-After", "X-Ratelimit-Wait"] {
        assert_eq!(refused(&[(name, "19")]).wait(), Some(secs(19)), "{name}");
    }
    let all = refused(&[("X-Ratelimit-Wait", "12"), ("X-Retry-After", "19")]);
    assert_eq!(all.wait(), Some(secs(19)));
    // It may come with any status: the caller judges.
    assert_eq!(admitted(&[("Retry-After", "7")]).wait(), Some(secs(7)));
}

#[test]
fn a_date_is_told_from_by_the_servers_clock() {
    let notice = refused(&[
        ("Date", "Mon, 05 Aug 2019 09:27:00 GMT"),
        ("Retry-After", "Mon, 05 Aug 2019 09:27:05 GMT"),
    ]);
    assert_eq!(notice.wait(), Some(secs(5)));
    let over = refused(&[("Retry-After", "Mon, 05 Aug 2019 09:27:05 GMT")]);
    assert_eq!(over.wait(), Some(Duration::ZERO), "it is over by our clock");
}

#[test]
fn resets_in_seconds_and_as_unix_times() {
    for (reset, expected) in [
        ("60", secs(60)),
        ("0", secs(0)),
        ("2592000", secs(2_592_000)),
        ("1759996860", secs(60)),
        ("1759996860000", secs(60)),
        ("1759996700", secs(0)),
    ] {
        let notice = admitted(&[
            ("X-RateLimit-Limit", "100"),
            ("X-RateLimit-Remaining", "95"),
            ("X-RateLimit-Reset", reset),
        ]);
        assert_eq!(
            numbers(&notice),
            (Some(100), Some(95), Some(expected)),
            "{reset}"
        );
    }
    let finer = admitted(&[
        ("X-RateLimit-Reset", "2"),
        ("X-RateLimit-Reset-After", "1.250"),
    ]);
    assert_eq!(numbers(&finer), (None, None, Some(millis(1_250))));
}

#[test]
fn the_same_under_other_names() {
    for family in ["X-RateLimit", "X-Rate-Limit", "RateLimit"] {
        let [limit, remaining, reset] =
            ["Limit", "Remaining", "Reset"].map(|member| format!("{family}-{member}"));
        let notice = admitted(&[(&limit, "100, 100;w=60"), (&remaining, "1"), (&reset, "7")]);
        assert_eq!(
            numbers(&notice),
            (Some(100), Some(1), Some(secs(7))),
            "{family}"
        );
    }
    let concurrent = refused(&[("X-RateLimit-Limit", "4")]);
    assert_eq!(numbers(&concurrent), (Some(4), None, None));
    assert_eq!(concurrent.wait(), None);
    let tier = admitted(&[("X-RateLimit-Tier", "public_key")]);
    assert_eq!(tier.tier(), Some("public_key"));
}

#[test]
fn the_drafts_of_each_syntax() {
    let now = admitted(&[
        (
            "RateLimit-Policy",
            "\"burst\";q=100;w=60, \"daily\";q=1000;w=86400",
        ),
        ("RateLimit", "\"burst\";r=50;t=30"),
        ("RateLimit", "\"daily\";r=999;pk=:dHJpYWw=:"),
    ]);
    assert_eq!(now.faults(), []);
    let read: Vec<_> = now
        .limits()
        .iter()
        .map(|one| {
            (
                one.name.as_deref(),
                one.limit,
                one.remaining,
                one.reset_after,
                one.window,
            )
        })
        .collect();
    let burst = (
        Some("burst"),
        Some(100),
        Some(50),
        Some(secs(30)),
        Some(secs(60)),
    );
    let daily = (
        Some("daily"),
        Some(1_000),
        Some(999),
        None,
        Some(secs(86_400)),
    );
    assert_eq!(read, [burst, daily]);

    let revision_07 = admitted(&[
        ("RateLimit", "limit=100, remaining=50, reset=5"),
        ("RateLimit-Policy", "100;w=10"),
    ]);
    assert_eq!(numbers(&revision_07), (Some(100), Some(50), Some(secs(5))));
    assert_eq!(revision_07.limits()[0].window, Some(secs(10)));
}

#[test]
fn the_drafts_own_examples() {
    let Some(path) = shared("ratelimit-draft/examples.json") else {
        return;
    };
    let file = json(&path);
    let examples = file["examples"].as_array().unwrap();
    let (mut sound, mut broken) = (0, 0);
    for judged in examples
        .iter()
        .flat_map(|example| example["judged"].as_array().unwrap())
    {
        let [field, value] = ["field", "value"].map(|name| judged[name].as_str().unwrap());
        let notice = admitted(&[(field, value)]);
        let breaks = judged["breaks_draft_rules"].as_array().unwrap();
        if !breaks.is_empty() {
            broken += 1;
            // A name that is a token was right once, and is read; what does not say how much
            // remains is not.
            let unreadable = field == "RateLimit";
            assert_eq!(notice.faults().len(), usize::from(unreadable), "{value}");
            assert_eq!(notice.limits().is_empty(), unreadable, "{value}");
            continue;
        }
        sound += 1;
        assert_eq!(notice.faults(), [], "{value}");
        let items = judged["items"].as_array().unwrap();
        assert_eq!(notice.limits().len(), items.len(), "{value}");
        for (limit, item) in notice.limits().iter().zip(items) {
            let number = |name: &str| item["params"][name].as_u64();
            assert_eq!(limit.name.as_deref(), item["value"].as_str(), "{value}");
            assert_eq!(
                (limit.limit, limit.remaining),
                (number("q"), number("r")),
                "{value}"
            );
            assert_eq!(limit.reset_after, number("t").map(secs), "{value}");
            assert_eq!(limit.window, number("w").map(secs), "{value}");
        }
    }
    assert!(sound >= 20 && broken >= 4, "{sound} sound, {broken} broken");
}

#[test]
fn edge_58_the_wait_of_a_refusal_that_names_none() {
    let draft = refused(&[(
        "RateLimit",
        "\"a\";r=0;t=5, \"b\";r=3;t=900, \"c\";r=0;t=30",
    )]);
    assert_eq!(
        draft.wait(),
        Some(secs(30)),
        "until all that is used up is back"
    );
    let legacy = refused(&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "9")]);
    assert_eq!(legacy.wait(), Some(secs(9)));
    let both = refused(&[("Retry-After", "2"), ("RateLimit", "\"a\";r=0;t=5")]);
    assert_eq!(
        both.wait(),
        Some(secs(2)),
        "what is about waiting goes first"
    );
    let admitted = admitted(&[("RateLimit", "\"a\";r=0;t=5")]);
    assert_eq!(admitted.wait(), None, "nobody was refused");
}
