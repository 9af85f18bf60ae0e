//! What refusals say, for who describes an API: headers, and a body with numbers of its limit.

use super::concurrency::ConcurrencySpec;
use super::pieces::{Fact, Piece};
use super::plain;
use super::plan::{LimitSpec, Plan};
use super::response::{BodySpec, HeaderSpec, RefusalKind, RefusalSpec, default_body};

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
    let tier = plan.tiers.first().map(|tier| &*tier.name);
    let limits = limits.iter().filter(|limit| !limit.shadow).map(|limit| {
        let own = limit.rates.first();
        let secs = own.and_then(|own| plain::rate(limit, own));
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
        let own = refusal_of(plan, sample.name);
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
        let headers = own.and_then(|own| own.headers.as_ref());
        for header in headers
            .unwrap_or(&plan.response.headers)
            .iter()
            .flat_map(header)
        {
            if refusal
                .headers
                .iter()
                .all(|known| known.name != header.name)
            {
                refusal.headers.push(header);
            }
        }
        let body = own.and_then(|own| own.body.as_ref());
        let body = body.or(plan.response.body.as_ref());
        let body = body.unwrap_or_else(|| default_body());
        if !shown.contains(&(status, body)) {
            shown.push((status, body));
            refusal.bodies.push(PlainBody {
                limit: sample.name.to_owned(),
                content_type: body.content_type.to_string(),
                text: sample.fill(body, status),
            });
        }
    }
    refusals.sort_by_key(|refusal| refusal.status);
    refusals
}

/// What the policy says in particular where this limit makes a request wait.
fn refusal_of<'p>(plan: &'p Plan, limit: &str) -> Option<&'p RefusalSpec> {
    plan.response.refusals.iter().find(|refusal| {
        let mut own = refusal.limits.iter();
        let fits = refusal.limits.is_empty() || own.any(|name| **name == *limit);
        refusal.when == RefusalKind::Limited && fits
    })
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
    fn fill(&self, body: &BodySpec, status: u16) -> String {
        let mut out = String::new();
        for piece in &body.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Text(fact, otherwise) => {
                    let text = self.value(*fact, status).map(|(text, _)| text);
                    let otherwise = || otherwise.as_deref().unwrap_or("unknown").to_owned();
                    out.push_str(&text.unwrap_or_else(otherwise));
                }
                Piece::Json(fact, otherwise) => match (self.value(*fact, status), otherwise) {
                    (Some((number, true)), _) => out.push_str(&number),
                    (Some((word, false)), _) => out.extend(["\"", &word, "\""]),
                    (None, Some(word)) => out.extend(["\"", word, "\""]),
                    (None, None) => out.push_str("null"),
                },
            }
        }
        out
    }

    /// A value as text, and whether it is a number.
    fn value(&self, fact: Fact, status: u16) -> Option<(String, bool)> {
        let number = |number: u64| Some((number.to_string(), true));
        let word = |word: &str| Some((word.to_owned(), false));
        match fact {
            Fact::Limit | Fact::Used => number(self.limit),
            Fact::Remaining => number(0),
            Fact::Reset => self.secs.and_then(|_| number(RESET)),
            Fact::ResetAfter | Fact::RetryAfter => self.secs.and_then(number),
            Fact::Tier => self.tier.and_then(word),
            Fact::LimitName => word(self.name),
            Fact::Reason => word("refused, there is no room"),
            Fact::Status => number(u64::from(status)),
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
