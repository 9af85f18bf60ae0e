//! Times as logs write them: the common log format's, ISO 8601, or counted since 1970.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use tollgate::Timestamp;

use super::Malformed;

/// Reads times; one without an offset of its own is in `zone`.
///
/// A local time that a change of clocks repeats is taken as the first of the two, one that it
/// skips as an hour later.
#[derive(Clone)]
pub(crate) struct Stamps {
    zone: TimeZone,
    /// The text last read and what it meant: neighbouring lines tend to share their second.
    last: Option<(String, Timestamp)>,
    /// The day and the offset last read in the common form, and when that day began there, in
    /// seconds since 1970.
    day: Option<([u8; DAY_BYTES], [u8; OFFSET_BYTES], u64)>,
}

/// Bytes of `25/Oct/2015:04:11:25 +0100`, of its day and of its offset.
const COMMON_BYTES: usize = 26;
const DAY_BYTES: usize = 11;
const OFFSET_BYTES: usize = 5;

impl Default for Stamps {
    fn default() -> Self {
        Self::new(TimeZone::UTC)
    }
}

impl Stamps {
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            last: None,
            day: None,
        }
    }

    /// The instant of a text in the common form whose day and offset are the ones last read.
    fn of_same_day(&self, text: &str) -> Option<Timestamp> {
        let text: &[u8; COMMON_BYTES] = text.as_bytes().try_into().ok()?;
        let (day, offset, began) = self.day.as_ref()?;
        let rest = text.strip_prefix(day)?.strip_suffix(offset)?;
        let digit = |byte: u8| Some(u64::from(byte)).filter(|_| byte.is_ascii_digit());
        let two = |tens, ones| Some((digit(tens)? - 48) * 10 + digit(ones)? - 48);
        let &[b':', h, i, b':', m, n, b':', s, t, b' '] = rest else {
            return None;
        };
        let (hour, minute, second) = (two(h, i)?, two(m, n)?, two(s, t)?);
        let is_time = hour < 24 && minute < 60 && second < 60;
        is_time.then(|| Timestamp::from_secs(began + hour * 3_600 + minute * 60 + second))
    }

    /// Remembers the day of a text in the common form.
    fn remember_day(&mut self, text: &str, time: Timestamp) {
        let parts = || {
            let text: &[u8; COMMON_BYTES] = text.as_bytes().try_into().ok()?;
            let (day, rest) = text.split_first_chunk()?;
            let (time, offset) = rest.split_last_chunk()?;
            Some((*day, *offset, std::str::from_utf8(time).ok()?))
        };
        let Some((day, offset, clock)) = parts() else {
            return;
        };
        let into_day = |clock: &str| {
            let mut parts = clock.trim().trim_start_matches(':').split(':');
            let mut part = || parts.next()?.parse::<u64>().ok();
            let (hour, minute, second) = (part()?, part()?, part()?);
            // A leap second is read as the one before it.
            (second < 60).then_some(hour * 3_600 + minute * 60 + second)
        };
        let began = into_day(clock).and_then(|secs| time.as_secs().checked_sub(secs));
        self.day = began.map(|began| (day, offset, began));
    }

    /// The instant that `text` names.
    ///
    /// # Errors
    /// If it is in none of the known forms, or before 1970 or after [`Timestamp::MAX`].
    pub(super) fn parse(&mut self, text: &str) -> Result<Timestamp, Malformed> {
        if let Some((last, time)) = &self.last
            && last == text
        {
            return Ok(*time);
        }
        if let Some(time) = self.of_same_day(text) {
            return Ok(time);
        }
        let nanos = self.nanos(text).ok_or_else(|| {
            Malformed::new(format!(
                "no time that can be read: {}",
                super::fields::quoted(text)
            ))
        })?;
        let in_range = u64::try_from(nanos)
            .ok()
            .filter(|&nanos| nanos < Timestamp::MAX.as_nanos());
        let Some(nanos) = in_range else {
            return Err(Malformed::new(format!(
                "a time outside 1970 to 2106: {}",
                super::fields::quoted(text)
            )));
        };
        let time = Timestamp::from_nanos(nanos);
        if text.as_bytes().get(2) == Some(&b'/') {
            self.remember_day(text, time);
        }
        self.last = Some((text.to_owned(), time));
        Ok(time)
    }

    fn nanos(&self, text: &str) -> Option<i128> {
        let bytes = text.as_bytes();
        match (bytes.get(2), bytes.get(4)) {
            (Some(b'/'), _) => self.common(text),
            (_, Some(b'-')) => self.iso(text),
            _ => counted(text),
        }
    }

    /// `25/Oct/2015:04:11:25 +0100`, the offset optional.
    fn common(&self, text: &str) -> Option<i128> {
        if let Ok(time) = BrokenDownTime::parse("%d/%b/%Y:%H:%M:%S %z", text) {
            return Some(time.to_timestamp().ok()?.as_nanosecond());
        }
        // HAProxy writes milliseconds.
        let time = BrokenDownTime::parse("%d/%b/%Y:%H:%M:%S%.f", text).ok()?;
        self.local(time.to_datetime().ok()?)
    }

    /// `2023-11-16T18:17:03.97Z`, or with a space, or without an offset.
    fn iso(&self, text: &str) -> Option<i128> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Some(time.as_nanosecond());
        }
        self.local(text.parse().ok()?)
    }

    fn local(&self, time: DateTime) -> Option<i128> {
        let zoned = time.to_zoned(self.zone.clone()).ok()?;
        Some(zoned.timestamp().as_nanosecond())
    }
}

