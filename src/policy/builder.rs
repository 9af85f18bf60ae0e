//! Policies put together in code. What is built is the tree that a text is read into, so both are
//! judged by the same code and have the same faults.

use std::time::Duration;

use super::fault::{Faults, PolicyFaults};
use super::text::check_tree;
use super::tree::{Entry, Node, Value};
use super::{Policy, compile, read_policy};

/// How a rate limit counts; see the README, "What a limit allows".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LimitAlgorithm {
    /// At once the burst, then the rate: what a limit does that says nothing of it.
    TokenBucket,
    /// Windows aligned to the clock.
    FixedWindow,
    /// Windows that begin with the first request of a key.
    FixedWindowFromFirstHit,
    /// Two windows, weighted.
    SlidingWindow,
    /// Hours, days, weeks or months as they are in the policy's time zone.
    Calendar,
}

/// What of a limit's counters outlives what; see the README, "What survives what".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LimitDurability {
    /// Kills and restarts of the process, not reboots.
    Memory,
    /// Reboots and power cuts, but for the last 100 ms.
    Logged,
    /// Everything, at the price of waiting for the disk now and then.
    Strict,
}

/// A limit put together in code, for [`PolicyBuilder::limit`].
///
/// ```
/// use tollgate::LimitRule;
///
/// let per_minute = LimitRule::per_minute(100).burst(150).key("api_key | ip");
/// let heavy = LimitRule::at_a_time(4).queue(16).key("user");
/// # let _ = (per_minute, heavy);
/// ```
#[derive(Clone, PartialEq, Debug)]
#[must_use = "a rule limits nothing until a policy has it"]
pub struct LimitRule {
    /// The rate without its burst, if it is one.
    rate: Option<String>,
    burst: Option<u64>,
    others: Vec<(&'static str, Value)>,
}

impl LimitRule {
    fn rate(rate: String) -> Self {
        Self {
            rate: Some(rate),
            burst: None,
            others: Vec::new(),
        }
    }

    /// So many a second.
    pub fn per_second(amount: u64) -> Self {
        Self::rate(format!("{amount} per second"))
    }

    /// So many a minute.
    pub fn per_minute(amount: u64) -> Self {
        Self::rate(format!("{amount} per minute"))
    }

    /// So many an hour.
    pub fn per_hour(amount: u64) -> Self {
        Self::rate(format!("{amount} per hour"))
    }

    /// So many a day.
    pub fn per_day(amount: u64) -> Self {
        Self::rate(format!("{amount} per day"))
    }

    /// So many in each span of time, which has to be a whole number of milliseconds.
    pub fn per(amount: u64, span: Duration) -> Self {
        // A span that is none of these is a fault, as in a text.
        Self::rate(
            match (span.subsec_nanos(), span.subsec_nanos() % 1_000_000) {
                (0, _) => format!("{amount} per {} s", span.as_secs()),
                (_, 0) => format!("{amount} per {} ms", span.as_millis()),
                _ => format!("{amount} per {} ns", span.as_nanos()),
            },
        )
    }

    /// So many running at a time: permits, for [`Limiter::acquire`](crate::Limiter::acquire).
    pub fn at_a_time(most: u32) -> Self {
        let others = vec![("max_concurrent", Value::Whole(i128::from(most)))];
        Self {
            rate: None,
            burst: None,
            others,
        }
    }

    /// How many a token bucket admits at once; as many as its rate has in a span unless it is said.
    pub fn burst(mut self, burst: u64) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Which requests count together, as in a policy's text: `"api_key | ip"`. All of them, unless
    /// it is said.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.with("key", Value::Text(key.into()))
    }

    /// How the limit counts.
    pub fn algorithm(self, algorithm: LimitAlgorithm) -> Self {
        let name = match algorithm {
            LimitAlgorithm::TokenBucket => "token bucket",
            LimitAlgorithm::FixedWindow => "fixed window",
            LimitAlgorithm::FixedWindowFromFirstHit => "fixed window from first hit",
            LimitAlgorithm::SlidingWindow => "sliding window",
            LimitAlgorithm::Calendar => "calendar",
        };
        self.with("algorithm", Value::Text(name.to_owned()))
    }

