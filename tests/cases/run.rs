//! Runs a case: its steps as checks of a limiter, its expectations as questions to the decisions.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tollgate::{Decision, Limiter, ManualClock, Request, Timestamp, Verdict};

use crate::policy::CasePolicy;

/// What only the peer's own front end knows: its statistics, and the status code that it sends.
const FOREIGN: [&str; 3] = ["near_limit_hits", "over_limit_hits", "status"];

/// When a case begins whose times count from an arbitrary zero.
const START_SECS: u64 = 1_700_000_000;

struct Runner {
    clock: ManualClock,
    start: Timestamp,
    policy: CasePolicy,
    path: PathBuf,
    /// None only while it is closed and opened again.
    limiter: Option<Limiter>,
    /// The attributes of every request so far.
    seen: BTreeSet<Vec<(String, String)>>,
    _dir: tempfile::TempDir,
}

/// Whether Tollgate agrees with a case; an error says where it does not.
pub(crate) fn run(case: &Value, restarts: bool) -> Result<(), String> {
    let policy = CasePolicy::new(&case["limits"])?;
    let steps = case["steps"].as_array().unwrap();
    if let Err(faults) = policy.policy() {
        // The peer reads its limits with each call.
        let expects_error = |step: &Value| step["expect"]["error"] == true;
        return match steps.iter().all(expects_error) {
            true => Ok(()),
            false => Err(faults.to_string()),
        };
    }
    let is_unix_time = case["id"].as_str().unwrap().starts_with("envoy/");
    let start = Timestamp::from_secs(if is_unix_time { 0 } else { START_SECS });
    let dir = crate::common::scratch();
    let mut runner = Runner {
        clock: ManualClock::new(start),
        start,
        policy,
        path: dir.path().join("data"),
        limiter: None,
        seen: BTreeSet::new(),
        _dir: dir,
    };
    runner.open();
    for (number, step) in steps.iter().enumerate() {
        if restarts && number == steps.len() / 2 {
            runner.open();
        }
        runner
            .step(step)
            .map_err(|differs| format!("step {number}: {differs}: {step}"))?;
    }
    Ok(())
}

/// An error unless `is` holds.
fn agree(is: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(what()) }
}

fn is_number(field: &str, found: u64, expected: &Value) -> Result<(), String> {
    let expected = expected.as_u64().unwrap();
    let is = match field.rsplit('_').next() {
        Some("min") => found >= expected,
        Some("max") => found <= expected,
        _ => found == expected,
    };
    agree(is, || format!("{field} is {found}"))
}

fn attributes(step: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pairs = |value: &Value| {
        let pairs = value.as_object().into_iter().flatten();
        pairs
            .map(|(name, value)| (name.clone(), text(value)))
            .collect::<Vec<_>>()
    };
    let mut all = pairs(&step["ctx"]);
    all.extend(pairs(&step["keys"]));
    all.extend(
        step["key"]
            .as_str()
            .map(|key| ("key".to_owned(), key.to_owned())),
    );
    all
}

impl Runner {
    fn open(&mut self) {
        // Closed by the drop, before it is opened again.
        self.limiter = None;
        let builder = Limiter::builder(self.policy.policy().unwrap()).counters(1000);
        self.limiter = Some(builder.clock(self.clock.clone()).open(&self.path).unwrap());
    }

    fn limiter(&self) -> &Limiter {
        self.limiter.as_ref().unwrap()
    }

