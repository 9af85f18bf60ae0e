//! What was counted, as JSON, with how the limits stand now.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::{Limiter, Outcome};
use super::history::History;
use super::sketch::{Count, Name, Numbers};
use super::{Tally, now};

/// Keys shown in each list.
const SHOWN_MAX: usize = 20;

/// What was counted of each limit of the policy in force, how many run and wait, and the keys that
/// are busiest and refused most.
pub(crate) fn figures(limiter: &Limiter, tally: &Tally) -> Value {
    let (counts, [busiest, refused]) = tally.sums();
    let of = |name: &str| counts.get(name).cloned().unwrap_or_default();
    let now = now();
    let policy = limiter.policy();
    let limits = policy.limits().map(|(name, words)| {
        let counts = of(name);
        let mut limit = json!({
            "name": name, "words": words, "allowed": counts.allowed, "refused": counts.refused,
            "would_refuse": counts.would_refuse,
            "history": counts.history.hour(History::minute(now)),
        });
        if let Some(all) = usage_of_all(limiter, name) {
            limit["used"] = all.used().into();
            limit["of"] = all.limit().into();
            limit["reset"] = all.reset_at().as_secs_ceil().into();
        }
        limit
    });
    let running = policy.concurrency().map(|(name, words)| {
        let usage = limiter.running(name).unwrap_or_default();
        json!({
            "name": name, "words": words, "running": usage.running,
            "waiting": usage.waiting, "refused": of(name).refused,
        })
    });
    json!({
        "now": now.as_secs(),
        "since": tally.since.as_secs(),
        "limits": limits.collect::<Vec<_>>(),
        "running": running.collect::<Vec<_>>(),
        "busiest": most(busiest),
        "refused": most(refused),
    })
}

/// The usage of a limit that all share; none of one that has a key, or no end.
fn usage_of_all(limiter: &Limiter, name: &str) -> Option<Outcome> {
    let usage = limiter.limit(name).ok()?.usage(());
    // Without the key that it should have there is no counter, and nothing to have.
    let has_end = (1..u64::MAX).contains(&usage.limit());
    has_end.then_some(usage)
}

/// Those counted most, as JSON.
fn most(all: HashMap<Name, Count>) -> Vec<Value> {
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by(|(a, one), (b, other)| other.count.cmp(&one.count).then(a.cmp(b)));
    all.truncate(SHOWN_MAX);
    let mut alike: HashMap<_, usize> = HashMap::new();
    for (name, _) in &all {
        *alike.entry((&name.limit, &name.key)).or_default() += 1;
    }
    let shown = all.iter().map(|(name, count)| {
        // A part of a hash under a secret: it tells two apart, and nothing of what is left out.
        let key = match alike.get(&(&name.limit, &name.key)) {
            Some(2..) => format!("{} #{:06x}", name.key, name.hash >> 40),
            _ => name.key.clone(),
        };
        let Numbers {
            used,
            limit,
            reset_at,
            ..
        } = count.numbers;
        json!({
            "limit": name.limit, "key": key, "count": count.count, "excess": count.excess,
            "used": used, "of": limit, "reset": reset_at.as_secs_ceil(),
        })
    });
    shown.collect()
}
