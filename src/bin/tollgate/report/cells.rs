//! Cells of tables. On a narrow screen each cell is a line of its own, with its column's name.

use maud::{Markup, html};

use crate::replay::words::{count, share};

pub(super) fn number(label: &str, number: u64) -> Markup {
    html! { td.n data-label=(label) { (count(number)) } }
}

pub(super) fn text(label: &str, text: &str) -> Markup {
    html! { td data-label=(label) { span { (text) } } }
}

/// The cell that says what the row is of.
pub(super) fn name(text: &str) -> Markup {
    html! { td.key { (text) } }
}

/// A share as a bar.
pub(super) fn bar(label: &str, part: u64, whole: u64) -> Markup {
    let permille = (u128::from(part) * 1_000)
        .checked_div(u128::from(whole))
        .unwrap_or(0);
    let style = format!("--part:{}.{}%", permille / 10, permille % 10);
    html! {
        td.bar data-label=(label) {
            // Only nothing has no bar at all.
            @if part > 0 { span style=(style) {} }
            b { (share(part, whole)) }
        }
    }
}

/// A number as a bar beside the largest one.
pub(super) fn relative_bar(part: u64, most: u64) -> Markup {
    let percent = (u128::from(part) * 100)
        .checked_div(u128::from(most))
        .unwrap_or(0);
    html! { td.bar.relative { span style=(format!("--part:{percent}%")) {} } }
}
