//! Mistakes on the command line: what they end with, and what is said.

use super::Bench;

/// Row T9: a key of another shape is no refusal.
#[test]
fn t9_a_key_that_lacks_a_part_or_has_one_too_many_is_an_error() {
    let bench = Bench::new();
    bench.file(
        "policy.toml",
        "[limits.all]\nrate = \"5/day\"\n\
         [limits.own]\nrate = \"5/day\"\nkey = \"user\"\nshadow = true\n\
         [limits.both]\nrate = \"5/day\"\nkey = \"team + user\"\n\
         [limits.first]\nrate = \"5/day\"\nkey = \"user | ip\"\n",
    );
    for command in ["check", "usage"] {
        bench.run("check --policy policy.toml --data data --limit all");
        for (asked, told) in [
            ("all --key x", "one counter for all: leave the key out"),
            ("own", "a value for user is missing"),
            ("own --key a --key b", "it has no value number 2"),
            ("both", "a value for team and user is missing"),
            ("both --key red", "a value for user is missing"),
            ("both --key red --key a --key b", "it has no value number 3"),
            ("first --key a --key b", "first alternative"),
            ("none --key a", "no limit named"),
        ] {
            let line = format!("{command} --policy policy.toml --data data --limit {asked}");
            let ended = bench.run(&line);
            assert_eq!(ended.status(), 2, "{line}: {}", ended.out());
            assert!(ended.err().contains(told), "{line}: {}", ended.err());
        }
        for asked in [
            "all",
            "own --key a",
            "both --key red --key a",
            "first --key a",
        ] {
            let line = format!("{command} --policy policy.toml --data data --limit {asked}");
            assert_eq!(bench.run(&line).status(), 0, "{line}");
        }
    }
}

/// Row T7.
#[test]
fn t7_a_directory_that_cannot_be_made_is_told_with_its_cause_once() {
    let bench = Bench::new();
    let ended = bench.run("check --policy policy.toml --data policy.toml/inside --limit per-user");
    assert_eq!(ended.status(), 2);
    assert_eq!(
        ended.err().matches("os error").count(),
        1,
        "{}",
        ended.err()
    );
}
