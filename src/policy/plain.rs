//! Limits as plain numbers, for formats that know no more: an amount, seconds, and whose.

use super::plan::LimitSpec;
use super::refusals::{self, PlainRefusal, rate};
use super::request::{Request, RequestError};
use super::resolve::Resolution;
use super::shape::Shape;
use super::terms::Cost;
use super::{Policy, key::KeySpec};

/// A limit that a request meets, as far as plain numbers say it.
#[derive(Debug)]
pub(crate) struct PlainLimit<'p> {
    pub(crate) name: &'p str,
    /// The limit in words.
    pub(crate) words: String,
    /// So many in so many seconds; none for a limit that is nothing of the kind.
    pub(crate) rate: Option<(u64, u64)>,
    /// The same for the callers of each tier that has another.
    pub(crate) tiers: Vec<(&'p str, Option<(u64, u64)>)>,
    /// Whose it is, as a policy writes it.
    pub(crate) key: String,
    /// The numbers say all of it: one window from a fixed edge on, each request counted once.
    pub(crate) is_whole: bool,
}

/// What a policy says to a request, as far as plain numbers say it.
#[derive(Debug)]
pub(crate) struct Plain<'p> {
    pub(crate) limits: Vec<PlainLimit<'p>>,
    /// The names of the limits on how many may run at a time.
    pub(crate) others: Vec<&'p str>,
    /// What is answered where one of them makes the request wait, by status.
    pub(crate) refusals: Vec<PlainRefusal>,
}

impl Policy {
    /// What is said to `request`.
    ///
    /// # Errors
    /// If the request was put together wrongly, or its path is too long to be read.
    pub(crate) fn plain(&self, request: &Request<'_>) -> Result<Plain<'_>, RequestError> {
        let plan = &*self.plan;
        let mut found = Resolution::default();
        plan.resolve(request, &mut found)?;
        let limits = found.picks.iter();
        let limits: Vec<_> = limits
            .filter_map(|pick| plan.limits.get(pick.limit.0))
            .collect();
        let others = found.permits.iter();
        let others: Vec<_> = others
            .filter_map(|pick| plan.concurrency.get(pick.limit.0))
            .collect();
        Ok(Plain {
            refusals: refusals::of(plan, &limits, &others),
            limits: limits.iter().map(|limit| self.plain_limit(limit)).collect(),
            others: others.iter().map(|limit| &*limit.name).collect(),
        })
    }

    fn plain_limit<'p>(&'p self, limit: &'p LimitSpec) -> PlainLimit<'p> {
        let plan = &*self.plan;
        let own = limit.rates.first();
        let rate = own.and_then(|own| rate(limit, own));
        let tiers = plan.tiers.iter().zip(limit.rates.iter().skip(1));
        let tiers = tiers.map(|(tier, of_tier)| (&*tier.name, refusals::rate(limit, of_tier)));
        let key = plan.keys.get(limit.key.0).map_or_else(String::new, |key| {
            let mut words = String::new();
            if !KeySpec::is_global(key) {
                key.write(&plan.attributes, false, &mut words);
            }
            words
        });
        let from_edge = matches!(
            limit.shape,
            Shape::Window { .. }
                | Shape::Fine {
                    from_first_hit: false,
                    ..
                }
        );
        let words = own.map_or("", |own| &own.words);
        PlainLimit {
            name: &limit.name,
            words: format!("{words} ({})", limit.shape),
            rate,
            tiers: tiers.filter(|(_, of_tier)| *of_tier != rate).collect(),
            key,
            is_whole: from_edge
                && !limit.shadow
                && limit.max_cost.is_none()
                && matches!(limit.cost, Cost::Request | Cost::Fixed(1)),
        }
    }
}
