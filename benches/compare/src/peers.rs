//! Those who limit: all by one quota for each key, a full burst of it at the start.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, RateLimiter};
use limitador::limit::{Context, Limit as LimitadorLimit};
use tempfile::TempDir;
use tollgate::{Builder, Limit, Limiter, Policy};

/// So many a period; as a token bucket where the peer has one.
#[derive(Clone, Copy)]
pub struct Quota {
    pub count: u64,
    pub period_secs: u64,
}

impl Quota {
    /// A million a year. A token comes back in half a minute, so that whatever was counted is still
    /// of account when the last round is measured, and no key of a table asks for as much.
    pub const LASTING: Self = Self {
        count: 1_000_000,
        period_secs: 365 * 86_400,
    };

    /// Nanoseconds that bring one back.
    fn token(self) -> Duration {
        Duration::from_nanos(self.period_secs * 1_000_000_000 / self.count)
    }

    fn burst(self) -> NonZeroU32 {
        let burst = u32::try_from(self.count).expect("fewer than 2^32");
        NonZeroU32::new(burst).expect("at least one")
    }

    fn governor(self) -> governor::Quota {
        let quota = governor::Quota::with_period(self.token()).expect("it takes time");
        quota.allow_burst(self.burst())
    }
}

pub trait Peer: Sync {
    fn name(&self) -> &'static str;

    /// Checks these keys one after the other; gives how many were admitted.
    fn run(&self, keys: &[String], order: &[u32]) -> u64;
}

fn each(keys: &[String], order: &[u32], check: impl Fn(&String) -> bool) -> u64 {
    order
        .iter()
        .map(|place| u64::from(check(&keys[*place as usize])))
        .sum()
}

/// With its journal on, in a directory of its own.
pub struct Tollgate {
    limit: Limit,
    is_batch: bool,
    is_global: bool,
    _limiter: Limiter,
    _dir: TempDir,
}

impl Tollgate {
    pub fn new(quota: Quota, keys: usize, is_batch: bool) -> Self {
        let text = "key = \"user\"\ndurability = \"logged\"";
        let room = (keys as u64 * 5 / 4).max(10_000);
        Self {
            is_batch,
            ..Self::open(quota, text, |builder| builder.counters(room))
        }
    }

    /// Of which nothing is written.
    pub fn in_memory(quota: Quota, keys: u64) -> Self {
        let text = "key = \"user\"\ndurability = \"memory\"";
        Self::open(quota, text, |builder| {
            builder.counters((keys * 5 / 4).max(10_000))
        })
    }

    /// One counter for all.
    pub fn global(quota: Quota) -> Self {
        let text = "durability = \"logged\"";
        Self {
            is_global: true,
            ..Self::open(quota, text, |builder| builder)
        }
    }

    /// With a thousand keys' room at first, and so many's at the most.
    pub fn growing(quota: Quota, most: usize) -> Self {
        let text = "key = \"user\"\ndurability = \"logged\"";
        let most = most as u64 * 5 / 4;
        Self::open(quota, text, |builder| {
            builder.counters(most).counters_at_first(1_000)
        })
    }

    fn open(quota: Quota, text: &str, build: impl Fn(Builder) -> Builder) -> Self {
        let dir = directory();
        let Quota { count, period_secs } = quota;
        let policy = format!("[limits.api]\nrate = \"{count} per {period_secs} s\"\n{text}");
        let policy = Policy::from_toml(&policy).expect("the policy is sound");
        let limiter = build(Limiter::builder(policy)).open(dir.path().join("data"));
        let limiter = limiter.expect("it opens");
        let limit = limiter.limit("api").expect("it is there");
        Self {
            limit,
            is_batch: false,
            is_global: false,
            _limiter: limiter,
            _dir: dir,
        }
    }

    pub fn one(&self, key: &String) -> bool {
        self.limit.check(key).is_allowed()
    }
}

/// Beside the build, so on a disk.
pub fn directory() -> TempDir {
    let place = std::env::current_exe().expect("it runs");
    let place = place.parent().expect("it lies in a folder");
    tempfile::tempdir_in(place).expect("a directory")
}

impl Peer for Tollgate {
    fn name(&self) -> &'static str {
        "Tollgate"
    }

    fn run(&self, keys: &[String], order: &[u32]) -> u64 {
        if self.is_global {
            return each(keys, order, |_| self.limit.check(()).is_allowed());
        }
        if !self.is_batch {
            return each(keys, order, |key| self.limit.check(key).is_allowed());
        }
        let mut admitted = 0;
        for places in order.chunks(16) {
            let mut batch = [""; 16];
            for (to, place) in batch.iter_mut().zip(places) {
                *to = &keys[*place as usize];
            }
            let batch = &batch[..places.len()];
            self.limit
                .check_many(batch, |_, one| admitted += u64::from(one.is_allowed()));
        }
        admitted
    }
}

pub struct Governor(DefaultKeyedRateLimiter<String>);

impl Governor {
    pub fn new(quota: Quota) -> Self {
        Self(RateLimiter::keyed(quota.governor()))
    }
}

