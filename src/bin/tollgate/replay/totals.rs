//! What a replay counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate::Timestamp;

use super::judge::{Fate, Ruling};

/// Malformed lines that are shown.
// Bound: further ones are only counted.
const COMPLAINTS_MAX: usize = 10;

/// Routes told apart.
// Bound: a policy cannot have more, so nothing is ever left out.
const ROUTES_MAX: usize = 20_000;

/// What became of the lines. A line is one of: a request, without a request, blank, malformed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lines {
    pub(crate) read: u64,
    pub(crate) requests: u64,
    /// Whole records that hold no request, such as of a connection closed at once.
    pub(crate) without_request: u64,
    /// Empty lines and headings.
    pub(crate) blank: u64,
    pub(crate) malformed: u64,
    pub(crate) first_malformed: Vec<Complaint>,
    pub(crate) late: Late,
    /// Time of the first and of the latest request, in nanoseconds.
    pub(crate) span_nanos: Option<(u64, u64)>,
}

/// All counts of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) allowed: u64,
    pub(crate) refused: u64,
    /// Allowed, but a shadow limit had no room.
    pub(crate) would_refuse: u64,
    /// Allowed because their route is exempt.
    pub(crate) exempt: u64,
    /// Refused because they could not be judged: how many, by why.
    pub(crate) unjudged: BTreeMap<String, u64>,
    /// In the order of the policy.
    pub(crate) limits: Vec<LimitCount>,
    pub(crate) routes: BTreeMap<String, RouteCount>,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Complaint {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) why: String,
    pub(crate) excerpt: String,
}

/// Entries earlier than one before them. They are judged at the latest time seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Late {
    pub(crate) entries: u64,
    pub(crate) largest_lag_nanos: u64,
}

/// Counts of one limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitCount {
    pub(crate) name: String,
    /// True if it refuses nothing and only says what it would have.
    pub(crate) shadow: bool,
    /// Requests that met it.
    pub(crate) requests: u64,
    pub(crate) cost: u64,
    /// Requests that it had no room for.
    pub(crate) refused: u64,
    /// Requests refused that it was the reason for: of several limits, the one to wait for.
    pub(crate) ruled: u64,
    /// Requests that it had no room for and let pass, being a shadow.
    pub(crate) would_refuse: u64,
    /// Requests refused because they lacked its key.
    pub(crate) without_key: u64,
}

/// Counts of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteCount {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
}

impl Lines {
    /// Counts a line that could not be read.
    pub(crate) fn complain(&mut self, complaint: impl FnOnce() -> Complaint) {
        self.malformed += 1;
        if self.first_malformed.len() < COMPLAINTS_MAX {
            self.first_malformed.push(complaint());
        }
    }

    /// The time to judge an entry of `time` at: never earlier than the one before.
    pub(crate) fn hold(&mut self, time: Timestamp) -> Timestamp {
        let nanos = time.as_nanos();
        let (first, latest) = self.span_nanos.unwrap_or((nanos, nanos));
        if nanos < latest {
            self.late.entries += 1;
            self.late.largest_lag_nanos = self.late.largest_lag_nanos.max(latest - nanos);
        }
        self.span_nanos = Some((first, latest.max(nanos)));
        Timestamp::from_nanos(latest.max(nanos))
    }
}

impl Totals {
    /// Nothing counted yet, for limits of these names.
    pub(crate) fn new(limits: &[String]) -> Self {
        let limit = |name: &String| LimitCount {
            name: name.clone(),
            ..LimitCount::default()
        };
        Self {
            limits: limits.iter().map(limit).collect(),
            ..Self::default()
        }
    }

