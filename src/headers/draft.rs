//! `RateLimit` and `RateLimit-Policy` as draft-ietf-httpapi-ratelimit-headers-10 has them.
//!
//! ```text
//! RateLimit-Policy: "per-minute";q=150;w=90, "per-day";q=10000;w=86400
//! RateLimit: "per-minute";r=149;t=1
//! ```
//! `RateLimit` tells of the limit that rules; `t` is the time until more of it is there, on every
//! response, and left out where no more will come. It is never after `Retry-After`.

use sfv::{Integer, KeyRef, ListSerializer, StringRef, key_ref, string_ref};

use super::facts::{Facts, secs_ceil};
use crate::limiter::Decision;

const QUOTA: &KeyRef = key_ref("q");
const WINDOW: &KeyRef = key_ref("w");
const UNIT: &KeyRef = key_ref("qu");
const REMAINING: &KeyRef = key_ref("r");
const RESET: &KeyRef = key_ref("t");
const CONCURRENCY: &StringRef = string_ref("concurrent-requests");

/// A number, or the largest that a structured field can hold.
fn integer(number: u64) -> Integer {
    Integer::try_from(number).unwrap_or(Integer::MAX)
}

pub(super) fn headers(decision: &Decision, facts: &Facts<'_>, put: &mut impl FnMut(&str, &str)) {
    let mut policies = ListSerializer::new();
    for limit in decision.limits().filter(|limit| !limit.is_shadow()) {
        let told = decision.plan().response.limit;
        let shown = limit.shown(told);
        // An unlimited one has no quota to tell.
        if let (true, Ok(name)) = (shown.limit < u64::MAX, StringRef::from_str(limit.name())) {
            let item = policies.bare_item(name);
            let item = item.parameter(QUOTA, integer(shown.limit));
            let _ = item.parameter(WINDOW, integer(secs_ceil(limit.shown_window(told))));
        }
    }
    for limit in decision.concurrency().filter(|limit| !limit.is_shadow()) {
        if let Ok(name) = StringRef::from_str(limit.name()) {
            let quota = integer(u64::from(limit.limit()));
            let item = policies.bare_item(name).parameter(QUOTA, quota);
            let _ = item.parameter(UNIT, CONCURRENCY);
        }
    }
    if let Some(policies) = policies.finish() {
        put("ratelimit-policy", &policies);
    }
    let (Some(name), Some(remaining)) = (facts.limit_name, facts.remaining) else {
        return;
    };
    let Ok(name) = StringRef::from_str(name) else {
        return;
    };
    let mut state = ListSerializer::new();
    let item = state
        .bare_item(name)
        .parameter(REMAINING, integer(remaining));
    // A rule's own numbers; a limit on how many run has none.
    let ruling = decision
        .ruling()
        .filter(|ruling| ruling.name() == name.as_str());
    let more = ruling.and_then(|ruling| ruling.more_after(decision.plan().response.limit));
    let more = more.map(secs_ceil);
    // Where it is the limiter that cannot, it may be worth trying again before that.
    if let Some(more) = more.filter(|more| facts.retry_after.is_none_or(|wait| wait >= *more)) {
        let _ = item.parameter(RESET, integer(more));
    }
    if let Some(state) = state.finish() {
        put("ratelimit", &state);
    }
}
