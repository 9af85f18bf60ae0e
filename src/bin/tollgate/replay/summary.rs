//! A replay's results as data: what the text, the JSON and the report all show.

use std::collections::BTreeMap;

use serde::Serialize;
use tollgate::Timestamp;

use super::amounts::Amounts;
use super::keys::KeyCount;
use super::state::State;
use super::totals::{Complaint, LimitCount};
use crate::log::Format;

/// Everything that a replay found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Of this structure.
    pub(crate) version: u32,
    pub(crate) policy: String,
    pub(crate) logs: Vec<LogSummary>,
    pub(crate) lines: LinesSummary,
    pub(crate) first_malformed: Vec<Complaint>,
    pub(crate) time: TimeSummary,
    pub(crate) requests: RequestsSummary,
    /// In the order of the policy.
    pub(crate) limits: Vec<LimitCount>,
    /// Most refused first.
    pub(crate) routes: Vec<RouteSummary>,
    pub(crate) keys: KeysSummary,
    pub(crate) timeline: TimelineSummary,
    /// What each limit would have had to be, where that was asked for.
    pub(crate) amounts: Option<AmountsSummary>,
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
#[derive(Clone, Debug, Serialize)]
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
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct RouteSummary {
    pub(crate) route: String,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeysSummary {
    pub(crate) tracked: usize,
    /// False if there were more keys than are tracked, so that counts are estimates: see the
    /// error of each.
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
    /// At least, unless exact.
    pub(crate) requests: u64,
    /// At most, unless exact; too high by no more than the error.
    pub(crate) refused: u64,
    pub(crate) refused_error: u64,
}

#[derive(Clone, Debug, Serialize)]
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
    pub(crate) requests: u64,
    /// True if no smaller amount does it either.
    pub(crate) smallest: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FoundRate {
    pub(crate) rate: String,
    pub(crate) refused: u64,
}

impl LimitAmounts {
    /// Puts what was found into words; `write` writes the limit's rate with another amount.
    pub(crate) fn new(
        limit: &str,
        rate: &str,
        amounts: &Amounts,
        write: impl Fn(u64) -> String,
    ) -> Self {
        let [hundred, thousand, nothing] = amounts.found.map(|found| {
            found.map(|found| FoundRate {
                rate: write(found.amount),
                refused: found.refused,
            })
        });
        Self {
            limit: limit.to_owned(),
            rate: rate.to_owned(),
            at_most_1_in_100: hundred,
            at_most_1_in_1000: thousand,
            nothing,
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

impl Summary {
    /// The results of a replay of `policy`, with at most `worst` of the worst keys.
    pub(crate) fn new(
        state: &State,
        policy: &str,
        worst: usize,
        amounts: Option<AmountsSummary>,
    ) -> Self {
        let totals = &state.totals;
        let names = state.recipe.logs.iter().enumerate();
        let logs = names.map(|(number, name)| LogSummary {
            name: name.clone(),
            format: state.formats.get(number).copied(),
        });
        let mut routes: Vec<_> = totals
            .routes
            .iter()
            .map(|(route, count)| RouteSummary {
                route: route.clone(),
                requests: count.requests,
                refused: count.refused,
            })
            .collect();
        routes.sort_by_key(|route| std::cmp::Reverse((route.refused, route.requests)));
        let instant = |nanos| Timestamp::from_nanos(nanos).to_string();
        Self {
            version: 1,
            policy: policy.to_owned(),
            logs: logs.collect(),
            lines: LinesSummary {
                read: totals.lines,
                requests: totals.requests,
                without_request: totals.without_request,
                blank: totals.blank,
                malformed: totals.malformed,
            },
            first_malformed: totals.first_malformed.clone(),
            time: TimeSummary {
                first: totals.span_nanos.map(|(first, _)| instant(first)),
                last: totals.span_nanos.map(|(_, last)| instant(last)),
                late_entries: totals.late.entries,
                largest_lag_ms: totals.late.largest_lag_nanos / 1_000_000,
            },
            requests: RequestsSummary {
                judged: totals.requests,
                allowed: totals.allowed,
                refused: totals.refused,
                would_refuse: totals.would_refuse,
                exempt: totals.exempt,
                unjudged: totals.unjudged.clone(),
                without_counter: state.without_counter,
            },
            limits: totals.limits.clone(),
            routes,
            keys: keys(state, worst),
            timeline: TimelineSummary {
                bin_secs: state.timeline.width_secs(),
                bins: state
                    .timeline
                    .bins()
                    .map(|(begin_secs, bin)| BinSummary {
                        begin_secs,
                        allowed: bin.allowed,
                        refused: bin.refused,
                    })
                    .collect(),
            },
            amounts,
        }
    }
}

fn keys(state: &State, worst: usize) -> KeysSummary {
    let limit = |count: &KeyCount| state.totals.limits.get(count.limit);
    let summary = |count: KeyCount| KeySummary {
        limit: limit(&count).map_or_else(String::new, |limit| limit.name.clone()),
        shadow: limit(&count).is_some_and(|limit| limit.shadow),
        key: count.key.into(),
        requests: count.requests,
        refused: count.refused,
        refused_error: count.refused_error,
    };
    KeysSummary {
        tracked: state.keys.tracked(),
        exact: state.keys.is_exact(),
        worst: state.keys.worst(worst).into_iter().map(summary).collect(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::state::{Position, Recipe};
    use super::super::totals::RouteCount;
    use super::*;

    /// A summary in which every text from outside is `text`.
    pub(crate) fn summary_of_test(text: &str) -> Summary {
        let recipe = Recipe {
            policy: String::new(),
            logs: vec![text.to_owned()],
            format: None,
            reading: String::new(),
            trace: true,
        };
        let mut state = State::new(recipe, &[text.to_owned()]);
        state.position = Position::default();
        state.formats.push(Format::Combined);
        let totals = &mut state.totals;
        totals.lines = 4;
        totals.requests = 3;
        totals.allowed = 2;
        totals.refused = 1;
        totals.would_refuse = 1;
        totals.exempt = 1;
        totals.late.entries = 1;
        totals.hold(Timestamp::from_secs(1_700_000_000));
        totals.complain(Complaint {
            file: text.to_owned(),
            line: 4,
            why: text.to_owned(),
            excerpt: text.to_owned(),
        });
        let route = RouteCount {
            requests: 3,
            refused: 1,
        };
        totals.routes.insert(text.to_owned(), route);
        state
            .timeline
            .count(Timestamp::from_secs(1_700_000_000), true);
        state.keys.count(0, text, true);
        let found = |rate: &str| {
            Some(FoundRate {
                rate: rate.to_owned(),
                refused: 0,
            })
        };
        let amounts = AmountsSummary {
            until: Some("then".to_owned()),
            left_out: 1,
            limits: vec![LimitAmounts {
                limit: text.to_owned(),
                rate: text.to_owned(),
                at_most_1_in_100: found("1/s"),
                at_most_1_in_1000: None,
                nothing: found("2/s"),
                requests: 3,
                smallest: false,
            }],
        };
        Summary::new(&state, text, 10, Some(amounts))
    }

    #[test]
    fn the_lines_add_up_and_both_faces_show_them() {
        let summary = summary_of_test("name");
        let lines = summary.lines;
        assert_eq!(
            lines.read,
            lines.requests + lines.without_request + lines.blank + lines.malformed
        );
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["requests"]["refused"], 1);
        assert_eq!(json["keys"]["worst"][0]["key"], "name");
        assert_eq!(json["amounts"]["limits"][0]["nothing"]["rate"], "2/s");
        assert_eq!(json["logs"][0]["format"], "combined");
        let text = summary.to_string();
        for part in [
            "4 lines: 3 requests, 1 malformed",
            "2 allowed, 1 refused (33.3 %)",
            "name:4: name: name",
            "none does",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
