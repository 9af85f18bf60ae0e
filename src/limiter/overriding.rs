//! Overrides set and removed while running.

use super::Limiter;
use super::check::Applied;
use super::law::Law;
use super::outcome::Outcome;
use super::overrides::{Override, OverrideKey, Overrides};
use crate::counter::Counter;
use crate::directory::replace;
use crate::error::Error;

impl Limiter {
    /// Gives one key a rate of its own, at once and until it is removed; what it has used stays
    /// used, as [`Limiter::replace_policy`] says. It goes before tiers and before what the policy
    /// overrides, is kept in the directory, and stays through changes of the policy. For a limit on
    /// how many run at a time, `rate` is that number, or `unlimited`.
    ///
    /// # Errors
    /// If the policy has no such limit, the key has another shape, the rate cannot be read or is of
    /// another kind than the limit's, or the directory cannot be written. Nothing is changed then.
    pub fn set_override<'k>(
        &self,
        limit: &str,
        key: impl Into<OverrideKey<'k>>,
        rate: &str,
    ) -> Result<(), Error> {
        let key = key.into();
        let now = self.inner.counters.clock.now();
        self.change_overrides(|law, overrides| {
            let key = key.named(law.plan(), limit)?;
            let next = Override {
                limit: limit.into(),
                key,
                rate: rate.into(),
                since: Some(now),
            };
            next.ready(law.plan())?;
            overrides.set(next, |one, other| is_same(one, other, law))
        })
    }

    /// Takes back what [`set_override`](Self::set_override) gave; false if there was nothing.
    ///
    /// # Errors
    /// If the policy has no such limit, or the directory cannot be written. Nothing is changed
    /// then.
    pub fn remove_override<'k>(
        &self,
        limit: &str,
        key: impl Into<OverrideKey<'k>>,
    ) -> Result<bool, Error> {
        let key = key.into();
        let mut found = false;
        self.change_overrides(|law, overrides| {
            let named = Override {
                limit: limit.into(),
                key: key.named(law.plan(), limit)?,
                rate: String::new(),
                since: None,
            };
            found = overrides.remove(|one| is_same(one, &named, law));
            Ok(())
        })?;
        Ok(found)
    }

    /// Forgets what one key has used of a limit, named as for
    /// [`set_override`](Self::set_override); but by the limit's own key where that is another than
    /// the one that overrides are for.
    ///
    /// # Errors
    /// If the policy has no rate limit of this name, or its key has another shape.
    pub fn reset<'k>(&self, limit: &str, key: impl Into<OverrideKey<'k>>) -> Result<(), Error> {
        self.with_counter(limit, key.into(), |counter| {
            counter.reset(self.inner.counters.clock.now());
        })
    }

    /// How a key, named as for [`reset`](Self::reset), stands with a limit, charging nothing.
    pub(super) fn usage_of(&self, limit: &str, key: OverrideKey<'_>) -> Result<Outcome, Error> {
        self.with_counter(limit, key, |counter| {
            let now = self.inner.counters.clock.now();
            Outcome::of_look(counter, counter.look(now, 1), 1, false)
        })
    }

    fn with_counter<T>(
        &self,
        limit: &str,
        key: OverrideKey<'_>,
        act: impl FnOnce(&Counter<'_>) -> T,
    ) -> Result<T, Error> {
        let law = self.inner.law.current();
        let plan = law.plan();
        let index = plan.limit_named(limit);
        let index = index.ok_or_else(|| Error::unknown_limit(limit))?;
        let own = law.limit(index).key;
        let parts = match &key {
            OverrideKey::One(value) => plan.parts_in_order(own, std::slice::from_ref(value)),
            OverrideKey::InOrder(values) => plan.parts_in_order(own, values),
            OverrideKey::Named(values) => plan.parts_by_name(own, values),
        };
        let parts = parts.ok_or_else(|| {
            let why = "has another shape than these values";
            Error::invalid(format!("the key of limit {limit:?}"), why)
        })?;
        let applied = Applied {
            limit: index,
            tier: None,
            key: law.hash(&parts),
            override_key: None,
        };
        let meter = law.meter(applied.limit);
        Ok(act(&self.inner.counter(&law, meter, &applied)))
    }

    /// What was overridden while running, in the order it was set.
    pub fn overrides(&self) -> Vec<Override> {
        self.inner.law.current().overrides.iter().cloned().collect()
    }

    fn change_overrides(
        &self,
        change: impl FnOnce(&Law, &mut Overrides) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.inner.store.directory.overrides_path();
        let now = self.inner.counters.clock.now();
        self.inner.enact(|law| {
            let mut overrides = law.overrides.clone();
            change(law, &mut overrides)?;
            let next = law.next(law.policy.clone(), overrides, now)?;
            self.inner.store.directory.check()?;
            // On the disk before it is in force: what was seen to hold must hold after a restart.
            replace(&path, &next.overrides.encode())?;
            Ok(next)
        })
    }
}

/// True if both mean one counter, however they spell its key.
fn is_same(one: &Override, other: &Override, law: &Law) -> bool {
    let hash = |one: &Override| one.parts(law.plan()).map(|parts| law.hash(&parts));
    let spells_same = one.key == other.key;
    // A limit may be called by the name that it had before.
    let limit = |one: &Override| law.plan().limit_named(&one.limit);
    let names_same =
        one.limit == other.limit || limit(one).is_some_and(|own| Some(own) == limit(other));
    names_same && (spells_same || hash(one).is_some_and(|own| Some(own) == hash(other)))
}
