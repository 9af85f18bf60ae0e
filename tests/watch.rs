//! What others are told of decisions: numbers by limit and outcome, and events of refusals.
#![cfg(all(feature = "metrics", feature = "tracing"))]

#[path = "common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tollgate::control::Connection;
use tollgate::watch::{Metrics, Refusals};
use tollgate::{
    Admin, Asked, Change, Decision, Limiter, ManualClock, Policy, Request, Timestamp, Verdict,
    Watch, WhenHeld,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const POLICY: &str = "
[limits.tight]
rate = \"2/min\"
algorithm = \"fixed window\"
key = \"user\"

[limits.wide]
rate = \"100/min\"
key = \"user\"

[limits.tried]
rate = \"1/min\"
key = \"user\"
shadow = true

[limits.running]
max_concurrent = 1
key = \"user\"

[[routes]]
route = \"POST /jobs\"
limits = [\"running\"]

[[routes]]
route = \"GET /health\"
exempt = true
";

fn limiter(watch: impl tollgate::Watch + 'static) -> (Limiter, tempfile::TempDir) {
    let dir = common::scratch();
    let limiter = Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .clock(ManualClock::new(Timestamp::from_secs(1_760_000_000)))
        .watch(watch)
        .open(dir.path().join("data"))
        .unwrap();
    (limiter, dir)
}

fn alice<'r>(method: &'r str, path: &'r str) -> Request<'r> {
    Request::http(method, path).attribute("user", "alice-and-her-secret")
}

#[test]
fn each_decision_is_told_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let (limiter, _dir) = limiter(move |request: &Request<'_>, decision: &Decision| {
        let _ = request;
        noted.lock().unwrap().push(decision.is_allowed());
    });
    let take = |expected: &[bool]| {
        assert_eq!(std::mem::take(&mut *told.lock().unwrap()), expected);
    };
    let _ = limiter.check(&alice("GET", "/a"));
    take(&[true]);
    let _ = limiter.usage(&alice("GET", "/a"));
    take(&[]);
    let first = limiter.acquire(&alice("POST", "/jobs"));
    take(&[true]);
    let second = limiter.try_acquire(&alice("POST", "/jobs"));
    assert!(!second.is_allowed());
    take(&[false]);
    drop(first);
    let _ = limiter.check_rates(&alice("GET", "/a"));
    take(&[false]);
}

/// Keeps what limits that are asked directly say.
#[derive(Clone, Default)]
struct Direct(Arc<Mutex<Vec<(String, String, Verdict)>>>);

impl Watch for Direct {
    fn decided(&self, _: &Request<'_>, _: &Decision) {
        panic!("there is no request");
    }

    fn asked(&self, asked: &Asked<'_>) {
        let key = format!("{:?}", asked.key());
        let name = asked.limit().name().to_owned();
        // A watch may ask the limit itself, charging nothing.
        assert!(asked.limit().usage(asked.key()).limit() > 0);
        let told = (name, key, asked.outcome().verdict());
        self.0.lock().unwrap().push(told);
    }
}

#[test]
fn a_limit_asked_directly_is_told_of_once() {
    let direct = Direct::default();
    let (limiter, _dir) = limiter(direct.clone());
    let tight = limiter.limit("tight").unwrap();
    let key = |user: &str| format!("{:?}", tollgate::Key::from(user));
    let told = |expected: &[(&str, Verdict)]| {
        let told = std::mem::take(&mut *direct.0.lock().unwrap());
        let expected: Vec<_> = expected
            .iter()
            .map(|(user, verdict)| ("tight".to_owned(), key(user), *verdict))
            .collect();
        assert_eq!(told, expected);
    };
    let first = tight.check("alice");
    told(&[("alice", Verdict::Allowed)]);
    let _ = tight.usage("alice");
    tight.refund("alice", first);
    let _ = tight.settle("alice", first, 2);
    tight.reset("alice");
    told(&[]);
    let _ = tight.check_cost("alice", 3);
    told(&[("alice", Verdict::Impossible)]);
    // Each of a batch as its outcome is given.
    let users: Vec<String> = (0..40).map(|user| format!("u{}", user / 4)).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut outcomes = Vec::new();
    tight.check_many(&users, |place, outcome| {
        assert_eq!(direct.0.lock().unwrap().len(), place + 1);
        outcomes.push((users[place], outcome.verdict()));
    });
    assert!(
        outcomes
            .iter()
            .any(|(_, verdict)| *verdict == Verdict::Refused)
    );
    told(&outcomes);
}

