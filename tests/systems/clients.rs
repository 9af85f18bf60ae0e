//! The documented clients of three systems (C8, K6, A7) against the example server, in a process of
//! its own and on the system's clock.
//!
//! A wait is slept where it is short. Where it is not, it is written down and nothing is slept, so
//! the server refuses again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tollgate::client::{
    Backoff, CallError, Notice, Pace, PaceLayer, Pacer, Queue, RateLimited, Retry, Timing,
    with_retries,
};
use tollgate::{Limiter, Policy};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::common;
use crate::process::Server;
use crate::world::policy_text;

type Hyper = Client<HttpConnector, String>;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A server, and a client of hyper's.
struct World {
    server: Server,
    client: Hyper,
    slept: Arc<Mutex<Vec<Duration>>>,
    dir: tempfile::TempDir,
}

impl World {
    fn new(system: &str) -> Self {
        let dir = common::scratch();
        Self {
            server: Server::start(system, &dir.path().join("data")),
            client: Client::builder(TokioExecutor::new()).build_http(),
            slept: Arc::default(),
            dir,
        }
    }

    fn request(&self, method: &str, path: &str, key: &str) -> Request<String> {
        let request = Request::builder().method(method);
        let request = request.uri(format!("{}{path}", self.server.url));
        let request = request.header("authorization", format!("Bearer {key}"));
        request.body(String::new()).unwrap()
    }

    async fn send(&self, method: &str, path: &str, key: &str) -> Response<Incoming> {
        let sent = self.client.request(self.request(method, path, key));
        sent.await.unwrap()
    }

    /// Sends until it is refused, and gives the refusal.
    async fn spend(&self, method: &str, path: &str, key: &str) -> Response<Incoming> {
        for _ in 0..100_000 {
            let response = self.send(method, path, key).await;
            if response.status() == 429 {
                return response;
            }
            assert_eq!(response.status(), 200);
        }
        panic!("{path} is never refused");
    }

    /// Waits are written down when they have ended, and slept if `sleeps`; no jitter.
    fn timing(&self, sleeps: bool) -> Timing {
        let slept = Arc::clone(&self.slept);
        let timing = Timing::new(move |span| {
            let slept = Arc::clone(&slept);
            async move {
                tokio::time::sleep(if sleeps { span } else { Duration::ZERO }).await;
                slept.lock().unwrap().push(span);
            }
        });
        timing.jitter(|_| 0)
    }

    /// The waits since this was asked last.
    fn slept(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.slept.lock().unwrap())
    }
}

fn number(response: &Response<Incoming>, name: &str) -> u64 {
    let value = response.headers()[name].to_str().unwrap();
    value.parse().unwrap()
}

/// Chastify: four attempts, 500 ms and twice as long each time.
fn chastify() -> Backoff {
    Backoff::doubling(Duration::from_millis(500))
        .tries(4)
        .jitter_percent(0)
}

const SESSION: &str = "/api/extensions/sessions/1";

#[tokio::test]
async fn c8_four_attempts_half_a_second_apart_and_doubling() {
    let world = World::new("chastify");
    let mut sending = ServiceBuilder::new()
        .retry(Retry::new(chastify(), world.timing(false)))
        .service(world.client.clone());
    // The service behind the limit refuses by itself, and says nothing of a wait.
    let request = world.request("GET", &format!("{SESSION}?status=429"), "key");
    let response = sending.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.status(), 429, "the last refusal is the caller's");
    let left = number(&response, "x-ratelimit-remaining");
    assert!(
        (296..300).contains(&left),
        "no more than four were sent: {left} of 300"
    );
    let waits = [500, 1_000, 2_000].map(Duration::from_millis);
    assert_eq!(world.slept(), waits, "each was waited to its end");
}

#[tokio::test]
async fn c8_only_on_429() {
    let world = World::new("chastify");
    let mut sending = ServiceBuilder::new()
        .retry(Retry::new(chastify(), world.timing(false)))
        .service(world.client.clone());
    for status in [200, 400, 403, 500, 502, 503, 504] {
        let request = world.request("GET", &format!("{SESSION}?status={status}"), "key");
        let response = sending.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(world.slept(), [], "{status}");
    }
}

#[tokio::test]
async fn c8_a_refused_call_is_let_in_after_the_wait_that_it_was_told() {
    // The documented policy, its minute made shorter.
    let policy = policy_text("chastify");
    let shorter = policy.replace("rate = \"10/min\"", "rate = \"10 per 2 s\"");
    assert_ne!(shorter, policy);
    let dir = common::scratch();
    let path = dir.path().join("policy.toml");
    std::fs::write(&path, shorter).unwrap();
    let world = World::new(path.to_str().unwrap());
    let files = format!("{SESSION}/files");
    // The window may end between the refusal and the call, and then nothing is to be waited for.
    for _ in 0..100 {
        world.spend("POST", &files, "key").await;
        let send = || world.client.request(world.request("POST", &files, "key"));
        let answer = with_retries(&chastify(), &world.timing(true), send).await;
        assert_eq!(answer.unwrap().status(), 200);
        match *world.slept() {
            [] => {}
            [wait] => {
                assert!(wait == secs(1) || wait == secs(2), "{wait:?}");
                return;
            }
            ref more => panic!("it was told a wait that was too short: {more:?}"),
        }
    }
    panic!("never refused");
}

/// KATforge: waits what it is told, five seconds if nothing, three times.
fn katforge() -> Backoff {
    Backoff::constant(secs(5)).tries(3).jitter_percent(0)
}

