//! See `bodies/ceilings.rs`.
#![no_main]

#[path = "../bodies/ceilings.rs"]
mod body;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../bodies/damage.rs"]
mod damage;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
