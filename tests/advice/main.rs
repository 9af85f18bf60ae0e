//! What a policy's faults advise is right.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod language;
mod syntax;
