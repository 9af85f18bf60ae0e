//! Limits as plain numbers, for formats that know no more: an amount, seconds, and whose.

use super::pieces::{Fact, Piece};
use super::plan::LimitSpec;
use super::request::{Request, RequestError};
use super::resolve::Resolution;
use super::response::{HeaderSpec, RefusalKind};
use super::shape::Shape;
use super::terms::{Cost, RateSpec};
use super::{Policy, key::KeySpec};
use crate::algorithm::Rule;
use crate::time::NANOS_PER_SEC;

/// A limit that a request meets, as far as plain numbers say it.
#[derive(Debug)]
pub(crate) struct PlainLimit<'p> {
    pub(crate) name: &'p str,
    /// The limit in words.
    pub(crate) words: String,
    /// So many in so many seconds; none for a limit that is nothing of the kind.
    pub(crate) rate: Option<(u64, u64)>,
    /// The same for the callers of each tier that has another.
    pub(crate) tiers: Vec<(&'p str, Option<(u64, u64)>)>,
    /// Whose it is, as a policy writes it.
    pub(crate) key: String,
    /// The numbers say all of it: one window from a fixed edge on, each request counted once.
    pub(crate) is_whole: bool,
}

/// A header of a refusal.
#[derive(Debug)]
pub(crate) struct PlainHeader {
    /// In capitals where a word begins.
    pub(crate) name: String,
    pub(crate) is_number: bool,
    pub(crate) what: &'static str,
}

impl Policy {
    /// The headers of a response to a request that one of these limits makes wait, each once.
    pub(crate) fn refusal_headers(&self, limits: &[PlainLimit<'_>]) -> Vec<PlainHeader> {
        let response = &self.plan.response;
        let refusals = response.refusals.iter().filter(|refusal| {
            let mut own = refusal.limits.iter();
            refusal.when == RefusalKind::Limited
                && (refusal.limits.is_empty()
                    || own.any(|name| limits.iter().any(|limit| *limit.name == **name)))
        });
        let own = refusals.filter_map(|refusal| refusal.headers.as_ref());
        let mut headers: Vec<PlainHeader> = Vec::new();
        for spec in response.headers.iter().chain(own.flatten()) {
            for header in header(spec) {
                if headers.iter().all(|known| known.name != header.name) {
                    headers.push(header);
                }
            }
        }
        headers
    }

    /// The rate limits that `request` meets, and the names of the others.
    ///
    /// # Errors
    /// If the request was put together wrongly, or its path is too long to be read.
    pub(crate) fn plain_limits(
        &self,
        request: &Request<'_>,
    ) -> Result<(Vec<PlainLimit<'_>>, Vec<&str>), RequestError> {
        let plan = &*self.plan;
        let mut found = Resolution::default();
        plan.resolve(request, &mut found)?;
        let limits = found.picks.iter();
        let limits = limits.filter_map(|pick| Some(self.plain(plan.limits.get(pick.limit.0)?)));
        let others = found.permits.iter();
        let others = others.filter_map(|pick| Some(&*plan.concurrency.get(pick.limit.0)?.name));
        Ok((limits.collect(), others.collect()))
    }

    fn plain<'p>(&'p self, limit: &'p LimitSpec) -> PlainLimit<'p> {
        let plan = &*self.plan;
        let own = limit.rates.first();
        let rate = own.and_then(|own| rate(limit, own));
        let tiers = plan.tiers.iter().zip(limit.rates.iter().skip(1));
        let tiers = tiers.map(|(tier, of_tier)| (&*tier.name, self::rate(limit, of_tier)));
        let key = plan.keys.get(limit.key.0).map_or_else(String::new, |key| {
            let mut words = String::new();
            if !KeySpec::is_global(key) {
                key.write(&plan.attributes, false, &mut words);
            }
            words
        });
        let from_edge = matches!(
            limit.shape,
            Shape::Window {
                from_first_hit: false,
                ..
            }
        );
        let words = own.map_or("", |own| &own.words);
        PlainLimit {
            name: &limit.name,
            words: format!("{words} ({})", limit.shape),
            rate,
            tiers: tiers.filter(|(_, of_tier)| *of_tier != rate).collect(),
            key,
            is_whole: from_edge
                && !limit.shadow
                && limit.max_cost.is_none()
                && matches!(limit.cost, Cost::Request | Cost::Fixed(1)),
        }
    }
}

/// So many in so many seconds.
fn rate(limit: &LimitSpec, rate: &RateSpec) -> Option<(u64, u64)> {
    match (&rate.rule, &limit.shape) {
        (Rule::Bucket(bucket), _) => {
            let (tokens, period_nanos) = bucket.rate();
            let whole = period_nanos.is_multiple_of(NANOS_PER_SEC);
            whole.then_some((tokens, period_nanos / NANOS_PER_SEC))
        }
        (Rule::Window(window), Shape::Window { span_secs, .. }) => {
            Some((window.amount(), *span_secs))
        }
        (Rule::Sliding(sliding), Shape::Sliding { window_secs }) => {
            Some((sliding.amount(), *window_secs))
        }
        _ => None,
    }
}

fn header(spec: &HeaderSpec) -> Vec<PlainHeader> {
    let plain = |name: &str, is_number, what| PlainHeader {
        name: in_capitals(name),
        is_number,
        what,
    };
    match spec {
        HeaderSpec::Line { name, value } => {
            let fact = match &**value {
                [Piece::Text(fact, _)] => Some(*fact),
                _ => None,
            };
            let (is_number, what) = meaning(fact);
            vec![plain(name, is_number, what)]
        }
        HeaderSpec::Draft => vec![
            plain("ratelimit", false, "What is left of which limit"),
            plain("ratelimit-policy", false, "How much in what time"),
        ],
    }
}

fn meaning(fact: Option<Fact>) -> (bool, &'static str) {
    match fact {
        Some(Fact::Limit) => (true, "How many requests there are in all"),
        Some(Fact::Remaining) => (true, "How many requests are left"),
        Some(Fact::Used) => (true, "How many requests were used"),
        Some(Fact::Reset) => (true, "When all of them are back, in Unix seconds"),
        Some(Fact::ResetAfter) => (true, "Seconds until all of them are back"),
        Some(Fact::RetryAfter) => (true, "Seconds until the next request is accepted"),
        Some(Fact::Tier) => (false, "The caller's tier"),
        Some(Fact::LimitName) => (false, "The limit that refuses"),
        Some(Fact::Reason) => (false, "Why it is refused"),
        Some(Fact::Status) => (true, "The status"),
        None => (false, "About the limit"),
    }
}

/// `Retry-After` of `retry-after`.
fn in_capitals(name: &str) -> String {
    let mut capital = true;
    let letters = name.chars().map(|letter| {
        let shown = if capital {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        capital = letter == '-';
        shown
    });
    letters.collect()
}
