//! What has gone wrong with writing, since when, and why. The journal's writer, the ceilings and
//! the grower report it.

use std::time::Instant;

/// What has gone wrong with writing, and since when.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trouble {
    /// When the first of the failures in a row happened.
    pub since: Instant,
    /// What that first one said: the cause, where later ones only say that it failed before.
    pub first: String,
    /// What the last one said.
    pub why: String,
}

impl Trouble {
    /// A failure, after others in a row or as the first.
    pub(crate) fn after(before: Option<Self>, why: String) -> Self {
        match before {
            Some(before) => Self { why, ..before },
            None => Self {
                since: Instant::now(),
                first: why.clone(),
                why,
            },
        }
    }
}
