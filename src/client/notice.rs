//! What a response says of the limits that its request met, in whatever dialect.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use super::draft;
use super::field::{self, Present};
use super::limit::LimitNotice;
use crate::time::Timestamp;

/// Waits, in whatever header a service has them.
const WAITS: [&str; 3] = ["retry-after", "x-retry-after", "x-ratelimit-wait"];

/// Names of headers that belong together: limit, remaining, reset, reset after. The last are the
/// IETF's own, up to revision 06 of its draft.
const FAMILIES: [[&str; 4]; 3] = [
    [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-ratelimit-reset-after",
    ],
    [
        "x-rate-limit-limit",
        "x-rate-limit-remaining",
        "x-rate-limit-reset",
        "x-rate-limit-reset-after",
    ],
    [
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "ratelimit-reset-after",
    ],
];

const TIER: &str = "x-ratelimit-tier";
const SHOULD_RETRY: &str = "x-should-retry";

const TWICE: &str = "is there more than once, and differs: the more cautious is taken";

/// What a response says of the limits that its request met.
///
/// Read are `Retry-After` (seconds or a date), `X-Retry-After` and `X-Ratelimit-Wait`;
/// `X-RateLimit-Limit`, `-Remaining`, `-Reset` (seconds, or a Unix time) and `-Reset-After`, and
/// the same beginning with `X-Rate-Limit` or `RateLimit`; `X-RateLimit-Tier`; the IETF's draft
/// (`RateLimit` and `RateLimit-Policy`, revision 10 and those before); and `X-Should-Retry`.
/// Instants count from the response's own `Date`, where it has one, so a clock that is off does no
/// harm.
///
/// Nothing a server sends can make it fail: what cannot be read is in [`faults`](Self::faults).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    status: StatusCode,
    retry_after: Option<Duration>,
    may_repeat: Option<bool>,
    tier: Option<String>,
    limits: Vec<LimitNotice>,
    faults: Vec<HeaderFault>,
}

/// A header that could not be read, or not in whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HeaderFault {
    /// The header's name.
    pub header: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.header, self.why)
    }
}

impl Notice {
    /// The most limits that one response is read for.
    pub const LIMITS_MAX: usize = 16;
    /// The most faults that are told of one response.
    pub const FAULTS_MAX: usize = 16;

