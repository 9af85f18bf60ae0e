//! Responses as clients see them that are not ours: curl, and Python's own HTTP client.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common;
use crate::process::Server;

/// What a tool said, or nothing and a word that the test is skipped.
fn run(tool: &str, args: &[&str]) -> Option<Output> {
    match Command::new(tool).args(args).output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{tool}: {errors}");
            Some(output)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            crate::skipped::say(format!("{tool} is not installed"));
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

const KEY: &str = "X-Api-Key: pk_outside";

/// As many as the service admits at once to its log-in; some may be refused.
fn spend(server: &Server) {
    for _ in 0..20 {
        let answer = server.post("/auth/token", &[KEY]);
        assert!(matches!(answer.status, 200 | 429), "{answer:?}");
    }
}

#[test]
fn curl_sees_a_proper_refusal() {
    let dir = common::scratch();
    let server = Server::start("skakio", &dir.path().join("data"));
    let url = format!("{}/auth/token", server.url);
    let args = ["-sS", "-i", "-X", "POST", "-H", KEY, &url];
    let Some(served) = run("curl", &args) else {
        return;
    };
    let served = String::from_utf8(served.stdout).unwrap();
    assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
    assert!(
        served.contains("\r\nx-ratelimit-tier: public_key\r\n"),
        "{served}"
    );
    // Ten a second come back while it is asked, so it is asked until one is refused.
    let refused = (0..1_000).find_map(|_| {
        let said = run("curl", &args).unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        if !said.starts_with("HTTP/1.1 429 Too Many Requests\r\n") {
            spend(&server);
            return None;
        }
        Some(said)
    });
    let refused = refused.unwrap();
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    for line in [
        "content-type: application/json",
        "retry-after: 1",
        "x-ratelimit-limit: 10",
        "x-ratelimit-remaining: 0",
    ] {
        assert!(head.lines().any(|known| known == line), "{line} of {head}");
    }
    let length = format!("content-length: {}", body.len());
    assert!(head.contains(&length), "{length} of {head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], "RATE_LIMIT_EXCEEDED");
}

/// Asks until it is refused, waits as long as it is told, and must then be served.
const PYTHON: &str = r#"
import http.client, json, sys, time
connection = http.client.HTTPConnection(sys.argv[1])
def ask():
    connection.request("POST", "/auth/token", headers={"X-Api-Key": "pk_python"})
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read()
for _ in range(10000):
    status, headers, body = ask()
    if status != 200:
        break
wait = int(headers["retry-after"])
time.sleep(wait)
again = ask()[0]
print(json.dumps({"status": status, "headers": headers, "body": json.loads(body), "again": again}))
"#;

#[test]
fn a_python_client_waits_as_long_as_it_is_told_and_is_served() {
    let dir = common::scratch();
    let server = Server::start("skakio", &dir.path().join("data"));
    let address = server.url.trim_start_matches("http://");
    let Some(output) = run("python3", &["-c", PYTHON, address]) else {
        return;
    };
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["status"], 429);
    assert_eq!(said["headers"]["x-ratelimit-remaining"], "0");
    assert_eq!(said["headers"]["x-ratelimit-tier"], "public_key");
    let wanted = json!({
        "code": "RATE_LIMIT_EXCEEDED",
        "message": "Rate limit exceeded. Retry after 1 seconds.",
        "tier": "public_key",
    });
    assert_eq!(said["body"]["error"], wanted);
    assert_eq!(said["again"], 200);
}
