//! The command as a user meets it: what it prints where, and how it ends.
#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;

mod choosing;
#[path = "../../examples/demo_log.rs"]
#[expect(dead_code, reason = "its main is another program's")]
mod demo_log;
mod mistakes;

const DEMO_LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/logs/demo.log.gz");
const DEMO_POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies/demo.toml");

const POLICY: &str = "
[limits.per-user]
rate = \"2/min\"
algorithm = \"fixed window\"
key = \"user\"
";

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.file("policy.toml", POLICY);
        bench
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).unwrap();
        self.path(name)
    }

    /// Runs a command line, its words split at spaces, in the bench's directory.
    fn run(&self, line: &str) -> Ended {
        self.run_with(line, b"")
    }

    fn run_with(&self, line: &str, input: &[u8]) -> Ended {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ended(child.wait_with_output().unwrap())
    }
}

struct Ended(Output);

impl Ended {
    fn status(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    fn json(&self) -> Value {
        assert_eq!(self.status(), 0, "{}", self.err());
        serde_json::from_slice(&self.0.stdout).unwrap()
    }
}

fn demo_log() -> Vec<u8> {
    let mut text = Vec::new();
    GzDecoder::new(File::open(DEMO_LOG).unwrap())
        .read_to_end(&mut text)
        .unwrap();
    text
}

#[test]
fn the_demo_log_is_what_its_program_writes() {
    let mut written = Vec::new();
    demo_log::write_log(&mut written, 2).unwrap();
    assert!(
        written == demo_log(),
        "run: cargo run --features cli --example demo_log"
    );
}

#[test]
fn the_demo_replays_and_reports() {
    let bench = Bench::new();
    let done = bench.run(&format!(
        "replay {DEMO_LOG} --policy {DEMO_POLICY} --data data --report report.html"
    ));
    assert_eq!(done.status(), 0, "{}", done.err());
    let out = done.out();
    for part in [
        "28,132 lines",
        "refused",
        "login",
        "/search",
        "ip=203.0.113.9",
        "NOTHING",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(
        !done.out().contains('\u{1b}') && !done.err().contains('\u{1b}'),
        "no colours"
    );
    assert!(
        done.err().contains("lines/s, log time 2025-03-0")
            && done.err().contains("wrote report.html")
    );
    let page = fs::read_to_string(bench.path("report.html")).unwrap();
    for part in [
        "</html>",
        "<svg",
        "ip=203.0.113.9",
        "What each limit would have had to be",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // The counters outlive the replay: as they were at its end, and gone a day later.
    let usage = |at: &str| {
        bench.run(&format!(
            "usage --policy {DEMO_POLICY} --data data/counters --limit per-address-day \
             --key 198.51.100.4 --at {at} --json"
        ))
    };
    // From midnight in Berlin, an hour before the log's last hour begins, the poller came twice
    // a minute.
    assert_eq!(usage("2025-03-04T23:59:51Z").json()["used"], 120);
    assert_eq!(usage("2025-03-06T00:00:00Z").json()["used"], 0);
}

#[test]
fn plain_gzip_and_standard_input_are_the_same() {
    let bench = Bench::new();
    let text = demo_log();
    fs::write(bench.path("plain.log"), &text).unwrap();
    let json = |log: &str, data: &str, input: &[u8]| {
        let line = format!(
            "replay {log} --policy {DEMO_POLICY} --data {data} --json --progress none --amounts"
        );
        let mut json = bench.run_with(&line, input).json();
        assert_eq!(json["logs"][0]["name"].take(), log);
        json
    };
    let zipped = json(DEMO_LOG, "a", b"");
    assert_eq!(json("plain.log", "b", b""), zipped);
    assert_eq!(json("-", "c", &text), zipped);
    assert_eq!(zipped["requests"]["judged"], 28_036);
    assert_eq!(zipped["lines"]["without_request"], 96);
}

#[test]
fn decisions_for_scripts() {
    let bench = Bench::new();
    let at = "--policy policy.toml --data data --at 2024-05-12T00:00:17Z";
    let check = |more: &str| bench.run(&format!("check {at} {more}"));
    assert_eq!(check("--limit per-user --key alice").status(), 0);
    assert_eq!(check("--attribute user=alice").status(), 0);
    let refused = check("--limit per-user --key alice");
    assert_eq!(refused.status(), 1);
    assert!(refused.out().contains("2 of 2 used"), "{}", refused.out());
    assert_eq!(refused.err(), "");
    let json = check("--path / --attribute user=alice --json");
    assert_eq!(json.status(), 1);
    let json: Value = serde_json::from_str(&json.out()).unwrap();
    assert_eq!(json["allowed"], false);
    assert_eq!(json["ruling"], "per-user");
    assert_eq!(json["limits"][0]["remaining"], 0);
    assert_eq!(json["retry_after_ms"], 43_000);
    assert_eq!(check("--limit per-user --key bob --cost 2").status(), 0);
    assert_eq!(check("--limit per-user --key carol --cost 3").status(), 1);
    // A minute later it is as if nothing had been.
    let line = "check --policy policy.toml --data data --limit per-user --key alice";
    assert_eq!(
        bench
            .run(&format!("{line} --at 2024-05-12T00:01:00Z"))
            .status(),
        0
    );
}

#[test]
fn usage_charges_nothing() {
    let bench = Bench::new();
    let at = "--policy policy.toml --data data --at 2024-05-12T00:00:17Z";
    assert_eq!(
        bench
            .run(&format!("check {at} --limit per-user --key alice"))
            .status(),
        0
    );
    for _ in 0..3 {
        let usage = bench.run(&format!("usage {at} --limit per-user --key alice --json"));
        assert_eq!(
            (&usage.json()["used"], &usage.json()["limit"]),
            (&1.into(), &2.into())
        );
        let usage = bench.run(&format!("usage {at} --attribute user=alice"));
        assert_eq!(usage.out().trim(), "per-user: allowed, 1 of 2 left");
    }
    let none = bench.run("usage --policy policy.toml --data nowhere --limit per-user --key a");
    assert_eq!(none.status(), 2);
    assert!(
        !Path::new(&bench.path("nowhere")).exists(),
        "looking makes nothing"
    );
}

#[test]
fn errors_go_to_standard_error_with_status_2() {
    let bench = Bench::new();
    bench.file(
        "bad.toml",
        "[limits.a]\nrate = \"fast\"\n[limits.b]\nrte = \"1/s\"\n",
    );
    bench.file("a.log", "some prose\nand more of it\n");
    for (line, why) in [
        (
            "check --policy none.toml --data d --limit a --key b",
            "none.toml",
        ),
        (
            "check --policy bad.toml --data d --limit a --key b",
            "bad.toml",
        ),
        (
            "check --policy policy.toml --data d --limit nope --key b",
            "nope",
        ),
        (
            "check --policy policy.toml --data d --attribute user",
            "NAME=VALUE",
        ),
        (
            "check --policy policy.toml --data d --address ip=here",
            "no IP address",
        ),
        (
            "usage --policy policy.toml --data d --at yesterday --limit a --key b",
            "--at",
        ),
        ("policy lint bad.toml", "line 2, column 8"),
        ("policy lint bad.toml", "did you mean"),
        ("replay a.log --policy policy.toml --data h", "--format"),
        (
            "replay none.log --policy policy.toml --data i --resume",
            "cannot open none.log",
        ),
        (
            "replay - - --policy policy.toml --data e",
            "only be read once",
        ),
        (
            "replay a.log --policy policy.toml --data . --progress none",
            "not empty",
        ),
        (
            "replay a.log --policy policy.toml --data f --map time",
            "name=field",
        ),
        (
            "replay a.log --policy policy.toml --data g --time-zone Mars",
            "Mars",
        ),
        ("nonsense", "nonsense"),
        ("", "Usage"),
    ] {
        let ended = bench.run(line);
        assert_eq!(ended.status(), 2, "{line}: {}", ended.err());
        assert!(ended.err().contains(why), "{line}: {}", ended.err());
        assert_eq!(ended.out(), "", "{line}");
    }
}

#[test]
fn a_policy_is_linted_and_explained() {
    let bench = Bench::new();
    let lint = bench.run(&format!("policy lint {DEMO_POLICY}"));
    assert_eq!(lint.status(), 0, "{}", lint.err());
    assert!(
        lint.out()
            .contains("per-address: 60 per minute, burst 90 (token bucket)"),
        "{}",
        lint.out()
    );
    let explain = bench.run(&format!(
        "policy explain {DEMO_POLICY} --method POST --path /login --address ip=2001:db8::7"
    ));
    assert_eq!(explain.status(), 0, "{}", explain.err());
    for part in [
        "route /login",
        // Row T8.
        "login: 5 per minute, burst 10 (token bucket): 10 at once, then one every 12 s",
        "key ip=2001:db8::",
        "shadow",
    ] {
        assert!(explain.out().contains(part), "{part} in {}", explain.out());
    }
    bench.file("p.json", "{\"limits\": {\"a\": {\"rate\": \"1/s\"}}}");
    assert_eq!(bench.run("policy lint p.json").status(), 0);
}

const HOSTILE: &str = "\u{1b}[31m10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \
     \"GET /\u{1b}]0;x\u{7} HTTP/1.1\" 200 1\n\
     \u{1b}[2J rubbish\n\
     10.0.0.1 - \u{202e}eve [10/Oct/2000:13:55:37 +0000] \"GET / HTTP/1.1\" 200 1\n";

#[test]
fn a_hostile_log_cannot_reach_the_terminal() {
    let bench = Bench::new();
    bench.file("evil.log", &HOSTILE.repeat(5));
    let policy = bench.file(
        "p.toml",
        "[limits.a]\nrate = \"1/h\"\nkey = \"host | user\"\n",
    );
    let done = bench.run(&format!(
        "replay evil.log --format common --policy {policy} --data data --report r.html"
    ));
    assert_eq!(done.status(), 0, "{}", done.err());
    let page = fs::read_to_string(bench.path("r.html")).unwrap();
    for text in [done.out(), done.err(), page] {
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert_eq!(text.find(bad), None, "{text:?}");
    }
    assert!(
        done.out().contains("15 lines: 10 requests, 5 malformed"),
        "{}",
        done.out()
    );
}

#[test]
fn strictness_and_directories() {
    let bench = Bench::new();
    let good = "10.0.0.1 - eve [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1\n";
    bench.file("a.log", &format!("{good}rubbish\n{good}"));
    let replay = |more: &str| bench.run(&format!("replay a.log --policy policy.toml {more}"));
    let strict = replay("--data strict --strict");
    assert_eq!(strict.status(), 2);
    assert!(
        strict.err().contains("a.log:2: no time"),
        "{}",
        strict.err()
    );

    let first = replay("--data data");
    assert_eq!(first.status(), 0);
    // Row T10: a replay that is finished is replaced, and it is said.
    let again = replay("--data data");
    assert_eq!(again.status(), 0, "{}", again.err());
    assert_eq!(again.out(), first.out());
    assert!(again.err().contains("beginning anew"), "{}", again.err());
    let resumed = replay("--data data --resume");
    assert_eq!(resumed.out(), replay("--data fresh").out());
    // One that is not, only if it is said.
    fs::remove_file(bench.path("data/finished")).unwrap();
    let unfinished = replay("--data data");
    assert_eq!(unfinished.status(), 2);
    assert!(unfinished.err().contains("--fresh"), "{}", unfinished.err());
    assert_eq!(replay("--data data --fresh").out(), first.out());
    // What is resumed must be what was begun.
    for (more, why) in [
        ("--data data --resume --trusted-hops 1", "--trusted-hops"),
        ("--data data --resume --amounts", "without --report"),
    ] {
        assert!(
            replay(more).err().contains(why),
            "{more}: {}",
            replay(more).err()
        );
    }
    bench.file(
        "policy.toml",
        "[limits.per-user]\nrate = \"3/min\"\nkey = \"user\"\n",
    );
    let other = replay("--data data --resume");
    assert_eq!(other.status(), 2);
    assert!(other.err().contains("the policy is not"), "{}", other.err());
}

#[test]
fn a_directory_is_examined_and_repaired() {
    let bench = Bench::new();
    bench.file("policy.toml", "[limits.all]\nrate = \"5/day\"\n");
    let checked = bench.run("check --policy policy.toml --data data --limit all");
    assert_eq!(checked.status(), 0, "{}", checked.err());
    let healthy = bench.run("doctor data");
    assert_eq!(healthy.status(), 0, "{}", healthy.out());
    assert!(
        healthy.out().contains("nothing is wrong"),
        "{}",
        healthy.out()
    );
    // As a killed process leaves it.
    bench.file("data/marks.next", "half");
    assert_eq!(bench.run("doctor data").status(), 0);
    let marks = bench.0.path().join("data/marks");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(marks, open).unwrap();
    let found = bench.run("doctor data --json");
    assert_eq!(found.status(), 1);
    let json: Value = serde_json::from_str(&found.out()).unwrap();
    assert_eq!(json["healthy"], false);
    assert_eq!(json["findings"][0]["remedy"]["who"], "repair", "{json}");
    assert_eq!(json["findings"][0]["repaired"], Value::Null);
    let repaired = bench.run("doctor data --repair");
    assert_eq!(repaired.status(), 0, "{}", repaired.out());
    assert!(
        repaired.out().contains("repaired: make it private"),
        "{}",
        repaired.out()
    );
    assert_eq!(bench.run("doctor data").status(), 0);
    let nothing = bench.run("doctor nowhere");
    assert_eq!(nothing.status(), 2);
    assert!(nothing.err().contains("nowhere"), "{}", nothing.err());
}

#[test]
fn help_shows_examples() {
    let bench = Bench::new();
    for (line, part) in [
        ("--help", "replay"),
        ("replay --help", "zcat *.gz | tollgate replay -"),
        ("check --help", "exit status 0"),
        ("usage --help", "--at"),
        ("doctor --help", "--repair"),
        ("policy explain --help", "Example"),
    ] {
        let help = bench.run(line);
        assert_eq!(help.status(), 0);
        assert!(help.out().contains(part), "{line}: {}", help.out());
        assert!(
            help.out().lines().all(|line| line.chars().count() <= 100),
            "{}",
            help.out()
        );
    }
}

const HEAVY: &str = r#"{"limits": {"heavy": {"max_concurrent": 2, "queue": 5, "key": "user"},
    "per-user": {"rate": "2/min", "key": "user"}}, "idempotency": {"key": "user + run",
    "repeats": "answered by the service"}}"#;

#[test]
fn limits_on_how_many_run_are_told_and_left_out_of_a_replay() {
    let bench = Bench::new();
    bench.file("p.json", HEAVY);
    let line = r#"{"time":"2025-10-09T08:00:00Z","user":"a"}"#;
    bench.file("log.jsonl", &format!("{line}\n{line}\n{line}\n"));
    let at = "--policy p.json --data data";
    // Nothing runs when a command has ended, so each finds both permits.
    for (asked, status, told) in [
        ("policy lint p.json", 0, "heavy: 2 at a time, 5 more may"),
        (
            "policy lint p.json",
            0,
            "1 day, up to 10 repeats not charged",
        ),
        ("check AT --attribute user=a --attribute run=r", 0, "1 of 2"),
        ("check AT --attribute user=a --attribute run=r", 0, "before"),
        ("usage AT --attribute user=a", 0, "heavy: allowed, 0 of 2"),
        ("usage AT --attribute user=a --json", 0, "\"concurrency\""),
        ("check AT --limit heavy --key a", 2, "how many run at"),
    ] {
        let ended = bench.run(&asked.replace("AT", at));
        let said = ended.out() + &ended.err();
        assert_eq!(ended.status(), status, "{said}");
        assert!(said.contains(told), "{said}");
    }
    let replayed = bench.run("replay log.jsonl --policy p.json --data replayed --json");
    let (out, err) = (replayed.out(), replayed.err());
    assert_eq!(replayed.status(), 0, "{err}");
    assert!(err.contains("not judged") && err.contains("heavy"), "{err}");
    assert!(out.contains("per-user") && !out.contains("heavy"), "{out}");
}
