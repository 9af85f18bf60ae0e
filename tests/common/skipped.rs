//! How a test says that it cannot run here.

use std::fmt::Display;
use std::io::Write;

/// Says what is skipped and why, on a line that is seen although the test passes: what the macros
/// print then is not.
pub(crate) fn say(what: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\nSKIPPED: {what}");
}