    /// What its counters outlive.
    pub fn durability(self, durability: LimitDurability) -> Self {
        let name = match durability {
            LimitDurability::Memory => "memory",
            LimitDurability::Logged => "logged",
            LimitDurability::Strict => "strict",
        };
        self.with("durability", Value::Text(name.to_owned()))
    }

    /// The most that one request may cost.
    pub fn max_cost(self, most: u64) -> Self {
        self.with("max_cost", Value::Whole(i128::from(most)))
    }

    /// Of a limit on what runs [at a time](Self::at_a_time): how many more may wait.
    pub fn queue(self, waiting: u32) -> Self {
        self.with("queue", Value::Whole(i128::from(waiting)))
    }

    /// How long those wait at most, in whole milliseconds.
    pub fn wait(self, most: Duration) -> Self {
        self.with("wait", Value::Text(format!("{} ms", most.as_millis())))
    }

    /// Counted and reported, never refusing.
    pub fn shadow(self) -> Self {
        self.with("shadow", Value::Flag(true))
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.others.push((name, value));
        self
    }

    fn node(self) -> Node {
        let mut entries = Vec::new();
        match (self.rate, self.burst) {
            (Some(rate), Some(burst)) => {
                let rate = format!("{rate} burst {burst}");
                entries.push(entry("rate", Value::Text(rate)));
            }
            (Some(rate), None) => entries.push(entry("rate", Value::Text(rate))),
            // A fault: nothing else has a burst.
            (None, Some(burst)) => entries.push(entry("burst", Value::Whole(i128::from(burst)))),
            (None, None) => {}
        }
        let others = self.others.into_iter();
        entries.extend(others.map(|(name, value)| entry(name, value)));
        node(Value::Table(entries))
    }
}

/// A policy put together in code: limits, and the routes that they are for. What else a policy can
/// say (tiers, overrides, responses) is said in text: [`Policy::from_toml`].
///
/// ```
/// use tollgate::{LimitAlgorithm, LimitRule, Policy, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy = Policy::builder()
///     .limit("per-minute", LimitRule::per_minute(100).burst(150).key("api_key | ip"))
///     .limit(
///         "login",
///         LimitRule::per_minute(5).key("ip").algorithm(LimitAlgorithm::SlidingWindow),
///     )
///     .route("POST /login", ["login"])
///     .exempt("GET /health")
///     .build()?;
/// let met = policy.explain(&Request::http("POST", "/login").attribute("ip", "192.0.2.1"))?;
/// assert_eq!(met.limits.len(), 2);
///
/// let faults = Policy::builder()
///     .limit("none", LimitRule::per_day(0))
///     .build()
///     .unwrap_err();
/// assert_eq!(faults.iter().next().unwrap().path(), "limits.none.rate");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is a policy until it is built"]
pub struct PolicyBuilder {
    limits: Vec<Entry>,
    routes: Vec<Node>,
}

impl PolicyBuilder {
    /// With a limit of this name. One that no route names is for all requests.
    pub fn limit(mut self, name: &str, rule: LimitRule) -> Self {
        let Node { value, .. } = rule.node();
        self.limits.push(entry(name, value));
        self
    }

