//! Calendar periods: hours, days, weeks and months of an IANA time zone, as they really are.
//!
//! A day with a change of clocks has 23 or 25 hours, months have their own lengths, and where a
//! zone skips midnight the day starts when the zone says it does. All of that is `jiff`'s
//! knowledge; an edge is asked for once and remembered until it has passed.

use std::fmt;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

use super::Period;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;

/// The calendar periods a quota can run over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum CalendarUnit {
    Hour,
    Day,
    /// From Monday.
    Week,
    /// From Sunday.
    WeekFromSunday,
    Month,
}

impl CalendarUnit {
    /// The longest such a period can be, in seconds, zone changes included.
    pub(crate) const fn longest_secs(self) -> u64 {
        // A zone has moved by a day at most (Samoa, Kwajalein crossing the date line).
        const DAY: u64 = 86_400;
        match self {
            Self::Hour => 2 * 3_600,
            Self::Day => 2 * DAY,
            Self::Week | Self::WeekFromSunday => 8 * DAY,
            Self::Month => 32 * DAY,
        }
    }
}

impl fmt::Display for CalendarUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::WeekFromSunday => "week from Sunday",
            Self::Month => "month",
        })
    }
}

/// One unit in one time zone, with the current period remembered.
pub(crate) struct Calendar {
    unit: CalendarUnit,
    zone: TimeZone,
    zone_name: Box<str>,
    /// The period last worked out: start seconds above, end seconds below.
    current: AtomicU64,
}

impl Calendar {
    /// A calendar of `unit` in the IANA time zone `zone_name`.
    ///
    /// # Errors
    /// If there is no such zone.
    pub(crate) fn new(unit: CalendarUnit, zone_name: &str) -> Result<Self, jiff::Error> {
        let zone = TimeZone::get(zone_name)?;
        Ok(Self {
            unit,
            zone,
            zone_name: zone_name.into(),
            current: AtomicU64::new(0),
        })
    }

    pub(crate) fn unit(&self) -> CalendarUnit {
        self.unit
    }

    pub(crate) fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// The period that `now` is in. Its end is always later than `now`.
    pub(crate) fn period(&self, now: Timestamp) -> Period {
        // Ordering: relaxed. Both edges are one word, and a period is true whoever worked it out
        // and whenever; an old one is noticed by not containing `now`.
        let remembered = unpack(self.current.load(Ordering::Relaxed));
        let now_secs = super::secs(now.as_secs());
        if remembered.start_secs <= now_secs && now_secs < remembered.end_secs {
            return remembered;
        }
        let period = self.work_out(now, now_secs);
        // Ordering: relaxed, as above.
        self.current.store(pack(period), Ordering::Relaxed);
        period
    }

    #[cold]
    fn work_out(&self, now: Timestamp, now_secs: u32) -> Period {
        let period = self.edges(now).and_then(|(start, end)| {
            let start_secs = u32::try_from(start.timestamp().as_second().max(0)).ok()?;
            let end_secs = u32::try_from(end.timestamp().as_second()).ok()?;
            (start_secs <= now_secs && now_secs < end_secs).then_some(Period {
                start_secs,
                end_secs,
            })
        });
        // Beyond what the calendar reaches (the last period before `Timestamp::MAX`), a plain
        // aligned period stands in: its end is later than `now`, so nothing can spin on it.
        period.unwrap_or_else(|| {
            let span = u32::try_from(self.unit.longest_secs()).unwrap_or(u32::MAX);
            Period::aligned(now, span)
        })
    }

    fn edges(&self, now: Timestamp) -> Option<(Zoned, Zoned)> {
        let nanos = i128::from(now.as_nanos());
        let here = jiff::Timestamp::from_nanosecond(nanos)
            .ok()?
            .to_zoned(self.zone.clone());
        if self.unit == CalendarUnit::Hour {
            return self.hour_edges(&here);
        }
        let date = here.date();
        let first = match self.unit {
            CalendarUnit::Hour | CalendarUnit::Day => date,
            CalendarUnit::Week => date
                .checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days())
                .ok()?,
            CalendarUnit::WeekFromSunday => date
                .checked_sub(i64::from(date.weekday().to_sunday_zero_offset()).days())
                .ok()?,
            CalendarUnit::Month => date.first_of_month(),
        };
        let mut next = match self.unit {
            CalendarUnit::Hour | CalendarUnit::Day => first.checked_add(1.days()).ok()?,
            CalendarUnit::Week | CalendarUnit::WeekFromSunday => {
                first.checked_add(7.days()).ok()?
            }
            CalendarUnit::Month => first.checked_add(1.months()).ok()?,
        };
        let midnight = |date: jiff::civil::Date| {
            DateTime::from_parts(date, Time::midnight())
                .to_zoned(self.zone.clone())
                .ok()
        };
        let start = midnight(first)?;
        let mut end = midnight(next)?;
        // A zone that crossed the date line skipped a whole day: the next start is a day later.
        while end.timestamp() <= here.timestamp() {
            next = next.checked_add(1.days()).ok()?;
            end = midnight(next)?;
        }
        Some((start, end))
    }

    /// Hours are counted on the zone's own clock face, and last an hour or the part of one that a
    /// change of offset leaves: both of the hours from two to three in autumn are one period each.
    fn hour_edges(&self, here: &Zoned) -> Option<(Zoned, Zoned)> {
        let past_hour = i64::from(here.minute()) * 60 + i64::from(here.second());
        let subsecond = i64::from(here.subsec_nanosecond());
        let start = here
            .checked_sub(past_hour.seconds().nanoseconds(subsecond))
            .ok()?;
        let end = start.checked_add(1.hours()).ok()?;
        let after = self.zone.following(here.timestamp()).next();
        let before = self.zone.preceding(here.timestamp()).next();
        let start = match before {
            Some(change) if change.timestamp() > start.timestamp() => {
                change.timestamp().to_zoned(self.zone.clone())
            }
            _ => start,
        };
        let end = match after {
            Some(change) if change.timestamp() < end.timestamp() => {
                change.timestamp().to_zoned(self.zone.clone())
            }
            _ => end,
        };
        Some((start, end))
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calendar({} in {})", self.unit, self.zone_name)
    }
}

fn pack(period: Period) -> u64 {
    u64::from(period.start_secs) << 32 | u64::from(period.end_secs)
}

fn unpack(bits: u64) -> Period {
    let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
    Period {
        start_secs: u32::from_be_bytes([a, b, c, d]),
        end_secs: u32::from_be_bytes([e, f, g, h]),
    }
}
