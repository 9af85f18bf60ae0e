//! The limiter as a replay's judge.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tollgate::{
    Decision, Explanation, LimitOutcome, Limiter, ManualClock, Mapping, Policy, Request,
    RequestError, Timestamp, Verdict,
};

use crate::log::Entry;
use crate::replay::{Judge, MetRate, Outcome, Ruling};

/// Judges by a limiter of its own, on a clock that the log moves.
pub(crate) struct LimiterJudge {
    limiter: Limiter,
    clock: ManualClock,
    policy: Policy,
    limits: Vec<String>,
    /// The attributes that make a difference; others are not told to the limiter.
    attributes: Vec<String>,
    rates: Vec<MetRate>,
    /// Place among the rates, by what tells rates apart.
    known: HashMap<RateSigns, usize>,
}

/// What tells the rates of one limit apart: the tier, and the numbers of a key's own rate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RateSigns {
    limit: usize,
    tier: Option<Box<str>>,
    most: u64,
    window: Duration,
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
        let attributes = policy.attributes().map(str::to_owned).collect();
        Ok(Self {
            limiter,
            clock,
            policy,
            limits,
            attributes,
            rates: Vec::new(),
            known: HashMap::new(),
        })
    }

    fn request<'r>(&self, entry: &'r Entry<'_>) -> Request<'r> {
        let mut request = match &entry.path {
            Some(path) => Request::http(&entry.method, path),
            None => Request::new(),
        };
        if let Some(cost) = entry.cost {
            request = request.cost(cost);
        }
        for (name, text) in &entry.attributes {
            if self.attributes.iter().any(|attribute| attribute == name) {
                request = request.attribute(name, text.as_ref());
            }
        }
        request
    }

    /// True if what a limit in shadow said may be for want of what no amount helps against.
    fn lacks_something(&self, entry: &Entry<'_>) -> bool {
        let has = |attribute: &String| {
            let mut attributes = entry.attributes.iter();
            attributes.any(|(name, text)| name == attribute && !text.is_empty())
        };
        entry.cost.is_some() || !self.attributes.iter().all(has)
    }
}

impl Judge for LimiterJudge {
    fn limits(&self) -> &[String] {
        &self.limits
    }

    fn rates(&self) -> &[MetRate] {
        &self.rates
    }

