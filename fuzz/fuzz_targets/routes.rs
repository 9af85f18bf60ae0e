//! See `bodies/routes.rs`.
#![no_main]

#[path = "../bodies/routes.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
