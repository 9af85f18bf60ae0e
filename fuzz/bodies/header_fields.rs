//! Any bytes in headers are a notice within bounds, and no client waits for longer than it may for
//! them. What this library writes in any dialect is read as it was meant.
//!
//! The first byte: 0 to 127 for headers of a response, a line each (`name: value`); the others for
//! what is asked of a limiter whose answers are read.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tempfile::TempDir;
use tollgate::client::{Backoff, Notice, Pace, Pacer, RateLimited, Timing};
use tollgate::{Decision, Limiter, ManualClock, Policy, Request, Timestamp};

use crate::common::scratch;

pub(crate) fn run(bytes: &[u8]) {
    match bytes.split_first() {
        Some((status @ 0..128, lines)) => read(*status, lines),
        Some((dialect, asked)) => written(*dialect, asked),
        None => {}
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const LONGEST: Duration = Duration::from_secs(300);

/// Reads headers that a server may send.
fn read(status: u8, lines: &[u8]) {
    let status = [429, 200, 503, 403][usize::from(status % 4)];
    let status = StatusCode::from_u16(status).expect("a status");
    let mut response = Response::new(());
    *response.status_mut() = status;
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    let notice = Notice::of(&response, NOW);
    assert!(notice.limits().len() <= Notice::LIMITS_MAX);
    assert!(notice.faults().len() <= Notice::FAULTS_MAX);
    for fault in notice.faults() {
        assert!(response.headers().contains_key(fault.header), "{fault}");
        assert!(!fault.why.is_empty());
    }
    for (place, limit) in notice.limits().iter().enumerate() {
        let named_so = notice
            .limits()
            .iter()
            .filter(|other| other.name == limit.name);
        assert_eq!(named_so.count(), 1, "{place}: {notice:?}");
    }
    if response.headers().is_empty() {
        assert!(notice.limits().is_empty() && notice.wait().is_none());
    }
    waits(&notice);
    let is_refusal = status == StatusCode::TOO_MANY_REQUESTS;
    match RateLimited::check(response, NOW) {
        Ok(_) => assert!(!is_refusal),
        Err(error) => {
            assert!(is_refusal && *error.notice() == notice);
            assert_eq!(error.retry_after(), notice.wait());
            assert!(!error.to_string().is_empty());
        }
    }
}

/// That nobody waits for longer than he may.
fn waits(notice: &Notice) {
    let backoff = Backoff::doubling(Duration::from_secs(1)).longest(LONGEST);
    for chance in [0, u64::MAX] {
        let wait = backoff.next_delay(1, notice.wait(), |most| most.min(chance));
        let wait = wait.expect("there is another try");
        assert!(wait <= LONGEST, "{wait:?}: {notice:?}");
        if let Some(asked) = notice.wait().filter(|asked| !asked.is_zero()) {
            assert!(wait >= asked.min(LONGEST), "{wait:?}: {notice:?}");
        }
    }
    let timing = Timing::new(|_| std::future::ready(())).clock(|| NOW);
    let pacer = Pacer::new(Pace::new().longest(LONGEST), timing);
    let mut ready = Box::pin(pacer.ready());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Ok(under_way)) = ready.as_mut().poll(&mut context) else {
        panic!("it knows of no limit yet");
    };
    under_way.answered(notice);
    assert!(pacer.delay() <= LONGEST, "{:?}: {notice:?}", pacer.delay());
}

/// Dialects that this library writes.
const DIALECTS: [&str; 7] = [
    "\"x-ratelimit-unix\", \"retry-after\"",
    "\"x-ratelimit-seconds\", \"x-retry-after\"",
    "\"x-ratelimit-reset-after\", \"x-ratelimit-wait\"",
    "\"x-ratelimit-limit\", \"x-ratelimit-tier\", \"retry-after\"",
    "\"ratelimit-draft-10\"",
    "\"ratelimit-draft-10\", \"retry-after\"",
    "\"retry-after\"",
];
const DRAFTS: [bool; 7] = [false, false, false, false, true, true, false];

/// Windows so short that all is over by the next input.
const LIMITS: &str = "
[limits.window]
rate = \"5 per 10 s\"
algorithm = \"fixed window\"
key = \"user\"
[limits.bucket]
rate = \"3 per 2 s burst 4\"
key = \"user\"
[limits.sliding]
rate = \"6 per 7 s\"
algorithm = \"sliding window\"
key = \"user\"
[tiers.gold]
when = { user = \"b\" }
rates = { window = \"50 per 10 s\" }
";
const BETWEEN: Duration = Duration::from_secs(60);

struct Server {
    limiters: Vec<Limiter>,
    clock: ManualClock,
    _dir: TempDir,
}

/// One for all inputs: between any two, all limits are back.
fn server() -> &'static Mutex<Server> {
    static SERVER: OnceLock<Mutex<Server>> = OnceLock::new();
    SERVER.get_or_init(|| {
        let dir = scratch();
        let clock = ManualClock::new(NOW);
        let open = |(place, dialect)| {
            let policy = format!("{LIMITS}[response]\nheaders = [{dialect}]\n");
            let policy = Policy::from_toml(&policy).expect("the policy is sound");
            let builder = Limiter::builder(policy)
                .clock(clock.clone())
                .counters(1_000);
            builder
                .open(dir.path().join(format!("{place}")))
                .expect("it opens")
        };
        let limiters = DIALECTS.iter().enumerate().map(open).collect();
        Mutex::new(Server {
            limiters,
            clock,
            _dir: dir,
        })
    })
}

/// Asks a limiter and reads its answers: two bytes a request, who and how long after the last.
fn written(dialect: u8, asked: &[u8]) {
    let server = server().lock().unwrap_or_else(PoisonError::into_inner);
    let place = usize::from(dialect) % DIALECTS.len();
    let limiter = &server.limiters[place];
    server.clock.advance(BETWEEN);
    for request in asked.chunks_exact(2).take(64) {
        let user = ["a", "b"][usize::from(request[0] & 1)];
        let cost = u64::from(request[0] >> 1 & 3);
        let span = Duration::from_millis(u64::from(request[1]).pow(2) / 8);
        server.clock.advance(span);
        let decision = limiter.check(&Request::new().attribute("user", user).cost(cost));
        as_meant(&decision, server.clock.now(), DRAFTS[place]);
    }
}

fn within(told: Duration, truth: Duration) {
    let is_up = told >= truth && told < truth + Duration::from_secs(1);
    // A wait is at least a second.
    assert!(
        is_up || told == Duration::from_secs(1),
        "{told:?} for {truth:?}"
    );
}

/// That a client knows of `decision` what its numbers are, whole seconds rounded up.
fn as_meant(decision: &Decision, now: Timestamp, is_draft: bool) {
    let answer = decision.answer();
    let status = StatusCode::from_u16(answer.status().unwrap_or(200)).expect("a status");
    let mut headers = HeaderMap::new();
    answer.headers(|name, value| {
        let name: HeaderName = name.parse().expect("a header's name");
        headers.append(name, value.parse().expect("a header's value"));
    });
    let notice = Notice::read(status, &headers, now);
    assert_eq!(notice.faults(), [], "{headers:?}");
    let ruling = decision.ruling().expect("a limit rules");
    // On a response that was let in, the last one tells how long the next request has to wait.
    let waits = ["retry-after", "x-retry-after", "x-ratelimit-wait"];
    let waits = &waits[..if decision.is_allowed() { 2 } else { 3 }];
    let has_wait = waits.iter().any(|name| headers.contains_key(*name));
    let wait = decision.retry_after().filter(|_| !decision.is_allowed());
    assert!(!has_wait || wait.is_some(), "{headers:?}");
    // By the draft alone it is known when more is there, not how long a costly request waits.
    if let (Some(told), Some(wait)) = (notice.wait(), wait.filter(|_| has_wait)) {
        within(told, wait);
    }
    if is_draft {
        // Each of them by its name.
        assert_eq!(
            notice.limits().len(),
            decision.limits().count(),
            "{headers:?}"
        );
        for limit in decision.limits() {
            let told = notice.limits().iter();
            let told = told
                .clone()
                .find(|told| told.name.as_deref() == Some(limit.name()));
            let told = told.expect("it is told of");
            assert_eq!(told.limit, Some(limit.limit()));
            within(told.window.expect("a window"), limit.window());
        }
    }
    let name = is_draft.then(|| ruling.name().to_owned());
    let Some(told) = notice.limits().iter().find(|told| told.name == name) else {
        assert!(
            !headers
                .keys()
                .any(|name| name.as_str().contains("limit-limit"))
        );
        return;
    };
    let limit = ruling;
    assert_eq!(told.limit, Some(limit.limit()));
    if let Some(remaining) = told.remaining {
        assert_eq!(remaining, limit.remaining());
        if is_draft {
            // When more is there: not later than all, nor than what is waited for.
            let more = told.reset_after;
            assert_eq!(more.is_some(), remaining < limit.limit(), "{headers:?}");
            let latest = wait.unwrap_or(Duration::MAX).min(ruling.reset_after());
            let latest = latest + Duration::from_secs(1);
            assert!(more.is_none_or(|more| more < latest), "{more:?} {latest:?}");
        } else {
            within(
                told.reset_after.expect("it says when"),
                ruling.reset_after(),
            );
        }
    }
    if headers.contains_key("x-ratelimit-tier") {
        assert_eq!(notice.tier(), decision.tier());
    }
}