    fn judge(
        &mut self,
        now: Timestamp,
        entry: &Entry<'_>,
        ruling: &mut Ruling,
    ) -> anyhow::Result<()> {
        self.clock.set(now);
        let request = self.request(entry);
        let decision = self.limiter.check_rates(&request);
        ruling.clear();
        if let Some(error) = decision.error() {
            ruling.allowed = false;
            ruling.unjudged = Some(words(error));
            return Ok(());
        }
        ruling.allowed = decision.is_allowed();
        ruling.route.push_str(decision.route().unwrap_or_default());
        ruling.exempt = decision.is_exempt();
        let mut explained = Explained::new(&self.policy, &request);
        let lacks_something = self.lacks_something(entry);
        let is_in_doubt = |said: &LimitOutcome<'_>| match said.verdict() {
            Verdict::Impossible | Verdict::CostUnreadable | Verdict::KeyMissing => true,
            Verdict::Shadowed => lacks_something,
            _ => false,
        };
        let ruled = decision.ruling().filter(|_| !ruling.allowed);
        for said in decision.limits() {
            let place = self.limits.iter().position(|name| name == said.name());
            let Some(limit) = place else {
                continue;
            };
            let signs = signs(limit, &decision, &said);
            let rate = match self.known.get(&signs) {
                Some(rate) => *rate,
                None => {
                    let Some(met) = explained.rate(said.name()) else {
                        // A limit on new keys: the request met it by the way.
                        continue;
                    };
                    let known = self.rates.iter().position(|rate| *rate == met);
                    let rate = known.unwrap_or(self.rates.len());
                    if known.is_none() {
                        self.rates.push(met);
                    }
                    self.known.insert(signs, rate);
                    rate
                }
            };
            if ruled
                .as_ref()
                .is_some_and(|ruling| ruling.name() == said.name())
            {
                ruling.ruling = Some(ruling.outcomes.len());
            }
            let is_hopeless = is_in_doubt(&said) && explained.is_hopeless(said.name());
            ruling.outcomes.push(Outcome {
                limit,
                rate,
                counter: said.counter(),
                cost: said.cost(),
                // A limit in shadow says so, and lets pass.
                refused: said.verdict() != Verdict::Allowed,
                // No amount would help these.
                is_beyond_amounts: is_hopeless || said.verdict() == Verdict::TableFull,
                lacks_key: said.verdict() == Verdict::KeyMissing,
                shadow: said.is_shadow(),
            });
        }
        Ok(())
    }

    fn key(&self, entry: &Entry<'_>, limit: usize) -> String {
        let name = self.limits.get(limit).map_or("", String::as_str);
        let request = self.request(entry);
        let mut explained = Explained::new(&self.policy, &request);
        match explained.of(name).map(|limit| limit.key.clone()) {
            Some(key) if !key.is_empty() => key,
            _ => "(everyone)".to_owned(),
        }
    }

    fn key_attribute(&self, limit: usize) -> String {
        let name = self.limits.get(limit).map_or("", String::as_str);
        let words = self.policy.limits().find(|(known, _)| *known == name);
        let words = words.map_or(String::new(), |(_, words)| words);
        let key = words.split_once(", for each ").map_or("", |(_, key)| key);
        let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        let mut names = key.split(|c| !is_name(c));
        let attribute = names.find(|name| self.attributes.iter().any(|known| known == name));
        attribute.unwrap_or(key).to_owned()
    }

    fn backup(&mut self, path: &Path) -> anyhow::Result<()> {
        Ok(self.limiter.backup(path)?)
    }

    fn close(&mut self) -> anyhow::Result<()> {
        self.limiter.close().context("cannot close the counters")
    }

    fn without_counter(&self) -> u64 {
        self.limiter.health().newcomers_without_slot
    }
}

fn signs(limit: usize, decision: &Decision, said: &LimitOutcome<'_>) -> RateSigns {
    RateSigns {
        limit,
        tier: decision.tier().map(Box::from),
        most: said.limit(),
        window: said.window(),
    }
}

/// What a policy makes of a request, worked out once it is asked for.
struct Explained<'e> {
    policy: &'e Policy,
    request: &'e Request<'e>,
    explained: Option<Explanation>,
}

impl<'e> Explained<'e> {
    fn new(policy: &'e Policy, request: &'e Request<'e>) -> Self {
        Self {
            policy,
            request,
            explained: None,
        }
    }

    fn of(&mut self, limit: &str) -> Option<&tollgate::LimitExplanation> {
        if self.explained.is_none() {
            self.explained = self.policy.explain(self.request).ok();
        }
        let mut limits = self
            .explained
            .iter()
            .flat_map(|explained| &explained.limits);
        limits.find(|explained| explained.limit == limit)
    }

    fn rate(&mut self, limit: &str) -> Option<MetRate> {
        self.of(limit).map(|limit| MetRate {
            rate: limit.rate.clone(),
            algorithm: limit.algorithm.clone(),
        })
    }

    /// True if no wait and no amount would help.
    fn is_hopeless(&mut self, limit: &str) -> bool {
        self.of(limit).is_some_and(|limit| limit.refusal.is_some())
    }
}