    /// With a route, as in `POST /users/{id}`, for these limits.
    pub fn route<'l>(self, route: &str, limits: impl IntoIterator<Item = &'l str>) -> Self {
        let names = limits.into_iter();
        let names = names.map(|name| node(Value::Text(name.to_owned())));
        self.routed(route, entry("limits", Value::List(names.collect())))
    }

    /// With a route that nothing limits.
    pub fn exempt(self, route: &str) -> Self {
        self.routed(route, entry("exempt", Value::Flag(true)))
    }

    fn routed(mut self, route: &str, target: Entry) -> Self {
        let route = entry("route", Value::Text(route.to_owned()));
        self.routes.push(node(Value::Table(vec![route, target])));
        self
    }

    /// The policy.
    ///
    /// # Errors
    /// Every fault of what was put together, as of a text that says the same.
    pub fn build(self) -> Result<Policy, PolicyFaults> {
        let mut root = vec![entry("limits", Value::Table(self.limits))];
        if !self.routes.is_empty() {
            root.push(entry("routes", Value::List(self.routes)));
        }
        let tree = node(Value::Table(root));
        let mut faults = Faults::default();
        check_tree(&tree.value, &mut faults);
        Policy::of_tree(&tree, faults, "")
    }
}

fn node(value: Value) -> Node {
    Node {
        offset: None,
        value,
    }
}

fn entry(name: &str, value: Value) -> Entry {
    Entry {
        name: name.to_owned(),
        offset: None,
        node: node(value),
    }
}

impl Policy {
    /// A policy to be put together in code, without text.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }

    /// The policy that a tree of `text` says, if there are no faults.
    pub(super) fn of_tree(
        tree: &Node,
        mut faults: Faults,
        text: &str,
    ) -> Result<Self, PolicyFaults> {
        let read = read_policy(tree, &mut faults);
        let plan = compile::compile(read, &mut faults);
        match faults.is_empty() {
            true => Ok(Self {
                plan: plan.into(),
                path: None,
            }),
            false => Err(faults.report(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_what_a_text_says() {
        let built = Policy::builder()
            .limit("a", LimitRule::per_minute(100).burst(150).key("user"))
            .limit("b", LimitRule::per(5, Duration::from_secs(10)).shadow())
            .limit("c", LimitRule::per(5, Duration::from_millis(1_500)))
            .limit(
                "d",
                LimitRule::per_day(9).algorithm(LimitAlgorithm::Calendar),
            )
            .limit(
                "e",
                LimitRule::at_a_time(4)
                    .queue(2)
                    .wait(Duration::from_secs(1)),
            )
            .route("GET /x", ["a", "e"])
            .build()
            .unwrap();
        let said = Policy::from_toml(
            "limits.a = { rate = '100/min burst 150', key = 'user' }
             limits.b = { rate = '5 per 10 s', shadow = true }
             limits.c = { rate = '5 per 1500 ms' }
             limits.d = { rate = '9/day', algorithm = 'calendar' }
             limits.e = { max_concurrent = 4, queue = 2, wait = '1s' }
             [[routes]]
             route = 'GET /x'
             limits = ['a', 'e']",
        )
        .unwrap();
        assert_eq!(format!("{built:?}"), format!("{said:?}"));
    }

    #[test]
    fn what_makes_no_sense_is_a_fault() {
        let of = |rule| Policy::builder().limit("l", rule).build().err();
        for (rule, told) in [
            (LimitRule::per_minute(0), "a rate of 0"),
            (LimitRule::at_a_time(4).burst(5), "nothing is called"),
            (LimitRule::at_a_time(0), "out of range"),
            (LimitRule::per_second(1).queue(3), "means nothing to a rate"),
            (
                LimitRule::per(1, Duration::from_nanos(5)),
                "no unit of time",
            ),
            (LimitRule::per(1, Duration::ZERO), "span of 0"),
            (LimitRule::per_second(1).key(""), "this key is empty"),
            (LimitRule::per_second(1).key("a").key("b"), "said twice"),
        ] {
            let faults = of(rule.clone()).map(|faults| faults.to_string());
            let faults = faults.unwrap_or_default();
            assert!(faults.contains(told), "{rule:?}: {faults}");
        }
        let twice = Policy::builder()
            .limit("l", LimitRule::per_second(1))
            .limit("l", LimitRule::per_second(2));
        assert!(
            twice
                .build()
                .unwrap_err()
                .to_string()
                .contains("said twice")
        );
        assert!(Policy::builder().build().is_err());
    }
}
