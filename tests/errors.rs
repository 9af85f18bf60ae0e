//! What errors say of themselves: each cause once, and the same by `Debug`, which is what a `main`
//! that returns one ends with.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as StdError;
use std::fs;
use std::io;

use tollgate::{Error, ErrorKind, Limiter, ManualClock, Policy, Question, Timestamp};

#[path = "common/mod.rs"]
mod common;

fn policy() -> Policy {
    Policy::from_toml("limits.all = { rate = \"5/s\" }").unwrap()
}

/// An error with all its sources, as `anyhow` shows it.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

/// Errors of every kind that can be had without a failing disk.
fn errors() -> Vec<(ErrorKind, Error)> {
    let dir = common::scratch();
    let path = |name: &str| dir.path().join(name);
    let open = |name: &str| Limiter::open(path(name), policy()).unwrap_err();
    fs::write(path("file"), "x").unwrap();
    fs::write(path("bad.toml"), "[limits.l]\nrate = 5\nkey = ''").unwrap();
    fs::write(path("latin.toml"), b"[limits.l]\nrate = '1/s' # \xe9").unwrap();
    fs::write(path("large.toml"), vec![b'#'; 5 << 20]).unwrap();
    let limiter = Limiter::open(path("held"), policy()).unwrap();
    let by_path = |name: &str| Policy::from_path(path(name)).unwrap_err();
    vec![
        (ErrorKind::InUse, open("held")),
        (ErrorKind::Damaged, open("file")),
        (ErrorKind::Io, open("file/inside")),
        (ErrorKind::Io, by_path("none.toml")),
        (ErrorKind::Io, by_path("large.toml")),
        (ErrorKind::Policy, by_path("bad.toml")),
        (ErrorKind::Policy, by_path("latin.toml")),
        (ErrorKind::UnknownLimit, limiter.limit("none").unwrap_err()),
        (
            ErrorKind::Invalid,
            limiter.set_override("all", &["x"], "5/s").unwrap_err(),
        ),
    ]
}

/// Row T7.
#[test]
fn t7_no_error_tells_its_cause_twice() {
    let errors = errors();
    for (kind, error) in &errors {
        assert_eq!(error.kind(), *kind, "{error}");
        let whole = chain(error);
        if let Some(cause) = error.io_error() {
            assert_eq!(whole.matches(&cause.to_string()).count(), 1, "{whole}");
        }
        assert_eq!(whole, error.to_string());
        assert_eq!(
            error.io_error().is_some(),
            *kind == ErrorKind::Io,
            "{error}"
        );
        assert!(
            error
                .path()
                .is_none_or(|path| whole.contains(path.to_str().unwrap()))
        );
    }
    let io = errors.iter().filter(|(kind, _)| *kind == ErrorKind::Io);
    assert!(io.count() >= 3);
}

/// Row T7, of errors that carry another's.
#[cfg(feature = "client")]
#[test]
fn t7_errors_of_the_client_tell_theirs_once() {
    use tollgate::client::{CallError, PacedError};
    let cause = || io::Error::from_raw_os_error(30);
    let call: &dyn StdError = &CallError::Send(cause());
    let paced: &dyn StdError = &PacedError::Inner(cause());
    for error in [call, paced] {
        let whole = chain(error);
        assert_eq!(whole.matches("os error 30").count(), 1, "{whole}");
    }
}

/// Row T12.
#[test]
fn t12_an_error_that_ends_main_reads_as_it_is_shown() {
    for (_, error) in errors() {
        assert_eq!(format!("{error:?}"), error.to_string());
    }
    let faults = Policy::from_toml("[limits.l]\nrate = 5\nkey = ''").unwrap_err();
    let shown = format!("{faults:?}");
    assert_eq!(shown, faults.to_string());
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(
        lines[0].starts_with("line 2, column 8: limits.l.rate: "),
        "{shown}"
    );
    assert!(
        lines[1].starts_with("line 3, column 7: limits.l.key: "),
        "{shown}"
    );
    let dir = common::scratch();
    let limiter = Limiter::builder(policy())
        .clock(ManualClock::new(Timestamp::from_secs(1_000_000_000)))
        .open(dir.path().join("data"))
        .unwrap();
    let question = Question::new().endpoint("none");
    let caller = tollgate::Request::new();
    let unknown = limiter.ask(&caller, &question).unwrap_err();
    assert_eq!(format!("{unknown:?}"), unknown.to_string());
    #[cfg(feature = "openapi")]
    {
        let error = tollgate::openapi::import("- [", "").unwrap_err();
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}

/// What a policy's file is not is told with its path, its line and its field.
#[test]
fn a_policy_that_cannot_be_read_from_its_file_says_where() {
    let of = |name: &str| {
        let errors = errors().into_iter();
        let mut texts = errors.map(|(_, error)| error.to_string());
        texts.find(|text| text.contains(name)).unwrap()
    };
    let bad = of("bad.toml");
    assert!(
        bad.contains("bad.toml is no valid policy\nline 2, column 8: limits.l.rate: "),
        "{bad}"
    );
    assert!(of("latin.toml").contains("line 2, column 16: this is not UTF-8"));
    assert!(of("large.toml").contains("at most"), "{}", of("large.toml"));
    assert!(of("none.toml").contains("No such file"));
}

#[test]
fn a_policys_file_is_json_by_its_name() {
    let dir = common::scratch();
    let path = dir.path().join("policy.json");
    fs::write(&path, "{\"limits\": {\"all\": {\"rate\": \"5/s\"}}}").unwrap();
    assert_eq!(Policy::from_path(&path).unwrap().limits().count(), 1);
    fs::rename(&path, dir.path().join("policy.toml")).unwrap();
    let error = Policy::from_path(dir.path().join("policy.toml")).unwrap_err();
    assert!(error.to_string().contains("looks like JSON"), "{error}");
}
