//! A page of every limit, and of the keys that are busiest and refused most.

mod sketch;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::RandomState;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::{Method, Request as HttpRequest, Response, StatusCode};
use serde_json::{Value, json};

use crate::limiter::{Asked, Decision, Limiter, Outcome, Verdict, Watch};
use crate::policy::{Request, ShownKey, ShownPart};
use crate::time::Timestamp;
use sketch::{Name, Numbers, Sketch, Tally};

const PAGE: &str = include_str!("page.html");
/// What the page may do: run its own script and style, known by their hashes, and ask the address
/// it came from.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-LUxpZ83G3ZP2Izm2vI0iRoAdnF/4voENY2AhXHeK0Wk='; \
    script-src 'sha256-eTNLpIf6aX2/0lmxzK6lyiLc2lO5DSrmDdFhTg0iakM='; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Threads share so many counts.
const SHARDS: usize = 8;
/// Limits counted, of all policies that were in force.
// Bound: what stands beyond is not counted; a policy has no more than half as many.
const LIMITS_MAX: usize = 1_024;
/// Keys shown in each list.
const SHOWN_MAX: usize = 20;
/// Characters of a key that are kept.
const KEY_CHARACTERS_MAX: usize = 160;

/// A page of every limit, and of the keys that are busiest and refused most, live.
///
/// It is told of decisions by [`Builder::watch`](crate::Builder::watch), and served by whatever the
/// service mounts [`answer`](Self::answer) on: behind its own authentication, for it shows keys.
/// Nothing mounts it by itself. Clones are the same.
///
/// Every decision, and every limit asked directly, is counted for its limits; of one in sixteen,
/// unless [`sample`](Self::sample) says otherwise, the keys are looked at. Memory is bounded,
/// whatever the number of keys: a key with more than a hundredth of all requests is in the list.
///
/// ```
/// use tollgate::{Dashboard, Limiter, Policy, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let policy = Policy::from_toml("limits.per-user = { rate = \"10/min\", key = \"user\" }")?;
/// let dashboard = Dashboard::new();
/// let limiter = Limiter::builder(policy)
///     .watch(dashboard.clone())
///     .open(dir.path().join("data"))?;
/// limiter.check(&Request::new().attribute("user", "alice"));
///
/// let request = http::Request::get("/limits?data").body(())?;
/// let response = dashboard.answer(&limiter, &request);
/// assert!(response.body().contains("\"allowed\":1"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Dashboard(Arc<Inner>);

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    since: Timestamp,
    /// What tells keys apart that are shown alike.
    hashing: RandomState,
    sample: u32,
    in_full: bool,
}

#[derive(Default)]
struct Shard {
    limits: BTreeMap<String, Counts>,
    busiest: Sketch,
    refused: Sketch,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    allowed: u64,
    refused: u64,
    would_refuse: u64,
}

thread_local! {
    static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// This thread's shard.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|own| {
        let shard = own.get().unwrap_or_else(|| {
            // Ordering: relaxed; the number matters, and nothing that was done before it.
            NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
        });
        own.set(Some(shard));
        shard
    })
}

impl Default for Dashboard {
    fn default() -> Self {
        Self::new()
    }
}

impl Dashboard {
    /// A page that knows nothing yet.
    pub fn new() -> Self {
        Self::with(16, false)
    }

    /// The same, looking at the keys of one decision in `one_in`; 0 is taken as 1, each. It starts
    /// anew.
    pub fn sample(self, one_in: u32) -> Self {
        Self::with(one_in.max(1), self.0.in_full)
    }

    /// The same with keys in full. Else of a value that is longer than twelve characters, and may
    /// be a secret, only both ends are kept; addresses, routes, paths and methods are. It starts
    /// anew.
    pub fn keys_in_full(self) -> Self {
        Self::with(self.0.sample, true)
    }

