//! A policy as it was read, and its names on their way to becoming indices.

use std::collections::HashMap;

use super::ask::AskSpec;
use super::fault::{Faults, Place, fix, nearest, quoted};
use super::intake::IntakeSpec;
use super::key::Attributes;
use super::limit::{LimitText, LimitTexts};
use super::response::ResponseText;
use super::route::{BucketText, Name, OverrideText, RouteEntry, TargetText};
use super::tier::TierText;

/// A whole policy as read.
pub(super) struct PolicyText {
    pub(super) attributes: Attributes,
    pub(super) limits: LimitTexts,
    pub(super) tiers: Vec<TierText>,
    pub(super) buckets: Vec<BucketText>,
    pub(super) routes: Vec<RouteEntry>,
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

/// Names of one kind and their places in a list.
pub(super) struct Names<'t> {
    what: &'static str,
    indices: HashMap<&'t str, usize>,
}

impl<'t> Names<'t> {
    pub(super) fn new(what: &'static str, names: impl Iterator<Item = &'t str>) -> Self {
        Self {
            what,
            indices: names
                .enumerate()
                .map(|(index, name)| (name, index))
                .collect(),
        }
    }

    /// The name's index, or a fault.
    pub(super) fn find(&self, name: &Name, faults: &mut Faults) -> Option<usize> {
        self.find_at(&name.text, &name.place, faults)
    }

    pub(super) fn get(&self, name: &str) -> Option<usize> {
        self.indices.get(name).copied()
    }

    pub(super) fn find_at(&self, name: &str, place: &Place, faults: &mut Faults) -> Option<usize> {
        let found = self.get(name);
        if found.is_none() {
            let mut known: Vec<_> = self.indices.keys().copied().collect();
            known.sort_unstable();
            let advice = match nearest(name, known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("add [{}s.{name}]", self.what),
            };
            let problem = format!("there is no {} {}", self.what, quoted(name));
            faults.push(place, fix(problem, super::fault::clip(&advice)));
        }
        found
    }
}
