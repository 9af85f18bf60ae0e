//! `tollgate check` and `tollgate usage`: one decision, or a look, from a shell.

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tollgate::{ConcurrencyOutcome, Decision, Key, Limiter, ManualClock, Mapping, Outcome, Policy};

use crate::args::{Asked, CheckArgs, Place, UsageArgs};
use crate::out;

/// Exit status of a refusal.
const REFUSED: u8 = 1;

/// What is wanted of the counters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Charge,
    Look,
}

/// Runs `tollgate check`.
///
/// # Errors
/// If the counters cannot be opened or written, or the question makes no sense.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let allowed = ask(&args.at, &args.asked, args.json, Want::Charge)?;
    Ok(if allowed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(REFUSED)
    })
}

/// Runs `tollgate usage`.
///
/// # Errors
/// If the counters cannot be opened, or the question makes no sense.
pub(crate) fn usage(args: &UsageArgs) -> anyhow::Result<ExitCode> {
    ask(&args.at, &args.asked, args.json, Want::Look)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks, prints the answer, and says if it was yes.
fn ask(at: &Place, asked: &Asked, as_json: bool, want: Want) -> anyhow::Result<bool> {
    ensure!(
        want == Want::Charge || at.data.exists(),
        "there is no directory at {}",
        at.data.display()
    );
    let limiter = open(at)?;
    let (allowed, text, data) = match &asked.limit {
        Some(name) => {
            let outcome = ask_limit(&limiter, name, asked, want)?;
            let data = outcome_json(name, false, &outcome);
            (outcome.is_allowed(), format!("{name}: {outcome}"), data)
        }
        None => {
            let request = asked.request.request();
            let decision = match want {
                // A permit is back as soon as the answer is given.
                Want::Charge => limiter.try_acquire(&request).into_parts().0,
                Want::Look => limiter.usage(&request),
            };
            if let Some(error) = decision.error() {
                bail!("the request cannot be judged: {error}");
            }
            (
                decision.is_allowed(),
                lines(&decision, want),
                decision_json(&decision),
            )
        }
    };
    // An answer that could not be kept is no answer.
    limiter.close().context("cannot close the counters")?;
    if as_json {
        out::print(data)?
    } else {
        out::print(text)?
    }
    Ok(allowed)
}

fn open(at: &Place) -> anyhow::Result<Limiter> {
    let policy = Policy::from_path(&at.policy)?;
    let mut builder = Limiter::builder(policy).mapping(Mapping::DataDirectory);
    if let Some(time) = at.at {
        builder = builder.clock(ManualClock::new(time));
    }
    let shown = at.data.display();
    builder
        .open(&at.data)
        .with_context(|| format!("cannot open {shown}"))
}

fn ask_limit(limiter: &Limiter, name: &str, asked: &Asked, want: Want) -> anyhow::Result<Outcome> {
    let limit = limiter.limit(name)?;
    let values: Vec<&str> = asked.key.iter().map(String::as_str).collect();
    let key = Key::from(values.as_slice());
    if !limit.fits(key) {
        bail!("{}", misfit(&limiter.policy(), name, values.len()));
    }
    Ok(match want {
        Want::Charge => limit.check_cost(key, asked.request.cost.unwrap_or(1)),
        Want::Look => limit.usage(key),
    })
}

/// Why so many values are no key of this limit.
fn misfit(policy: &Policy, name: &str, given: usize) -> String {
    let words = policy.limits().find(|(known, _)| *known == name);
    let words = words.map_or(String::new(), |(_, words)| words);
    let Some((_, key)) = words.split_once(", for each ") else {
        return format!("limit {name} has one counter for all: leave --key out");
    };
    let key = key.strip_suffix(", shadow").unwrap_or(key);
    let parts: Vec<_> = key.split(" + ").collect();
    // Parts in their order, if there are no alternatives.
    let is_plain = !key.contains(['|', '(']);
    let how = "give --key once for each part of the first alternative, in its order";
    match parts.get(given..) {
        Some([]) | None if is_plain => format!(
            "the key of limit {name} is {key}: it has no value number {}",
            parts.len() + 1
        ),
        Some(missing) if is_plain => format!(
            "the key of limit {name} is {key}: --key for {} is missing",
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

fn decision_json(decision: &Decision) -> Value {
    let limits: Vec<_> = decision
        .limits()
        .map(|limit| outcome_json(limit.name(), limit.is_shadow(), limit.outcome()))
        .collect();
    let concurrency: Vec<_> = decision.concurrency().map(concurrency_json).collect();
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

fn concurrency_json(outcome: ConcurrencyOutcome<'_>) -> Value {
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
fn outcome_json(name: &str, is_shadow: bool, outcome: &Outcome) -> Value {
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
