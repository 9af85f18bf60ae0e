//! The seam between a replay and the limiter: what is asked of it, and what it answers.

use std::path::Path;

use tollgate::Timestamp;

use crate::log::Entry;

/// Decides on requests at times of the log's, and can set down all that it has counted.
pub(crate) trait Judge {
    /// The names of the policy's limits; an [`Outcome`] tells its limit by the place in this list.
    fn limits(&self) -> &[String];

    /// Decides on one request. `now` never goes back from one call to the next.
    ///
    /// # Errors
    /// If the request cannot be put to the limiter at all.
    fn judge(&mut self, now: Timestamp, entry: &Entry<'_>) -> anyhow::Result<Ruling<'_>>;

    /// Writes a complete, consistent and durable copy of the counters into a directory that does
    /// not exist yet.
    ///
    /// # Errors
    /// If it cannot be written.
    fn backup(&mut self, path: &Path) -> anyhow::Result<()>;

    /// How often so far a request found no room for a counter of its own, so that what became of
    /// it hung on others.
    fn without_counter(&self) -> u64;
}

/// The decision on one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruling<'a> {
    pub(crate) allowed: bool,
    /// The route that matched, by its template.
    pub(crate) route: Option<&'a str>,
    /// True if the route is exempt from all limits.
    pub(crate) exempt: bool,
    /// One for each limit that the request met.
    pub(crate) outcomes: &'a [Outcome],
    /// Which of the outcomes refused the request, if one did; the one to wait longest for.
    pub(crate) ruling: Option<usize>,
    /// Why the request could not be judged at all, and so was not allowed.
    pub(crate) unjudged: Option<&'static str>,
}

/// What one limit said to one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Place in [`Judge::limits`].
    pub(crate) limit: usize,
    /// The rate that held, of the caller's tier or of this key alone, and the algorithm, in the
    /// words of the policy.
    pub(crate) rate: String,
    pub(crate) algorithm: String,
    /// True if it was refused for what no amount would help against, such as a missing key.
    pub(crate) is_beyond_amounts: bool,
    /// The key, readable.
    pub(crate) key: String,
    pub(crate) cost: u64,
    /// True if the limit had no room, also where it is a shadow and so refuses nothing.
    pub(crate) refused: bool,
    pub(crate) shadow: bool,
}
