//! `tollgate doctor`: what a limiter's directory is like, and what can be done about it.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};
use tollgate::doctor::{self, Finding, Report};

use crate::args::DoctorArgs;
use crate::out;

/// Exit status if something was found that is not repaired.
const FOUND: u8 = 1;

/// Runs `tollgate doctor`.
///
/// # Errors
/// If the directory cannot be looked at.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let report = if args.repair {
        doctor::repair(&args.data)
    } else {
        doctor::examine(&args.data)
    };
    let shown = args.data.display();
    let report = report.with_context(|| format!("cannot look at {shown}"))?;
    if args.json {
        out::print(report_json(&report))?;
    } else {
        out::print(&report)?;
    }
    Ok(if report.is_healthy() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    })
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
