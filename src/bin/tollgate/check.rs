//! `tollgate check` and `tollgate usage`: one decision, or a look, from a shell.

use std::process::ExitCode;

use anyhow::ensure;
use serde_json::{Map, Value, json};

use crate::args::{Asked, CheckArgs, Place, RequestArgs, UsageArgs};
use crate::live::Door;
use crate::out;

/// Exit status of a refusal.
const REFUSED: u8 = 1;

/// Runs `tollgate check`.
///
/// # Errors
/// If the counters cannot be opened or written, or the question makes no sense.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let allowed = ask(&args.at, &args.asked, args.json, "check")?;
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
    ask(&args.at, &args.asked, args.json, "usage")?;
    Ok(ExitCode::SUCCESS)
}

/// Asks, prints the answer, and says if it was yes.
fn ask(at: &Place, asked: &Asked, as_json: bool, call: &str) -> anyhow::Result<bool> {
    let shown = at.data.display();
    let exists = call == "check" || at.data.exists();
    ensure!(exists, "there is no directory at {shown}");
    let mut door = Door::open_at(&at.data, at.policy.as_deref(), at.at)?;
    let answer = door.call(call, &question(asked, call))?;
    door.close()?;
    match as_json {
        true => out::print(&answer["answer"])?,
        false => out::print(answer["text"].as_str().unwrap_or_default())?,
    }
    Ok(answer["allowed"] == true)
}

fn question(asked: &Asked, call: &str) -> Value {
    let request = &asked.request;
    let Some(limit) = &asked.limit else {
        return as_json(request);
    };
    let mut question = json!({ "limit": limit, "key": asked.key });
    if call == "check"
        && let Some(cost) = request.cost
    {
        question["cost"] = cost.into();
    }
    question
}

fn as_json(request: &RequestArgs) -> Value {
    let attributes = request.attribute.iter();
    let attributes: Map<_, _> = attributes
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let addresses = request.address.iter();
    let addresses: Map<_, _> = addresses
        .map(|(name, value)| (name.clone(), value.to_string().into()))
        .collect();
    let mut asked = json!({ "attributes": attributes, "addresses": addresses });
    if let Some(path) = &request.path {
        asked["method"] = request.method.as_str().into();
        asked["path"] = path.as_str().into();
    }
    if let Some(cost) = request.cost {
        asked["cost"] = cost.into();
    }
    asked
}