    /// Counts a decision.
    pub(crate) fn count(&mut self, ruling: &Ruling) {
        self.requests += 1;
        match ruling.fate() {
            Fate::Refused => self.refused += 1,
            fate => {
                self.allowed += 1;
                self.would_refuse += u64::from(fate == Fate::WouldRefuse);
            }
        }
        self.exempt += u64::from(ruling.exempt);
        if let Some(why) = ruling.unjudged {
            *self.unjudged.entry(why.to_owned()).or_default() += 1;
        }
        self.count_route(ruling);
        for (number, outcome) in ruling.outcomes.iter().enumerate() {
            let Some(limit) = self.limits.get_mut(outcome.limit) else {
                continue;
            };
            limit.shadow = outcome.shadow;
            limit.requests += 1;
            limit.cost = limit.cost.saturating_add(outcome.cost);
            limit.ruled += u64::from(ruling.ruling == Some(number));
            limit.without_key += u64::from(outcome.lacks_key);
            if outcome.refused && outcome.shadow {
                limit.would_refuse += 1;
            } else if outcome.refused {
                limit.refused += 1;
            }
        }
    }

    fn count_route(&mut self, ruling: &Ruling) {
        let route = match ruling.route.as_str() {
            "" => "(no route)",
            route => route,
        };
        if !self.routes.contains_key(route) {
            let route = if self.routes.len() < ROUTES_MAX {
                route
            } else {
                "(other routes)"
            };
            self.routes.entry(route.to_owned()).or_default();
        }
        if let Some(count) = self.routes.get_mut(route) {
            count.requests += 1;
            count.refused += u64::from(!ruling.allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::Outcome;
    use super::*;

    #[test]
    fn time_is_held_and_the_lag_is_told() {
        let mut totals = Lines::default();
        let held: Vec<_> = [10, 12, 9, 11, 12, 15, 3]
            .map(|secs| totals.hold(Timestamp::from_secs(secs)).as_secs())
            .into();
        assert_eq!(held, [10, 12, 12, 12, 12, 15, 15]);
        assert_eq!(totals.late.entries, 3);
        assert_eq!(totals.late.largest_lag_nanos, 12_000_000_000);
        assert_eq!(totals.span_nanos, Some((10_000_000_000, 15_000_000_000)));
    }

    #[test]
    fn a_request_counts_with_every_limit_it_met() {
        let mut totals = Totals::new(&["a".to_owned(), "b".to_owned()]);
        let outcome = |limit, refused, shadow| Outcome {
            limit,
            refused,
            shadow,
            cost: 2,
            ..Outcome::default()
        };
        let first = [outcome(0, false, false), outcome(1, true, true)];
        let second = [outcome(0, true, false), outcome(1, true, true)];
        for (outcomes, ruling) in [(&first, None), (&second, Some(0))] {
            totals.count(&Ruling {
                allowed: ruling.is_none(),
                route: "GET /x".to_owned(),
                outcomes: outcomes.to_vec(),
                ruling,
                ..Ruling::default()
            });
        }
        assert_eq!((totals.requests, totals.allowed, totals.refused), (2, 1, 1));
        assert_eq!(totals.would_refuse, 1);
        let [a, b] = totals.limits.as_slice() else {
            panic!("two limits")
        };
        assert_eq!(
            (a.requests, a.cost, a.refused, a.ruled, a.would_refuse),
            (2, 4, 1, 1, 0)
        );
        assert_eq!(
            (b.requests, b.cost, b.refused, b.ruled, b.would_refuse),
            (2, 4, 0, 0, 2)
        );
        let route = RouteCount {
            requests: 2,
            refused: 1,
        };
        assert_eq!(totals.routes["GET /x"], route);
    }

    #[test]
    fn only_the_first_complaints_are_kept() {
        let mut totals = Lines::default();
        for line in 0..50 {
            totals.complain(|| Complaint {
                file: "f".into(),
                line,
                why: "w".into(),
                excerpt: "e".into(),
            });
        }
        assert_eq!(
            (totals.malformed, totals.first_malformed.len()),
            (50, COMPLAINTS_MAX)
        );
        assert_eq!(totals.first_malformed[0].line, 0);
    }
}
