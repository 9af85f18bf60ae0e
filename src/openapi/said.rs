//! What a policy says to an operation, in the terms of a document.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::OpenApiError;
use super::notes::Notes;
use super::operations::Operation;
use super::throttle::{self, AUDIENCES, Audience, STRATEGIES, Throttle};
use super::tree::Document;
use crate::policy::{PlainLimit, PlainRefusal, Policy, Request};

/// What is said of an operation.
pub(super) struct Said {
    /// By the policy.
    pub(super) throttles: BTreeSet<Throttle>,
    pub(super) refusals: Vec<PlainRefusal>,
    /// The document says so already.
    pub(super) stands: bool,
    /// The document will not say so.
    pub(super) is_open: bool,
}

impl Said {
    /// # Errors
    /// If no request can be asked about that the operation is for.
    pub(super) fn of(
        document: &Document<'_>,
        operation: &Operation<'_>,
        policy: &Policy,
        base: &str,
        notes: &mut Notes,
    ) -> Result<Self, OpenApiError> {
        let path = format!("{base}{}", sample(operation.template));
        let request = Request::http(&operation.method, &path)
            .attribute("user", "somebody")
            .address("ip", IpAddr::V4(Ipv4Addr::LOCALHOST));
        let plain = policy
            .plain(&request)
            .map_err(|why| OpenApiError::at(operation.key.place, why.to_string()))?;
        let mut tell = |why: String| notes.push(operation.left_out(operation.key, why));
        let mut throttles = BTreeSet::new();
        for limit in &plain.limits {
            throttles.extend(of_limit(limit, &mut tell));
        }
        for name in plain.others {
            tell(format!(
                "limit {name}: how many may run at a time is not said"
            ));
        }
        // What cannot be read is written anew; it was told by the import.
        let mut unread = Notes::default();
        let said = throttle::throttles(document, operation, &mut unread);
        let said: BTreeSet<_> = said.into_iter().collect();
        Ok(Self {
            stands: said == throttles && unread.is_empty(),
            throttles,
            refusals: plain.refusals,
            is_open: false,
        })
    }
}

fn of_limit(limit: &PlainLimit<'_>, tell: &mut impl FnMut(String)) -> Vec<Throttle> {
    let PlainLimit { name, words, .. } = limit;
    let Some((amount, interval_secs)) = limit.rate else {
        tell(format!("limit {name}: {words} is no number a time"));
        return Vec::new();
    };
    let strategies = STRATEGIES.iter();
    let mut strategies =
        strategies.filter(|(_, _, key, other)| *key == limit.key || *other == Some(&*limit.key));
    let Some((strategy, ..)) = strategies.next() else {
        tell(format!(
            "limit {name}: no strategy counts by `{}`",
            limit.key
        ));
        return Vec::new();
    };
    if !limit.is_whole {
        tell(format!("limit {name}: of {words} only the rate is said"));
    }
    let throttle = |limit, interval_secs, audience| Throttle {
        strategy: *strategy,
        interval_secs,
        limit,
        audience,
    };
    let mut throttles = vec![throttle(amount, interval_secs, Audience::Everyone)];
    for (tier, rate) in &limit.tiers {
        let audience = AUDIENCES.iter().find(|(_, name)| name == tier);
        match (audience, rate) {
            (Some((audience, _)), Some((amount, secs))) if *secs == interval_secs => {
                throttles.push(throttle(*amount, *secs, *audience));
            }
            _ => tell(format!("limit {name}: its rate for {tier} is not said")),
        }
    }
    throttles
}

/// A path that a template stands for.
fn sample(template: &str) -> String {
    let mut path = String::new();
    let mut inside = false;
    for letter in template.chars() {
        match letter {
            '{' => {
                path.push('x');
                inside = true;
            }
            '}' => inside = false,
            '*' if !inside => path.push('x'),
            other if !inside => path.push(other),
            _ => {}
        }
    }
    path
}
