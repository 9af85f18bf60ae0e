//! A running limiter, asked and changed from outside: services are processes of their own, started
//! from this very program, and what asks them is the command.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asked;
#[path = "../common/mod.rs"]
mod common;
mod reloaded;
mod service;
mod top;
mod waits;
