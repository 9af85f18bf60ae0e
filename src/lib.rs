//! Tollgate: an embedded, persistent rate limiter.
//!
//! [`Limiter::open`] opens a directory under a [`Policy`]; [`Limiter::check`] judges a [`Request`]
//! by every limit it meets and gives a [`Decision`]; [`Limiter::limit`] asks one limit directly.
//! Counters are one atomic word each in mapped files, so they outlive the process that made them.
#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(not(tollgate_loom))]
mod admin;
mod algorithm;
#[cfg(not(tollgate_loom))]
mod ask;
mod ceiling;
#[cfg(feature = "client")]
#[cfg(not(tollgate_loom))]
pub mod client;
mod clock;
mod codec;
#[cfg(not(tollgate_loom))]
pub mod control;
mod counter;
#[cfg(all(feature = "dashboard", not(tollgate_loom)))]
mod dashboard;
#[cfg(not(tollgate_loom))]
mod directory;
#[cfg(not(tollgate_loom))]
pub mod doctor;
#[cfg(not(tollgate_loom))]
mod error;
#[cfg(not(tollgate_loom))]
mod headers;
mod idempotency;
mod in_force;
mod inbox;
#[cfg(not(tollgate_loom))]
mod journal;
mod key;
#[cfg(all(feature = "tower", not(tollgate_loom)))]
pub mod layer;
#[cfg(not(tollgate_loom))]
mod limiter;
#[cfg(feature = "openapi")]
#[cfg(not(tollgate_loom))]
pub mod openapi;
mod permits;
#[cfg(not(tollgate_loom))]
mod policy;
#[cfg(not(tollgate_loom))]
mod policy_file;
mod prefetch;
mod sync;
mod table;
mod time;
mod trouble;
#[cfg(all(any(feature = "metrics", feature = "tracing"), not(tollgate_loom)))]
pub mod watch;
#[cfg(not(tollgate_loom))]
mod writer;

/// What only the fuzz targets reach.
#[cfg(all(fuzzing, not(tollgate_loom)))]
#[doc(hidden)]
pub mod fuzzed {
    /// The body of the target `journal_page`.
    pub fn journal_page(bytes: &[u8]) {
        crate::journal::fuzzed::page(bytes);
    }

    /// The body of the target `control_frames`.
    pub fn control_frames(bytes: &[u8]) {
        crate::control::fuzzed(bytes);
    }
}

#[cfg(not(tollgate_loom))]
pub use admin::{Admin, AdminReply};
#[cfg(not(tollgate_loom))]
pub use ask::{Question, Standing, UnknownQuestion};
pub use clock::{ClockHealth, ManualClock};
#[cfg(all(feature = "dashboard", not(tollgate_loom)))]
pub use dashboard::Dashboard;
#[cfg(not(tollgate_loom))]
pub use error::{Error, ErrorKind};
#[cfg(not(tollgate_loom))]
pub use headers::Answer;
#[cfg(not(tollgate_loom))]
pub use limiter::{
    Admission, Builder, ConcurrencyOutcome, ControlSocket, Decision, Growth, Health, Key, Lasts,
    Limit, LimitOutcome, Limiter, Mapping, Opened, Outcome, Override, OverrideKey, Placement,
    Rebuilding, Recovery, Reservations, RouteUse, Running, Trouble, Verdict, WhenHeld, Writing,
};
#[cfg(all(feature = "watch", not(tollgate_loom)))]
pub use limiter::{Asked, Change, Watch};
pub use permits::{
    Acquire, AcquireError, OwnedAcquire, OwnedPermit, Permit, PermitKey, PermitRule,
    PermitRuleError, PermitUsage, PermitWeight, Permits,
};
#[cfg(not(tollgate_loom))]
pub use policy::{
    Explanation, LimitAlgorithm, LimitChange, LimitDurability, LimitExplanation, LimitFate,
    LimitRule, Policy, PolicyBuilder, PolicyDiff, PolicyFault, PolicyFaults, Request, RequestError,
};
pub use time::Timestamp;
