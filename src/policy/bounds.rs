//! The bounds of a policy: what a text may hold and what a request may bring.
//!
//! A policy may come from a file that somebody else can write. Every one of these is checked
//! before memory or time is spent on what lies beyond it.

use std::time::Duration;

// Bound: a longer text is refused unread.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;
// Bound: a deeper value is a fault; the parsers below stop by themselves a little further down.
pub(super) const DEPTH_MAX: usize = 32;
// Bound: more of a kind is one fault, and the rest is not read.
pub(super) const LIMITS_MAX: usize = 256;
pub(super) const TIERS_MAX: usize = 64;
pub(super) const BUCKETS_MAX: usize = 256;
pub(super) const ROUTES_MAX: usize = 10_000;
pub(super) const OVERRIDES_MAX: usize = 10_000;
pub(super) const ATTRIBUTES_MAX: usize = 64;
pub(super) const CRITERION_VALUES_MAX: usize = 64;
pub(super) const HEADERS_MAX: usize = 32;
pub(super) const REFUSALS_MAX: usize = 64;
pub(super) const PROXIES_MAX: usize = 256;
/// Places that one attribute is looked for in.
pub(super) const ORIGINS_MAX: usize = 8;
/// Endpoints times values that one question is answered for.
pub(super) const ASK_MAX: usize = 4_096;
/// What a body's template holds itself.
pub(super) const BODY_BYTES_MAX: usize = 8_192;
/// Statuses and classes of statuses that one limit charges.
pub(super) const STATUSES_MAX: usize = 32;
pub(super) const NAME_BYTES_MAX: usize = 64;
pub(super) const VALUE_BYTES_MAX: usize = 1_024;
/// The text of a key, a rate or a route.
pub(super) const PHRASE_BYTES_MAX: usize = 1_024;

/// The most parts of a key.
pub(crate) const KEY_PARTS_MAX: usize = 8;
/// The most limits one request can meet.
pub(crate) const PICKS_MAX: usize = 16;
/// The most `max_concurrent` limits one request can meet.
pub(crate) const PERMIT_PICKS_MAX: usize = 4;
/// The longest line before one key.
pub(super) const PERMIT_QUEUE_MAX: u32 = 100_000;
/// The longest wait in it.
pub(super) const PERMIT_WAIT_MAX: Duration = Duration::from_secs(3_600);
/// The most keys under which anything runs at one time: each takes up to 120 bytes, in use or not.
pub(super) const PERMIT_KEYS_MAX: u32 = 1 << 20;
/// The most values one route template captures.
pub(super) const CAPTURES_MAX: usize = 16;
/// The most segments of a route template.
pub(super) const SEGMENTS_MAX: usize = 64;
/// The most methods one route names.
pub(super) const METHODS_MAX: usize = 16;
/// The most attributes one request brings.
pub(super) const REQUEST_ATTRIBUTES_MAX: usize = 32;
/// The longest path that is not written plainly: one with escapes, empty or dot segments.
pub(super) const ODD_PATH_BYTES_MAX: usize = 1_024;

// Bound: faults beyond these are counted, not kept; and kept, not shown.
pub(super) const FAULTS_KEPT_MAX: usize = 1_000;
pub(super) const FAULTS_SHOWN_MAX: usize = 100;
