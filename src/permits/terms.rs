//! How many may run under which key, and how many may wait for it.

use std::collections::HashMap;

/// The terms in force. Whoever waits goes by them, also when they change meanwhile.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct PermitTerms {
    /// Later terms have a higher number: they replace earlier ones, whoever comes last.
    pub(crate) generation: u64,
    /// Permits of a key, where nothing below says otherwise.
    pub(crate) limit: u32,
    /// How many may wait for one key.
    pub(crate) queue_max: u32,
    /// What callers of a level have instead, by the level's number.
    // Bound: one for each tier of a policy.
    pub(crate) levels: Vec<(u64, u32)>,
    /// What single keys have instead, whoever calls.
    // Bound: one for each override of a policy, or set while running.
    pub(crate) own: HashMap<u64, u32>,
}

impl PermitTerms {
    /// The limit for a caller of `level` under `key`.
    pub(crate) fn limit(&self, key: u64, level: u64) -> u32 {
        let own = match self.own.is_empty() {
            true => None,
            false => self.own.get(&key),
        };
        let of_level = || self.levels.iter().find(|(known, _)| *known == level);
        own.copied()
            .or_else(|| of_level().map(|(_, limit)| *limit))
            .unwrap_or(self.limit)
    }
}

/// What is asked for, under which key and by whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ask {
    pub(crate) key: u64,
    pub(crate) weight: u32,
    pub(crate) level: u64,
    /// The limit as the caller knows it, where that is not the one of the terms. A call that need
    /// not wait goes by it; under the lock the terms in force decide.
    pub(crate) limit: Option<u32>,
}

impl Ask {
    /// Asked by a caller of no level.
    pub(crate) fn plain(key: u64, weight: u32) -> Self {
        Self {
            key,
            weight,
            level: 0,
            limit: None,
        }
    }
}

#[cfg(test)]
#[cfg(not(tollgate_loom))]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{AcquireError, PermitKey, PermitWeight, Permits};
    use super::*;

    fn terms(generation: u64, limit: u32) -> Arc<PermitTerms> {
        Arc::new(PermitTerms {
            generation,
            limit,
            ..PermitTerms::default()
        })
    }

    #[test]
    fn a_key_goes_before_a_level_and_both_before_the_rest() {
        let terms = PermitTerms {
            limit: 1,
            levels: vec![(7, 2), (8, 3)],
            own: [(42, 4)].into(),
            ..PermitTerms::default()
        };
        let limits = [(1, 0), (1, 7), (1, 8), (1, 9), (42, 0), (42, 8)];
        let limits = limits.map(|(key, level)| terms.limit(key, level));
        assert_eq!(limits, [1, 2, 3, 1, 4, 4]);
    }

    #[test]
    fn later_terms_stay_whoever_comes_last() {
        let permits = Permits::under(terms(0, 1), Duration::ZERO, 1).unwrap();
        permits.set_terms(&terms(2, 2));
        permits.set_terms(&terms(1, 3));
        assert_eq!(permits.limit(), 2);
        let key = PermitKey(1);
        let held = [0, 1].map(|_| permits.try_acquire(key, PermitWeight::ONE).unwrap());
        assert_eq!(
            permits.try_acquire(key, PermitWeight::ONE).err(),
            Some(AcquireError::QueueFull)
        );
        drop(held);
    }
}
