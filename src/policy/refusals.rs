//! What refusals say, for who describes an API: headers, and a body with numbers of its limit.

use super::concurrency::ConcurrencySpec;
use super::pieces::{Fact, Filled, Piece, fill};
use super::plan::{LimitSpec, Plan};
use super::response::{BodySpec, HeaderSpec, RefusalKind};
use super::shape::Shape;
use super::terms::RateSpec;
use crate::algorithm::Rule;
use crate::time::NANOS_PER_SEC;

/// The refusals that are told: those where waiting helps.
const KIND: RefusalKind = RefusalKind::Limited;

/// A refusal by one of a request's limits, where waiting helps.
#[derive(Debug)]
pub(crate) struct PlainRefusal {
    pub(crate) status: u16,
    pub(crate) headers: Vec<PlainHeader>,
    pub(crate) bodies: Vec<PlainBody>,
}

/// A header of a refusal.
#[derive(Debug)]
pub(crate) struct PlainHeader {
    /// In capitals where a word begins.
    pub(crate) name: String,
    pub(crate) is_number: bool,
    pub(crate) what: &'static str,
}

/// A body of a refusal.
#[derive(Debug)]
pub(crate) struct PlainBody {
    /// The limit that refuses.
    pub(crate) limit: String,
    pub(crate) content_type: String,
    /// As that limit fills it.
    pub(crate) text: String,
}

/// The refusals of these limits, by status.
pub(super) fn of(
    plan: &Plan,
    limits: &[&LimitSpec],
    others: &[&ConcurrencySpec],
) -> Vec<PlainRefusal> {
    let response = &plan.response;
    let tier = plan.tiers.first().map(|tier| &*tier.name);
    let limits = limits.iter().filter(|limit| !limit.shadow).map(|limit| {
        let own = limit.rates.first();
        let secs = own.and_then(|own| rate(limit, own));
        Sample {
            name: &limit.name,
            limit: own.map_or(0, |own| own.rule.capacity()),
            secs: Some(secs.map_or(60, |(_, secs)| secs)),
            tier,
        }
    });
    let others = others.iter().filter(|limit| !limit.shadow);
    let others = others.map(|limit| Sample {
        name: &limit.name,
        limit: u64::from(limit.most(None)),
        secs: None,
        tier,
    });
    let mut refusals: Vec<PlainRefusal> = Vec::new();
    // A body that says the same of several limits is shown for the first.
    let mut shown: Vec<(u16, &BodySpec)> = Vec::new();
    for sample in limits.chain(others) {
        let own = response.refusal(KIND, Some(sample.name));
        let status = own.and_then(|own| own.status).unwrap_or(429);
        let place = refusals.iter().position(|known| known.status == status);
        let place = place.unwrap_or_else(|| {
            refusals.push(PlainRefusal {
                status,
                headers: Vec::new(),
                bodies: Vec::new(),
            });
            refusals.len() - 1
        });
        let Some(refusal) = refusals.get_mut(place) else {
            continue;
        };
        for header in response.headers_of(own).iter().flat_map(header) {
            let mut known = refusal.headers.iter();
            if known.all(|known| known.name != header.name) {
                refusal.headers.push(header);
            }
        }
        let body = response.body_of(KIND, own);
        if !shown.contains(&(status, body)) {
            shown.push((status, body));
            refusal.bodies.push(PlainBody {
                limit: sample.name.to_owned(),
                content_type: body.content_type.to_string(),
                text: sample.fill(&body.pieces, status),
            });
        }
    }
    refusals.sort_by_key(|refusal| refusal.status);
    refusals
}

/// Numbers of a limit that is used up.
struct Sample<'p> {
    name: &'p str,
    limit: u64,
    /// How long to wait, where that is known.
    secs: Option<u64>,
    tier: Option<&'p str>,
}

/// When a sample is back: the first second of 2030.
const RESET: u64 = 1_893_456_000;

impl Sample<'_> {
    fn fill(&self, pieces: &[Piece], status: u16) -> String {
        let mut out = String::new();
        fill(pieces, |fact| self.value(fact, status), &mut out);
        out
    }

    fn value(&self, fact: Fact, status: u16) -> Filled<'_> {
        let number = |number: Option<u64>| number.map_or(Filled::Unknown, Filled::Number);
        match fact {
            Fact::Limit | Fact::Used => Filled::Number(self.limit),
            Fact::Remaining => Filled::Number(0),
            Fact::Reset => number(self.secs.map(|_| RESET)),
            Fact::ResetAfter | Fact::RetryAfter | Fact::Wait => number(self.secs),
            Fact::Tier => self.tier.map_or(Filled::Unknown, Filled::Word),
            Fact::LimitName => Filled::Word(self.name),
            Fact::Reason => Filled::Word("refused, there is no room"),
            Fact::Status => Filled::Number(u64::from(status)),
        }
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
        Some(Fact::RetryAfter | Fact::Wait) => (true, "Seconds until the next request is accepted"),
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

/// So many in so many seconds.
pub(super) fn rate(limit: &LimitSpec, rate: &RateSpec) -> Option<(u64, u64)> {
    match (&rate.rule, &limit.shape) {
        (Rule::Bucket(bucket), _) => {
            let (tokens, period_nanos) = bucket.rate();
            let whole = period_nanos.is_multiple_of(NANOS_PER_SEC);
            whole.then_some((tokens, period_nanos / NANOS_PER_SEC))
        }
        (Rule::Window(window), Shape::Window { span_secs }) => Some((window.amount(), *span_secs)),
        (Rule::Fine(window), Shape::Fine { span_ms, .. }) if span_ms % 1_000 == 0 => {
            Some((window.amount(), span_ms / 1_000))
        }
        (Rule::Sliding(sliding), Shape::Sliding { window_secs }) => {
            Some((sliding.amount(), *window_secs))
        }
        _ => None,
    }
}
