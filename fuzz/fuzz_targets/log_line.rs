//! See `bodies/log_line.rs`.
#![no_main]

#[path = "../bodies/log_line.rs"]
mod body;
#[allow(dead_code, unused_imports, reason = "the command uses all of it")]
#[path = "../../src/bin/tollgate/log/mod.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
