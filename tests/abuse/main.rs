//! A client tries to get more than its limit by every field that it controls, over real sockets.
//!
//! Each test has a budget, and counts what the service itself served: never more than the budget.
//! The clock stands still, so nothing comes back meanwhile.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod admin;
mod fields;
mod ids;
mod keys;
mod logins;
mod running;
mod world;
