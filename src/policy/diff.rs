//! What a policy changes that takes the place of another.

use std::fmt;

use serde::Serialize;

use super::Policy;
use super::concurrency::ConcurrencySpec;
use super::explain::key_words;
use super::key::KeySpec;
use super::plan::{LimitSpec, Plan};
use super::terms::{Durability, KeyIndex, LimitIndex};
use crate::algorithm::Rule;

/// What a policy changes that takes the place of another: limit by limit, and the overrides that
/// lose their limit. `Display` tells it in lines.
///
/// ```
/// use tollgate::{LimitFate, Policy};
///
/// let old = Policy::from_toml("limits.sent = { rate = \"10/min\", key = \"user\" }")?;
/// let new = Policy::from_toml("limits.sent = { rate = \"20/min\", key = \"team\" }")?;
/// let diff = old.diff(&new);
/// assert_eq!(diff.limits[0].fate, LimitFate::BeginsAnew);
/// assert!(diff.to_string().contains("its key was user and is team"));
/// # Ok::<(), tollgate::PolicyFaults>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct PolicyDiff {
    /// Every limit of either policy: those of the new one in its order, then those that are gone.
    pub limits: Vec<LimitChange>,
    /// What was overridden while running and has no limit any more that could take it, as `limit
    /// key: rate`. It is kept, and waits for a policy that can.
    pub overrides_without_limit: Vec<String>,
}

/// What becomes of a limit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct LimitChange {
    /// Its name.
    pub limit: String,
    /// What becomes of it.
    pub fate: LimitFate,
    /// It in words before, if it was there.
    pub before: Option<String>,
    /// It in words afterwards, if it is there.
    pub after: Option<String>,
    /// Why, and what else changes, each in words.
    pub notes: Vec<String>,
}

/// What becomes of a limit. But for the last three, its counts go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitFate {
    /// It is the same.
    Kept,
    /// It allows more, or as much.
    Raised,
    /// It allows less, or as much.
    Lowered,
    /// It is another in some other way.
    Changed,
    /// Its counts begin anew: everybody has a fresh quota.
    BeginsAnew,
    /// It was not there.
    New,
    /// It is there no more, and its counts are forgotten as their time passes.
    Gone,
}

impl fmt::Display for LimitFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Raised => "raised",
            Self::Lowered => "lowered",
            Self::Changed => "changed",
            Self::BeginsAnew => "begins anew",
            Self::New => "new",
            Self::Gone => "gone",
        })
    }
}

impl fmt::Display for PolicyDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.limits {
            write!(f, "{}: {}", change.limit, change.fate)?;
            match (&change.before, &change.after) {
                (Some(before), Some(after)) if before != after => {
                    write!(f, ", from {before} to {after}")?;
                }
                (Some(words), _) | (None, Some(words)) => write!(f, ", {words}")?,
                (None, None) => {}
            }
            for note in &change.notes {
                write!(f, "; {note}")?;
            }
            writeln!(f)?;
        }
        for one in &self.overrides_without_limit {
            writeln!(f, "override without a limit: {one}")?;
        }
        Ok(())
    }
}

impl Policy {
    /// What `next` changes if it takes the place of this policy.
    pub fn diff(&self, next: &Self) -> PolicyDiff {
        let mut limits: Vec<_> = next
            .rates()
            .map(|limit| rate_change(self, next, limit))
            .collect();
        limits.extend(
            (next.plan.concurrency.iter()).map(|limit| concurrency_change(self, next, limit)),
        );
        let before = self.limits().chain(self.concurrency());
        let gone = before.filter(|(name, _)| next.taken_over(name).is_none());
        limits.extend(gone.map(|(name, words)| LimitChange {
            limit: name.to_owned(),
            fate: LimitFate::Gone,
            before: Some(words),
            after: None,
            notes: Vec::new(),
        }));
        PolicyDiff {
            limits,
            overrides_without_limit: Vec::new(),
        }
    }

