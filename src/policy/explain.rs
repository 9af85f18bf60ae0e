//! What a policy makes of a request, in words.

use std::fmt;

use super::plan::{LimitSpec, OverrideSpec, Plan};
use super::request::{Request, RequestError};
use super::resolve::{Pick, Refusal};
use super::terms::{KeyParts, KeyValue, LimitIndex, RateSpec};
use super::{Policy, key::KeySpec};

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
    /// The limits it meets, strictest first.
    pub limits: Vec<LimitExplanation>,
}

/// A limit that a request meets.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LimitExplanation {
    /// The limit's name.
    pub limit: String,
    /// Its rate for the caller's tier, such as `100 per minute, burst 150`, or for this key.
    pub rate: String,
    /// The policy overrides the rate for this key.
    pub overridden: bool,
    /// Its algorithm and window.
    pub algorithm: String,
    /// The values that select the counter, such as `api_key=pk_42`; empty for one shared by all.
    pub key: String,
    /// What the request costs.
    pub cost: u64,
    /// Why it can never be admitted, if it cannot.
    pub refusal: Option<String>,
    /// Counted, never refused.
    pub shadow: bool,
}

impl Policy {
    /// The limits by name, each in words, such as `100 per minute, burst 150 (token bucket), for
    /// each api_key | ip`.
    pub fn limits(&self) -> impl Iterator<Item = (&str, String)> {
        self.plan.limits.iter().map(|limit| {
            let rate = limit.rates.first().map_or("", |rate| &rate.words);
            let mut words = format!("{rate} ({})", limit.shape);
            if let Some(key) = self.plan.keys.get(limit.key.0)
                && !key.is_global()
            {
                words.push_str(", for each ");
                words.push_str(&key_words(key, &self.plan));
            }
            if limit.shadow {
                words.push_str(", shadow");
            }
            (&*limit.name, words)
        })
    }

    /// Which route, tier and limits a request meets, and under which keys.
    ///
    /// # Errors
    /// If the request was put together wrongly, or its path is too long to be read.
    pub fn explain(&self, request: &Request<'_>) -> Result<Explanation, RequestError> {
        let plan = &*self.plan;
        let mut found = super::Resolution::default();
        plan.resolve(request, &mut found)?;
        let route = found.route.and_then(|route| plan.routes.get(route.0));
        let tier = found.tier.and_then(|tier| plan.tiers.get(tier.0));
        let limits = found.picks.iter().filter_map(|pick| {
            let limit = plan.limits.get(pick.limit.0)?;
            let mut parts = KeyParts::default();
            let has_key = plan.key_parts(limit.key, request, &found, &mut parts);
            let parts = has_key.then_some(parts);
            let own = parts
                .as_ref()
                .and_then(|parts| plan.override_of(pick.limit, parts));
            let rate = own.or(limit.rate(found.tier))?;
            let mut explained = explain_pick(plan, pick, limit, &rate.words, parts);
            explained.overridden = own.is_some();
            Some(explained)
        });
        Ok(Explanation {
            route: route.map(|route| route.template.to_string()),
            exempt: found.exempt,
            tier: tier.map(|tier| tier.name.to_string()),
            limits: limits.collect(),
        })
    }
}

impl Plan {
    /// The policy's override of `limit` for this key.
    fn override_of(&self, limit: LimitIndex, parts: &KeyParts<'_>) -> Option<&RateSpec> {
        let has_key = |of: &&OverrideSpec| {
            of.limit == limit && self.override_parts(of).as_ref() == Some(parts)
        };
        self.overrides.iter().find(has_key).map(|of| &of.rate)
    }
}

fn key_words(key: &KeySpec, plan: &Plan) -> String {
    let mut words = String::new();
    key.write(&plan.attributes, false, &mut words);
    words
}

fn explain_pick(
    plan: &Plan,
    pick: &Pick,
    limit: &LimitSpec,
    rate: &str,
    parts: Option<KeyParts<'_>>,
) -> LimitExplanation {
    let key = match parts {
        Some(parts) => parts
            .iter()
            .map(|part| {
                let spec = plan.attributes.get(part.attribute.0);
                format!(
                    "{}={}",
                    spec.map_or("?", |spec| &spec.name),
                    Shown(part.value)
                )
            })
            .collect::<Vec<_>>()
            .join(" "),
        None => "the counter of all who lack the key".to_owned(),
    };
    let refusal = pick.refusal.map(|refusal| match refusal {
        Refusal::CostTooHigh { most } => format!("one request may cost {most} at most"),
        Refusal::CostUnreadable => "its cost is not a whole number".to_owned(),
        Refusal::KeyMissing => "it lacks what the key needs".to_owned(),
    });
    LimitExplanation {
        limit: limit.name.to_string(),
        rate: rate.to_owned(),
        overridden: false,
        algorithm: limit.shape.to_string(),
        key,
        cost: pick.cost,
        refusal,
        shadow: limit.shadow,
    }
}

/// A value as people read it.
struct Shown<'a>(KeyValue<'a>);

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
        if self.limits.is_empty() {
            write!(f, "; no limit applies")?;
        }
        for limit in &self.limits {
            write!(
                f,
                "\n  {}: {} ({})",
                limit.limit, limit.rate, limit.algorithm
            )?;
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
