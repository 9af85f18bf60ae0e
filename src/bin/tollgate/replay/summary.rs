//! A replay's results as data: what the text, the JSON and the report all show.

use std::collections::BTreeMap;

use serde::Serialize;

use super::amounts::{Amount, Amounts};
use super::totals::{Complaint, LimitCount};
use super::words::count;
use crate::log::Format;

/// Everything that a replay found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Of this structure.
    pub(crate) version: u32,
    pub(crate) logs: Vec<LogSummary>,
    pub(crate) lines: LinesSummary,
    pub(crate) first_malformed: Vec<Complaint>,
    pub(crate) time: TimeSummary,
    #[serde(flatten)]
    pub(crate) first: PolicySummary,
    /// What other policies would have done.
    pub(crate) others: Vec<Compared>,
}

/// What one policy made of the requests.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct PolicySummary {
    pub(crate) policy: String,
    pub(crate) requests: RequestsSummary,
    /// In the order of the policy.
    pub(crate) limits: Vec<LimitSummary>,
    /// Most refused first.
    pub(crate) routes: Vec<RouteSummary>,
    pub(crate) keys: KeysSummary,
    pub(crate) timeline: TimelineSummary,
    /// Of the first limits.
    pub(crate) limit_timelines: Vec<TimelineSummary>,
    /// What each limit would have had to be, where that was asked for.
    pub(crate) amounts: Option<AmountsSummary>,
    /// The policy with other rates, where that was asked for.
    pub(crate) suggestion: Option<Suggestion>,
}

/// A policy beside the first one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    #[serde(flatten)]
    pub(crate) policy: PolicySummary,
    pub(crate) both_refuse: u64,
    pub(crate) only_first_refuses: u64,
    pub(crate) only_this_refuses: u64,
    /// Whom only the one refuses, by its own keys and limits.
    pub(crate) only_first_keys: Vec<KeySummary>,
    pub(crate) only_this_keys: Vec<KeySummary>,
}

/// A limit's counts, and whom it touches.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LimitSummary {
    #[serde(flatten)]
    pub(crate) count: LimitCount,
    pub(crate) keys: TouchedKeys,
}

/// How many keys a limit has and how many of them it touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TouchedKeys {
    pub(crate) seen: u64,
    /// Those that were refused something, or would have been.
    pub(crate) refused: u64,
    pub(crate) requests_of_each: Spread,
    /// Of those that were refused something.
    pub(crate) refused_of_each: Spread,
}

/// How a number is spread over keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Spread {
    /// What half of the keys do not exceed, and so on.
    pub(crate) half: u64,
    pub(crate) nine_in_ten: u64,
    pub(crate) ninety_nine_in_hundred: u64,
    pub(crate) most: u64,
}

impl Spread {
    pub(super) fn of(mut numbers: Vec<u32>) -> Self {
        numbers.sort_unstable();
        let percentile = |percent: usize| {
            let place = (numbers.len() * percent).div_ceil(100).max(1) - 1;
            numbers.get(place).map_or(0, |number| u64::from(*number))
        };
        Self {
            half: percentile(50),
            nine_in_ten: percentile(90),
            ninety_nine_in_hundred: percentile(99),
            most: percentile(100),
        }
    }
}

/// A policy that would have refused less, or no more than it should.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Suggestion {
    pub(crate) at_most: String,
    pub(crate) policy: String,
}

/// A log and what it was read as.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LogSummary {
    pub(crate) name: String,
    pub(crate) format: Option<Format>,
}

/// Where the lines went; the last four add up to the first.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct LinesSummary {
    pub(crate) read: u64,
    pub(crate) requests: u64,
    pub(crate) without_request: u64,
    pub(crate) blank: u64,
    pub(crate) malformed: u64,
}

/// The log's own time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TimeSummary {
    pub(crate) first: Option<String>,
    pub(crate) last: Option<String>,
    /// Entries earlier than one before them, judged at the latest time seen.
    pub(crate) late_entries: u64,
    pub(crate) largest_lag_ms: u64,
}

/// What became of the requests.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RequestsSummary {
    pub(crate) judged: u64,
    pub(crate) allowed: u64,
    pub(crate) refused: u64,
    /// Allowed, though a shadow limit had no room.
    pub(crate) would_refuse: u64,
    pub(crate) exempt: u64,
    /// Refused because they could not be judged: how many, by why.
    pub(crate) unjudged: BTreeMap<String, u64>,
    /// Requests that found no room for a counter of their own, so that what became of them hung
    /// on others: the directory is too small for the keys.
    pub(crate) without_counter: u64,
    /// The keys that there were, at least.
    pub(crate) keys: u64,
}

