//! A replay's results as one page: no scripts, nothing loaded from elsewhere.
//!
//! Much of what the page shows was written by strangers into a log. All text goes through maud,
//! which escapes it; the picture is drawn from numbers alone.

mod timeline;

use std::path::Path;

use anyhow::Context;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::replay::text::{count, plain, share};
use crate::replay::{AmountsSummary, LimitAmounts, Summary};

const STYLE: &str = include_str!("style.css");

/// Routes listed.
const ROUTES_SHOWN: usize = 50;

/// Writes the page to `path`: beside it first, so that there is always a whole one.
///
/// # Errors
/// If the picture cannot be drawn or the file not be written.
pub(crate) fn write(summary: &Summary, path: &Path) -> anyhow::Result<()> {
    let page = page(summary)?.into_string();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = Path::new(&beside);
    std::fs::write(beside, page)
        .and_then(|()| std::fs::rename(beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn page(summary: &Summary) -> anyhow::Result<Markup> {
    let policy = Path::new(&summary.policy).file_name().unwrap_or_default();
    let title = format!("Replay against {}", plain(&policy.to_string_lossy()));
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
                    (tiles(summary))
                    (timeline::section(&summary.timeline)?)
                    (limits(summary))
                    (worst_keys(summary))
                    @if let Some(amounts) = &summary.amounts { (would_have_been(amounts)) }
                    (routes(summary))
                    (lines(summary))
                }
                footer { "Made by tollgate replay." }
            }
        }
    })
}

fn origin(summary: &Summary) -> Markup {
    let names: Vec<_> = summary.logs.iter().map(|log| plain(&log.name)).collect();
    html! {
        p {
            (names.join(", "))
            @if let (Some(first), Some(last)) = (&summary.time.first, &summary.time.last) {
                br; (first) " to " (last)
            }
        }
    }
}

fn tiles(summary: &Summary) -> Markup {
    let requests = &summary.requests;
    let tile = |number: u64, what: &str, more: String| {
        html! {
            div.tile {
                strong { (count(number)) }
                span { (what) }
                @if !more.is_empty() { small { (more) } }
            }
        }
    };
    html! {
        section.tiles {
            (tile(requests.judged, "requests", String::new()))
            (tile(requests.allowed, "allowed", share(requests.allowed, requests.judged)))
            (tile(requests.refused, "refused", share(requests.refused, requests.judged)))
            @if requests.would_refuse > 0 {
                (tile(requests.would_refuse, "no room in a shadow limit", "but allowed".into()))
            }
            @if requests.exempt > 0 { (tile(requests.exempt, "exempt", String::new())) }
        }
        @for (why, number) in &requests.unjudged {
            p { (count(*number)) " refused unjudged: " (why) }
        }
        @if requests.without_counter > 0 {
            p {
                (count(requests.without_counter)) " requests found no room for a counter of their "
                "own, so what became of them hung on others. --counters makes more."
            }
        }
    }
}

/// A share as a bar in a table's cell.
fn bar(part: u64, whole: u64) -> Markup {
    let permille = (u128::from(part) * 1_000)
        .checked_div(u128::from(whole))
        .unwrap_or(0);
    let style = format!("width:{}.{}%", permille / 10, permille % 10);
    html! {
        td.bar {
            // Only nothing has no bar at all.
            @if part > 0 { span style=(style) {} }
            (share(part, whole))
        }
    }
}

fn limits(summary: &Summary) -> Markup {
    html! {
        section {
            h2 { "Limits" }
            div.scroll { table {
                thead { tr {
                    th { "limit" } th.n { "requests" } th.n { "refused" } th { "share" }
                    th.n { "the reason" } th.n { "in shadow" }
                } }
                tbody { @for limit in &summary.limits { tr {
                    td { (plain(&limit.name)) }
                    td.n { (count(limit.requests)) }
                    td.n { (count(limit.refused)) }
                    (bar(limit.refused, limit.requests))
                    td.n { (count(limit.ruled)) }
                    td.n { (count(limit.would_refuse)) }
                } } }
            } }
            p.note {
                "Refused counts the requests that a limit had no room for. Where several had none, "
                "the one to wait for longest is the reason. A limit in shadow has refused nothing."
            }
        }
    }
}

