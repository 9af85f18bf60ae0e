//! What a change of policy is said to do.

use super::*;

fn changes(before: &str, after: &str) -> Vec<(String, LimitFate, String)> {
    let read = |text: &str| Policy::from_toml(text).unwrap();
    let diff = read(before).diff(&read(after));
    let limits = diff.limits.into_iter();
    limits
        .map(|one| (one.limit, one.fate, one.notes.join("; ")))
        .collect()
}

fn change(before: &str, after: &str) -> (LimitFate, String) {
    let [before, after] = [before, after].map(|limit| format!("[limits.l]\n{limit}"));
    let all = changes(&before, &after);
    assert_eq!(all.len(), 1, "{all:?}");
    (all[0].1, all[0].2.clone())
}

/// Before, after, what becomes of it, and why.
const CHANGES: &[(&str, &str, LimitFate, &str)] = &[
    ("rate = '9/min'", "rate = '9/min'", LimitFate::Kept, ""),
    ("rate = '9/min'", "rate = '10/min'", LimitFate::Raised, ""),
    (
        "rate = '9/min burst 9'",
        "rate = '9/min burst 20'",
        LimitFate::Raised,
        "",
    ),
    ("rate = '9/min'", "rate = '9/hour'", LimitFate::Lowered, ""),
    (
        "rate = '9/min'",
        "rate = '5/min burst 20'",
        LimitFate::Changed,
        "",
    ),
    ("rate = '9/s'", "rate = 'unlimited'", LimitFate::Raised, ""),
    ("rate = '9/s'", "rate = 'deny'", LimitFate::Lowered, ""),
    (
        "rate = '9/min'",
        "rate = '9/min'\nshadow = true",
        LimitFate::Changed,
        "it refuses nobody now (shadow)",
    ),
    (
        "rate = '9/min'\ndurability = 'logged'",
        "rate = '9/min'\ndurability = 'strict'",
        LimitFate::Changed,
        "its durability is strict now",
    ),
    (
        "rate = '9/min'\nalgorithm = 'fixed window'",
        "rate = '9/hour'\nalgorithm = 'fixed window'",
        LimitFate::BeginsAnew,
        "it was a fixed window of 60 s and is a fixed window of 3600 s",
    ),
    (
        "rate = '9/day'\nalgorithm = 'calendar'",
        "rate = '9/day'\nalgorithm = 'calendar'\ntime_zone = 'Europe/Berlin'",
        LimitFate::BeginsAnew,
        "it was a calendar day in UTC and is a calendar day in Europe/Berlin",
    ),
    (
        "rate = '9/min'\nkey = 'user'",
        "rate = '9/min'\nkey = 'user + ip'",
        LimitFate::BeginsAnew,
        "its key was user and is user + ip",
    ),
    (
        "rate = '9/min'\nkey = 'user'",
        "rate = '9/min'",
        LimitFate::BeginsAnew,
        "its key was user and is nothing, one counter for all",
    ),
    (
        "rate = '9/min'\nkey = 'ip'",
        "rate = '9/min'\nkey = 'ip'\n[attributes]\nip = 'address/48'",
        LimitFate::BeginsAnew,
        "the addresses in its key, ip, are read otherwise",
    ),
    (
        "max_concurrent = 2",
        "max_concurrent = 3",
        LimitFate::Raised,
        "",
    ),
    (
        "max_concurrent = 2",
        "max_concurrent = 2\nqueue = 2",
        LimitFate::Changed,
        "",
    ),
];

#[test]
fn what_becomes_of_a_limit() {
    for &(before, after, fate, note) in CHANGES {
        assert_eq!(
            change(before, after),
            (fate, note.into()),
            "{before} -> {after}"
        );
    }
}

#[test]
fn names_change_with_and_without_a_word() {
    use LimitFate::{BeginsAnew, Changed, Gone, New};
    let limit =
        |name: &str, more: &str| format!("[limits.{name}]\nrate = '9/day'\nkey = 'user'\n{more}\n");
    let renamed = changes(&limit("a", ""), &limit("b", "renamed_from = 'a'"));
    assert_eq!(renamed, [("b".into(), Changed, "it was called a".into())]);
    let forgotten = changes(&limit("a", ""), &limit("b", ""));
    assert_eq!((forgotten[0].1, forgotten[1].1), (BeginsAnew, Gone));
    assert!(forgotten[0].2.contains("renamed_from = \"a\""));
    // Said for ever: the counts are those that it was renamed with.
    let kept = changes(
        &limit("b", "renamed_from = 'a'"),
        &limit("b", "renamed_from = 'a'"),
    );
    assert_eq!(kept[0].1, LimitFate::Kept);
    let unsaid = changes(&limit("b", "renamed_from = 'a'"), &limit("b", ""));
    assert_eq!(unsaid[0].1, BeginsAnew);
    let other = changes(&limit("a", ""), "[limits.b]\nmax_concurrent = 2");
    assert_eq!((other[0].1, other[1].1), (New, Gone));
}

#[test]
fn a_tier_alone_is_told() {
    let policy = |rate: &str| {
        format!(
            "[limits.l]\nrate = '9/day'\n[tiers.gold]\nwhen = {{ plan = 'gold' }}\n\
             rates = {{ l = '{rate}/day' }}"
        )
    };
    let all = changes(&policy("20"), &policy("30"));
    assert_eq!(all[0].1, LimitFate::Raised);
}

#[test]
fn a_limit_that_loses_its_route_is_told_of() {
    let policy =
        |routes: &str| format!("[limits.a]\nrate = '9/s'\n[limits.b]\nrate = '9/s'\n{routes}");
    let route =
        |route: &str, limit: &str| format!("[[routes]]\nroute = '{route}'\nlimits = ['{limit}']\n");
    let both = policy(&(route("/a", "a") + &route("/b", "b")));
    let one = policy(&route("/a", "a"));
    let lost = Policy::from_toml(&one).unwrap();
    let warnings: Vec<_> = lost.warnings().collect();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("no route names limit \"b\""),
        "{warnings:?}"
    );
    assert_eq!(changes(&both, &one)[1].2, "it applies to every request now");
    for fine in [
        both.clone(),
        policy(""),
        one.replacen("[limits.b]", "[limits.b]\neverywhere = true", 1),
    ] {
        let fine = Policy::from_toml(&fine).unwrap();
        assert_eq!(fine.warnings().count(), 0);
    }
    // Where it is said, routes need not name it.
    let said = one.replacen("[limits.a]", "[limits.a]\neverywhere = true", 1);
    let said = Policy::from_toml(&said).unwrap();
    let elsewhere = said.explain(&crate::Request::http("GET", "/elsewhere"));
    assert_eq!(elsewhere.unwrap().limits.len(), 2);
}

#[test]
fn what_is_no_renaming_is_a_fault() {
    for (policy, told) in [
        (
            "limits.a = { rate = '1/s' }\nlimits.b = { rate = '1/s', renamed_from = 'a' }",
            "there is a limit \"a\" still",
        ),
        (
            "limits.c = { rate = '1/s', renamed_from = 'a' }\n\
             limits.b = { max_concurrent = 1, renamed_from = 'a' }",
            "another limit was renamed from \"a\" already",
        ),
        ("limits.a = { rate = '1/s', renamed_from = 7 }", "a text"),
    ] {
        let faults = Policy::from_toml(policy).unwrap_err().to_string();
        assert!(faults.contains(told), "{faults}");
    }
}
