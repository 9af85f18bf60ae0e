//! The layer under axum's routers, real ones: nested, with fallbacks, under `any()`, mounted and
//! rewritten. The route by which the policy judges is the one by which axum serves.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[cfg(feature = "tracing")]
mod address;
#[path = "../common/mod.rs"]
mod common;
mod differential;
mod nested;
mod service;
