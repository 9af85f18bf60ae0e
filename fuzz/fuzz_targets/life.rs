//! See `tests/oracle/life.rs`.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/oracle/event.rs"]
mod event;
#[path = "../../tests/oracle/life.rs"]
mod life;
#[path = "../../tests/oracle/model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| life::live(bytes));
