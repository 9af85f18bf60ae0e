//! See `bodies/overrides.rs`.
#![no_main]

#[path = "../bodies/overrides.rs"]
mod body;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../bodies/damage.rs"]
mod damage;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
