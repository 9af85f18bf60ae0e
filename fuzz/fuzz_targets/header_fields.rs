//! See `bodies/header_fields.rs`.
#![no_main]

#[path = "../bodies/header_fields.rs"]
mod body;
#[path = "../../tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
