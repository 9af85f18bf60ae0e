//! Numbers and log lines of what a limiter decides: for [`Builder::watch`](crate::Builder::watch).
//!
//! [`Metrics`] counts by limit and outcome with the `metrics` facade, never by key; [`Refusals`] is
//! an event of `tracing` for each refusal.

#[cfg(feature = "metrics")]
mod count;
#[cfg(feature = "tracing")]
mod event;
#[cfg(feature = "metrics")]
mod gauge;

#[cfg(feature = "metrics")]
pub use count::Metrics;
#[cfg(feature = "tracing")]
pub use event::Refusals;

use crate::limiter::Verdict;

/// A verdict in one word.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Repeated => "repeated",
        Verdict::Shadowed => "would_refuse",
        Verdict::Refused => "refused",
        Verdict::Impossible => "impossible",
        Verdict::TableFull => "table_full",
        Verdict::Unwritable => "unwritable",
        Verdict::KeyMissing => "key_missing",
        Verdict::CostUnreadable => "cost_unreadable",
        Verdict::QueueFull => "queue_full",
        Verdict::WaitedTooLong => "waited_too_long",
        Verdict::Closed => "closed",
        Verdict::NeedsPermit => "needs_permit",
        Verdict::Unknown => "unknown",
        Verdict::Malformed => "malformed",
    }
}