    /// What may not be meant though it is sound, each in a sentence.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.plan.warnings.iter().map(String::as_str)
    }

    fn rates(&self) -> impl Iterator<Item = &LimitSpec> {
        let own = self.plan.limits.iter().enumerate();
        let of_policy = own.filter(|(place, limit)| {
            self.plan.idempotency != Some(LimitIndex(*place)) && !limit.is_for_new_keys
        });
        of_policy.map(|(_, limit)| limit)
    }

    /// The name of the limit that is in the place of the one of this name.
    fn taken_over(&self, name: &str) -> Option<&str> {
        let mut rates = self.rates();
        let is_rate =
            |limit: &&LimitSpec| *limit.name == *name || limit.former.as_deref() == Some(name);
        let rate = rates.find(is_rate).map(|limit| &*limit.name);
        let mut others = self.plan.concurrency.iter();
        let mut other = || others.find(|limit| limit.is_called(name));
        rate.or_else(|| other().map(|limit| &*limit.name))
    }

    fn words(&self, name: &str) -> Option<String> {
        let mut all = self.limits().chain(self.concurrency());
        all.find(|(known, _)| *known == name)
            .map(|(_, words)| words)
    }
}

impl LimitChange {
    /// A limit of the new policy, and what it was called in the old one if it was there. Its fate
    /// and the notes are still to be found.
    fn new(old: &Policy, new: &Policy, was: Option<&str>, name: &str) -> Self {
        Self {
            limit: name.to_owned(),
            fate: LimitFate::New,
            before: was.and_then(|was| old.words(was)),
            after: new.words(name),
            notes: Vec::new(),
        }
    }
}

/// The limit of the policy before that a limit takes the place of.
fn before<'p, L>(
    mut find: impl FnMut(&str) -> Option<&'p L>,
    name: &str,
    former: Option<&str>,
) -> Option<&'p L> {
    find(name).or_else(|| find(former?))
}

fn rate_change(old: &Policy, new: &Policy, limit: &LimitSpec) -> LimitChange {
    let find = |name: &str| old.rates().find(|known| *known.name == *name);
    let before = before(find, &limit.name, limit.former.as_deref());
    let was = before.map(|before| &*before.name);
    let mut change = LimitChange::new(old, new, was, &limit.name);
    let Some(before) = before else {
        if let Some(twin) = twin(old, new, limit) {
            change.fate = LimitFate::BeginsAnew;
            let name = &twin.name;
            change.notes.push(format!(
                "it is what {name} was; with renamed_from = \"{name}\" the counts would be kept"
            ));
        }
        return change;
    };
    let mut anew = Vec::new();
    let (was, is) = (before.shape.to_string(), limit.shape.to_string());
    if was != is {
        anew.push(format!("it was a {was} and is a {is}"));
    } else if before.identity != limit.identity {
        let name = &limit.name;
        anew.push(format!(
            "it was counted under another name; see renamed_from of {name}"
        ));
    }
    anew.extend(key_change(old.plan(), before.key, new.plan(), limit.key));
    let [up, down] = rates_change(old.plan(), before, new.plan(), limit);
    change.fate = match (anew.is_empty(), up, down) {
        (false, _, _) => LimitFate::BeginsAnew,
        (true, true, false) => LimitFate::Raised,
        (true, false, true) => LimitFate::Lowered,
        (true, true, true) => LimitFate::Changed,
        (true, false, false) => LimitFate::Kept,
    };
    change.notes = anew;
    if before.durability != limit.durability {
        let durability = match limit.durability {
            Durability::Memory => "memory",
            Durability::Logged => "logged",
            Durability::Strict => "strict",
        };
        change
            .notes
            .push(format!("its durability is {durability} now"));
    }
    if (before.cost, before.max_cost) != (limit.cost, limit.max_cost) {
        change.notes.push("what a request costs is another".into());
    }
    let shadow = (before.shadow, limit.shadow);
    notes_on_both(old, new, (&before.name, &limit.name), shadow, &mut change);
    change
}

fn concurrency_change(old: &Policy, new: &Policy, limit: &ConcurrencySpec) -> LimitChange {
    let find = |name: &str| (old.plan.concurrency.iter()).find(|known| *known.name == *name);
    let before = before(find, &limit.name, limit.former.as_deref());
    let was = before.map(|before| &*before.name);
    let mut change = LimitChange::new(old, new, was, &limit.name);
    let Some(before) = before else {
        return change;
    };
    let anew = key_change(old.plan(), before.key, new.plan(), limit.key);
    let (was, is) = (before.most(None), limit.most(None));
    change.fate = match anew {
        Some(_) => LimitFate::BeginsAnew,
        None if is > was => LimitFate::Raised,
        None if is < was => LimitFate::Lowered,
        None if change.before == change.after => LimitFate::Kept,
        None => LimitFate::Changed,
    };
    change.notes.extend(anew);
    let shadow = (before.shadow, limit.shadow);
    notes_on_both(old, new, (&before.name, &limit.name), shadow, &mut change);
    change
}

