//! The limiter as a replay's judge.

use std::path::Path;

use anyhow::Context;
use tollgate::{
    Decision, Explanation, Limiter, ManualClock, Policy, Request, RequestError, Timestamp, Verdict,
};

use crate::log::Entry;
use crate::rate::Rate;
use crate::replay::{Judge, Outcome, Ruling};

/// Judges by a limiter of its own, on a clock that the log moves.
pub(crate) struct LimiterJudge {
    limiter: Limiter,
    clock: ManualClock,
    policy: Policy,
    limits: Vec<String>,
    /// Of the last decision.
    outcomes: Vec<Outcome>,
    route: Option<String>,
}

impl LimiterJudge {
    /// Opens the counters in `directory`, made with room for so many if there are none. The time
    /// is `now` at least.
    ///
    /// # Errors
    /// As the limiter's.
    pub(crate) fn open(
        policy: Policy,
        directory: &Path,
        counters: u64,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let clock = ManualClock::new(now);
        let limiter = Limiter::builder(policy.clone())
            .clock(clock.clone())
            .counters(counters)
            .open(directory)
            .with_context(|| format!("cannot open the counters in {}", directory.display()))?;
        let limits = policy.limits().map(|(name, _)| name.to_owned()).collect();
        Ok(Self {
            limiter,
            clock,
            policy,
            limits,
            outcomes: Vec::new(),
            route: None,
        })
    }

    /// Writes all counters and marks them whole.
    ///
    /// # Errors
    /// As the limiter's.
    pub(crate) fn close(&self) -> anyhow::Result<()> {
        self.limiter.close().context("cannot close the counters")
    }
}

impl Judge for LimiterJudge {
    fn limits(&self) -> &[String] {
        &self.limits
    }

    fn judge(&mut self, now: Timestamp, entry: &Entry<'_>) -> anyhow::Result<Ruling<'_>> {
        self.clock.set(now);
        let mut request = match &entry.path {
            Some(path) => Request::http(&entry.method, path),
            None => Request::new(),
        };
        if let Some(cost) = entry.cost {
            request = request.cost(cost);
        }
        for (name, text) in &entry.attributes {
            request = request.attribute(name, text.as_ref());
        }
        let decision = self.limiter.check(&request);
        self.outcomes.clear();
        self.route = None;
        // What the decision leaves out, keys above all, the policy explains.
        let explained = match self.policy.explain(&request) {
            Ok(explained) => explained,
            Err(error) => return Ok(unjudged(error)),
        };
        let ruling = self.take_outcomes(&decision, &explained);
        self.route = explained.route;
        Ok(Ruling {
            allowed: decision.is_allowed(),
            route: self.route.as_deref(),
            exempt: decision.is_exempt(),
            outcomes: &self.outcomes,
            ruling,
            unjudged: None,
        })
    }

    fn backup(&mut self, path: &Path) -> anyhow::Result<()> {
        Ok(self.limiter.backup(path)?)
    }

    fn without_counter(&self) -> u64 {
        self.limiter.health().newcomers_without_slot
    }
}

impl LimiterJudge {
    /// Notes what each limit said; gives the place of the one that ruled, if the request was
    /// refused.
    fn take_outcomes(&mut self, decision: &Decision, explained: &Explanation) -> Option<usize> {
        let ruling = decision.ruling().filter(|_| !decision.is_allowed());
        let mut ruled = None;
        for (said, why) in decision.limits().zip(&explained.limits) {
            let Some(limit) = self.limits.iter().position(|name| name == said.name()) else {
                continue;
            };
            if ruling
                .as_ref()
                .is_some_and(|ruling| ruling.name() == said.name())
            {
                ruled = Some(self.outcomes.len());
            }
            let capacity = Rate::parse(&why.rate).map(|rate| rate.capacity());
            let is_own = capacity.is_some_and(|capacity| capacity != said.limit());
            self.outcomes.push(Outcome {
                limit,
                rate: why.rate.clone(),
                algorithm: why.algorithm.clone(),
                // A rate that the policy or somebody since gave this key alone.
                is_override: is_own,
                key: match why.key.as_str() {
                    "" => "(everyone)".to_owned(),
                    key => key.to_owned(),
                },
                cost: said.cost(),
                // A limit in shadow says so, and lets pass.
                refused: said.verdict() != Verdict::Allowed,
                // No amount would help these.
                is_beyond_amounts: why.refusal.is_some() || said.verdict() == Verdict::TableFull,
                shadow: said.is_shadow(),
            });
        }
        ruled
    }
}

fn unjudged(error: RequestError) -> Ruling<'static> {
    Ruling {
        allowed: false,
        route: None,
        exempt: false,
        outcomes: &[],
        ruling: None,
        unjudged: Some(match error {
            RequestError::TooManyAttributes => "too many attributes",
            RequestError::ReservedName => "an attribute with a reserved name",
            RequestError::PathTooLong => "a path too long to be read",
            _ => "a request that cannot be judged",
        }),
    }
}