/// Of a bucket, whose checks mostly go straight.
#[test]
fn a_bucket_asked_directly_is_told_of_each_time() {
    let direct = Direct::default();
    let (limiter, _dir) = limiter(direct.clone());
    let wide = limiter.limit("wide").unwrap();
    let told = || std::mem::take(&mut *direct.0.lock().unwrap()).len();
    for _ in 0..3 {
        assert!(wide.check("alice").is_allowed());
        assert_eq!(told(), 1);
    }
    for _ in 0..2 {
        wide.check_many(&["alice"; 3], |_, one| assert!(one.is_allowed()));
        assert_eq!(told(), 3);
    }
}

#[test]
fn numbers_by_limit_and_outcome_and_never_by_key() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let (limiter, _dir) = limiter(Metrics);
    metrics::with_local_recorder(&recorder, || {
        for _ in 0..5 {
            let _ = limiter.check(&alice("GET", "/a"));
        }
        let _ = limiter.check(&alice("GET", "/health"));
        let _ = limiter.check(&alice("POST", "/jobs"));
        let _ = limiter.check(&Request::http("GET", "/a").attribute("user", "bob"));
        limiter
            .limit("tight")
            .unwrap()
            .check_many(&["carol"; 7], |_, _| {});
        let _ = limiter.limit("tried").unwrap().check_cost("carol", 2);
    });
    let mut counted = BTreeMap::new();
    for (key, _, _, value) in snapshots.snapshot().into_vec() {
        let key = key.key();
        let mut name = key.name().to_owned();
        for label in key.labels() {
            write!(name, " {}={}", label.key(), label.value()).unwrap();
        }
        let DebugValue::Counter(count) = value else {
            panic!("{name} is no counter");
        };
        counted.insert(name, count);
    }
    let decisions = "tollgate_decisions_total limit=";
    let requests = "tollgate_requests_total outcome=";
    let expected = [
        // One without a permit, three over the limit; two of alice's and one of bob's allowed. Of
        // carol, who made no request, two were allowed and five refused.
        (format!("{decisions}running outcome=needs_permit"), 1),
        (format!("{decisions}tight outcome=allowed"), 5),
        (format!("{decisions}tight outcome=refused"), 9),
        (format!("{decisions}tried outcome=allowed"), 2),
        (format!("{decisions}tried outcome=would_refuse"), 2),
        (format!("{decisions}wide outcome=allowed"), 3),
        (format!("{requests}allowed"), 3),
        (format!("{requests}exempt"), 1),
        (format!("{requests}refused"), 4),
    ];
    assert_eq!(counted, BTreeMap::from(expected));
}

/// Keeps what events say.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tollgate"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn an_event_for_each_refusal_and_none_of_a_key() {
    let heard = Heard::default();
    let (limiter, _dir) = limiter(Refusals);
    tracing::subscriber::with_default(heard.clone(), || {
        for _ in 0..3 {
            let _ = limiter.check(&alice("GET", "/a"));
        }
        let _running = limiter.acquire(&Request::http("POST", "/jobs").attribute("user", "bob"));
        let bob = Request::http("POST", "/jobs").attribute("user", "bob");
        assert!(!limiter.try_acquire(&bob).is_allowed());
        let _ = limiter.check(&alice("GET", "/health"));
        let tight = limiter.limit("tight").unwrap();
        let _ = tight.check("alice-and-her-secret");
        let _ = tight.check("carol");
        let tried = limiter.limit("tried").unwrap();
        let _ = tried.check_cost("carol", 2);
    });
    let lines = heard.0.lock().unwrap().clone();
    let [shadow, refused, full, direct, tried] = &lines[..] else {
        panic!("{lines:#?}");
    };
    let start_of_shadow = "DEBUG message=would be refused limit=\"tried\" verdict=\"would_refuse\"";
    assert_eq!(shadow, start_of_shadow);
    assert!(refused.starts_with("INFO message=refused limit=\"tight\" verdict=\"refused\""));
    assert!(refused.contains(" retry_after_ms="), "{refused}");
    assert!(
        full.contains("limit=\"running\" verdict=\"queue_full\" route=\"/jobs\""),
        "{full}"
    );
    let start = "INFO message=refused limit=\"tight\" verdict=\"refused\" retry_after_ms=";
    assert!(direct.starts_with(start), "{direct}");
    assert_eq!(tried, start_of_shadow);
    assert!(
        !lines.iter().any(|line| line.contains("alice")),
        "{lines:#?}"
    );
}