    fn with(sample: u32, in_full: bool) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self(Arc::new(Inner {
            shards: Default::default(),
            since: Timestamp::EPOCH + now.unwrap_or_default(),
            hashing: RandomState::new(),
            sample,
            in_full,
        }))
    }

    /// The page; and for the query `data` the numbers that it shows, as JSON.
    pub fn answer<B>(&self, limiter: &Limiter, request: &HttpRequest<B>) -> Response<String> {
        let is_head = request.method() == Method::HEAD;
        let mut response = match (request.method(), request.uri().query()) {
            (&Method::GET | &Method::HEAD, Some("data")) => {
                let mut response = Response::new(self.data(limiter).to_string());
                put(&mut response, "content-type", "application/json");
                response
            }
            (&Method::GET | &Method::HEAD, _) => {
                let mut response = Response::new(PAGE.to_owned());
                put(&mut response, "content-type", "text/html; charset=utf-8");
                put(
                    &mut response,
                    "content-security-policy",
                    CONTENT_SECURITY_POLICY,
                );
                response
            }
            _ => {
                let mut response = Response::new(String::new());
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                put(&mut response, "allow", "GET, HEAD");
                response
            }
        };
        put(&mut response, "cache-control", "no-store");
        put(&mut response, "referrer-policy", "no-referrer");
        put(&mut response, "x-content-type-options", "nosniff");
        if is_head {
            response.body_mut().clear();
        }
        response
    }

    /// The numbers that the page shows.
    fn data(&self, limiter: &Limiter) -> Value {
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
        let [mut busiest, mut refused] = [HashMap::new(), HashMap::new()];
        for shard in &self.0.shards {
            let shard = lock(shard);
            for (name, own) in &shard.limits {
                let sum = counts.entry(name.clone()).or_default();
                sum.allowed += own.allowed;
                sum.refused += own.refused;
                sum.would_refuse += own.would_refuse;
            }
            shard.busiest.add_to(&mut busiest);
            shard.refused.add_to(&mut refused);
        }
        let of = |name: &str| counts.get(name).copied().unwrap_or_default();
        let policy = limiter.policy();
        let limits = policy.limits().map(|(name, words)| {
            let Counts {
                allowed,
                refused,
                would_refuse,
            } = of(name);
            let mut limit = json!({
                "name": name, "words": words, "allowed": allowed, "refused": refused,
                "would_refuse": would_refuse,
            });
            if let Some(all) = usage_of_all(limiter, name) {
                limit["used"] = all.used().into();
                limit["of"] = all.limit().into();
                limit["reset"] = all.reset_at().as_secs_ceil().into();
            }
            limit
        });
        let running = policy.concurrency().map(|(name, words)| {
            let usage = limiter.running(name).unwrap_or_default();
            json!({
                "name": name, "words": words, "running": usage.running,
                "waiting": usage.waiting, "refused": of(name).refused,
            })
        });
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        json!({
            "now": now.unwrap_or_default().as_secs(),
            "since": self.0.since.as_secs(),
            "sample": self.0.sample,
            "limits": limits.collect::<Vec<_>>(),
            "running": running.collect::<Vec<_>>(),
            "busiest": most(busiest),
            "refused": most(refused),
        })
    }

    /// Whether the keys of this one are looked at.
    fn looks(&self) -> bool {
        let sample = self.0.sample;
        sample == 1 || fastrand::u32(0..sample) == 0
    }

    /// The limits and keys of a decision, by its request.
    fn keys(&self, request: &Request<'_>, decision: &Decision) -> Vec<(Name, Numbers, Verdict)> {
        let mut keys = Vec::new();
        // A request that cannot be read has none.
        let _ = decision.policy().show_keys(
            request,
            &self.0.hashing,
            |part| self.shown(part),
            |limit, key| {
                let mut limits = decision.limits().filter(|one| one.limit() < u64::MAX);
                if let Some(one) = limits.find(|one| one.name() == limit) {
                    keys.push((name(limit, &key), Numbers::of(&one), one.verdict()));
                }
            },
        );
        keys
    }

    /// A value of a key, or both its ends where it is long enough to be a secret.
    fn shown(&self, part: ShownPart<'_>) -> String {
        const OPEN: [&str; 3] = ["route", "path", "method"];
        let letters: Vec<char> = part.value.chars().collect();
        let is_open = part.is_address || OPEN.contains(&part.name) || letters.len() <= 12;
        if self.0.in_full || is_open {
            return part.value;
        }
        let [first, last] = [&letters[..4], &letters[letters.len() - 4..]].map(String::from_iter);
        format!("{first}…{last}")
    }

    fn count<'l>(
        &self,
        limits: impl Iterator<Item = (&'l str, Verdict)>,
        keys: &[(Name, Numbers, Verdict)],
        is_allowed: bool,
    ) {
        let sample = u64::from(self.0.sample);
        let mut shard = lock(&self.0.shards[own_shard()]);
        for (name, verdict) in limits {
            shard.count(name, verdict, is_allowed);
        }
        for (name, numbers, verdict) in keys {
            shard.busiest.count(name, sample, *numbers);
            if !verdict.is_allowed() {
                shard.refused.count(name, sample, *numbers);
            }
        }
    }
}

