//! How a test says that it cannot run here.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Says what is skipped and why, on a line that is seen although the test passes: what the macros
/// print then is not.
pub(crate) fn say(what: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\nSKIPPED: {what}");
}

/// A file or folder of the shared data, which lies beside the project and is not part of it; or
/// nothing, and a word that what needs it is skipped.
#[allow(dead_code, reason = "not every test program reads the shared data")]
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = path.join(name);
    if path.exists() {
        return Some(path);
    }
    say(format_args!("data/{name} needs ../shared"));
    None
}
