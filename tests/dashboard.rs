//! S7: what the page of limits shows, and that it shows it in a browser.
#![cfg(feature = "dashboard")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/skipped.rs"]
mod skipped;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tollgate::{Dashboard, Limiter, ManualClock, Policy, Request, Timestamp};

const POLICY: &str = "
[limits.per-user]
rate = \"5/hour\"
algorithm = \"fixed window\"
key = \"user\"

[limits.tried]
rate = \"2/hour\"
key = \"user\"
shadow = true

[limits.running]
max_concurrent = 3
key = \"user\"

[[routes]]
route = \"POST /jobs\"
limits = [\"running\"]
";

/// A limiter whose clock stands an hour from now, so that no window ends meanwhile.
fn limiter(dashboard: &Dashboard) -> (Limiter, tempfile::TempDir) {
    let dir = common::scratch();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let later = Timestamp::EPOCH + now.unwrap() + Duration::from_secs(3_600);
    let limiter = Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .clock(ManualClock::new(later))
        .watch(dashboard.clone())
        .open(dir.path().join("data"))
        .unwrap();
    (limiter, dir)
}

fn check(limiter: &Limiter, user: &str, times: usize) {
    for _ in 0..times {
        let _ = limiter.check(&Request::http("GET", "/a").attribute("user", user));
    }
}

fn get(uri: &str) -> http::Request<()> {
    http::Request::get(uri).body(()).unwrap()
}

fn data(dashboard: &Dashboard, limiter: &Limiter) -> Value {
    let response = dashboard.answer(limiter, &get("/limits?data"));
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_str(response.body()).unwrap()
}

#[test]
fn s7_each_limits_allowance_and_use() {
    let dashboard = Dashboard::new().sample(1);
    let (limiter, _dir) = limiter(&dashboard);
    check(&limiter, "alice", 8);
    check(&limiter, "bob", 2);
    let _running = limiter.acquire(&Request::http("POST", "/jobs").attribute("user", "carol"));
    let data = data(&dashboard, &limiter);
    let limits = data["limits"].as_array().unwrap();
    let of = |name: &str| limits.iter().find(|one| one["name"] == name).unwrap();
    let per_user = of("per-user");
    assert_eq!(
        (&per_user["allowed"], &per_user["refused"]),
        (&8.into(), &3.into())
    );
    let words = per_user["words"].as_str().unwrap();
    assert!(words.starts_with("5 per hour"), "{words}");
    assert_eq!(of("tried")["would_refuse"], 3);
    assert_eq!(data["running"][0]["running"], 1);

    let busiest = &data["busiest"];
    assert_eq!(
        (&busiest[0]["key"], &busiest[0]["count"]),
        (&"user=alice".into(), &8.into())
    );
    assert_eq!(
        (&busiest[0]["used"], &busiest[0]["of"]),
        (&5.into(), &5.into())
    );
    assert!(busiest[0]["reset"].as_u64() > data["now"].as_u64());
    let refused = data["refused"].as_array().unwrap();
    assert_eq!((refused.len(), &refused[0]["count"]), (1, &3.into()));
}

/// A limit without a key has one counter, whose use is the limit's.
#[test]
fn s7_what_all_share_is_shown_with_its_limit() {
    let text = "
limits.all = { rate = \"9/h\", algorithm = \"fixed window\" }
limits.each = { rate = \"5/h\", key = \"user\" }
limits.tried = { rate = \"5/h\", key = \"user\", shadow = true }
limits.free = { rate = \"unlimited\" }
";
    let dashboard = Dashboard::new();
    let dir = common::scratch();
    let limiter = Limiter::builder(Policy::from_toml(text).unwrap())
        .clock(ManualClock::new(Timestamp::from_secs(1_760_000_000)))
        .open(dir.path().join("data"))
        .unwrap();
    check(&limiter, "alice", 2);
    let data = data(&dashboard, &limiter);
    for limit in data["limits"].as_array().unwrap() {
        let numbers = ["used", "of", "reset"].map(|name| limit[name].as_u64());
        let expected = match limit["name"] == "all" {
            true => [Some(2), Some(9), Some(1_760_000_400)],
            false => [None; 3],
        };
        assert_eq!(numbers, expected, "{limit}");
    }
}

#[test]
fn secrets_show_only_their_ends() {
    for (in_full, shown) in [
        (false, "user=sk_l…n9f3"),
        (true, "user=sk_live_51HxyzSecretn9f3"),
    ] {
        let dashboard = Dashboard::new().sample(1);
        let dashboard = if in_full {
            dashboard.keys_in_full()
        } else {
            dashboard
        };
        let (limiter, _dir) = limiter(&dashboard);
        check(&limiter, "sk_live_51HxyzSecretn9f3", 1);
        assert_eq!(data(&dashboard, &limiter)["busiest"][0]["key"], shown);
    }
}

/// Row T13: keys that are shown alike are keys of their own, and so are those that differ beyond
/// what is kept of them.
#[test]
fn t13_keys_that_look_alike_stay_apart() {
    let long = "x".repeat(200);
    for (dashboard, start) in [
        (Dashboard::new(), "customer-"),
        (Dashboard::new().keys_in_full(), &*long),
    ] {
        let dashboard = dashboard.sample(1);
        let (limiter, _dir) = limiter(&dashboard);
        for number in 10..30 {
            let user = format!("{start}{number}-abcdefghij");
            check(&limiter, &user, 20);
            let _ = limiter.limit("per-user").unwrap().check(&user);
        }
        let data = data(&dashboard, &limiter);
        let busiest = data["busiest"].as_array().unwrap();
        assert_eq!(busiest.len(), 20);
        let mut keys: Vec<_> = busiest
            .iter()
            .map(|one| {
                assert_eq!((&one["count"], &one["used"]), (&21.into(), &5.into()));
                let key = one["key"].as_str().unwrap();
                assert!(key.starts_with("user="), "{key}");
                assert!(!key.contains("omer") && !key.contains("bcdef"), "{key}");
                key
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 20, "each can be told from the others: {keys:?}");
    }
}

/// A secret is one however many words it has; what an address or a route is, is none.
#[test]
fn secrets_of_several_words_show_only_their_ends() {
    let policy = "
limits.phrases = { rate = \"5/h\", key = \"client_ip + phrase + route\" }
routes = [{ route = \"GET /a/long/enough/path\", limits = [\"phrases\"] }]
";
    let dashboard = Dashboard::new().sample(1);
    let dir = common::scratch();
    let limiter = Limiter::builder(Policy::from_toml(policy).unwrap())
        .watch(dashboard.clone())
        .open(dir.path().join("data"))
        .unwrap();
    let request = Request::http("GET", "/a/long/enough/path")
        .address(
            "client_ip",
            "2001:db8:1234:5678::1".parse::<std::net::IpAddr>().unwrap(),
        )
        .attribute("phrase", "correct horse battery ip=staple");
    let _ = limiter.check(&request);
    let shown = "client_ip=2001:db8:1234:5678:: phrase=corr…aple route=/a/long/enough/path";
    assert_eq!(data(&dashboard, &limiter)["busiest"][0]["key"], shown);
}

#[test]
fn limits_asked_directly_are_counted() {
    let dashboard = Dashboard::new().sample(1);
    let (limiter, _dir) = limiter(&dashboard);
    let per_user = limiter.limit("per-user").unwrap();
    for _ in 0..7 {
        let _ = per_user.check("a secret of many letters");
    }
    // No key of the limit: counted for it, and for no key.
    let _ = per_user.check(());
    let data = data(&dashboard, &limiter);
    let limits = data["limits"].as_array().unwrap();
    let limit = limits.iter().find(|one| one["name"] == "per-user").unwrap();
    assert_eq!(
        (&limit["allowed"], &limit["refused"]),
        (&5.into(), &3.into())
    );
    let busiest = data["busiest"].as_array().unwrap();
    assert_eq!(busiest.len(), 1, "{busiest:?}");
    assert_eq!(busiest[0]["key"], "user=a se…ters");
    assert_eq!(
        [&busiest[0]["count"], &busiest[0]["used"]],
        [&Value::from(7), &5.into()]
    );
    assert_eq!(data["refused"][0]["count"], 2);
}

#[test]
fn sampled_keys_come_near_the_truth() {
    let dashboard = Dashboard::new().sample(4);
    let (limiter, _dir) = limiter(&dashboard);
    check(&limiter, "alice", 4_000);
    check(&limiter, "bob", 1_000);
    let data = data(&dashboard, &limiter);
    let busiest = &data["busiest"];
    assert_eq!(busiest[0]["key"], "user=alice");
    let count = busiest[0]["count"].as_u64().unwrap();
    // A standard deviation is 110: within eight of them, once in 10^15 not.
    assert!((3_100..4_900).contains(&count), "{count}");
    let refused = data["limits"].as_array().unwrap().iter();
    let refused: Vec<_> = refused.filter(|one| one["name"] == "per-user").collect();
    assert_eq!(
        refused[0]["refused"], 4_990,
        "limits are counted, not sampled"
    );
}

#[test]
fn only_looked_at_and_never_kept() {
    let dashboard = Dashboard::new();
    let (limiter, _dir) = limiter(&dashboard);
    let post = http::Request::post("/").body(()).unwrap();
    let refused = dashboard.answer(&limiter, &post);
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.headers()["allow"], "GET, HEAD");
    for uri in ["/", "/limits", "/?data", "/?other"] {
        let response = dashboard.answer(&limiter, &get(uri));
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let is_page = response.body().starts_with("<!doctype html>");
        assert_eq!(is_page, uri != "/?data", "{uri}");
        assert_eq!(
            response.headers().contains_key("content-security-policy"),
            is_page
        );
    }
    let head = http::Request::head("/").body(()).unwrap();
    assert_eq!(dashboard.answer(&limiter, &head).body(), "");
    let page = dashboard.answer(&limiter, &get("/"));
    for outside in [
        "http:",
        "https:",
        "src=",
        "href=",
        "url(",
        "@import",
        "innerHTML",
        "eval(",
    ] {
        assert!(!page.body().contains(outside), "{outside}");
    }
}

#[test]
fn a_key_is_looked_up_and_the_last_hour_is_told() {
    let dashboard = Dashboard::new();
    let (limiter, _dir) = limiter(&dashboard);
    check(&limiter, "alice+ä", 7);
    let ask = |key: &str| {
        let answer = dashboard.answer(&limiter, &get(&format!("/?usage={key}")));
        let answer: Value = serde_json::from_str(answer.body()).unwrap();
        answer["usage"].as_array().unwrap().clone()
    };
    let found = ask("alice%2B%C3%A4");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&found[0]["used"], &found[0]["of"]), (&5.into(), &5.into()));
    assert_eq!(found[0]["allowed"], false);
    assert_eq!(ask("nobody")[0]["used"], 0);
    assert!(ask("a+%2B+b+%2B+c").is_empty() && ask("").is_empty());
    let limits = data(&dashboard, &limiter)["limits"].clone();
    let named = |limit: &&Value| limit["name"] == found[0]["limit"];
    let limit = limits.as_array().unwrap().iter().find(named).unwrap();
    let hour = limit["history"].as_array().unwrap();
    let sum = |at: usize| {
        hour.iter()
            .map(|minute| minute[at].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((hour.len(), sum(0), sum(1)), (60, 5, 2));
}

#[test]
fn the_page_may_nothing_but_what_it_needs() {
    let dashboard = Dashboard::new();
    let (limiter, _dir) = limiter(&dashboard);
    let response = dashboard.answer(&limiter, &get("/"));
    let allowed = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    let sources = allowed.split("; ").map(|directive| {
        let (name, source) = directive.split_once(' ').unwrap();
        let is_hash = source.starts_with("'sha256-") && source.ends_with("='");
        (name, if is_hash { "a hash" } else { source })
    });
    let expected = [
        ("default-src", "'none'"),
        ("style-src", "a hash"),
        ("script-src", "a hash"),
        ("connect-src", "'self'"),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
        ("frame-ancestors", "'none'"),
    ];
    assert_eq!(sources.collect::<Vec<_>>(), expected);
}

/// What the page may run is what it has: both hashes are those of what stands in it.
#[test]
fn the_policy_of_the_page_fits_the_page() {
    let has_python = Command::new("python3").arg("--version").output();
    if !has_python.is_ok_and(|tried| tried.status.success()) {
        skipped::say("hashing the page's script needs python3");
        return;
    }
    let dashboard = Dashboard::new();
    let (limiter, _dir) = limiter(&dashboard);
    let response = dashboard.answer(&limiter, &get("/"));
    let allowed = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    let hash = "
import base64, hashlib, sys
print(base64.b64encode(hashlib.sha256(sys.argv[1].encode()).digest()).decode(), end='')
";
    for part in ["style", "script"] {
        let [open, close] = [format!("<{part}>"), format!("</{part}>")];
        let text = response.body().split_once(&open).unwrap().1;
        let text = text.split_once(&close).unwrap().0;
        let output = Command::new("python3")
            .args(["-c", hash, text])
            .output()
            .unwrap();
        let hash = String::from_utf8(output.stdout).unwrap();
        let source = format!("{part}-src 'sha256-{hash}'");
        assert!(
            allowed.contains(&source),
            "src/dashboard/mod.rs should say {source}"
        );
    }
}

/// Serves the page on a port of its own until the process ends.
fn serve(dashboard: &Dashboard, limiter: &Limiter) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/limits", listener.local_addr().unwrap());
    let (dashboard, limiter) = (dashboard.clone(), limiter.clone());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (dashboard, limiter) = (dashboard.clone(), limiter.clone());
            thread::spawn(move || answer(stream, &dashboard, &limiter));
        }
    });
    address
}

fn answer(mut stream: TcpStream, dashboard: &Dashboard, limiter: &Limiter) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    lines
        .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
        .count();
    let uri = first.split(' ').nth(1)?;
    let response = dashboard.answer(limiter, &get(uri));
    let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().ok()?);
    }
    text += &format!(
        "content-length: {}\r\n\r\n{}",
        response.body().len(),
        response.body()
    );
    stream.write_all(text.as_bytes()).ok()
}

/// What chromium makes of an address.
fn browse(profile: &Path, address: &str, more: &[&str]) -> String {
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args(["--virtual-time-budget=5000", "--timeout=30000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(more)
        .arg(address)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn s7_a_browser_shows_it() {
    if Command::new("chromium").arg("--version").output().is_err() {
        skipped::say("looking at the dashboard needs chromium");
        return;
    }
    let dashboard = Dashboard::new().sample(1).keys_in_full();
    let (limiter, dir) = limiter(&dashboard);
    let hostile = "<img src=x onerror=alert(1)>&\"'";
    check(&limiter, hostile, 7);
    check(&limiter, "alice", 3);
    let address = serve(&dashboard, &limiter);
    let dom = browse(&dir.path().join("profile"), &address, &["--dump-dom"]);
    assert!(dom.contains("Most refused keys"), "the script ran: {dom}");
    assert!(
        dom.contains("user=&lt;img src=x onerror=alert(1)&gt;&amp;"),
        "{dom}"
    );
    assert!(!dom.contains("<img"), "{dom}");
    assert!(dom.contains("<progress max=\"5\" value=\"5\">"), "{dom}");
    assert!(dom.contains("as of "), "it says how old it is");
    assert!(dom.contains("<title>the last hour: "), "{dom}");
    assert!(dom.contains("class=\"refused\" x=\""), "{dom}");
    // For a look at it: a wide window, and a phone's in the dark.
    if let Some(folder) = std::env::var_os("DASHBOARD_SHOTS") {
        for (name, size, dark) in [("wide", "1100,900", false), ("phone", "500,1000", true)] {
            let shot = Path::new(&folder).join(format!("{name}.png"));
            let shot = format!("--screenshot={}", shot.display());
            let size = format!("--window-size={size}");
            let dark = if dark {
                "--force-dark-mode"
            } else {
                "--disable-extensions"
            };
            browse(
                &dir.path().join(name),
                &address,
                &[&shot, &size, dark, "--hide-scrollbars"],
            );
        }
    }
}
