//! The log of every server that is known by name, counted by a program in Python that shares
//! nothing with the command.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[path = "../../examples/preset_logs.rs"]
#[expect(dead_code, reason = "its main is another program's")]
mod preset_logs;

use super::{number, replay_logs, skipped};

/// Whoever asks twice a day is refused once: who asked how often can be told.
const POLICY: &str = "
    [limits.daily]
    rate = \"1/day\"
    algorithm = \"calendar\"
    key = \"ip\"
    [[routes]]
    route = \"GET /items/{id}\"
    limits = []
    [[routes]]
    route = \"POST /login\"
    limits = []
";

/// A server and the format that its log is recognised as.
const SERVERS: [(&str, &str); 15] = [
    ("nginx", "combined"),
    ("nginx-timed", "combined"),
    ("nginx-json", "nginx-json"),
    ("apache", "combined"),
    ("caddy", "caddy"),
    ("traefik", "traefik"),
    ("traefik-json", "traefik-json"),
    ("alb", "alb"),
    ("cloudfront", "cloudfront"),
    ("s3", "s3"),
    ("haproxy", "haproxy"),
    ("iis", "w3c"),
    ("envoy", "envoy"),
    ("envoy-json", "envoy-json"),
    ("cloudflare", "cloudflare"),
];

/// Formats in the servers' own notation.
const CUSTOM: [(&str, &str); 3] = [
    (
        "nginx",
        "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
         \"$http_referer\" \"$http_user_agent\"",
    ),
    (
        "nginx-timed",
        "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
         \"$http_referer\" \"$http_user_agent\" $request_time \"$upstream\"",
    ),
    (
        "apache",
        r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\""#,
    ),
];

/// What Python counts in the logs in `directory`; none if there is no Python.
fn counted(directory: &Path) -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/logs/count.py");
    let output = Command::new("python3").arg(script).arg(directory).output();
    let Ok(output) = output else {
        skipped::say("counting the logs independently needs python3");
        return None;
    };
    let fault = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{fault}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn check(directory: &Path, name: &str, expected: &Value, more: &[&str]) -> Value {
    let logs = [".log.1", ".log"].map(|end| directory.join(format!("{name}{end}")));
    let summary = replay_logs(&logs, POLICY, more);
    let own = |value: &Value, what: &str, name: &str, number: &str| -> Vec<(String, u64)> {
        let list = value.pointer(what).and_then(Value::as_array).unwrap();
        let mut list: Vec<_> = list
            .iter()
            .map(|one| {
                let name = one[name].as_str().unwrap().trim_start_matches("ip=");
                (name.to_owned(), one[number].as_u64().unwrap())
            })
            .collect();
        list.sort();
        list
    };
    let theirs = |what: &str| -> Vec<(String, u64)> {
        let list = expected[what].as_object().unwrap().iter();
        let mut list: Vec<_> = list
            .map(|(name, n)| (name.clone(), n.as_u64().unwrap()))
            .collect();
        list.sort();
        list
    };
    let keys = own(&summary, "/keys/worst", "key", "requests");
    assert_eq!(keys, theirs("keys"), "{name}");
    let routes = own(&summary, "/routes", "route", "requests");
    assert_eq!(routes, theirs("routes"), "{name}");
    let requests: u64 = theirs("keys").iter().map(|(_, requests)| requests).sum();
    assert!(requests > 390, "{name}");
    let refused = requests - theirs("keys").len() as u64;
    for (path, expected) in [
        ("/requests/judged", requests),
        ("/requests/refused", refused),
        ("/lines/malformed", expected["malformed"].as_u64().unwrap()),
    ] {
        assert_eq!(number(&summary, path), expected, "{name}: {path}");
    }
    for which in ["first", "last"] {
        let second = |time: &Value| time.as_str().unwrap()[..19].to_owned();
        assert_eq!(
            second(&summary["time"][which]),
            second(&expected[which]),
            "{name}"
        );
    }
    summary
}

#[test]
fn every_server_is_recognised_and_counts_the_same() {
    let directory = tempfile::tempdir().unwrap();
    preset_logs::write_all(directory.path()).unwrap();
    let Some(expected) = counted(directory.path()) else {
        return;
    };
    assert_eq!(expected.as_object().unwrap().len(), SERVERS.len());
    for (name, format) in SERVERS {
        let summary = check(directory.path(), name, &expected[name], &[]);
        for log in summary["logs"].as_array().unwrap() {
            assert_eq!(log["format"], format, "{name}");
        }
        // By its name it is read the same.
        check(
            directory.path(),
            name,
            &expected[name],
            &["--format", format],
        );
    }
    for (name, format) in CUSTOM {
        check(
            directory.path(),
            name,
            &expected[name],
            &["--format", format],
        );
    }
}

/// Compressed by the usual programs, in one piece and in two, it is the same log.
#[test]
fn compressed_logs_are_the_same_logs() {
    let directory = tempfile::tempdir().unwrap();
    preset_logs::write_all(directory.path()).unwrap();
    let parts = [".log.1", ".log"].map(|end| directory.path().join(format!("nginx{end}")));
    let mut expected = replay_logs(&parts, POLICY, &[]);
    for (program, end) in [
        ("gzip", "gz"),
        ("bzip2", "bz2"),
        ("xz", "xz"),
        ("zstd", "zst"),
    ] {
        let packed = directory.path().join(format!("all.{end}"));
        let mut bytes = Vec::new();
        for part in &parts {
            let Ok(output) = Command::new(program).arg("-c").arg(part).output() else {
                return skipped::say(format_args!("packing logs needs {program}"));
            };
            assert!(output.status.success());
            bytes.extend(output.stdout);
        }
        std::fs::write(&packed, &bytes).unwrap();
        let mut summary = replay_logs(std::slice::from_ref(&packed), POLICY, &[]);
        for summary in [&mut summary, &mut expected] {
            summary["logs"] = Value::Null;
            summary["policy"] = Value::Null;
            summary["first_malformed"] = Value::Null;
        }
        assert_eq!(summary, expected, "{program}");
        // What is cut or damaged is an error, not a shorter log.
        for end in [bytes.len() - 9, bytes.len() * 3 / 4] {
            std::fs::write(&packed, &bytes[..end]).unwrap();
            let output = super::command(std::slice::from_ref(&packed), POLICY, &[]);
            let fault = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(2),
                "{program} cut at {end}: {fault}"
            );
            assert!(fault.contains("cannot read"), "{program}: {fault}");
        }
    }
}
