//! A strict bucket whose rate changes: over power cuts, too, what was used stays used.

use std::path::Path;

use tollgate::{Limiter, Policy};

use super::{common, cut, data, noon};

const RESERVE: u64 = 10;

fn open(dir: &Path, rate: &str) -> Limiter {
    let text = format!(
        "[limits.calls]\nrate = {rate:?}\nkey = \"user\"\ndurability = \"strict\"\n\
         reserve = {RESERVE}\n"
    );
    let builder = Limiter::builder(Policy::from_toml(&text).unwrap()).clock(noon());
    builder.open(dir).unwrap()
}

fn used(limiter: &Limiter) -> u64 {
    limiter.limit("calls").unwrap().usage("alice").used()
}

/// For every pair of rates: some are taken at the one, some at the other, some are given back, and
/// the power goes at each step.
#[test]
fn w3_a_strict_bucket_keeps_what_was_used_through_changes_of_rate_and_power_cuts() {
    let rates = ["200/day", "200/min", "200/s", "200/min burst 300"];
    let dir = common::scratch();
    let mut cuts = 0;
    for (number, one) in rates.iter().enumerate() {
        for other in rates.iter().filter(|other| *other != one) {
            let at = data(&dir).with_extension(format!("{number} {}", other.replace('/', " ")));
            let limiter = open(&at, one);
            let mut check = |limiter: &Limiter, truth: u64, in_force: &str| {
                assert_eq!(used(limiter), truth, "{one}, {other}");
                cuts += 1;
                let after = dir.path().join(format!("after {cuts}"));
                cut(&at, &after, cuts % 2 == 0);
                let found = used(&open(&after, in_force));
                let told = truth..=truth + RESERVE;
                assert!(told.contains(&found), "{one}, {other}: {found} of {truth}");
            };
            let limit = limiter.limit("calls").unwrap();
            let taken: Vec<_> = (0..50).map(|_| limit.check("alice")).collect();
            check(&limiter, 50, one);
            // The power may go before the new rate is used, too.
            check(&limiter, 50, other);
            let text = format!(
                "[limits.calls]\nrate = {other:?}\nkey = \"user\"\ndurability = \"strict\"\n\
                 reserve = {RESERVE}\n"
            );
            limiter
                .replace_policy(Policy::from_toml(&text).unwrap())
                .unwrap();
            check(&limiter, 50, other);
            assert!(limit.check_cost("alice", 7).is_allowed());
            check(&limiter, 57, other);
            for outcome in &taken[..40] {
                limit.refund("alice", *outcome);
            }
            limiter.flush().unwrap();
            check(&limiter, 17, other);
            (0..20).for_each(|_| assert!(limit.check("alice").is_allowed()));
            check(&limiter, 37, other);
        }
    }
    assert_eq!(cuts, 12 * 6);
}
