//! What a policy makes of a request, in words.

use std::fmt;

use super::concurrency::ConcurrencySpec;
use super::key::{AttributeSpec, KeySpec, Source};
use super::plan::{LimitSpec, Overridden, OverrideSpec, Plan};
use super::request::{Request, RequestError};
use super::resolve::{PermitPick, Pick, Refusal, Resolution};
use super::terms::{KeyIndex, KeyParts, KeyValue, LimitIndex, TierIndex};
use super::{Policy, meaning};

/// What a policy makes of a request. `Display` tells it in lines.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The template of the route that matched; none if the default applies.
    pub route: Option<String>,
    /// Nothing limits this request.
    pub exempt: bool,
    /// The caller's tier.
    pub tier: Option<String>,
    /// The id by which a repeat of it is recognised, such as `user=alice request_id=42`, if it has
    /// one.
    pub id: Option<String>,
    /// The limits it meets: rates first, strictest first, then those on how many run at a time.
    pub limits: Vec<LimitExplanation>,
}

/// A limit that a request meets.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LimitExplanation {
    /// The limit's name.
    pub limit: String,
    /// Its rate for the caller's tier, such as `100 per minute, burst 150`, or for this key; or how
    /// many run at a time, such as `10 at a time, 20 more may wait up to 4 s`.
    pub rate: String,
    /// What that means to a caller who asks as fast as may be, such as `150 at once, then one every
    /// 600 ms`; for a limit on how many run at a time the same as `rate`.
    pub meaning: String,
    /// The policy overrides the rate for this key.
    pub overridden: bool,
    /// Its algorithm and window; `max_concurrent` for a limit on how many run at a time.
    pub algorithm: String,
    /// The values that select the counter, such as `api_key=pk_42`; empty for one shared by all.
    pub key: String,
    /// What the request costs, or how many permits it takes.
    pub cost: u64,
    /// Why it can never be admitted, if it cannot.
    pub refusal: Option<String>,
    /// Counted, never refused.
    pub shadow: bool,
}

impl Policy {
    /// The rate limits by name, each in words, such as `100 per minute, burst 150 (token bucket),
    /// for each api_key | ip`.
    pub fn limits(&self) -> impl Iterator<Item = (&str, String)> {
        let own = self.plan.limits.iter().enumerate();
        let own = own.filter(|(place, _)| self.plan.idempotency != Some(LimitIndex(*place)));
        own.map(|(_, limit)| {
            let rate = limit.rates.first().map_or("", |rate| &rate.words);
            let words = format!("{rate} ({})", limit.shape);
            (&*limit.name, self.whose(words, limit.key, limit.shadow))
        })
    }

