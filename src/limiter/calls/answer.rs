//! Decisions and outcomes as they are answered: in words, and as JSON.

use serde_json::{Value, json};

use super::super::{ConcurrencyOutcome, Decision, Key, Limit, Limiter, Outcome};
use super::asked::OwnedKey;
use crate::control::Refusal;
use crate::policy::{Policy, Request};

/// What is wanted of the counters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Charge,
    Look,
}

/// One limit, asked directly.
pub(super) fn answer_to_limit(
    limit: &Limit,
    key: &OwnedKey<'_>,
    cost: u64,
    want: Want,
) -> Result<Value, Refusal> {
    let limiter = limit.limiter();
    let outcome = match (key, want) {
        (OwnedKey::InOrder(values), _) => {
            let key = Key::from(values.as_slice());
            if !limit.fits(key) {
                let why = misfit(&limiter.policy(), limit.name(), values.len());
                return Err(Refusal::new(422, why));
            }
            match want {
                Want::Charge => limit.check_cost(key, cost),
                Want::Look => limit.usage(key),
            }
        }
        (OwnedKey::Named(values), Want::Look) => {
            limiter.usage_of(limit.name(), values.as_slice().into())?
        }
        (OwnedKey::Named(_), Want::Charge) => {
            let why = "a key to be charged is a list of values, in the order of the limit's key";
            return Err(Refusal::new(400, why));
        }
    };
    let name = limit.name();
    Ok(json!({
        "allowed": outcome.is_allowed(),
        "text": format!("{name}: {outcome}"),
        "answer": outcome_as_json(name, false, &outcome),
    }))
}

/// A request, by all limits that it meets.
pub(super) fn answer_to_request(
    limiter: &Limiter,
    request: &Request<'_>,
    want: Want,
) -> Result<Value, Refusal> {
    let decision = match want {
        // A permit is back as soon as the answer is given.
        Want::Charge => limiter.try_acquire(request).into_parts().0,
        Want::Look => limiter.usage(request),
    };
    if let Some(error) = decision.error() {
        let why = format!("the request cannot be judged: {error}");
        return Err(Refusal::new(422, why));
    }
    if want == Want::Charge
        && let Some(limit) = keyless(&decision)
    {
        let why = format!("the request lacks what the key of limit {limit} needs");
        return Err(Refusal::new(422, why));
    }
    Ok(json!({
        "allowed": decision.is_allowed(),
        "text": lines(&decision, want),
        "answer": decision_as_json(&decision),
    }))
}

/// A limit that refused because the request lacks its key.
fn keyless(decision: &Decision) -> Option<&str> {
    use super::super::Verdict::KeyMissing;
    let rates = decision.limits().map(|one| (one.name(), one.verdict()));
    let others = decision
        .concurrency()
        .map(|one| (one.name(), one.verdict()));
    let mut all = rates.chain(others);
    all.find(|(_, verdict)| *verdict == KeyMissing)
        .map(|(name, _)| name)
}

/// Why so many values are no key of this limit.
fn misfit(policy: &Policy, name: &str, given: usize) -> String {
    let words = policy.limits().find(|(known, _)| *known == name);
    let words = words.map_or(String::new(), |(_, words)| words);
    let Some((_, key)) = words.split_once(", for each ") else {
        return format!("limit {name} has one counter for all: leave the key out");
    };
    let key = key.strip_suffix(", shadow").unwrap_or(key);
    let parts: Vec<_> = key.split(" + ").collect();
    // Parts in their order, if there are no alternatives.
    let is_plain = !key.contains(['|', '(']);
    let how = "give a value for each part of the first alternative, in its order";
    match parts.get(given..) {
        Some([]) | None if is_plain => format!(
            "the key of limit {name} is {key}: it has no value number {}",
            parts.len() + 1
        ),
        Some(missing) if is_plain => format!(
            "the key of limit {name} is {key}: a value for {} is missing",
            missing.join(" and ")
        ),
        _ => format!("the key of limit {name} is {key}: {how}"),
    }
}

/// A decision in a line; a look, limit by limit.
fn lines(decision: &Decision, want: Want) -> String {
    let is_met = decision.limits().len() + decision.concurrency().len() != 0;
    if want == Want::Charge || decision.is_exempt() || !is_met {
        return decision.to_string();
    }
    let shadow = |is_shadow| if is_shadow { " (shadow)" } else { "" };
    let rates = decision.limits().map(|limit| {
        let shadow = shadow(limit.is_shadow());
        format!("{}{shadow}: {}", limit.name(), limit.outcome())
    });
    let others = decision
        .concurrency()
        .map(|limit| format!("{}{}: {limit}", limit.name(), shadow(limit.is_shadow())));
    rates.chain(others).collect::<Vec<_>>().join("\n")
}

fn decision_as_json(decision: &Decision) -> Value {
    let limits: Vec<_> = decision
        .limits()
        .map(|limit| outcome_as_json(limit.name(), limit.is_shadow(), limit.outcome()))
        .collect();
    let concurrency: Vec<_> = decision.concurrency().map(concurrency_as_json).collect();
    json!({
        "allowed": decision.is_allowed(),
        "route": decision.route(),
        "tier": decision.tier(),
        "exempt": decision.is_exempt(),
        "ruling": decision.ruling().map(|ruling| ruling.name().to_owned()),
        "retry_after_ms": decision.retry_after().map(millis),
        "limits": limits,
        "concurrency": concurrency,
        "explanation": decision.to_string(),
    })
}

fn concurrency_as_json(outcome: ConcurrencyOutcome<'_>) -> Value {
    json!({
        "name": outcome.name(),
        "allowed": outcome.is_allowed(),
        "verdict": format!("{:?}", outcome.verdict()).to_lowercase(),
        "shadow": outcome.is_shadow(),
        "weight": outcome.weight(),
        "limit": outcome.limit(),
        "running": outcome.running(),
        "waiting": outcome.waiting(),
    })
}

/// Waits are rounded up: who waits that long is not early.
fn outcome_as_json(name: &str, is_shadow: bool, outcome: &Outcome) -> Value {
    json!({
        "name": name,
        "allowed": outcome.is_allowed(),
        "verdict": format!("{:?}", outcome.verdict()).to_lowercase(),
        "shadow": is_shadow,
        "cost": outcome.cost(),
        "limit": outcome.limit(),
        "used": outcome.used(),
        "remaining": outcome.remaining(),
        "reset_after_ms": millis(outcome.reset_after()),
        "retry_after_ms": outcome.retry_after().map(millis),
    })
}

fn millis(span: std::time::Duration) -> u64 {
    let millis = span.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX)
}
