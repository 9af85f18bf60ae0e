//! What `replay` does for whoever chooses limits: policies beside each other, a policy suggested, a
//! log that is still being written, and errors where a report would say nothing.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Bench;

/// A line of the combined format.
fn line(secs: u64, ip: &str, path: &str) -> String {
    let (minute, second) = (secs / 60, secs % 60);
    format!(
        "{ip} - - [03/Mar/2025:06:{minute:02}:{second:02} +0000] \"GET {path} HTTP/1.1\" 200 1 \
         \"-\" \"curl\"\n"
    )
}

/// Ten requests of one address in the first minute, three of another in the second.
fn log() -> String {
    let loud = (0..10).map(|at| line(at, "192.0.2.1", "/a"));
    let quiet = (60..63).map(|at| line(at, "192.0.2.2", "/b"));
    loud.chain(quiet).collect()
}

fn policy(amount: u64) -> String {
    format!(
        "# Kept as it is.\n[limits.each]\nrate = \"{amount}/min\"\nalgorithm = \"fixed window\"\n\
         key = \"ip\"\n"
    )
}

#[test]
fn policies_are_compared_in_one_reading() {
    let bench = Bench::new();
    bench.file("a.log", &log());
    for amount in [2, 4, 9] {
        bench.file(&format!("{amount}.toml"), &policy(amount));
    }
    let line = "replay a.log --policy 4.toml --policy 2.toml --policy 9.toml --data d --amounts";
    let done = bench.run(&format!("{line} --json --report r.html"));
    assert_eq!(done.status(), 0, "{}", done.err());
    let told: Value = serde_json::from_str(&done.out()).unwrap();
    assert_eq!(told["requests"]["refused"], 6);
    let others = told["others"].as_array().unwrap();
    let told = |other: &Value| {
        ["both_refuse", "only_first_refuses", "only_this_refuses"]
            .map(|what| other[what].as_u64().unwrap())
    };
    // Under two a minute: eight of the loud one and one of the quiet one.
    assert_eq!(others[0]["requests"]["refused"], 9);
    assert_eq!(told(&others[0]), [6, 0, 3]);
    let whom = others[0]["only_this_keys"].as_array().unwrap();
    let whom: Vec<_> = whom
        .iter()
        .map(|key| (&key["key"], &key["refused"]))
        .collect();
    assert_eq!(
        whom,
        [
            (&Value::from("ip=192.0.2.1"), &Value::from(2)),
            (&Value::from("ip=192.0.2.2"), &Value::from(1)),
        ]
    );
    assert_eq!(others[1]["requests"]["refused"], 1);
    assert_eq!(told(&others[1]), [1, 5, 0]);
    assert_eq!(
        others[1]["only_first_keys"][0]["deeds"][0]["what"],
        "GET /a"
    );
    assert_eq!(
        others[1]["amounts"]["limits"][0]["nothing"]["rate"],
        "10 per minute"
    );

    // Each by itself comes to the same.
    for (policy, refused) in [(4, 6), (2, 9), (9, 1)] {
        let one = bench.run(&format!(
            "replay a.log --policy {policy}.toml --data d{policy} --json"
        ));
        let one: Value = serde_json::from_str(&one.out()).unwrap();
        assert_eq!(one["requests"]["refused"], refused);
    }
    let page = fs::read_to_string(bench.path("r.html")).unwrap();
    for part in [
        "beside each other",
        "Whom only 2.toml refuses",
        "Whom only 4.toml refuses",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let text = bench.run(&line.replace("--data d", "--data dt"));
    assert!(text.out().contains("Both refuse 6."), "{}", text.out());
}

#[test]
fn a_suggested_policy_refuses_no_more_than_it_says() {
    let bench = Bench::new();
    bench.file("a.log", &log());
    bench.file("p.toml", &policy(4));
    let line = "replay a.log --policy p.toml --data d --suggest s.toml --at-most nothing --json";
    let done = bench.run(line);
    assert_eq!(done.status(), 0, "{}", done.err());
    let suggested = fs::read_to_string(bench.path("s.toml")).unwrap();
    for part in [
        "# Kept as it is.",
        "rate = \"10 per minute\"",
        "was 4 per minute",
        "none",
    ] {
        assert!(suggested.contains(part), "{part}: {suggested}");
    }
    let told: Value = serde_json::from_str(&done.out()).unwrap();
    assert_eq!(told["suggestion"]["policy"], suggested);
    let again = bench.run("replay a.log --policy s.toml --data d2 --json");
    let again: Value = serde_json::from_str(&again.out()).unwrap();
    assert_eq!(again["requests"]["refused"], 0);

    bench.file(
        "p.json",
        "{\"limits\": {\"each\": {\"rate\": \"4/min\", \"key\": \"ip\"}}}",
    );
    let json = bench.run("replay a.log --policy p.json --data d3 --suggest s.toml");
    assert_eq!(json.status(), 2);
    assert!(json.err().contains("is JSON"), "{}", json.err());
}

#[test]
fn a_report_that_would_say_nothing_is_an_error() {
    let bench = Bench::new();
    bench.file("p.toml", &policy(4));
    bench.file(
        "user.toml",
        "[limits.each]\nrate = \"4/min\"\nkey = \"api_key\"\n",
    );
    bench.file("good.log", &log());
    let torn: String = (0..9).map(|_| "192.0.2.1 - - half a line\n").collect();
    bench.file("torn.log", &format!("{}{torn}", line(0, "192.0.2.1", "/")));
    let json = (0..9).map(|at| {
        format!(
            "{{\"time\": {}, \"client\": {{\"apikey\": \"k{at}\"}}, \"n\": 1}}\n",
            1_700_000_000 + at
        )
    });
    bench.file("calls.jsonl", &json.collect::<String>());
    bench.file("when.csv", "stamp,who\n1700000000,a\n1700000001,b\n");
    bench.file(
        "closed.log",
        &line(0, "192.0.2.1", "/").replace("GET / HTTP/1.1", "-"),
    );
    let refuses = |line: &str, whys: &[&str]| {
        let done = bench.run(&format!("{line} --progress none"));
        assert_eq!(done.status(), 2, "{line}: {}", done.out());
        for why in whys {
            assert!(done.err().contains(why), "{line}: {why} in {}", done.err());
        }
        assert_eq!(done.out(), "", "{line}");
    };
    let all = [
        "9 of 10 lines of torn.log",
        "combined",
        "torn.log:2: no time",
    ];
    refuses("replay torn.log --policy p.toml --data a", &all);
    let all = [
        "9 of 9 requests",
        "each lack api_key",
        "client.apikey",
        "--map api_key=client.apikey",
    ];
    refuses("replay calls.jsonl --policy user.toml --data b", &all);
    let done =
        bench.run("replay calls.jsonl --policy user.toml --data b --map api_key=client.apikey");
    assert!(
        done.out().contains("9 requests"),
        "what was advised does it: {}",
        done.err()
    );
    refuses(
        "replay good.log --policy user.toml --data c",
        &["13 of 13", "user_agent"],
    );
    let all = [
        "does not begin like any log",
        "stamp,who",
        "--map time=COLUMN",
    ];
    refuses("replay when.csv --policy p.toml --data e", &all);
    refuses(
        "replay closed.log --policy p.toml --data f",
        &["none of 1 lines", "holds a request"],
    );
}

#[test]
fn outputs_are_tried_before_the_work_begins() {
    let bench = Bench::new();
    bench.file("p.toml", &policy(4));
    bench.file("good.log", &log());
    for output in [
        "--report none/r.html",
        "--suggest none/s.toml",
        "--report .",
    ] {
        let done = bench.run(&format!(
            "replay good.log --policy p.toml --data g {output}"
        ));
        assert_eq!(done.status(), 2, "{output}");
        assert!(
            done.err().contains("cannot write"),
            "{output}: {}",
            done.err()
        );
        assert!(!fs::exists(bench.path("g")).unwrap(), "nothing was begun");
    }
    // The data directory may be as new as what is to lie in it.
    let inside = "replay good.log --policy p.toml --data new/h --report new/h/";
    let done = bench.run(&format!("{inside}r.html"));
    assert_eq!(done.status(), 0, "{}", done.err());
    assert!(fs::exists(bench.path("new/h/r.html")).unwrap());
    let done = bench.run(&format!("{inside}none/r.html").replace("new", "other"));
    assert_eq!(done.status(), 2, "{}", done.err());
}

/// Waits until the file at `path` has `text`.
fn wait_for(path: &str, text: &str) {
    let began = Instant::now();
    while !fs::read_to_string(path).is_ok_and(|told| told.contains(text)) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{text} never came"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Follows `a.log`; what it says meanwhile goes to `told`.
fn follow(bench: &Bench, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .current_dir(bench.path("."))
        .args("replay a.log --policy p.toml --data d --json --follow".split(' '))
        .args(more)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(bench.path("told")).unwrap())
        .spawn()
        .unwrap()
}

/// Asks it to end, and gives the results.
fn end(bench: &Bench, child: Child) -> Value {
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let fault = fs::read_to_string(bench.path("told")).unwrap();
    assert!(output.status.success(), "{fault}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_log_that_is_written_is_followed_through_a_rotation() {
    let bench = Bench::new();
    bench.file("p.toml", &policy(4));
    let log = log();
    // The last line has come in part.
    let (begun, rest) = log.split_at(log.len() - 20);
    let path = bench.file("a.log", begun);
    let told = bench.path("told");
    let child = follow(&bench, &[]);
    wait_for(&told, "12 requests");
    let append = |text: &str| {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append(rest);
    std::thread::sleep(Duration::from_secs(1));
    let first = end(&bench, child);
    assert_eq!(first["requests"]["judged"], 13, "{first}");
    assert_eq!(first["lines"]["malformed"], 0);

    // It goes on where it was, in the next file too.
    let child = follow(&bench, &["--resume"]);
    append(&line(70, "192.0.2.3", "/c"));
    std::thread::sleep(Duration::from_secs(1));
    fs::rename(&path, bench.path("a.log.1")).unwrap();
    append(&line(80, "192.0.2.3", "/d"));
    std::thread::sleep(Duration::from_secs(2));
    let last = end(&bench, child);
    assert_eq!(last["requests"]["judged"], 15, "{last}");
    assert_eq!(last["requests"]["refused"], 6);
    let not_a_file = bench.run_with("replay - --policy p.toml --data f --follow", log.as_bytes());
    assert!(
        not_a_file.err().contains("plain file"),
        "{}",
        not_a_file.err()
    );
}
