//! See `bodies/openapi_document.rs`.
#![no_main]

#[path = "../bodies/openapi_document.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
