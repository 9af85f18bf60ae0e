//! Single header values: whole numbers, spans, instants.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;

use crate::time::Timestamp;

/// A longer value is not read.
// Bound: what a server can make a client parse.
pub(super) const VALUE_BYTES_MAX: usize = 8 * 1024;

/// From here on a number for a reset is a Unix time in seconds: as a span it would be 31 years.
const UNIX_SECS_FROM: u64 = 1_000_000_000;
/// From here on it is one in milliseconds: as seconds it would be in the year 5138.
const UNIX_MILLIS_FROM: u64 = 100_000_000_000;

/// A header's values: each as text, or why it is none.
pub(super) fn values<'h>(
    headers: &'h HeaderMap,
    name: &str,
) -> impl Iterator<Item = Result<&'h str, &'static str>> {
    headers.get_all(name).iter().map(|value| {
        if value.len() > VALUE_BYTES_MAX {
            return Err("is too long to be read");
        }
        let text = value.to_str().map_err(|_| "is not text in ASCII")?;
        Ok(text.trim_matches([' ', '\t']))
    })
}

/// A number of digits only; what is too large for it is the largest.
pub(super) fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The number that `100`, `100;w=60` and `100, 200;w=60` begin with.
pub(super) fn leading_whole(text: &str) -> Result<u64, &'static str> {
    let first = text.split([',', ';']).next().unwrap_or(text);
    whole(first.trim_end()).ok_or("is not a whole number")
}

/// Seconds, with decimals or without.
pub(super) fn decimal_secs(text: &str) -> Result<Duration, &'static str> {
    const WHY: &str = "is not a number of seconds";
    let (secs, rest) = text.split_once('.').unwrap_or((text, "0"));
    let secs = whole(secs).ok_or(WHY)?;
    whole(rest).ok_or(WHY)?;
    let nanos: String = rest.chars().chain("000000000".chars()).take(9).collect();
    let nanos = whole(&nanos).ok_or(WHY)?;
    Ok(Duration::from_secs(secs).saturating_add(Duration::from_nanos(nanos)))
}

/// When a reader's times are from: those in a response are the server's, so its own clock goes
/// before the reader's where it says what that shows.
#[derive(Clone, Copy)]
pub(super) struct Present(Timestamp);

impl Present {
    pub(super) fn of(headers: &HeaderMap, now: Timestamp) -> Self {
        let date = values(headers, DATE.as_str()).next();
        Self(date.and_then(|date| instant(date.ok()?)).unwrap_or(now))
    }

    /// `Retry-After`: whole seconds, or an HTTP date, the past being now.
    pub(super) fn delay(self, text: &str) -> Result<Duration, &'static str> {
        match whole(text) {
            Some(secs) => Ok(Duration::from_secs(secs)),
            None => instant(text)
                .map(|at| at.since(self.0))
                .ok_or("is neither whole seconds nor an HTTP date"),
        }
    }

    /// `X-RateLimit-Reset`: seconds from now, or a Unix time in seconds or milliseconds.
    pub(super) fn reset(self, text: &str) -> Result<Duration, &'static str> {
        let number = whole(text).ok_or("is not a whole number")?;
        Ok(match number {
            ..UNIX_SECS_FROM => Duration::from_secs(number),
            UNIX_SECS_FROM..UNIX_MILLIS_FROM => Timestamp::from_secs(number).since(self.0),
            UNIX_MILLIS_FROM.. => {
                let at = Timestamp::from_nanos(number.saturating_mul(1_000_000));
                at.since(self.0)
            }
        })
    }
}

/// The instant of an HTTP date in any of its three forms.
fn instant(text: &str) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(text).ok()?;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH + since)
}