/// What limits of both kinds may change.
fn notes_on_both(
    old: &Policy,
    new: &Policy,
    (was, is): (&str, &str),
    shadow: (bool, bool),
    change: &mut LimitChange,
) {
    if was != is {
        change.notes.push(format!("it was called {was}"));
    }
    let is_everywhere = |policy: &Policy, name: &str| {
        let mut all = policy.plan.everywhere.iter();
        all.any(|known| **known == *name)
    };
    match (is_everywhere(old, was), is_everywhere(new, is)) {
        (false, true) => change.notes.push("it applies to every request now".into()),
        (true, false) => {
            let note = "it applies only where routes name it now";
            change.notes.push(note.into());
        }
        _ => {}
    }
    match shadow {
        (false, true) => change.notes.push("it refuses nobody now (shadow)".into()),
        (true, false) => change.notes.push("it refuses now (no shadow)".into()),
        _ => {}
    }
    if change.fate == LimitFate::Kept && !change.notes.is_empty() {
        change.fate = LimitFate::Changed;
    }
}

/// A limit that is gone and was what a new one is.
fn twin<'p>(old: &'p Policy, new: &Policy, limit: &LimitSpec) -> Option<&'p LimitSpec> {
    let mut gone = old
        .rates()
        .filter(|known| new.taken_over(&known.name).is_none());
    gone.find(|known| {
        known.shape.to_string() == limit.shape.to_string()
            && key_change(old.plan(), known.key, new.plan(), limit.key).is_none()
    })
}

/// Why the counters of one key are not those of the other.
fn key_change(old: &Plan, was: KeyIndex, new: &Plan, is: KeyIndex) -> Option<String> {
    let (was, is) = (old.keys.get(was.0)?, new.keys.get(is.0)?);
    let (was_words, is_words) = (key_words(was, old), key_words(is, new));
    let named = |words: &str| match words {
        "" => "nothing, one counter for all".to_owned(),
        words => words.to_owned(),
    };
    if was_words != is_words {
        let (was, is) = (named(&was_words), named(&is_words));
        return Some(format!("its key was {was} and is {is}"));
    }
    if kinds(old, was) != kinds(new, is) {
        return Some(format!(
            "the addresses in its key, {is_words}, are read otherwise"
        ));
    }
    None
}

/// How the values of a key are read, part by part.
fn kinds(plan: &Plan, key: &KeySpec) -> Vec<(bool, u8)> {
    match key {
        KeySpec::Part(attribute) => {
            let spec = plan.attributes.get(attribute.0);
            let kind = spec.map(|spec| (spec.is_address, spec.ipv6_prefix));
            kind.into_iter().collect()
        }
        KeySpec::Optional(key) => kinds(plan, key),
        KeySpec::Join(keys) | KeySpec::First(keys) => {
            keys.iter().flat_map(|key| kinds(plan, key)).collect()
        }
    }
}

/// Whether a limit allows more of something, and whether it allows less of something, to anybody.
fn rates_change(old: &Plan, before: &LimitSpec, new: &Plan, after: &LimitSpec) -> [bool; 2] {
    let rule = |plan: &Plan, limit: &LimitSpec, tier: &str| {
        let tier = plan.tiers.iter().position(|known| *known.name == *tier);
        let own = tier.and_then(|tier| limit.rates.get(tier + 1));
        let rate = own.or(limit.rates.first());
        rate.map_or(Rule::Deny, |rate| rate.rule)
    };
    let tiers = old.tiers.iter().chain(&new.tiers).map(|tier| &*tier.name);
    let mut change = [false, false];
    // No tier is called so.
    for tier in tiers.chain([""]) {
        let [up, down] = rule_change(&rule(old, before, tier), &rule(new, after, tier));
        change = [change[0] || up, change[1] || down];
    }
    change
}

fn rule_change(before: &Rule, after: &Rule) -> [bool; 2] {
    let mut change = [
        after.capacity() > before.capacity(),
        after.capacity() < before.capacity(),
    ];
    if let (Rule::Bucket(before), Rule::Bucket(after)) = (before, after) {
        let ((was, was_in), (is, is_in)) = (before.rate(), after.rate());
        let (was, is) = (
            u128::from(was) * u128::from(is_in),
            u128::from(is) * u128::from(was_in),
        );
        change = [change[0] || is > was, change[1] || is < was];
    }
    change
}

#[cfg(test)]
mod tests;