/// `1700000000`, `1700000000.123`: seconds, or so large that it must be milli-, micro- or
/// nanoseconds. Each unit's numbers reach from 1973 to beyond 5000 before the next one's begin.
fn counted(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let unit_nanos: i128 = match whole {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    // Digits beyond the ninth are less than a nanosecond of any unit.
    let digits = format!("{:0<9.9}", fraction);
    let billionths: i128 = digits.parse().ok()?;
    Some(i128::from(whole) * unit_nanos + billionths * unit_nanos / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, Malformed> {
        Stamps::new(TimeZone::UTC)
            .parse(text)
            .map(|time| time.to_string())
    }

    #[test]
    fn every_form() {
        let cases = [
            ("25/Oct/2015:04:11:25 +0100", "2015-10-25T03:11:25Z"),
            ("01/Jul/1995:00:00:01 -0400", "1995-07-01T04:00:01Z"),
            ("25/Oct/2015:04:11:25", "2015-10-25T04:11:25Z"),
            ("2024-05-12T00:00:17+02:00", "2024-05-11T22:00:17Z"),
            ("2023-07-10T11:42:18Z", "2023-07-10T11:42:18Z"),
            ("2023-11-16 18:17:03.9799600", "2023-11-16T18:17:03.97996Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.25", "2023-11-14T22:13:20.25Z"),
            ("1700000000250", "2023-11-14T22:13:20.25Z"),
            ("1700000000250.5", "2023-11-14T22:13:20.2505Z"),
            ("1700000000250000", "2023-11-14T22:13:20.25Z"),
            ("1700000000250000001", "2023-11-14T22:13:20.250000001Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_said() {
        for text in [
            "",
            "-",
            "yesterday",
            "32/Oct/2015:04:11:25 +0100",
            "2015-13-01T00:00:00Z",
        ] {
            assert!(
                read(text).is_err_and(|why| why.0.contains("no time")),
                "{text}"
            );
        }
        for text in ["1969-12-31T23:59:59Z", "2500-01-01T00:00:00Z"] {
            assert!(
                read(text).is_err_and(|why| why.0.contains("1970 to 2106")),
                "{text}"
            );
        }
    }

    #[test]
    fn local_times_are_in_the_zone_given() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let mut stamps = Stamps::new(berlin);
        let summer = stamps.parse("2024-07-01 12:00:00").unwrap();
        assert_eq!(summer.to_string(), "2024-07-01T10:00:00Z");
        let winter = stamps.parse("01/Jan/2024:12:00:00").unwrap();
        assert_eq!(winter.to_string(), "2024-01-01T11:00:00Z");
        // The second time of the night that two o'clock comes is not told apart from the first.
        let twice = stamps.parse("2024-10-27 02:30:00").unwrap();
        assert_eq!(twice.to_string(), "2024-10-27T00:30:00Z");
    }
}
