//! Makes limits of what was read: shapes, rules for each tier, and shares of other limits.

use super::fault::{Faults, Fix, Place, fix, nearest, quoted};
use super::limit::LimitText;
use super::plan::LimitSpec;
use super::rate::{Quota, Rate, Span, Unit};
use super::shape::{Algorithm, Calendars, Shape};
use super::terms::{Durability, KeyIndex, RateSpec};
use super::tier::TierText;
use crate::algorithm::Rule;

/// A rate without shares of other limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allowance {
    Unlimited,
    Deny,
    Quota(Quota),
}

impl Allowance {
    /// The allowance as a rule of this shape.
    pub(super) fn rate(self, shape: &Shape) -> Result<RateSpec, Fix> {
        let (rule, words) = match self {
            Self::Unlimited => (Rule::Unlimited, "unlimited"),
            Self::Deny => (Rule::Deny, "denied"),
            Self::Quota(quota) => return shape.rate(quota),
        };
        Ok(RateSpec {
            rule,
            words: words.into(),
        })
    }

    pub(super) fn quota(self) -> Option<Quota> {
        match self {
            Self::Quota(quota) => Some(quota),
            Self::Unlimited | Self::Deny => None,
        }
    }
}

/// The allowance that a rate says by itself.
pub(super) fn plain(rate: &Rate) -> Result<Allowance, Fix> {
    match rate {
        Rate::Unlimited => Ok(Allowance::Unlimited),
        Rate::Deny => Ok(Allowance::Deny),
        Rate::Quota(quota) => Ok(Allowance::Quota(*quota)),
        Rate::Share { of, .. } => Err(fix(
            format!("a share of {} cannot stand here", quoted(of)),
            "write a rate with numbers of its own",
        )),
    }
}

/// A limit's key, and the one that its overrides are for.
#[derive(Clone, Copy)]
pub(super) struct LimitKeys {
    pub(super) own: KeyIndex,
    pub(super) overrides: KeyIndex,
}

/// What the limits and tiers say, for looking up whose share is whose.
pub(super) struct Sources<'t> {
    pub(super) limits: &'t [LimitText],
    pub(super) tiers: &'t [TierText],
}

