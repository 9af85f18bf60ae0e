//! A replay's results as one page: no scripts, nothing loaded from elsewhere.
//!
//! Much of what the page shows was written by strangers into a log. All text goes through maud,
//! which escapes it; the pictures are drawn from numbers alone.

mod amounts;
mod cells;
mod compare;
mod policy;
mod timeline;

use std::path::{Path, PathBuf};

use anyhow::Context;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::replay::Summary;
use crate::replay::words::{count, plain};

const STYLE: &str = include_str!("style.css");

/// Writes the page to `path`: beside it first, so that there is always a whole one.
///
/// # Errors
/// If a picture cannot be drawn or the file not be written.
pub(crate) fn write(summary: &Summary, path: &Path) -> anyhow::Result<()> {
    let page = page(summary)?.into_string();
    let beside = beside(path);
    std::fs::write(&beside, page)
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The file that a page is written to before it takes its place.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    beside.into()
}

/// A policy's name, short enough for a heading.
fn name_of(policy: &str) -> String {
    let name = Path::new(policy).file_name().unwrap_or_default();
    plain(&name.to_string_lossy())
}

fn page(summary: &Summary) -> anyhow::Result<Markup> {
    let first = name_of(&summary.first.policy);
    let title = match summary.others.len() {
        0 => format!("Replay against {first}"),
        more => format!("Replay against {first} and {more} more"),
    };
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (origin(summary))
                }
                main {
                    @if !summary.others.is_empty() { (compare::section(summary)) }
                    @if summary.lines.requests == 0 {
                        p { "The log holds no requests: there is nothing to judge." }
                    } @else {
                        (policy::sections(&summary.first, !summary.others.is_empty())?)
                        @for other in &summary.others {
                            (policy::sections(&other.policy, true)?)
                        }
                    }
                    (lines(summary))
                }
                footer { "Made by tollgate replay." }
            }
        }
    })
}

fn origin(summary: &Summary) -> Markup {
    let logs = summary.logs.iter().map(|log| {
        let format = log
            .format
            .as_ref()
            .map(|format| format!(" ({})", plain(&format.to_string())));
        format!("{}{}", plain(&log.name), format.unwrap_or_default())
    });
    let names: Vec<_> = logs.collect();
    html! {
        p {
            (names.join(", "))
            @if let (Some(first), Some(last)) = (&summary.time.first, &summary.time.last) {
                br; (first) " to " (last)
            }
        }
    }
}

fn lines(summary: &Summary) -> Markup {
    let lines = summary.lines;
    html! {
        section {
            h2 { "The log" }
            p {
                (count(lines.read)) " lines: " (count(lines.requests)) " requests, "
                (count(lines.without_request)) " without a request, "
                (count(lines.blank)) " blank or heading, " (count(lines.malformed)) " malformed."
            }
            @if summary.time.late_entries > 0 {
                p {
                    (count(summary.time.late_entries)) " entries were earlier than one before "
                    "them, by up to " (summary.time.largest_lag_ms.div_ceil(1_000)) " s, and were "
                    "judged at the latest time seen."
                }
            }
            @if !summary.first_malformed.is_empty() {
                h3 { "Malformed lines" }
                ul { @for complaint in &summary.first_malformed { li {
                    (plain(&complaint.file)) ":" (complaint.line) ": " (plain(&complaint.why)) br;
                    code { (complaint.excerpt) }
                } } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