fn words(error: RequestError) -> &'static str {
    match error {
        RequestError::TooManyAttributes => "too many attributes",
        RequestError::ReservedName => "an attribute with a reserved name",
        RequestError::PathTooLong => "a path too long to be read",
        RequestError::PathAmbiguous => "a path that could mean another route",
        _ => "a request that cannot be judged",
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

    fn ruling(judge: &mut LimiterJudge, now: Timestamp, entry: &Entry<'_>) -> Ruling {
        let mut ruling = Ruling::default();
        judge.judge(now, entry, &mut ruling).unwrap();
        ruling
    }

    /// The user limit's part in a decision.
    fn user(ruling: &Ruling) -> &Outcome {
        let mut outcomes = ruling.outcomes.iter();
        outcomes.find(|outcome| outcome.limit == 0).unwrap()
    }

    #[test]
    fn rulings_tell_keys_rates_and_reasons() {
        let (_directory, mut judge) = judge();
        let now = Timestamp::from_secs(1_700_000_000);
        let mut last = None;
        for (attributes, rate, most) in [
            (&[("user", "alice")][..], "2 per minute", 2),
            (&[("user", "bob"), ("plan", "gold")], "3 per minute", 3),
            (&[("user", "eve")], "1 per minute", 1),
        ] {
            for number in 1..=most + 1 {
                let entry = entry("/", attributes);
                let ruling = ruling(&mut judge, now, &entry);
                assert_eq!(ruling.allowed, number <= most, "{attributes:?} {number}");
                assert_eq!(
                    (ruling.route.as_str(), ruling.exempt, ruling.unjudged),
                    ("", false, None)
                );
                let ruled = ruling.ruling.map(|place| ruling.outcomes[place].limit);
                assert_eq!(
                    ruled,
                    (number > most).then_some(0),
                    "{attributes:?} {number}"
                );
                let outcome = user(&ruling);
                assert_eq!(judge.rates()[outcome.rate].rate, rate);
                assert_eq!(judge.key(&entry, 0), format!("user={}", attributes[0].1));
                assert_eq!((outcome.cost, outcome.shadow), (1, false));
                last = Some(ruling);
            }
        }
        // The shadow had room once, and has said so ever since without refusing.
        let last = last.unwrap();
        let all = last
            .outcomes
            .iter()
            .find(|outcome| outcome.limit == 1)
            .unwrap();
        assert!(all.refused && all.shadow && !all.is_beyond_amounts);
        assert_eq!(judge.key(&entry("/", &[]), 1), "(everyone)");
        assert_eq!(judge.key_attribute(0), "user");
        judge.clock.set(Timestamp::from_secs(1_700_000_120));
        let later = ruling(&mut judge, now, &entry("/", &[("user", "eve")]));
        assert!(later.allowed);
    }

    #[test]
    fn what_no_amount_would_help() {
        let (_directory, mut judge) = judge();
        let now = Timestamp::from_secs(1_700_000_000);
        let none = ruling(&mut judge, now, &entry("/", &[]));
        assert!(!none.allowed && user(&none).lacks_key);
        assert!(user(&none).is_beyond_amounts && user(&none).refused);
        // The same number for the same key only, and none for no key.
        let counter = |judge: &mut LimiterJudge, name| {
            let attributes = [("user", name)];
            let ruling = ruling(judge, now, &entry("/", &attributes));
            user(&ruling).counter
        };
        let bob = counter(&mut judge, "bob");
        assert_eq!(counter(&mut judge, "bob"), bob);
        assert_ne!(counter(&mut judge, "carol"), bob);
        assert!(bob != 0 && user(&none).counter == 0);
        let dear = Entry {
            cost: Some(9),
            ..entry("/", &[("user", "alice")])
        };
        let dear = ruling(&mut judge, now, &dear);
        assert!(!dear.allowed);
        assert!(
            !user(&dear).is_beyond_amounts,
            "9 per minute would have been enough"
        );
        let long = format!("/%61{}", "/a".repeat(1_000));
        let long = ruling(&mut judge, now, &entry(&long, &[]));
        assert_eq!(
            (long.allowed, long.unjudged),
            (false, Some("a path too long to be read"))
        );
        let free = ruling(&mut judge, now, &entry("/free", &[]));
        assert!(free.allowed && free.exempt && free.outcomes.is_empty());
        assert_eq!(free.route, "/free");
    }
}
