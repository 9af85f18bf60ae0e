//! A policy as it was read.

use super::ask::AskSpec;
use super::fault::Place;
use super::intake::IntakeSpec;
use super::key::Attributes;
use super::limit::{LimitText, LimitTexts};
use super::response::ResponseText;
use super::route::{BucketText, OverrideText, RouteEntry, TargetText};
use super::tier::TierText;

/// A whole policy as read.
pub(super) struct PolicyText {
    pub(super) attributes: Attributes,
    pub(super) limits: LimitTexts,
    pub(super) tiers: Vec<TierText>,
    pub(super) buckets: Vec<BucketText>,
    pub(super) routes: Vec<RouteEntry>,
    /// There may be others: some could not be read, which is a fault.
    pub(super) has_unread_routes: bool,
    pub(super) default: Option<(TargetText, Place)>,
    pub(super) overrides: Vec<OverrideText>,
    /// The limit that ids are counted by.
    pub(super) idempotency: Option<LimitText>,
    pub(super) http: HttpText,
}

/// What only services over HTTP need.
pub(super) struct HttpText {
    pub(super) intake: IntakeSpec,
    pub(super) ask: AskSpec,
    pub(super) response: ResponseText,
}
