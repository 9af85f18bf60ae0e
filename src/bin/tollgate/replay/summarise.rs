//! From what a replay has counted to its results.

use tollgate::Timestamp;

use super::counts::Count;
use super::keys::{RefusedKey, RefusedKeys};
use super::state::{Side, State};
use super::summary::{
    AmountsSummary, BinSummary, Compared, Deed, KeySummary, KeysSummary, LimitSummary,
    LinesSummary, LogSummary, PolicySummary, RequestsSummary, RouteSummary, Spread, Suggestion,
    Summary, TimeSummary, TimelineSummary, TouchedKeys,
};
use super::timeline::Timeline;
use super::totals::LimitCount;

/// A policy's name, and what was worked out for it.
#[derive(Clone, Default)]
pub(crate) struct Worked {
    pub(crate) policy: String,
    pub(crate) amounts: Option<AmountsSummary>,
    pub(crate) suggestion: Option<Suggestion>,
}

impl Summary {
    /// The results of a replay under the policies of `worked`, with at most `worst` of the worst
    /// keys.
    pub(crate) fn new(state: &State, worst: usize, worked: Vec<Worked>) -> Self {
        let lines = &state.lines;
        let names = state.recipe.logs.iter().enumerate();
        let logs = names.map(|(number, name)| LogSummary {
            name: name.clone(),
            format: state.formats.get(number).cloned(),
        });
        let mut policies = state.policies.iter().zip(worked);
        let first = policies
            .next()
            .map(|(side, worked)| of_policy(side, worst, worked));
        let first = first.unwrap_or_default();
        let names = |limits: &[LimitSummary]| -> Vec<LimitCount> {
            limits.iter().map(|limit| limit.count.clone()).collect()
        };
        let others = policies.map(|(side, worked)| {
            let policy = of_policy(side, worst, worked);
            let difference = side.difference.clone().unwrap_or_default();
            let list = |keys: &RefusedKeys, limits| {
                let all = keys.worst().into_iter().take(worst);
                all.map(|key| key_of(key, limits, None)).collect()
            };
            Compared {
                both_refuse: difference.both_refuse,
                only_first_refuses: difference.only_first_refuses,
                only_this_refuses: difference.only_this_refuses,
                only_first_keys: list(&difference.only_first_keys, &names(&first.limits)),
                only_this_keys: list(&difference.only_this_keys, &names(&policy.limits)),
                policy,
            }
        });
        let others = others.collect();
        Self {
            version: 2,
            logs: logs.collect(),
            lines: LinesSummary {
                read: lines.read,
                requests: lines.requests,
                without_request: lines.without_request,
                blank: lines.blank,
                malformed: lines.malformed,
            },
            first_malformed: lines.first_malformed.clone(),
            time: TimeSummary {
                first: lines.span_nanos.map(|(first, _)| instant(first)),
                last: lines.span_nanos.map(|(_, last)| instant(last)),
                late_entries: lines.late.entries,
                largest_lag_ms: lines.late.largest_lag_nanos / 1_000_000,
            },
            first,
            others,
        }
    }
}

fn instant(nanos: u64) -> String {
    Timestamp::from_nanos(nanos).to_string()
}

fn of_policy(side: &Side, worst: usize, worked: Worked) -> PolicySummary {
    let totals = &side.totals;
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
    let limits = totals
        .limits
        .iter()
        .enumerate()
        .map(|(number, count)| LimitSummary {
            count: count.clone(),
            keys: touched(side, number),
        });
    let limits: Vec<_> = limits.collect();
    let keys: u64 = limits.iter().map(|limit| limit.keys.seen).sum();
    PolicySummary {
        policy: worked.policy,
        requests: RequestsSummary {
            judged: totals.requests,
            allowed: totals.allowed,
            refused: totals.refused,
            would_refuse: totals.would_refuse,
            exempt: totals.exempt,
            unjudged: totals.unjudged.clone(),
            without_counter: side.without_counter,
            keys,
        },
        limits,
        routes,
        keys: worst_keys(side, worst),
        timeline: timeline_of(&side.timeline),
        limit_timelines: side.limit_timelines.iter().map(timeline_of).collect(),
        amounts: worked.amounts,
        suggestion: worked.suggestion,
    }
}

fn touched(side: &Side, limit: usize) -> TouchedKeys {
    let counts = || side.counts.of_limit(limit).map(|(_, count)| count);
    let requests: Vec<u32> = counts().map(|count| count.requests).collect();
    let refused: Vec<u32> = counts()
        .map(|count| count.refused)
        .filter(|refused| *refused > 0)
        .collect();
    TouchedKeys {
        seen: u64::try_from(requests.len()).unwrap_or(u64::MAX),
        refused: u64::try_from(refused.len()).unwrap_or(u64::MAX),
        requests_of_each: Spread::of(requests),
        refused_of_each: Spread::of(refused),
    }
}

fn timeline_of(timeline: &Timeline) -> TimelineSummary {
    let bins = timeline.bins().map(|(begin_secs, bin)| BinSummary {
        begin_secs,
        allowed: bin.allowed,
        refused: bin.refused,
        would_refuse: bin.would_refuse,
    });
    TimelineSummary {
        bin_secs: timeline.width_secs(),
        bins: bins.collect(),
    }
}