impl Governor {
    pub fn one(&self, key: &String) -> bool {
        self.0.check_key(key).is_ok()
    }
}

impl Peer for Governor {
    fn name(&self) -> &'static str {
        "governor"
    }

    fn run(&self, keys: &[String], order: &[u32]) -> u64 {
        each(keys, order, |key| self.0.check_key(key).is_ok())
    }
}

/// Without keys: one limit for all.
pub struct GovernorDirect(DefaultDirectRateLimiter);

impl GovernorDirect {
    pub fn new(quota: Quota) -> Self {
        Self(RateLimiter::direct(quota.governor()))
    }
}

impl Peer for GovernorDirect {
    fn name(&self) -> &'static str {
        "governor, direct"
    }

    fn run(&self, keys: &[String], order: &[u32]) -> u64 {
        each(keys, order, |_| self.0.check().is_ok())
    }
}

/// It has no keys of its own: one for each key in a map.
pub struct Ratelimit {
    quota: Quota,
    each: DashMap<String, ratelimit::Ratelimiter>,
}

impl Ratelimit {
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            each: DashMap::new(),
        }
    }
}

impl Peer for Ratelimit {
    fn name(&self) -> &'static str {
        "ratelimit in a DashMap"
    }

    fn run(&self, keys: &[String], order: &[u32]) -> u64 {
        each(keys, order, |key| {
            if let Some(one) = self.each.get(key) {
                return one.try_wait().is_ok();
            }
            let Quota { count, .. } = self.quota;
            let builder = ratelimit::Ratelimiter::builder(1, self.quota.token());
            let builder = builder.max_tokens(count).initial_available(count);
            let one = builder.build().expect("a sound quota");
            let is_admitted = one.try_wait().is_ok();
            self.each.insert(key.clone(), one);
            is_admitted
        })
    }
}

/// It wants to be changed by one at a time: behind a lock, as its own server has it.
pub struct Throttlecrab {
    quota: Quota,
    limiter: Mutex<throttlecrab::RateLimiter<throttlecrab::AdaptiveStore>>,
}

impl Throttlecrab {
    pub fn new(quota: Quota) -> Self {
        let store = throttlecrab::AdaptiveStore::new();
        Self {
            quota,
            limiter: Mutex::new(throttlecrab::RateLimiter::new(store)),
        }
    }
}

impl Peer for Throttlecrab {
    fn name(&self) -> &'static str {
        "throttlecrab"
    }

    fn run(&self, keys: &[String], order: &[u32]) -> u64 {
        let count = i64::try_from(self.quota.count).expect("it fits");
        let period = i64::try_from(self.quota.period_secs).expect("it fits");
        each(keys, order, |key| {
            let mut limiter = self.limiter.lock().expect("nobody panicked");
            let said = limiter.rate_limit(key, count, count, period, 1, SystemTime::now());
            said.is_ok_and(|(is_admitted, _)| is_admitted)
        })
    }
}

/// What people write themselves: a map of token buckets.
pub struct DashMapByHand {
    quota: Quota,
    buckets: DashMap<String, (f64, Instant)>,
}

impl DashMapByHand {
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            buckets: DashMap::new(),
        }
    }
}

impl Peer for DashMapByHand {
    fn name(&self) -> &'static str {
        "DashMap by hand"
    }

    fn run(&self, keys: &[String], order: &[u32]) -> u64 {
        let burst = self.quota.count as f64;
        let rate = burst / self.quota.period_secs as f64;
        let take = |(tokens, last): &mut (f64, Instant)| {
            let now = Instant::now();
            *tokens = (*tokens + (now - *last).as_secs_f64() * rate).min(burst);
            *last = now;
            let is_admitted = *tokens >= 1.0;
            *tokens -= f64::from(u8::from(is_admitted));
            is_admitted
        };
        each(keys, order, |key| match self.buckets.get_mut(key) {
            Some(mut bucket) => take(&mut bucket),
            None => {
                let entry = self.buckets.entry(key.clone());
                take(&mut entry.or_insert((burst, Instant::now())))
            }
        })
    }
}

/// Its windows are fixed ones.
pub struct Limitador {
    limiter: limitador::RateLimiter,
    namespace: limitador::limit::Namespace,
}

impl Limitador {
    pub fn new(quota: Quota) -> Self {
        let variable = "user".try_into().expect("an expression");
        let limit = LimitadorLimit::new(
            "api",
            quota.count,
            quota.period_secs,
            vec![],
            vec![variable],
        );
        let limiter = limitador::RateLimiter::new(20_000_000);
        limiter.add_limit(limit);
        Self {
            limiter,
            namespace: "api".into(),
        }
    }
}

impl Peer for Limitador {
    fn name(&self) -> &'static str {
        "limitador"
    }

    fn run(&self, keys: &[String], order: &[u32]) -> u64 {
        each(keys, order, |key| {
            let values = std::collections::HashMap::from([("user".to_owned(), key.clone())]);
            let context = Context::from(values);
            let said =
                self.limiter
                    .check_rate_limited_and_update(&self.namespace, &context, 1, false);
            said.is_ok_and(|said| !said.limited)
        })
    }
}
