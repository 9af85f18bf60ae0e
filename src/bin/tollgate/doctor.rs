//! `tollgate doctor`: what a limiter's directory is like, and what can be done about it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tollgate::doctor::{self, Finding, Report};

use crate::args::DoctorArgs;
use crate::live::Door;
use crate::out;

/// Exit status if something was found that is not repaired.
const FOUND: u8 = 1;

/// Runs `tollgate doctor`.
///
/// # Errors
/// If the directory cannot be looked at.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let shown = args.data.display();
    let report = if args.repair {
        doctor::repair(&args.data)
    } else {
        doctor::examine(&args.data)
    };
    let report = match report {
        Err(error) if error.is_in_use() && !args.repair => return of_service(args),
        Err(error) if error.is_in_use() => {
            bail!("{error}: stop that service first, nothing is repaired under it")
        }
        report => report.with_context(|| format!("cannot look at {shown}"))?,
    };
    if args.json {
        out::print(report_json(&report))?;
    } else {
        out::print(&report)?;
    }
    Ok(status(report.is_healthy()))
}

/// What can be said while a service has it open.
fn of_service(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let shown = args.data.display();
    let report = doctor::examine_in_use(&args.data);
    let report = report.with_context(|| format!("cannot look at {shown}"))?;
    let mut door = Door::open(&args.data, None)?;
    let health = door.call("health", &json!({}))?;
    let troubles = troubles(&health);
    let is_healthy = report.is_healthy() && troubles.is_empty();
    if args.json {
        let mut json = report_json(&report);
        json["healthy"] = is_healthy.into();
        json["troubles"] = troubles.into();
        json["health"] = health;
        out::print(json)?;
    } else {
        out::print(&report)?;
        for trouble in &troubles {
            out::print(format_args!("the service says: {trouble}"))?;
        }
    }
    Ok(status(is_healthy))
}

/// What a service's health calls wrong.
fn troubles(health: &Value) -> Vec<String> {
    let places = [
        "/trouble",
        "/writing/trouble/why",
        "/reservations/trouble/why",
        "/growth/trouble/why",
        "/control/trouble",
    ];
    let found = places.iter().filter_map(|place| health.pointer(place));
    let recovered = health.pointer("/recovery/troubles");
    let recovered = recovered.and_then(Value::as_array).into_iter().flatten();
    let all = found.chain(recovered).filter_map(Value::as_str);
    all.map(str::to_owned).collect()
}

fn status(is_healthy: bool) -> ExitCode {
    match is_healthy {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FOUND),
    }
}

fn report_json(report: &Report) -> Value {
    let facts = report.facts.iter();
    let facts: Vec<_> = facts
        .map(|fact| json!({ "about": fact.about, "text": fact.text }))
        .collect();
    let findings: Vec<_> = report.findings.iter().map(finding_json).collect();
    json!({
        "path": report.path.display().to_string(),
        "healthy": report.is_healthy(),
        "facts": facts,
        "findings": findings,
    })
}

fn finding_json(finding: &Finding) -> Value {
    let repaired = finding.repaired.as_ref();
    json!({
        "path": finding.path.display().to_string(),
        "what": finding.what,
        "remedy": { "who": finding.remedy.who(), "text": finding.remedy.text() },
        "repaired": repaired.map(Result::is_ok),
        "error": repaired.and_then(|done| done.as_ref().err()),
    })
}
