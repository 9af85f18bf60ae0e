//! What is asked of a limiter while a service has it open, or of one that nobody has open.

mod args;
mod door;
mod show;
mod top;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::out;
pub(crate) use args::LiveCommand;
use args::{HealthArgs, OverrideArgs, OverrideCommand, ReloadArgs, ResetArgs};
pub(crate) use door::Door;

/// Runs a command.
///
/// # Errors
/// If the limiter cannot be reached, or refuses.
pub(crate) fn run(command: &LiveCommand) -> anyhow::Result<ExitCode> {
    match command {
        LiveCommand::Override(args) => overrides(args)?,
        LiveCommand::Reset(args) => reset(args)?,
        LiveCommand::Reload(args) => reload(args)?,
        LiveCommand::Health(args) => health(args)?,
        LiveCommand::Top(args) => top::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn overrides(args: &OverrideArgs) -> anyhow::Result<()> {
    let mut door = Door::open(&args.at.data, args.at.policy.as_deref())?;
    match &args.command {
        OverrideCommand::Set { limit, key, rate } => {
            let with = json!({ "limit": limit, "key": key, "rate": rate });
            door.call("set_override", &with)?;
            out::print(format_args!("{limit}: {} has {rate}", key.join(" + ")))?;
        }
        OverrideCommand::Remove { limit, key } => {
            let with = json!({ "limit": limit, "key": key });
            let done = door.call("remove_override", &with)?;
            let key = key.join(" + ");
            match done["removed"].as_bool() {
                Some(true) => out::print(format_args!("{limit}: {key} has no rate of its own"))?,
                _ => bail!("{limit}: {key} had no rate of its own"),
            }
        }
        OverrideCommand::List { json } => {
            let mut all = Vec::new();
            let mut from = json!(0);
            while from.is_number() {
                let mut page = door.call("overrides", &json!({ "from": from }))?;
                from = page["next"].take();
                all.extend(page["overrides"].as_array_mut().map(std::mem::take));
            }
            let all: Vec<Value> = all.into_iter().flatten().collect();
            match json {
                true => out::print(Value::from(all))?,
                false => out::print_exactly(&show::overrides(&all))?,
            }
        }
    }
    door.close()
}

fn reset(args: &ResetArgs) -> anyhow::Result<()> {
    let mut door = Door::open(&args.at.data, args.at.policy.as_deref())?;
    let mut with = json!({ "key": args.key });
    if let Some(limit) = &args.limit {
        with["limit"] = limit.as_str().into();
    }
    let done = door.call("reset", &with)?;
    let limits = done["limits"].as_array().into_iter().flatten();
    for limit in limits.filter_map(Value::as_str) {
        out::print(format_args!("{limit}: {} is reset", args.key.join(" + ")))?;
    }
    door.close()
}

fn reload(args: &ReloadArgs) -> anyhow::Result<()> {
    let mut door = Door::live(&args.data)?;
    let done = match &args.policy {
        None => door.call("reload", &json!({}))?,
        Some(path) => {
            let shown = path.display();
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
            door.call("replace_policy", &json!({ "text": text }))
                .with_context(|| format!("{shown} is not put in force"))?
        }
    };
    let changes = &done["changes"];
    for warning in changes["warnings"].as_array().into_iter().flatten() {
        let warning = warning.as_str().unwrap_or_default();
        out::note(format_args!("warning: {warning}"));
    }
    match args.json {
        true => out::print(changes),
        false => out::print_exactly(changes["text"].as_str().unwrap_or_default()),
    }
}

fn health(args: &HealthArgs) -> anyhow::Result<()> {
    let mut door = Door::live(&args.data)?;
    let health = door.call("health", &json!({}))?;
    match args.json {
        true => out::print(health),
        false => out::print_exactly(&show::health(&health)),
    }
}