    fn request<'r>(&self, attributes: &'r [(String, String)]) -> Request<'r> {
        let of = |name: &str| attributes.iter().find(|(known, _)| known == name);
        let request = match self.policy.has_routes {
            true => Request::http(of("req_method").map_or("GET", |(_, method)| method), "/"),
            false => Request::new(),
        };
        attributes.iter().fold(request, |request, (name, value)| {
            request.attribute(name, value)
        })
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        let at_nanos = step["at_ms"].as_u64().map(|ms| ms * 1_000_000);
        if let Some(nanos) = at_nanos.or(step["at_ns"].as_u64()) {
            // An earlier time than the clock shows changes nothing: time never runs backwards.
            self.clock.set(self.start + Duration::from_nanos(nanos));
        }
        let expect = &step["expect"];
        match step["op"].as_str().unwrap() {
            "hit" | "hit_all" => self.hit(step),
            "test" | "peek" => {
                let attributes = attributes(step);
                let request = self
                    .request(&attributes)
                    .cost(step["cost"].as_u64().unwrap_or(1));
                let before = self.limiter().usage(&request);
                compare(&before, expect)?;
                let after = self.limiter().usage(&request);
                agree(used(&before) == used(&after), || "a look takes".to_owned())
            }
            "reconfigure" => {
                let limits = serde_json::json!({ "default": step["new_limit"] });
                self.policy = CasePolicy::new(&limits)?;
                let policy = self.policy.policy().unwrap();
                self.limiter()
                    .replace_policy(policy)
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
            "sweep" | "list_counters" => self.counters(expect),
            "emission_interval" => self.emission_interval(expect),
            "window_start" => self.window_start(step),
            op => panic!("nobody said what {op} means"),
        }
    }

    fn hit(&mut self, step: &Value) -> Result<(), String> {
        let attributes = attributes(step);
        let request = self.request(&attributes);
        if let Some(prior) = step["prior"].as_u64().filter(|prior| *prior > 0) {
            // What was counted before may be more than the limit: settled, it is recorded as debt.
            let taken = self.limiter().check(&request.clone().cost(1));
            agree(taken.is_allowed(), || {
                "nothing can be counted before".to_owned()
            })?;
            self.limiter().settle(taken, prior);
        }
        let Some(cost) = step["cost"].as_u64() else {
            return self.unreadable_cost(step);
        };
        let request = request.cost(cost);
        let before = self.limiter().usage(&request);
        let decision = self.limiter().check(&request);
        let is_same = before.verdict() == decision.verdict();
        agree(is_same, || {
            format!("a look says {before}, the check {decision}")
        })?;
        let explained = self.limiter().policy().explain(&request).unwrap();
        let is_same = explained.limits.len() == decision.limits().len();
        agree(is_same, || {
            format!("the policy explains {explained}, but met are {decision}")
        })?;
        self.seen.insert(attributes.clone());
        compare(&decision, &step["expect"])
    }

    /// A negative cost can only come as a text, and is none.
    fn unreadable_cost(&self, step: &Value) -> Result<(), String> {
        let policy = "[limits.default]\nrate = \"10/min\"\ncost = \"units\"";
        let policy = tollgate::Policy::from_toml(policy).unwrap();
        self.limiter().replace_policy(policy).unwrap();
        let cost = step["cost"].as_i64().unwrap().to_string();
        let decision = self
            .limiter()
            .check(&Request::new().attribute("units", &cost));
        compare(&decision, &step["expect"])
    }

    /// The counters that can be told from those never used.
    fn counters(&self, expect: &Value) -> Result<(), String> {
        let in_use = |attributes: &&Vec<(String, String)>| {
            used(&self.limiter().usage(&self.request(attributes))) > 0
        };
        let alive: Vec<_> = self.seen.iter().filter(in_use).collect();
        for field in ["count", "retained_count"] {
            if let Some(count) = expect.get(field) {
                is_number(field, alive.len() as u64, count)?;
            }
        }
        if let Some(keys) = expect["retained_keys"].as_array() {
            let found: Vec<_> = alive.iter().map(|one| one[0].1.as_str()).collect();
            agree(found == *keys, || format!("in use are {found:?}"))?;
        }
        Ok(())
    }

    /// How long one token takes, by waiting for the second of a bucket of one.
    fn emission_interval(&self, expect: &Value) -> Result<(), String> {
        let request = Request::new().attribute("key", "k");
        agree(self.limiter().check(&request).is_allowed(), || {
            "the first is refused".to_owned()
        })?;
        let wait = self.limiter().check(&request).retry_after().unwrap();
        is_number("interval_ms", nanos(wait), &mega(&expect["interval_ms"]))
    }

    fn window_start(&self, step: &Value) -> Result<(), String> {
        let expect = &step["expect"];
        self.clock
            .set(Timestamp::from_secs(step["now_unix_s"].as_u64().unwrap()));
        let decision = self.limiter().check(&Request::new().attribute("key", "k"));
        let end_secs = decision.ruling().unwrap().reset_at().as_secs();
        let (start, length) = (&expect["window_start_unix_s"], &expect["window_s"]);
        let end = start.as_u64().unwrap() + length.as_u64().unwrap();
        agree(end_secs == end, || format!("the window ends at {end_secs}"))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

/// Milliseconds in nanoseconds.
fn mega(value: &Value) -> Value {
    value
        .as_u64()
        .map_or(value.clone(), |ms| (ms * 1_000_000).into())
}

fn used(decision: &Decision) -> u64 {
    decision.limits().map(|limit| limit.used()).sum()
}

/// Whether a decision is what a step expects.
fn compare(decision: &Decision, expect: &Value) -> Result<(), String> {
    for (field, expected) in expect.as_object().into_iter().flatten() {
        compare_field(decision, field, expected)
            .map_err(|differs| format!("{differs} ({decision})"))?;
    }
    Ok(())
}

fn compare_field(decision: &Decision, field: &str, expected: &Value) -> Result<(), String> {
    let ruling = || {
        decision
            .ruling()
            .ok_or_else(|| "no limit applies".to_owned())
    };
    let wait = decision.retry_after();
    match field {
        "allowed" => agree(decision.is_allowed() == *expected, || {
            "is not so".to_owned()
        }),
        "error" => {
            let is_error = decision.verdict() == Verdict::CostUnreadable;
            agree(is_error == *expected, || format!("an error: {is_error}"))
        }
        "limit_total" => is_number(field, ruling()?.limit(), expected),
        "remaining" | "remaining_min" | "remaining_max" => {
            is_number(field, ruling()?.remaining(), expected)
        }
        "reset_after_ms" | "reset_after_ms_max" => {
            is_number(field, nanos(ruling()?.reset_after()), &mega(expected))
        }
        // No wait is given to who need not wait, nor to who would wait for ever.
        "retry_after_ms" if expected.is_null() => {
            let is = wait.is_none_or(|wait| wait.is_zero() && decision.is_allowed());
            agree(is, || format!("a wait of {wait:?}"))
        }
        "retry_after_ms" if expected == "never" => {
            let is = wait.is_none() && decision.verdict() == Verdict::Impossible;
            agree(is, || {
                format!("{:?}, a wait of {wait:?}", decision.verdict())
            })
        }
        "retry_after_ms" | "retry_after_ms_min" => {
            is_number(field, nanos(wait.ok_or("never")?), &mega(expected))
        }
        "delayed" => agree(*expected == false, || "nothing is held back".to_owned()),
        foreign if FOREIGN.contains(&foreign) => Ok(()),
        other => panic!("nobody said what {other} means"),
    }
}
