//! What a rate means to a caller who asks as fast as may be: how much at once, and then what.

use super::plan::LimitSpec;
use super::shape::Shape;
use super::terms::RateSpec;
use crate::algorithm::{Bucket, Frame, Rule};
use crate::time::NANOS_PER_SEC;

/// As in `6 at once, then one every 10 s`.
pub(super) fn of(limit: &LimitSpec, rate: &RateSpec) -> String {
    match &rate.rule {
        Rule::Unlimited => "everything is admitted".to_owned(),
        Rule::Deny => "nothing is admitted".to_owned(),
        Rule::Bucket(bucket) => of_bucket(bucket),
        Rule::Window(window) => {
            let amount = window.amount();
            match window.frame() {
                Frame::Epoch => {
                    format!("{amount} from each edge to the next, all at once if need be")
                }
                Frame::Calendar(_) => {
                    let shape = limit.shape.to_string();
                    let day = shape.trim_start_matches("calendar ");
                    format!("{amount} in each {day}, all at once if need be")
                }
            }
        }
        Rule::Fine(window) => {
            let amount = window.amount();
            match limit.shape {
                Shape::Fine {
                    from_first_hit: true,
                    ..
                } => format!("{amount} from the first on, all at once if need be"),
                _ => format!("{amount} from each edge to the next, all at once if need be"),
            }
        }
        Rule::Sliding(sliding) => {
            let amount = sliding.amount();
            format!("about {amount} in any such time, all at once if need be")
        }
    }
}

fn of_bucket(bucket: &Bucket) -> String {
    let burst = Rule::Bucket(*bucket).capacity();
    let (tokens, period_nanos) = bucket.rate();
    let (whole, rest) = (period_nanos / tokens.max(1), period_nanos % tokens.max(1));
    let then = match rest == 0 && whole % NANOS_PER_MS == 0 {
        true => format!("one every {}", span(whole)),
        false => format!("{tokens} per {}", span(period_nanos)),
    };
    format!("{burst} at once, then {then}")
}

const NANOS_PER_MS: u64 = 1_000_000;

/// In the largest unit of which it is a whole number.
fn span(nanos: u64) -> String {
    let units = [
        (86_400 * NANOS_PER_SEC, "days"),
        (3_600 * NANOS_PER_SEC, "h"),
        (60 * NANOS_PER_SEC, "min"),
        (NANOS_PER_SEC, "s"),
        (NANOS_PER_MS, "ms"),
    ];
    let fits = |(unit, _): &(u64, &str)| nanos >= *unit && nanos.is_multiple_of(*unit);
    match units.into_iter().find(fits) {
        Some((unit, "days")) if nanos == unit => "day".to_owned(),
        Some((unit, name)) => format!("{} {name}", nanos / unit),
        None => format!("{nanos} ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Policy, Request};

    /// Row T8.
    #[test]
    fn t8_a_rate_says_how_much_at_once_and_then_what() {
        for (limit, meaning) in [
            ("rate = '6/min'", "6 at once, then one every 10 s"),
            (
                "rate = '100/min burst 150'",
                "150 at once, then one every 600 ms",
            ),
            ("rate = '1/day'", "1 at once, then one every day"),
            ("rate = '7/min'", "7 at once, then 7 per 1 min"),
            ("rate = 'deny'", "nothing is admitted"),
            (
                "rate = '9/day'\nalgorithm = 'calendar'",
                "9 in each day in UTC, all at once if need be",
            ),
            (
                "rate = '9/min'\nalgorithm = 'sliding window'",
                "about 9 in any such time, all at once if need be",
            ),
        ] {
            let policy = Policy::from_toml(&format!("[limits.l]\n{limit}")).unwrap();
            let explanation = policy.explain(&Request::new()).unwrap();
            assert_eq!(explanation.limits[0].meaning, meaning, "{limit}");
        }
    }
}