fn name(limit: &str, key: &ShownKey) -> Name {
    Name {
        limit: limit.to_owned(),
        key: key.words.chars().take(KEY_CHARACTERS_MAX).collect(),
        hash: key.hash,
    }
}

impl Watch for Dashboard {
    fn decided(&self, request: &Request<'_>, decision: &Decision) {
        let keys = match self.looks() {
            true => self.keys(request, decision),
            false => Vec::new(),
        };
        let limits = decision.limits().map(|one| (one.name(), one.verdict()));
        let others = decision.concurrency();
        let others = others.map(|one| (one.name(), one.verdict()));
        self.count(limits.chain(others), &keys, decision.is_allowed());
    }

    fn asked(&self, asked: &Asked<'_>) {
        let (limit, outcome) = (asked.limit().name(), asked.outcome());
        let verdict = outcome.verdict();
        let looks = self.looks() && outcome.limit() < u64::MAX;
        let key = looks.then(|| asked.shown_key(&self.0.hashing, |part| self.shown(part)));
        let key = key.flatten();
        let keys = key.map(|key| (name(limit, &key), Numbers::of(outcome), verdict));
        let limits = std::iter::once((limit, verdict));
        self.count(limits, keys.as_slice(), verdict.is_allowed());
    }
}

impl Shard {
    fn count(&mut self, name: &str, verdict: Verdict, is_allowed: bool) {
        if !self.limits.contains_key(name) {
            if self.limits.len() >= LIMITS_MAX {
                return;
            }
            self.limits.insert(name.to_owned(), Counts::default());
        }
        let Some(counts) = self.limits.get_mut(name) else {
            return;
        };
        match verdict {
            verdict if !verdict.is_allowed() => counts.refused += 1,
            // Of a refused request only those that refused it: the others took nothing.
            Verdict::Shadowed => counts.would_refuse += u64::from(is_allowed),
            _ => counts.allowed += u64::from(is_allowed),
        }
    }
}

/// The usage of a limit that all share; none of one that has a key, or no end.
fn usage_of_all(limiter: &Limiter, name: &str) -> Option<Outcome> {
    let usage = limiter.limit(name).ok()?.usage(());
    // Without the key that it should have there is no counter, and nothing to have.
    let has_end = (1..u64::MAX).contains(&usage.limit());
    has_end.then_some(usage)
}

/// Those counted most, as JSON.
fn most(all: HashMap<Name, Tally>) -> Vec<Value> {
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by(|(a, one), (b, other)| other.count.cmp(&one.count).then(a.cmp(b)));
    all.truncate(SHOWN_MAX);
    let mut alike: HashMap<_, usize> = HashMap::new();
    for (name, _) in &all {
        *alike.entry((&name.limit, &name.key)).or_default() += 1;
    }
    let shown = all.iter().map(|(name, tally)| {
        // A part of a hash under a secret: it tells two apart, and nothing of what is left out.
        let key = match alike.get(&(&name.limit, &name.key)) {
            Some(2..) => format!("{} #{:06x}", name.key, name.hash >> 40),
            _ => name.key.clone(),
        };
        let Numbers {
            used,
            limit,
            reset_at,
            ..
        } = tally.numbers;
        json!({
            "limit": name.limit, "key": key, "count": tally.count, "excess": tally.excess,
            "used": used, "of": limit, "reset": reset_at.as_secs_ceil(),
        })
    });
    shown.collect()
}

/// A panic elsewhere left nothing half done: each count stands by itself.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(response: &mut Response<String>, name: &'static str, value: &'static str) {
    let value = http::HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("sample", &self.0.sample)
            .finish_non_exhaustive()
    }
}