#[test]
fn gauges_of_the_health_with_units_and_descriptions() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let (limiter, _dir) = limiter(Metrics);
    let running = limiter.acquire(&alice("POST", "/jobs"));
    assert!(running.is_allowed());
    metrics::with_local_recorder(&recorder, || Metrics.ticked(&limiter));
    let mut gauges = BTreeMap::new();
    for (key, unit, text, value) in snapshots.snapshot().into_vec() {
        let name = key.key().name().to_owned();
        assert!(unit.is_some() && text.is_some(), "{name} is not described");
        if let DebugValue::Gauge(value) = value {
            gauges.insert(name, value.into_inner());
        }
    }
    assert_eq!(gauges.len(), 11, "{gauges:?}");
    assert_eq!(gauges["tollgate_permits_running"], 1.0);
    assert_eq!(gauges["tollgate_permits_waiting"], 0.0);
    assert_eq!(gauges["tollgate_troubles"], 0.0);
    assert!(gauges["tollgate_table_slots"] > 1_000.0);
}

#[test]
fn who_changes_something_is_told_and_a_takeover() {
    let heard = Heard::default();
    let (limiter, dir) = limiter(Refusals);
    let data = dir.path().join("data");
    tracing::subscriber::with_default(heard.clone(), || {
        let admin = Admin::new(limiter.clone()).on_behalf_of("alice of operations");
        let override_of = r#"{"limit": "tight", "key": "bob", "rate": "9/min"}"#;
        assert_eq!(
            admin
                .handle("PUT", "overrides", override_of.as_bytes())
                .status,
            200
        );
        assert_eq!(admin.handle("PUT", "policy", POLICY.as_bytes()).status, 200);
        // What is only looked at, or was refused, is no change.
        assert_eq!(admin.handle("GET", "overrides", b"").status, 200);
        assert_eq!(admin.handle("POST", "reset", b"{}").status, 400);
    });
    let lines = heard.0.lock().unwrap().clone();
    let who = "who=\"alice of operations\"";
    assert_eq!(
        lines,
        [
            format!("INFO message=changed {who} what=\"set_override\" limit=\"tight\""),
            format!("INFO message=changed {who} what=\"replace_policy\""),
        ]
    );
    // Over the socket it is on another thread, whose events no subscriber of this one hears.
    let told = Changes::default();
    drop(limiter);
    let open = || {
        let policy = Policy::from_toml(POLICY).unwrap();
        let builder = Limiter::builder(policy).watch(told.clone());
        builder
            .when_held(WhenHeld::Wait(Duration::from_secs(20)))
            .open(&data)
    };
    let limiter = open().unwrap();
    assert_eq!(told.0.lock().unwrap().len(), 0);
    let mut connection = Connection::open(&data).unwrap().unwrap();
    let reset = connection.call("reset", r#"{"limit": "tight", "key": ["bob"]}"#);
    assert!(reset.is_ok());
    let uid = rustix::process::getuid().as_raw();
    let process = std::process::id();
    let expected = format!("uid {uid}, process {process}: reset tight");
    assert_eq!(told.0.lock().unwrap().clone(), [expected]);
    let next = std::thread::scope(|scope| {
        let next = scope.spawn(open);
        std::thread::sleep(Duration::from_millis(50));
        drop(limiter);
        next.join().unwrap()
    });
    assert!(next.is_ok());
    let last = told.0.lock().unwrap().last().unwrap().clone();
    assert_eq!(last, "took over");
}

/// Keeps what an administrator changed.
#[derive(Clone, Default)]
struct Changes(Arc<Mutex<Vec<String>>>);

impl Watch for Changes {
    fn decided(&self, _: &Request<'_>, _: &Decision) {}

    fn changed(&self, change: &Change<'_>) {
        let limit = change.limit.unwrap_or_default();
        let line = format!("{}: {} {limit}", change.who, change.what);
        self.0.lock().unwrap().push(line);
    }

    fn took_over(&self, waited: Duration) {
        assert!(waited >= Duration::from_millis(40));
        self.0.lock().unwrap().push("took over".into());
    }
}
