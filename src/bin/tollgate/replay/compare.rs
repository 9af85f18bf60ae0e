//! What another policy does otherwise than the first one, and to whom.

use serde::{Deserialize, Serialize};

use super::judge::Ruling;
use super::keys::{KEYS_MAX, RefusedKeys};

/// Requests by what the first policy and another one made of them.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(crate) both_refuse: u64,
    pub(crate) only_first_refuses: u64,
    pub(crate) only_this_refuses: u64,
    /// Whom, by the keys and the limits of the policy that refuses.
    pub(crate) only_first_keys: RefusedKeys,
    pub(crate) only_this_keys: RefusedKeys,
}

impl Default for Difference {
    fn default() -> Self {
        Self {
            both_refuse: 0,
            only_first_refuses: 0,
            only_this_refuses: 0,
            only_first_keys: RefusedKeys::new(KEYS_MAX / 4),
            only_this_keys: RefusedKeys::new(KEYS_MAX / 4),
        }
    }
}

impl Difference {
    /// Counts what became of one request under the first policy and under this one. If only one of
    /// them refused it: which of the two refused, and where its keys are counted.
    pub(crate) fn count(
        &mut self,
        first: &Ruling,
        this: &Ruling,
    ) -> Option<(By, &mut RefusedKeys)> {
        match (first.allowed, this.allowed) {
            (true, true) => None,
            (false, false) => {
                self.both_refuse += 1;
                None
            }
            (false, true) => {
                self.only_first_refuses += 1;
                Some((By::First, &mut self.only_first_keys))
            }
            (true, false) => {
                self.only_this_refuses += 1;
                Some((By::This, &mut self.only_this_keys))
            }
        }
    }
}

/// Which of two policies refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    First,
    This,
}