    /// The attributes that a request can bring and that a key, a tier or a cost of this policy
    /// refers to. Others make no difference to any decision.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        let brought = |spec: &&AttributeSpec| spec.source == Source::Request;
        let specs = self.plan.attributes.iter().filter(brought);
        specs.map(|spec| &*spec.name)
    }

    /// The limits on how many run at a time by name, each in words, such as `10 at a time, 20 more
    /// may wait up to 4 s (max_concurrent), for each user`.
    pub fn concurrency(&self) -> impl Iterator<Item = (&str, String)> {
        self.plan.concurrency.iter().map(|limit| {
            let words = format!("{} ({MAX_CONCURRENT})", limit.words(limit.most(None)));
            (&*limit.name, self.whose(words, limit.key, limit.shadow))
        })
    }

    /// How requests with an id are recognised, in words, such as `ids kept for 24 hours, up to 10
    /// repeats not charged, for each user + request_id`; none if the policy says nothing of it.
    pub fn idempotency(&self) -> Option<String> {
        let limit = self.plan.limits.get(self.plan.idempotency?.0)?;
        let rate = limit.rates.first()?;
        let span = rate.words.split_once(" per ").map_or("", |(_, span)| span);
        let one = if span.starts_with(|first: char| first.is_ascii_digit()) {
            ""
        } else {
            "1 "
        };
        let repeats = match rate.rule.capacity() - 1 {
            0 => "repeats charged".to_owned(),
            most => format!("up to {most} repeats not charged"),
        };
        let words = format!("ids kept for {one}{span}, {repeats}");
        Some(self.whose(words, limit.key, limit.shadow))
    }

    /// `words`, and for whom.
    fn whose(&self, mut words: String, key: KeyIndex, shadow: bool) -> String {
        if let Some(key) = self.plan.keys.get(key.0)
            && !key.is_global()
        {
            words.push_str(", for each ");
            words.push_str(&key_words(key, &self.plan));
        }
        if shadow {
            words.push_str(", shadow");
        }
        words
    }

    /// Which route, tier and limits a request meets, and under which keys.
    ///
    /// # Errors
    /// If the request was put together wrongly, or its path is too long or ambiguous.
    pub fn explain(&self, request: &Request<'_>) -> Result<Explanation, RequestError> {
        let plan = &*self.plan;
        let mut found = Resolution::default();
        plan.resolve(request, &mut found)?;
        let route = found.route.and_then(|route| plan.routes.get(route.0));
        let tier = found.tier.and_then(|tier| plan.tiers.get(tier.0));
        let limits = found.picks.iter().filter_map(|pick| {
            let limit = plan.limits.get(pick.limit.0)?;
            let mut parts = KeyParts::default();
            let has_key = plan.key_parts(limit.key, request, &found, &mut parts);
            let mut own = KeyParts::default();
            let has_own = plan.key_parts(limit.override_key, request, &found, &mut own);
            let parts = [has_key.then_some(parts), has_own.then_some(own)];
            explain_pick(plan, pick, limit, found.tier, parts)
        });
        let others = found.permits.iter().filter_map(|pick| {
            let limit = plan.concurrency.get(pick.limit.0)?;
            let mut parts = KeyParts::default();
            let has_key = plan.key_parts(limit.key, request, &found, &mut parts);
            let parts = has_key.then_some(parts);
            Some(explain_permits(plan, pick, limit, found.tier, parts))
        });
        let id = plan
            .idempotency
            .filter(|_| !found.exempt)
            .and_then(|limit| {
                let mut parts = KeyParts::default();
                let key = plan.limits.get(limit.0)?.key;
                plan.key_parts(key, request, &found, &mut parts)
                    .then(|| shown_key(plan, Some(parts)))
            });
        Ok(Explanation {
            id,
            route: route.map(|route| route.template.to_string()),
            exempt: found.exempt,
            tier: tier.map(|tier| tier.name.to_string()),
            limits: limits.chain(others).collect(),
        })
    }
}

impl Plan {
    /// What the policy overrides for this key: the first that `is_of` finds to be of the limit.
    fn override_of<'p, T>(
        &'p self,
        parts: Option<&KeyParts<'_>>,
        is_of: impl Fn(&'p Overridden) -> Option<T>,
    ) -> Option<T> {
        let has_key = |of: &&OverrideSpec| self.override_parts(of).as_ref() == parts;
        let mut own = self.overrides.iter();
        parts.and_then(|_| own.find_map(|of| is_of(&of.of).filter(|_| has_key(&of))))
    }
}

pub(super) fn key_words(key: &KeySpec, plan: &Plan) -> String {
    let mut words = String::new();
    key.write(&plan.attributes, false, &mut words);
    words
}

/// The algorithm of limits on how many run at a time.
const MAX_CONCURRENT: &str = "max_concurrent";

