//! One look in plain lines, for pipes and logs.

use std::fmt::Write;

use super::state::{KeyRow, State, rate, shortened, span};

pub(super) fn text(state: &State) -> String {
    let mut text = String::new();
    let health = state.trouble().unwrap_or_else(|| state.health());
    let _ = writeln!(text, "{}: {health}", state.directory());
    for row in state.limits() {
        let _ = write!(
            text,
            "limit {}: {}/s, {} allowed, {} refused, {} in shadow",
            row.name,
            rate(row.rate),
            row.allowed,
            row.refused,
            row.in_shadow
        );
        if let Some([used, of, reset]) = row.used {
            let _ = write!(text, ", {used} of {of} used, back in {}", span(reset));
        }
        text.push('\n');
    }
    for (name, [running, waiting, refused]) in state.running() {
        let _ = writeln!(
            text,
            "limit {name}: {running} running, {waiting} waiting, {refused} refused"
        );
    }
    keys(&mut text, "busiest", &state.busiest());
    keys(&mut text, "refused", &state.refused());
    text
}

fn keys(text: &mut String, title: &str, rows: &[KeyRow]) {
    for row in rows {
        let [used, of, reset] = row.used;
        let _ = writeln!(
            text,
            "{title} {} of {}: {}, {used} of {of} used, back in {}",
            shortened(&row.key),
            row.limit,
            row.count,
            span(reset)
        );
    }
}