#[tokio::test]
async fn k6_an_error_carries_the_wait_and_all_of_it_is_waited() {
    let world = World::new("katforge");
    let login = "/v1/gateway/login";
    let timing = world.timing(false);
    // Within one of the limit's minutes, its first second left out; nearly always at once.
    for _ in 0..10 {
        let minute = (timing.now().as_secs() - 1) / 60;
        world.spend("POST", login, "nobody").await;
        let refused = world.send("POST", login, "nobody").await;
        let now = timing.now();
        let send = || world.client.request(world.request("POST", login, "nobody"));
        let retried = with_retries(&katforge(), &timing, send).await;
        let slept = world.slept();
        let after = timing.now();
        if after.as_secs() / 60 != minute {
            tokio::time::sleep(secs(1)).await;
            continue;
        }
        let told = number(&refused, "retry-after");
        let error = RateLimited::check(refused, now).expect_err("it was refused");
        assert_eq!(error.retry_after(), Some(secs(told)));
        // Until the minute ends, and not a second longer than that takes.
        let end = (minute + 1) * 60;
        assert!((end - now.as_secs()..=60).contains(&told), "{told}");
        let Err(CallError::RateLimited(last)) = retried else {
            panic!("nothing was slept, so it is refused: {retried:?}");
        };
        assert_eq!(last.sent(), 3, "three times at most");
        assert_eq!(slept.len(), 2);
        let waits = end - after.as_secs()..=told;
        let told_each = slept.iter().all(|wait| waits.contains(&wait.as_secs()));
        assert!(told_each, "{slept:?}, not {waits:?}");
        return;
    }
    panic!("no ten requests within a minute");
}

#[tokio::test]
async fn k6_waits_five_seconds_where_nothing_is_said() {
    let world = World::new("katforge");
    let path = "/v1/games/list?status=429";
    let send = || world.client.request(world.request("GET", path, "alice"));
    let result = with_retries(&katforge(), &world.timing(false), send).await;
    let Err(CallError::RateLimited(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!((error.sent(), error.retry_after()), (3, None));
    assert_eq!(world.slept(), [secs(5), secs(5)]);
}

/// Skakio: as it is told, else a second and twice as long each time, five tries.
fn skakio() -> Backoff {
    Backoff::doubling(secs(1)).tries(5).jitter_percent(0)
}

#[tokio::test]
async fn a7_reads_the_headers() {
    let world = World::new("skakio");
    let response = world.send("GET", "/api/listing/1", "pk_live_1").await;
    let notice = Notice::of(&response, world.timing(false).now());
    assert_eq!(notice.faults(), []);
    assert_eq!(notice.tier(), Some("public_key"));
    let limit = &notice.limits()[0];
    assert_eq!((limit.limit, limit.remaining), (Some(100), Some(99)));
    assert!(limit.reset_after.is_some_and(|reset| reset <= secs(2)));
}

#[tokio::test]
async fn a7_backs_off_by_retry_after_and_is_let_in_then() {
    let world = World::new("skakio");
    // Time passes between the two, so the second may be let in at once.
    for _ in 0..100 {
        world.spend("POST", "/auth/token", "pk_live_1").await;
        let request = || world.request("POST", "/auth/token", "pk_live_1");
        let send = || world.client.request(request());
        let answer = with_retries(&skakio(), &world.timing(true), send).await;
        assert_eq!(answer.unwrap().status(), 200);
        match *world.slept() {
            [] => {}
            ref slept => {
                assert_eq!(*slept, [secs(1)], "one wait, as long as was said");
                return;
            }
        }
    }
    panic!("never refused");
}

#[tokio::test]
async fn a7_doubles_from_one_second_where_nothing_is_said() {
    let world = World::new("skakio");
    let path = "/api/listing/1?status=429";
    let send = || {
        world
            .client
            .request(world.request("GET", path, "pk_live_1"))
    };
    let result = with_retries(&skakio(), &world.timing(false), send).await;
    assert!(
        matches!(result, Err(CallError::RateLimited(_))),
        "{result:?}"
    );
    assert_eq!(world.slept(), [secs(1), secs(2), secs(4), secs(8)]);
    let after = world.send("GET", "/api/listing/1", "pk_live_1").await;
    let left = number(&after, "x-ratelimit-remaining");
    assert!(left <= 95, "five were sent before it: {left}");
}

#[tokio::test]
async fn a7_slows_down_before_the_limit_and_is_never_refused() {
    let world = World::new("skakio");
    let pacer = Pacer::new(Pace::new(), world.timing(true));
    let mut sending = ServiceBuilder::new()
        .layer(PaceLayer(pacer))
        .service(world.client.clone());
    // Twice what may be had at once.
    let began = Instant::now();
    for sent in 0..40 {
        let request = world.request("POST", "/auth/token", "pk_live_1");
        let response = sending.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), 200, "after {sent}");
    }
    assert!(
        began.elapsed() >= Duration::from_millis(1_900),
        "ten a second after the burst"
    );
}

#[tokio::test]
async fn a7_a_queue_of_two_a_second() {
    let world = World::new("skakio");
    let policy = Policy::from_toml("limits.outgoing = { rate = \"2/s burst 1\" }").unwrap();
    let limiter = Limiter::open(world.dir.path().join("outgoing"), policy).unwrap();
    let queue = Queue::new(limiter.limit("outgoing").unwrap(), world.timing(true));
    let began = Instant::now();
    let asked = (0..5).map(|_| {
        let (queue, client) = (queue.clone(), world.client.clone());
        let request = world.request("GET", "/api/listing/1", "pk_live_1");
        tokio::spawn(async move {
            queue
                .run(|| client.request(request))
                .await
                .unwrap()
                .unwrap()
        })
    });
    for answered in asked.collect::<Vec<_>>() {
        assert_eq!(answered.await.unwrap().status(), 200);
    }
    // The first at once; the clocks of both may differ a little.
    assert!(began.elapsed() >= Duration::from_millis(1_950));
    limiter.close().unwrap();
}
