//! What the limits would have had to be.

use maud::{Markup, html};

use super::cells::{number, text};
use crate::replay::words::{count, plain};
use crate::replay::{AmountsSummary, FoundRate, LimitAmounts, Suggestion};

pub(super) fn section(amounts: &AmountsSummary) -> Markup {
    html! {
        section {
            h2 { "What each limit would have had to be" }
            table {
                thead { tr {
                    th { "limit" } th { "is" } th.n { "requests" }
                    th { (LABELS[0]) } th { "0.1 % at most" } th { (LABELS[2]) }
                } }
                tbody { @for limit in &amounts.limits {
                    tr {
                        td.key { (plain(&limit.limit)) @if !limit.smallest { " *" } }
                        (text("is", &plain(&limit.rate)))
                        (number("requests", limit.requests))
                        @for (found, label) in limit.found().into_iter().zip(LABELS) {
                            (cell(label, found))
                        }
                    }
                    @if let Some(others) = &limit.without_loudest { tr.others {
                        td.key { "without the ten loudest keys" }
                        td { } td { }
                        @for (found, label) in others.all().into_iter().zip(LABELS) {
                            (cell(label, found))
                        }
                    } }
                } }
            }
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

const LABELS: [&str; 3] = [
    "to refuse 1 % at most",
    "to refuse 0.1 % at most",
    "to refuse nothing",
];

fn cell(label: &str, found: Option<&FoundRate>) -> Markup {
    html! {
        td data-label=(label) { span { @match found {
            Some(found) => {
                (found.rate) br;
                small { (count(found.refused)) " refused, " (count(found.keys)) " keys" }
            }
            None => "none does",
        } } }
    }
}

pub(super) fn suggested(suggestion: &Suggestion) -> Markup {
    html! {
        section {
            h2 { "A policy that would have refused at most " (suggestion.at_most) }
            pre { code { (suggestion.policy) } }
        }
    }
}
