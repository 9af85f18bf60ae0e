//! See `bodies/journal_files.rs`.
#![no_main]

#[path = "../bodies/journal_files.rs"]
mod body;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../bodies/damage.rs"]
mod damage;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
