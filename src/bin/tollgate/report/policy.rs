//! What one policy made of the requests.

use maud::{Markup, html};

use super::cells::{bar, name, number, relative_bar, text};
use super::{amounts, name_of, timeline};
use crate::replay::words::{count, plain, share};
use crate::replay::{KeySummary, PolicySummary};

/// Routes listed.
const ROUTES_SHOWN: usize = 50;

/// # Errors
/// If a picture cannot be drawn.
pub(super) fn sections(policy: &PolicySummary, is_one_of_many: bool) -> anyhow::Result<Markup> {
    Ok(html! {
        @if is_one_of_many { h2.policy { (name_of(&policy.policy)) } }
        (tiles(policy))
        (timeline::section(policy)?)
        (limits(policy))
        (touched(policy))
        (worst_keys(policy))
        @if let Some(found) = &policy.amounts { (amounts::section(found)) }
        @if let Some(suggestion) = &policy.suggestion { (amounts::suggested(suggestion)) }
        (routes(policy))
    })
}

fn tiles(policy: &PolicySummary) -> Markup {
    let requests = &policy.requests;
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
        @if let Some(crowded) = requests.crowded() { p { (crowded) } }
    }
}

fn limits(policy: &PolicySummary) -> Markup {
    html! {
        section {
            h2 { "Limits" }
            table {
                thead { tr {
                    th { "limit" } th.n { "requests" } th.n { "refused" } th { "share" }
                    th.n { "the reason" } th.n { "in shadow" }
                } }
                tbody { @for limit in policy.limits.iter().map(|limit| &limit.count) { tr {
                    (name(&plain(&limit.name)))
                    (number("requests", limit.requests))
                    (number("refused", limit.refused))
                    (bar("share", limit.refused, limit.requests))
                    (number("the reason", limit.ruled))
                    (number("in shadow", limit.would_refuse))
                } } }
            }
            p.note {
                "Refused counts the requests that a limit had no room for. Where several had none, "
                "the one to wait for longest is the reason. A limit in shadow has refused nothing."
            }
        }
    }
}

/// How many clients each limit touches, and how many requests of each.
fn touched(policy: &PolicySummary) -> Markup {
    let met = || policy.limits.iter().filter(|limit| limit.keys.seen > 0);
    html! {
        @if met().next().is_some() { section {
            h2 { "Whom the limits touch" }
            table {
                thead { tr {
                    th { "limit" } th.n { "keys" } th.n { "touched" } th { "share" }
                    th.n { "refused to half of these at most" } th.n { "to 9 in 10" }
                    th.n { "to 99 in 100" } th.n { "to the worst" }
                } }
                tbody { @for limit in met() {
                    @let refused = limit.keys.refused_of_each;
                    tr {
                        (name(&plain(&limit.count.name)))
                        (number("keys", limit.keys.seen))
                        (number("touched", limit.keys.refused))
                        (bar("share", limit.keys.refused, limit.keys.seen))
                        (number("refused to half of these", refused.half))
                        (number("to 9 in 10", refused.nine_in_ten))
                        (number("to 99 in 100", refused.ninety_nine_in_hundred))
                        (number("to the worst", refused.most))
                    }
                } }
            }
            table {
                thead { tr {
                    th { "requests of a key" } th.n { "half make at most" } th.n { "9 in 10" }
                    th.n { "99 in 100" } th.n { "the busiest" }
                } }
                tbody { @for limit in met() {
                    @let requests = limit.keys.requests_of_each;
                    tr {
                        (name(&plain(&limit.count.name)))
                        (number("half make at most", requests.half))
                        (number("9 in 10", requests.nine_in_ten))
                        (number("99 in 100", requests.ninety_nine_in_hundred))
                        (number("the busiest", requests.most))
                    }
                } }
            }
            @if !policy.keys.exact && policy.keys.tracked > 0 {
                p.note {
                    "Of the " (count(u64::try_from(policy.keys.tracked).unwrap_or(0)))
                    " keys that were told apart."
                }
            }
        } }
    }
}

fn worst_keys(policy: &PolicySummary) -> Markup {
    let keys = &policy.keys;
    html! {
        section {
            h2 { "The most refused, and what they did" }
            @if keys.worst.is_empty() { p { "No limit ran out of room for anyone." } }
            @else { (key_table(&keys.worst)) }
            @if !keys.exact {
                p.note {
                    "There were more keys, or more that were refused something, than are held at "
                    "once: one that belongs here may be missing, and (−n) says by how many a "
                    "number may be too high."
                }
            }
        }
    }
}

/// Keys, and what each was refused.
pub(super) fn key_table(keys: &[KeySummary]) -> Markup {
    let most = keys.iter().map(|key| key.refused).max().unwrap_or(0);
    html! {
        table {
            thead { tr {
                th { "key" } th { "limit" } th.n { "requests" } th.n { "refused" } th { }
            } }
            tbody { @for key in keys {
                tr.has-more {
                    (name(&plain(&key.key)))
                    (text("limit", &plain(&key.limit_shown())))
                    @match key.requests {
                        Some(requests) => (number("requests", requests)),
                        None => (text("requests", "–")),
                    }
                    td.n data-label="refused" {
                        (count(key.refused))
                        @if key.refused_error > 0 { " (−" (count(key.refused_error)) ")" }
                    }
                    (relative_bar(key.refused, most))
                }
                tr.more { td colspan="5" { (deeds(key)) } }
            } }
        }
    }
}

fn deeds(key: &KeySummary) -> Markup {
    let some = key.deeds.iter().take(3);
    html! {
        small {
            "from " (key.first_refused) " to " (key.last_refused) ": "
            @for (number, deed) in some.enumerate() {
                @if number > 0 { ", " }
                code { (plain(&deed.what)) } " " (count(deed.about)) " times"
            }
            @if !key.agent.is_empty() { "; as " code { (plain(&key.agent)) } }
        }
    }
}

fn routes(policy: &PolicySummary) -> Markup {
    html! {
        section {
            h2 { "Routes" }
            table {
                thead { tr {
                    th { "route" } th.n { "requests" } th.n { "refused" } th { "share" }
                } }
                tbody { @for route in policy.routes.iter().take(ROUTES_SHOWN) { tr {
                    (name(&plain(&route.route)))
                    (number("requests", route.requests))
                    (number("refused", route.refused))
                    (bar("share", route.refused, route.requests))
                } } }
            }
            @if let Some(more) = policy.routes.len().checked_sub(ROUTES_SHOWN + 1) {
                p.note { "And " (more + 1) " more." }
            }
        }
    }
}