impl RequestsSummary {
    /// What to say of requests that found no counter of their own.
    pub(crate) fn crowded(&self) -> Option<String> {
        let without = count(Some(self.without_counter).filter(|without| *without > 0)?);
        let enough = self.keys.saturating_mul(4).next_power_of_two().max(1 << 20);
        Some(format!(
            "{without} requests found no room for a counter of their own: there are {} keys or \
             more. What became of them hung on others, by when_full of their limits; --counters \
             {enough} gives each its own.",
            count(self.keys)
        ))
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct RouteSummary {
    pub(crate) route: String,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct KeysSummary {
    /// Keys told apart, of all limits.
    pub(crate) tracked: usize,
    /// False if there were more than are told apart, or so many that were refused something that
    /// one of the worst may be missing here.
    pub(crate) exact: bool,
    /// Most refused first.
    pub(crate) worst: Vec<KeySummary>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeySummary {
    pub(crate) limit: String,
    pub(crate) key: String,
    /// True if the limit is in shadow: it has refused nothing, only had no room.
    pub(crate) shadow: bool,
    /// None if it is not known.
    pub(crate) requests: Option<u64>,
    /// Too high by no more than the error.
    pub(crate) refused: u64,
    pub(crate) refused_error: u64,
    pub(crate) first_refused: String,
    pub(crate) last_refused: String,
    /// What was refused, the most frequent first.
    pub(crate) deeds: Vec<Deed>,
    pub(crate) agent: String,
}

/// What a key was refused.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Deed {
    pub(crate) what: String,
    pub(crate) about: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TimelineSummary {
    pub(crate) bin_secs: u64,
    pub(crate) bins: Vec<BinSummary>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct BinSummary {
    /// Seconds since 1970.
    pub(crate) begin_secs: u64,
    pub(crate) allowed: u64,
    pub(crate) refused: u64,
    /// Of those allowed, the ones that a limit in shadow had no room for.
    pub(crate) would_refuse: u64,
}

/// What the limits would have had to be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AmountsSummary {
    /// Requests from here on are left out: there were too many to try.
    pub(crate) until: Option<String>,
    /// Uses of rates beyond the most that are told apart, left out too.
    pub(crate) left_out: u64,
    pub(crate) limits: Vec<LimitAmounts>,
}

/// What one limit, at one of its rates, would have had to be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LimitAmounts {
    pub(crate) limit: String,
    pub(crate) rate: String,
    /// The rates that were found, as a policy writes them, and what they would refuse; none where
    /// no rate does it.
    pub(crate) at_most_1_in_100: Option<FoundRate>,
    pub(crate) at_most_1_in_1000: Option<FoundRate>,
    pub(crate) nothing: Option<FoundRate>,
    /// The same if the ten keys that asked most were left out; none if there are no others.
    pub(crate) without_loudest: Option<FoundRates>,
    pub(crate) requests: u64,
    /// True if no smaller amount does it either.
    pub(crate) smallest: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FoundRate {
    pub(crate) rate: String,
    pub(crate) refused: u64,
    /// How many keys it would have refused something.
    pub(crate) keys: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FoundRates {
    pub(crate) at_most_1_in_100: Option<FoundRate>,
    pub(crate) at_most_1_in_1000: Option<FoundRate>,
    pub(crate) nothing: Option<FoundRate>,
}

impl FoundRates {
    pub(crate) fn all(&self) -> [Option<&FoundRate>; 3] {
        [
            &self.at_most_1_in_100,
            &self.at_most_1_in_1000,
            &self.nothing,
        ]
        .map(Option::as_ref)
    }
}

impl LimitAmounts {
    /// Puts what was found into words; `write` writes the limit's rate with another amount.
    pub(crate) fn new(
        limit: &str,
        rate: &str,
        amounts: &Amounts,
        write: impl Fn(u64) -> String,
    ) -> Self {
        let rates = |found: [Option<Amount>; 3]| {
            found.map(|found| {
                found.map(|found| FoundRate {
                    rate: write(found.amount),
                    refused: found.refused,
                    keys: found.keys,
                })
            })
        };
        let [hundred, thousand, nothing] = rates(amounts.found);
        let without_loudest = amounts.without_loudest.map(|found| {
            let [hundred, thousand, nothing] = rates(found);
            FoundRates {
                at_most_1_in_100: hundred,
                at_most_1_in_1000: thousand,
                nothing,
            }
        });
        Self {
            limit: limit.to_owned(),
            rate: rate.to_owned(),
            at_most_1_in_100: hundred,
            at_most_1_in_1000: thousand,
            nothing,
            without_loudest,
            requests: amounts.requests,
            smallest: amounts.smallest,
        }
    }

    /// What was found, the most permissive last.
    pub(crate) fn found(&self) -> [Option<&FoundRate>; 3] {
        [
            &self.at_most_1_in_100,
            &self.at_most_1_in_1000,
            &self.nothing,
        ]
        .map(Option::as_ref)
    }
}

impl KeySummary {
    /// The limit's name, and that it is in shadow.
    pub(crate) fn limit_shown(&self) -> String {
        let shadow = if self.shadow { " (shadow)" } else { "" };
        format!("{}{shadow}", self.limit)
    }
}