fn explain_pick(
    plan: &Plan,
    pick: &Pick,
    limit: &LimitSpec,
    tier: Option<TierIndex>,
    [parts, override_parts]: [Option<KeyParts<'_>>; 2],
) -> Option<LimitExplanation> {
    let own = plan.override_of(override_parts.as_ref(), |of| match of {
        Overridden::Rate(limit, rate) if *limit == pick.limit => Some(rate),
        _ => None,
    });
    let rate = own.or(limit.rate(tier))?;
    Some(LimitExplanation {
        limit: limit.name.to_string(),
        rate: rate.words.to_string(),
        meaning: meaning::of(limit, rate),
        overridden: own.is_some(),
        algorithm: limit.shape.to_string(),
        key: shown_key(plan, parts),
        cost: pick.cost,
        refusal: pick.refusal.map(refusal_words),
        shadow: limit.shadow,
    })
}

fn explain_permits(
    plan: &Plan,
    pick: &PermitPick,
    limit: &ConcurrencySpec,
    tier: Option<TierIndex>,
    parts: Option<KeyParts<'_>>,
) -> LimitExplanation {
    let own = plan.override_of(parts.as_ref(), |of| match of {
        Overridden::Concurrency(limit, most) if *limit == pick.limit => Some(*most),
        _ => None,
    });
    let most = own.unwrap_or(limit.most(tier));
    let too_heavy = pick.weight > most;
    let refusal = pick.refusal.map(refusal_words);
    LimitExplanation {
        limit: limit.name.to_string(),
        rate: limit.words(most),
        meaning: limit.words(most),
        overridden: own.is_some(),
        algorithm: MAX_CONCURRENT.to_owned(),
        key: shown_key(plan, parts),
        cost: u64::from(pick.weight),
        refusal: refusal
            .or_else(|| too_heavy.then(|| "it takes more permits than there are".to_owned())),
        shadow: limit.shadow,
    }
}

/// The values that select a counter.
fn shown_key(plan: &Plan, parts: Option<KeyParts<'_>>) -> String {
    show_key(plan, parts.as_ref(), |_, value| Shown(value).to_string())
}

/// The values that select a counter, each with its attribute's name and as `show` shows it.
pub(super) fn show_key(
    plan: &Plan,
    parts: Option<&KeyParts<'_>>,
    show: impl Fn(&str, KeyValue<'_>) -> String,
) -> String {
    let Some(parts) = parts else {
        return "the counter of all who lack the key".to_owned();
    };
    let words = parts.iter().map(|part| {
        let spec = plan.attributes.get(part.attribute.0);
        let name = spec.map_or("?", |spec| &spec.name);
        format!("{name}={}", show(name, part.value))
    });
    words.collect::<Vec<_>>().join(" ")
}

fn refusal_words(refusal: Refusal) -> String {
    match refusal {
        Refusal::CostTooHigh { most } => format!("one request may cost {most} at most"),
        Refusal::CostUnreadable => "its cost is not a whole number".to_owned(),
        Refusal::KeyMissing => "it lacks what the key needs".to_owned(),
    }
}

/// A value as people read it.
pub(super) struct Shown<'a>(pub(super) KeyValue<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KeyValue::Text(text) => write!(f, "{}", text.escape_ascii()),
            KeyValue::V4(octets) => write!(f, "{}", std::net::Ipv4Addr::from(octets)),
            KeyValue::V6(octets) => write!(f, "{}", std::net::Ipv6Addr::from(octets)),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.route {
            Some(route) => write!(f, "route {route}")?,
            None => write!(f, "no route, so the default")?,
        }
        if self.exempt {
            return write!(f, ": exempt");
        }
        match &self.tier {
            Some(tier) => write!(f, ", tier {tier}")?,
            None => write!(f, ", no tier")?,
        }
        if let Some(id) = &self.id {
            write!(f, ", id {id}")?;
        }
        if self.limits.is_empty() {
            write!(f, "; no limit applies")?;
        }
        for limit in &self.limits {
            write!(
                f,
                "\n  {}: {} ({})",
                limit.limit, limit.rate, limit.algorithm
            )?;
            if limit.meaning != limit.rate {
                write!(f, ": {}", limit.meaning)?;
            }
            if !limit.key.is_empty() {
                write!(f, ", key {}", limit.key)?;
            }
            if limit.overridden {
                write!(f, ", overridden")?;
            }
            write!(f, ", cost {}", limit.cost)?;
            if limit.shadow {
                write!(f, ", shadow")?;
            }
            if let Some(refusal) = &limit.refusal {
                write!(f, "; never admitted: {refusal}")?;
            }
        }
        Ok(())
    }
}