fn worst_keys(side: &Side, most: usize) -> KeysSummary {
    let limits = &side.totals.limits;
    let held = side.refused_keys.worst();
    let all = held
        .into_iter()
        .map(|key| key_of(key, limits, side.counts.of(key.limit, key.counter)));
    let mut worst: Vec<_> = all.collect();
    // Of keys refused as often the busier comes first.
    worst.sort_by_key(|key| std::cmp::Reverse((key.refused, key.requests)));
    worst.truncate(most);
    KeysSummary {
        tracked: side.counts.tracked(),
        exact: side.refused_keys.is_exact() && side.counts.left_out() == 0,
        worst,
    }
}

/// A key in words; `exact` is what it came to, if that was counted.
fn key_of(key: &RefusedKey, limits: &[LimitCount], exact: Option<Count>) -> KeySummary {
    let limit = limits.get(key.limit);
    let mut deeds = key.deeds.clone();
    deeds.sort_by_key(|(_, about)| std::cmp::Reverse(*about));
    KeySummary {
        limit: limit.map_or_else(String::new, |limit| limit.name.clone()),
        shadow: limit.is_some_and(|limit| limit.shadow),
        key: key.key.to_string(),
        requests: exact.map(|exact| u64::from(exact.requests)),
        refused: exact.map_or(key.refused, |exact| u64::from(exact.refused)),
        refused_error: if exact.is_some() { 0 } else { key.error },
        first_refused: instant(key.first_nanos),
        last_refused: instant(key.last_nanos),
        deeds: deeds
            .into_iter()
            .map(|(what, about)| Deed {
                what: what.into(),
                about,
            })
            .collect(),
        agent: key.agent.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::judge::Fate;
    use super::super::state::{Position, Recipe};
    use super::super::summary::{FoundRate, LimitAmounts};
    use super::super::totals::{Complaint, RouteCount};
    use super::*;
    use crate::log::Entry;
    use crate::log::Format;
    use crate::replay::text::Text;

    /// A summary in which every text from outside is `text`.
    pub(crate) fn summary_of_test(text: &str) -> Summary {
        let recipe = Recipe {
            policies: Vec::new(),
            logs: vec![text.to_owned()],
            format: None,
            reading: String::new(),
            trace: true,
            follow: false,
        };
        let limits = [text.to_owned()];
        let mut state = State::new(recipe, &[&limits, &limits]);
        state.position = Position::default();
        state.formats.push(Format::Combined);
        let lines = &mut state.lines;
        (lines.read, lines.requests) = (4, 3);
        lines.late.entries = 1;
        let now = lines.hold(Timestamp::from_secs(1_700_000_000));
        lines.complain(|| Complaint {
            file: text.to_owned(),
            line: 4,
            why: text.to_owned(),
            excerpt: text.to_owned(),
        });
        for side in &mut state.policies {
            fill(side, text, now);
        }
        let found = |rate: &str| {
            Some(FoundRate {
                rate: rate.to_owned(),
                refused: 0,
                keys: 0,
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
                without_loudest: None,
                requests: 3,
                smallest: false,
            }],
        };
        let worked = Worked {
            policy: text.to_owned(),
            amounts: Some(amounts),
            suggestion: Some(Suggestion {
                at_most: "nothing".to_owned(),
                policy: text.to_owned(),
            }),
        };
        Summary::new(&state, 10, vec![worked.clone(), worked])
    }

    fn fill(side: &mut Side, text: &str, now: Timestamp) {
        let totals = &mut side.totals;
        (totals.requests, totals.allowed, totals.refused) = (3, 2, 1);
        (totals.would_refuse, totals.exempt) = (1, 1);
        let route = RouteCount {
            requests: 3,
            refused: 1,
        };
        totals.routes.insert(text.to_owned(), route);
        for timeline in side.limit_timelines.iter_mut().chain([&mut side.timeline]) {
            timeline.count(now, Fate::Allowed);
            timeline.count(now, Fate::Refused);
        }
        side.counts.count(0, 7, true);
        let entry = Entry {
            time: now,
            method: "GET".into(),
            path: Some(text.into()),
            cost: None,
            attributes: vec![("user_agent".into(), text.into())],
        };
        side.refused_keys
            .count((0, 7), now, &entry, || text.to_owned());
        if let Some(difference) = &mut side.difference {
            for keys in [
                &mut difference.only_first_keys,
                &mut difference.only_this_keys,
            ] {
                keys.count((0, 7), now, &entry, || text.to_owned());
            }
        }
    }

    #[test]
    fn spreads_are_those_of_the_ranks() {
        let spread = Spread::of((1..=200).rev().collect());
        assert_eq!((spread.half, spread.nine_in_ten), (100, 180));
        assert_eq!((spread.ninety_nine_in_hundred, spread.most), (198, 200));
        assert_eq!(Spread::of(vec![7]).half, 7);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
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
        let text = Text {
            summary: &summary,
            width: usize::MAX,
        }
        .to_string();
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
