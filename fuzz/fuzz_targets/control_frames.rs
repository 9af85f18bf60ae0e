//! Any bytes as what a client of the control socket says; the corpus is replayed in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate::fuzzed::control_frames(bytes));
