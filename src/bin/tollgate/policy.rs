//! `tollgate policy`: finding the faults of policies and explaining them.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use tollgate::openapi::{self, LeftOut};
use tollgate::{Policy, Request};

use crate::args::{PolicyCommand, RequestArgs};
use crate::out;

impl RequestArgs {
    /// The request that was described.
    pub(crate) fn request(&self) -> Request<'_> {
        let mut request = match &self.path {
            Some(path) => Request::http(&self.method, path),
            None => Request::new(),
        };
        for (name, text) in &self.attribute {
            request = request.attribute(name, text);
        }
        for (name, address) in &self.address {
            request = request.address(name, *address);
        }
        match self.cost {
            Some(cost) => request.cost(cost),
            None => request,
        }
    }
}

/// Runs `tollgate policy`.
///
/// # Errors
/// If the policy cannot be read or has faults, or the request cannot be.
pub(crate) fn run(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Lint { policy } => {
            let policy = Policy::from_path(policy)?;
            for (name, words) in policy.limits().chain(policy.concurrency()) {
                out::print(format_args!("{name}: {words}"))?;
            }
            if let Some(words) = policy.idempotency() {
                out::print(format_args!("idempotency: {words}"))?;
            }
            warn(&policy);
        }
        PolicyCommand::Explain { policy, request } => {
            let policy = Policy::from_path(policy)?;
            out::print(policy.explain(&request.request())?)?;
        }
        PolicyCommand::Diff { old, new } => {
            let [old, new] = [Policy::from_path(old)?, Policy::from_path(new)?];
            out::print_exactly(&old.diff(&new).to_string())?;
            warn(&new);
        }
        PolicyCommand::Import { document, base } => {
            let text = read_document(document)?;
            let imported = openapi::import(&text, base).with_context(|| in_file(document))?;
            out::print(imported.policy.trim_end())?;
            left_out(document, &imported.left_out);
        }
        PolicyCommand::Export {
            policy,
            document,
            base,
        } => {
            let policy = Policy::from_path(policy)?;
            let text = read_document(document)?;
            let exported = openapi::export(&text, &policy, base);
            let exported = exported.with_context(|| in_file(document))?;
            // Byte for byte: its last line ends as it did.
            out::print_exactly(&exported.document)?;
            left_out(document, &exported.left_out);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is sound and may not be meant.
fn warn(policy: &Policy) {
    for warning in policy.warnings() {
        out::note(format_args!("warning: {warning}"));
    }
}

/// The longest OpenAPI document that is read, in bytes.
// Bound: as the library's own.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

fn read_document(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let read = || format!("cannot read {shown}");
    let bytes = fs::metadata(path).with_context(read)?.len();
    ensure!(
        bytes <= DOCUMENT_BYTES_MAX,
        "{shown} is too large for a document: {bytes} bytes"
    );
    fs::read_to_string(path).with_context(read)
}

fn in_file(path: &Path) -> String {
    format!("{} cannot be taken over", path.display())
}

fn left_out(document: &Path, left_out: &[LeftOut]) {
    for one in left_out {
        out::note(format_args!("{}:{one}", document.display()));
    }
}