    /// What a response says that came at `now`.
    pub fn read(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Self {
        let mut reader = Reader {
            headers,
            present: Present::of(headers, now),
            limits: Vec::new(),
            faults: Vec::new(),
        };
        let retry_after = reader.retry_after();
        for family in FAMILIES {
            let limit = reader.family(family);
            if !limit.is_empty() {
                reader.tell(limit, family[0]);
            }
        }
        reader.list("ratelimit-policy", draft::policy);
        reader.list("ratelimit", draft::state);
        let may_repeat = reader.scalar(
            SHOULD_RETRY,
            |text| match text {
                _ if text.eq_ignore_ascii_case("true") => Ok(true),
                _ if text.eq_ignore_ascii_case("false") => Ok(false),
                _ => Err("is neither true nor false"),
            },
            |a, b| a && b,
        );
        let tier = reader.scalar(TIER, |text| Ok(text.to_owned()), |first, _| first);
        Self {
            status,
            retry_after,
            may_repeat,
            tier,
            limits: reader.limits,
            faults: reader.faults,
        }
    }

    /// What `response` says, having come at `now`.
    pub fn of<B>(response: &Response<B>, now: Timestamp) -> Self {
        Self::read(response.status(), response.headers(), now)
    }

    /// The response's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// True for a response to a request that a limit refused: 429.
    pub fn is_refusal(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// How long it says to wait: by a header that is about waiting, the longest if there are
    /// several; else, for a refusal, until what is used up is back. May be absurd;
    /// [`Backoff`](super::Backoff) and [`Pacer`](super::Pacer) have a longest wait of their own.
    pub fn wait(&self) -> Option<Duration> {
        let until_back = || {
            let spent = |limit: &&LimitNotice| limit.remaining == Some(0);
            let limits = self.limits.iter().filter(spent);
            limits.filter_map(|limit| limit.reset_after).max()
        };
        match self.retry_after {
            None if self.is_refusal() => until_back(),
            asked => asked,
        }
    }

    /// False if it says not to send the request again, true if it says one may.
    pub fn may_repeat(&self) -> Option<bool> {
        self.may_repeat
    }

    /// The caller's tier.
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// The limits it tells of.
    pub fn limits(&self) -> &[LimitNotice] {
        &self.limits
    }

    /// What could not be read.
    pub fn faults(&self) -> &[HeaderFault] {
        &self.faults
    }
}

struct Reader<'h> {
    headers: &'h HeaderMap,
    present: Present,
    limits: Vec<LimitNotice>,
    faults: Vec<HeaderFault>,
}

impl<'h> Reader<'h> {
    /// The value of a header that is there once; of several that differ, `pick` takes one.
    fn scalar<T: Clone + PartialEq>(
        &mut self,
        header: &'static str,
        read: impl Fn(&'h str) -> Result<T, &'static str>,
        pick: impl Fn(T, T) -> T,
    ) -> Option<T> {
        let mut found: Option<T> = None;
        for value in field::values(self.headers, header) {
            match value.and_then(&read) {
                Ok(value) => {
                    if found.as_ref().is_some_and(|found| *found != value) {
                        self.fault(header, TWICE);
                    }
                    found = Some(match found {
                        Some(other) => pick(other, value),
                        None => value,
                    });
                }
                Err(why) => self.fault(header, why),
            }
        }
        found
    }

    fn retry_after(&mut self) -> Option<Duration> {
        let present = self.present;
        let waits = WAITS.map(|header| self.scalar(header, |text| present.delay(text), Ord::max));
        waits.into_iter().flatten().max()
    }

    /// Limit, remaining and reset under names that belong together.
    fn family(&mut self, family: [&'static str; 4]) -> LimitNotice {
        let present = self.present;
        let [limit, remaining, reset, reset_after] = family;
        let reset = self.scalar(reset, |text| present.reset(text), Ord::max);
        // The finer of the two where both are there.
        let reset_after = self.scalar(reset_after, field::decimal_secs, Ord::max);
        LimitNotice {
            limit: self.scalar(limit, field::leading_whole, Ord::min),
            remaining: self.scalar(remaining, field::leading_whole, Ord::min),
            reset_after: reset_after.or(reset),
            ..LimitNotice::default()
        }
    }

    /// A list, which may stand in several lines.
    fn list(&mut self, header: &'static str, read: fn(&str) -> draft::Read) {
        let lines: Result<Vec<_>, _> = field::values(self.headers, header).collect();
        let text = lines.map(|lines| lines.join(", "));
        let read = match text {
            Ok(text) if text.is_empty() => return,
            Ok(text) if text.len() > field::VALUE_BYTES_MAX => Err("is too long to be read"),
            Ok(text) => read(&text),
            Err(why) => Err(why),
        };
        match read {
            Ok(limits) => limits
                .into_iter()
                .for_each(|limit| self.tell(limit, header)),
            Err(why) => self.fault(header, why),
        }
    }

    /// Adds a limit, or what is new to one of the same name. Without a name there is one.
    fn tell(&mut self, limit: LimitNotice, header: &'static str) {
        let known = self.limits.iter_mut().find(|one| one.name == limit.name);
        if let Some(known) = known {
            known.limit = lesser(known.limit, limit.limit);
            known.remaining = lesser(known.remaining, limit.remaining);
            known.reset_after = known.reset_after.max(limit.reset_after);
            known.window = known.window.max(limit.window);
        } else if self.limits.len() < Notice::LIMITS_MAX {
            self.limits.push(limit);
        } else {
            self.fault(header, "names more limits than are read");
        }
    }

    fn fault(&mut self, header: &'static str, why: &'static str) {
        let fault = HeaderFault { header, why };
        if self.faults.len() < Notice::FAULTS_MAX && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }
}

fn lesser(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
