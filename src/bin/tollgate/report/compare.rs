//! What other policies do otherwise than the first one.

use maud::{Markup, html};

use super::cells::{bar, name, number};
use super::name_of;
use super::policy::key_table;
use crate::replay::Summary;
use crate::replay::words::count;

pub(super) fn section(summary: &Summary) -> Markup {
    let first = name_of(&summary.first.policy);
    let others = summary.others.iter().map(|other| &other.policy);
    let all: Vec<_> = std::iter::once(&summary.first).chain(others).collect();
    html! {
        section {
            h2 { "The policies beside each other" }
            table {
                thead { tr {
                    th { "policy" } th.n { "requests" } th.n { "allowed" } th.n { "refused" }
                    th { "share" } th.n { "in shadow" }
                } }
                tbody { @for policy in &all { @let requests = &policy.requests; tr {
                    (name(&name_of(&policy.policy)))
                    (number("requests", requests.judged))
                    (number("allowed", requests.allowed))
                    (number("refused", requests.refused))
                    (bar("share", requests.refused, requests.judged))
                    (number("in shadow", requests.would_refuse))
                } } }
            }
            @for other in &summary.others {
                @let this = name_of(&other.policy.policy);
                h3 { (this) " beside " (first) }
                p {
                    "Both refuse " (count(other.both_refuse)) " requests. Only " (first)
                    " refuses " (count(other.only_first_refuses)) ", only " (this) " "
                    (count(other.only_this_refuses)) "."
                }
                @if !other.only_this_keys.is_empty() {
                    h4 { "Whom only " (this) " refuses" }
                    (key_table(&other.only_this_keys))
                }
                @if !other.only_first_keys.is_empty() {
                    h4 { "Whom only " (first) " refuses" }
                    (key_table(&other.only_first_keys))
                }
            }
        }
    }
}
