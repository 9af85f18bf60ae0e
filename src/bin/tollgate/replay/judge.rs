//! The seam between a replay and the limiter: what is asked of it, and what it answers.

use std::path::Path;

use tollgate::Timestamp;

use crate::log::Entry;

/// Decides on requests at times of the log's, and can set down all that it has counted.
pub(crate) trait Judge {
    /// The names of the policy's limits; an [`Outcome`] tells its limit by the place in this list.
    fn limits(&self) -> &[String];

    /// The rates that were met so far; an [`Outcome`] tells its rate by the place in this list.
    fn rates(&self) -> &[MetRate];

    /// Decides on one request and puts what was decided into `ruling`. `now` never goes back from
    /// one call to the next.
    ///
    /// # Errors
    /// If the request cannot be put to the limiter at all.
    fn judge(
        &mut self,
        now: Timestamp,
        entry: &Entry<'_>,
        ruling: &mut Ruling,
    ) -> anyhow::Result<()>;

    /// The key under which a limit counts a request, readable.
    fn key(&self, entry: &Entry<'_>, limit: usize) -> String;

    /// The attribute that a limit's key is made of: the first of several.
    fn key_attribute(&self, limit: usize) -> String;

    /// Writes a complete, consistent and durable copy of the counters into a directory that does
    /// not exist yet.
    ///
    /// # Errors
    /// If it cannot be written.
    fn backup(&mut self, path: &Path) -> anyhow::Result<()>;

    /// Writes all counters and marks them whole: the last call.
    ///
    /// # Errors
    /// If they cannot be written.
    fn close(&mut self) -> anyhow::Result<()>;

    /// How often so far a request found no room for a counter of its own, so that what became of
    /// it hung on others.
    fn without_counter(&self) -> u64;
}

/// A rate of a limit, of a tier or of a key alone, and the algorithm, in the words of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetRate {
    pub(crate) rate: String,
    pub(crate) algorithm: String,
}

/// The decision on one request. It is filled again for the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ruling {
    pub(crate) allowed: bool,
    /// The route that matched, by its template; empty if none did.
    pub(crate) route: String,
    /// True if the route is exempt from all limits.
    pub(crate) exempt: bool,
    /// One for each limit that the request met.
    pub(crate) outcomes: Vec<Outcome>,
    /// Which of the outcomes refused the request, if one did; the one to wait longest for.
    pub(crate) ruling: Option<usize>,
    /// Why the request could not be judged at all, and so was not allowed.
    pub(crate) unjudged: Option<&'static str>,
}

impl Ruling {
    /// Makes it empty: an allowed request that met no limit.
    pub(crate) fn clear(&mut self) {
        self.allowed = true;
        self.route.clear();
        self.exempt = false;
        self.outcomes.clear();
        self.ruling = None;
        self.unjudged = None;
    }

    /// What became of the request.
    pub(crate) fn fate(&self) -> Fate {
        let in_shadow = |outcome: &Outcome| outcome.refused && outcome.shadow;
        match self.allowed {
            false => Fate::Refused,
            true if self.outcomes.iter().any(in_shadow) => Fate::WouldRefuse,
            true => Fate::Allowed,
        }
    }
}

/// What became of a request, or what one limit made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Allowed,
    /// Allowed, though a limit in shadow had no room.
    WouldRefuse,
    Refused,
}

/// What one limit said to one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Place in [`Judge::limits`].
    pub(crate) limit: usize,
    /// Place in [`Judge::rates`].
    pub(crate) rate: usize,
    /// What stands for the key: the same for the same key of the same limit.
    pub(crate) counter: u64,
    /// True if it was refused for what no amount would help against, such as a missing key.
    pub(crate) is_beyond_amounts: bool,
    /// True if the request lacked the limit's key and was refused for that.
    pub(crate) lacks_key: bool,
    pub(crate) cost: u64,
    /// True if the limit had no room, also where it is a shadow and so refuses nothing.
    pub(crate) refused: bool,
    pub(crate) shadow: bool,
}

impl Outcome {
    pub(crate) fn fate(&self) -> Fate {
        match (self.refused, self.shadow) {
            (false, _) => Fate::Allowed,
            (true, true) => Fate::WouldRefuse,
            (true, false) => Fate::Refused,
        }
    }
}