fn worst_keys(summary: &Summary) -> Markup {
    let keys = &summary.keys;
    let most = keys.worst.iter().map(|key| key.refused).max().unwrap_or(0);
    html! {
        section {
            h2 { "Worst keys" }
            @if keys.worst.is_empty() { p { "No limit ran out of room for anyone." } }
            @else {
                div.scroll { table {
                    thead { tr {
                        th { "key" } th { "limit" } th.n { "requests" } th.n { "refused" } th { }
                    } }
                    tbody { @for key in &keys.worst { tr {
                        td.key { (plain(&key.key)) }
                        td { (plain(&key.limit_shown())) }
                        td.n { (count(key.requests)) }
                        td.n {
                            (count(key.refused))
                            @if key.refused_error > 0 { " (−" (count(key.refused_error)) ")" }
                        }
                        (relative_bar(key.refused, most))
                    } } }
                } }
            }
            @if !keys.exact {
                p.note {
                    "There were more keys than the " (keys.tracked) " that are counted at once. "
                    "Requests are lower bounds; refused may be too high by the number in brackets."
                }
            }
        }
    }
}

fn relative_bar(part: u64, most: u64) -> Markup {
    let percent = (u128::from(part) * 100)
        .checked_div(u128::from(most))
        .unwrap_or(0);
    html! { td.bar { span style=(format!("width:{percent}%")) {} } }
}

fn would_have_been(amounts: &AmountsSummary) -> Markup {
    let cell = |found: Option<&crate::replay::FoundRate>| {
        html! {
            td.rate { @match found {
                Some(found) => { (found.rate) br; small { (count(found.refused)) " refused" } }
                None => "none does",
            } }
        }
    };
    html! {
        section {
            h2 { "What each limit would have had to be" }
            div.scroll { table {
                thead { tr {
                    th { "limit" } th { "is" } th.n { "requests" }
                    th { "to refuse 1 % at most" } th { "0.1 % at most" } th { "nothing" }
                } }
                tbody { @for limit in &amounts.limits { tr {
                    td { (plain(&limit.limit)) @if !limit.smallest { " *" } }
                    td.rate { (plain(&limit.rate)) }
                    td.n { (count(limit.requests)) }
                    @for found in limit.found() { (cell(found)) }
                } } }
            } }
            p.note {
                "Each rate was tried on the very requests that met the limit, by the limiter "
                "itself, with no other limit in the way; a burst grows in proportion. The rates "
                "are the smallest that do it."
                @if amounts.limits.iter().any(|limit: &LimitAmounts| !limit.smallest) {
                    " * The costs of requests differ here: one less refuses more, but a still "
                    "smaller rate might by chance refuse as little."
                }
                @if let Some(until) = &amounts.until {
                    " From " (until) " on there were too many requests to try; they are left out."
                }
                @if amounts.left_out > 0 {
                    " " (count(amounts.left_out)) " uses at further rates are left out."
                }
            }
        }
    }
}

fn routes(summary: &Summary) -> Markup {
    html! {
        section {
            h2 { "Routes" }
            div.scroll { table {
                thead { tr {
                    th { "route" } th.n { "requests" } th.n { "refused" } th { "share" }
                } }
                tbody { @for route in summary.routes.iter().take(ROUTES_SHOWN) { tr {
                    td.key { (plain(&route.route)) }
                    td.n { (count(route.requests)) }
                    td.n { (count(route.refused)) }
                    (bar(route.refused, route.requests))
                } } }
            } }
            @if let Some(more) = summary.routes.len().checked_sub(ROUTES_SHOWN + 1) {
                p.note { "And " (more + 1) " more." }
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
