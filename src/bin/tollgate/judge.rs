//! The limiter as a replay's judge.

use std::path::Path;

use anyhow::Context;
use tollgate::{
    Decision, Explanation, Limiter, ManualClock, Mapping, Policy, Request, RequestError, Timestamp,
    Verdict,
};

use crate::log::Entry;
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
            // A replay's directory is kept, copied and resumed as a whole.
            .mapping(Mapping::DataDirectory)
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
        let decision = self.limiter.check_rates(&request);
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
        for said in decision.limits() {
            let place = self.limits.iter().position(|name| name == said.name());
            let why = explained
                .limits
                .iter()
                .find(|limit| limit.limit == said.name());
            // Both know the limits of one and the same policy.
            let (Some(limit), Some(why)) = (place, why) else {
                continue;
            };
            if ruling
                .as_ref()
                .is_some_and(|ruling| ruling.name() == said.name())
            {
                ruled = Some(self.outcomes.len());
            }
            self.outcomes.push(Outcome {
                limit,
                rate: why.rate.clone(),
                algorithm: why.algorithm.clone(),
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
            RequestError::PathAmbiguous => "a path that could mean another route",
            _ => "a request that cannot be judged",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "
        [limits.user]
        rate = \"2/min\"
        key = \"user\"
        when_key_missing = \"refuse\"
        [limits.all]
        rate = \"1/min\"
        shadow = true
        [tiers.gold]
        when = { plan = \"gold\" }
        rates = { user = \"3/min\" }
        [[overrides]]
        limit = \"user\"
        key = \"eve\"
        rate = \"1/min\"
        [[routes]]
        route = \"GET /free\"
        exempt = true
    ";

    fn entry<'a>(path: &'a str, attributes: &[(&'a str, &'a str)]) -> Entry<'a> {
        Entry {
            time: Timestamp::EPOCH,
            method: "GET".into(),
            path: Some(path.into()),
            cost: None,
            attributes: attributes
                .iter()
                .map(|(name, text)| ((*name).into(), (*text).into()))
                .collect(),
        }
    }

    fn judge() -> (tempfile::TempDir, LimiterJudge) {
        let directory = tempfile::tempdir().unwrap();
        let policy = Policy::from_toml(POLICY).unwrap();
        let path = directory.path().join("counters");
        let judge = LimiterJudge::open(policy, &path, 1_000, Timestamp::EPOCH).unwrap();
        (directory, judge)
    }

    /// The user limit's part in the last decision.
    fn user(judge: &LimiterJudge) -> &Outcome {
        judge
            .outcomes
            .iter()
            .find(|outcome| outcome.limit == 0)
            .unwrap()
    }

    #[test]
    fn rulings_tell_keys_rates_and_reasons() {
        let (_directory, mut judge) = judge();
        let now = Timestamp::from_secs(1_700_000_000);
        for (attributes, rate, most) in [
            (&[("user", "alice")][..], "2 per minute", 2),
            (&[("user", "bob"), ("plan", "gold")], "3 per minute", 3),
            (&[("user", "eve")], "1 per minute", 1),
        ] {
            for number in 1..=most + 1 {
                let ruling = judge.judge(now, &entry("/", attributes)).unwrap();
                assert_eq!(ruling.allowed, number <= most, "{attributes:?} {number}");
                assert_eq!(
                    (ruling.route, ruling.exempt, ruling.unjudged),
                    (None, false, None)
                );
                let ruled = ruling.ruling.map(|place| ruling.outcomes[place].limit);
                assert_eq!(
                    ruled,
                    (number > most).then_some(0),
                    "{attributes:?} {number}"
                );
                let outcome = user(&judge);
                assert_eq!(outcome.rate, rate);
                assert_eq!(outcome.key, format!("user={}", attributes[0].1));
                assert_eq!((outcome.cost, outcome.shadow), (1, false));
            }
        }
        // The shadow had room once, and has said so ever since without refusing.
        let all = judge
            .outcomes
            .iter()
            .find(|outcome| outcome.limit == 1)
            .unwrap();
        assert!(all.refused && all.shadow);
        assert_eq!(all.key, "(everyone)");
        judge.clock.set(Timestamp::from_secs(1_700_000_120));
        assert!(
            judge
                .judge(now, &entry("/", &[("user", "eve")]))
                .unwrap()
                .allowed
        );
    }

    #[test]
    fn what_no_amount_would_help() {
        let (_directory, mut judge) = judge();
        let now = Timestamp::from_secs(1_700_000_000);
        assert!(!judge.judge(now, &entry("/", &[])).unwrap().allowed);
        assert!(user(&judge).is_beyond_amounts && user(&judge).refused);
        let dear = Entry {
            cost: Some(9),
            ..entry("/", &[("user", "alice")])
        };
        assert!(!judge.judge(now, &dear).unwrap().allowed);
        assert!(
            !user(&judge).is_beyond_amounts,
            "9 per minute would have been enough"
        );
        let long = format!("/%61{}", "/a".repeat(1_000));
        let ruling = judge.judge(now, &entry(&long, &[])).unwrap();
        assert_eq!(
            (ruling.allowed, ruling.unjudged),
            (false, Some("a path too long to be read"))
        );
        let ruling = judge.judge(now, &entry("/free", &[])).unwrap();
        assert!(ruling.allowed && ruling.exempt && ruling.outcomes.is_empty());
        assert_eq!(ruling.route, Some("/free"));
    }
}