impl<'t> Sources<'t> {
    fn own(&self, limit: &str, tier: Option<usize>) -> Option<&'t Rate> {
        let tier = self.tiers.get(tier?)?;
        let (_, text) = tier.rates.iter().find(|(name, _)| name == limit)?;
        text.rate.as_ref()
    }

    /// The rate of `limit` for a tier: the tier's, or else the limit's.
    fn rate(&self, limit: &'t LimitText, tier: Option<usize>) -> Option<&'t Rate> {
        let base = limit.rate.as_ref().and_then(|text| text.rate.as_ref());
        self.own(&limit.common.name, tier).or(base)
    }

    /// True if a tier changes what this limit allows.
    fn is_changed(&self, limit: &'t LimitText, tier: usize) -> bool {
        if self.own(&limit.common.name, Some(tier)).is_some() {
            return true;
        }
        match self.rate(limit, None) {
            Some(Rate::Share { of, .. }) => self.own(of, Some(tier)).is_some(),
            _ => false,
        }
    }

    /// What `limit` allows in a tier; nothing if its rate is a fault already.
    fn allowance(
        &self,
        limit: &'t LimitText,
        tier: Option<usize>,
    ) -> Result<Option<Allowance>, Fix> {
        let Some(rate) = self.rate(limit, tier) else {
            return Ok(None);
        };
        let Rate::Share {
            of,
            numerator,
            denominator,
            span,
            burst,
        } = rate
        else {
            return plain(rate).map(Some);
        };
        let Some(whole) = self.limits.iter().find(|other| other.common.name == *of) else {
            let names = self.limits.iter().map(|other| other.common.name.as_str());
            let advice = match nearest(of, names) {
                Some(name) => format!("did you mean {name}?"),
                None => "name one of [limits]".to_owned(),
            };
            let problem = format!("there is no limit {} with a rate", quoted(of));
            return Err(fix(problem, advice));
        };
        let Some(whole_rate) = self.rate(whole, tier) else {
            return Ok(None);
        };
        let of_share = |_| {
            let problem = format!("{of} is itself a share");
            fix(problem, "take the share of a limit with numbers of its own")
        };
        match plain(whole_rate).map_err(of_share)? {
            Allowance::Quota(quota) => {
                let amount = quota.amount.checked_mul(*numerator).ok_or_else(|| {
                    fix("this share is more than can be counted", "take less of it")
                })?;
                Ok(Some(Allowance::Quota(Quota {
                    amount,
                    denominator: *denominator,
                    span: *span,
                    burst: *burst,
                })))
            }
            other => Ok(Some(other)),
        }
    }

    /// What a limit allows without a tier and then in each, where that differs; faults told.
    fn allowances(
        &self,
        limit: &'t LimitText,
        faults: &mut Faults,
    ) -> Vec<(Option<usize>, Allowance)> {
        let changed = (0..self.tiers.len()).filter(|tier| self.is_changed(limit, *tier));
        let mut all = Vec::new();
        for tier in std::iter::once(None).chain(changed.map(Some)) {
            match self.allowance(limit, tier) {
                Ok(Some(allowance)) => all.push((tier, allowance)),
                Ok(None) => {}
                Err(fix) => {
                    faults.push(self.place(limit, tier), fix);
                    if tier.is_none() {
                        break;
                    }
                }
            }
        }
        all
    }

    /// Where the rate that counts in a tier is said.
    fn place(&self, limit: &'t LimitText, tier: Option<usize>) -> &'t Place {
        let in_tier = tier
            .and_then(|tier| self.tiers.get(tier))
            .and_then(|tier| {
                tier.rates
                    .iter()
                    .find(|(name, _)| *name == limit.common.name)
            })
            .map(|(_, text)| &text.place);
        let base = limit.rate.as_ref().map(|rate| &rate.place);
        in_tier.or(base).unwrap_or(&limit.place)
    }

    /// The limit, ready; `others` are its overrides' rates.
    pub(super) fn limit(
        &self,
        limit: &'t LimitText,
        others: &[Allowance],
        keys: LimitKeys,
        calendars: &mut Calendars,
        faults: &mut Faults,
    ) -> Option<LimitSpec> {
        let allowances = self.allowances(limit, faults);
        let quotas: Vec<_> = allowances
            .iter()
            .map(|(_, allowance)| *allowance)
            .chain(others.iter().copied())
            .filter_map(Allowance::quota)
            .collect();
        let span = quotas.first().map(|quota| quota.span);
        if quotas.is_empty() && allowances.iter().all(|(tier, _)| tier.is_some()) {
            // Its rate is a fault already; what else could be said of the limit leads away from it.
            return None;
        }
        let shape = self.shape(limit, &quotas, calendars);
        let shape = faults.take(self.place(limit, None), shape)?;
        let mut made = Vec::new();
        for (tier, allowance) in &allowances {
            let rate = faults.take(self.place(limit, *tier), allowance.rate(&shape))?;
            made.push((*tier, rate));
        }
        let (_, base) = made.first()?.clone();
        let in_tier = |tier: usize| {
            let own = made.iter().find(|(known, _)| *known == Some(tier));
            own.map_or(&base, |(_, rate)| rate).clone()
        };
        let mut rates = vec![base.clone()];
        rates.extend((0..self.tiers.len()).map(in_tier));
        let durability = limit
            .durability
            .unwrap_or_else(|| shape.durability(quotas.iter().copied()));
        let former = limit.common.renamed_from.as_ref();
        let counted_as = former.map_or(&limit.common.name, |(name, _)| name);
        Some(LimitSpec {
            name: limit.common.name.as_str().into(),
            key: keys.own,
            override_key: keys.overrides,
            rates,
            cost: limit.common.cost,
            max_cost: limit.common.max_cost,
            durability,
            strict: (durability == Durability::Strict).then_some(limit.strict),
            when_full: limit.when_full,
            when_key_missing: limit.common.when_key_missing,
            new_keys: None,
            is_for_new_keys: false,
            shadow: limit.common.shadow,
            charged: limit.charged.clone(),
            span_nanos: span.and_then(Span::nanos).unwrap_or(0),
            identity: format!("v1 limit={counted_as} {shape}").into(),
            former: former.map(|(name, _)| name.as_str().into()),
            shape,
        })
    }

    fn shape(
        &self,
        limit: &'t LimitText,
        quotas: &[Quota],
        calendars: &mut Calendars,
    ) -> Result<Shape, Fix> {
        let span = quotas.first().map(|quota| quota.span);
        let span = match (span, limit.algorithm) {
            (Some(span), _) => span,
            (None, Algorithm::TokenBucket) => Span {
                count: 1,
                unit: Unit::Second,
            },
            (None, _) => {
                let problem = "no rate of this limit says how long its window is";
                return Err(fix(problem, "leave algorithm out"));
            }
        };
        let sunday = limit.week_from_sunday;
        Shape::new(limit.algorithm, span, &limit.zone, sunday, calendars)
    }
}
