//! Standard output that may end early: `tollgate ... | head` is no error.

use std::io::{self, Write};

use anyhow::Context;

/// Writes `text` and a line's end to standard output.
///
/// # Errors
/// If it cannot be written, for another reason than that nobody reads on.
pub(crate) fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    print_exactly(&format!("{text}\n"))
}

/// Writes `text` to standard output as it is.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_exactly(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write to standard output"),
    }
}

/// Writes a note for people to standard error; if nobody is there to read it, it is for nobody.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
