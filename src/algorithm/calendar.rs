//! Calendar periods: hours, days, weeks and months of an IANA time zone, as they really are.
//!
//! A day with a change of clocks has 23 or 25 hours, months have their own lengths, and where a
//! zone skips midnight the day starts when the zone says it does. All of that is `jiff`'s
//! knowledge; an edge is asked for once and remembered until it has passed.

use std::fmt;

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
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
        // As the database spells it: names are found in any case, but mean one zone.
        let name = zone.iana_name().unwrap_or(zone_name).to_owned();
        Ok(Self::in_zone(unit, zone, &name))
    }

    pub(super) fn in_zone(unit: CalendarUnit, zone: TimeZone, zone_name: &str) -> Self {
        Self {
            unit,
            zone,
            zone_name: zone_name.into(),
            current: AtomicU64::new(0),
        }
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
        let seconds = |at: jiff::Timestamp| u32::try_from(at.as_second().max(0));
        let period = self.edges(now).map(|(start, end)| Period {
            start_secs: seconds(start).unwrap_or(now_secs),
            // Bound: the period that `Timestamp::MAX` is in ends with the last second of a word.
            end_secs: seconds(end).unwrap_or(u32::MAX),
        });
        // Should the calendar fail, a plain aligned period stands in: its end is later than `now`,
        // so nothing can spin on it.
        period.unwrap_or_else(|| {
            let span = u32::try_from(self.unit.longest_secs()).unwrap_or(u32::MAX);
            Period::aligned(now, span)
        })
    }

    /// The edges around `now`: the last one that is not later, and the one after it.
    fn edges(&self, now: Timestamp) -> Option<(jiff::Timestamp, jiff::Timestamp)> {
        let now = jiff::Timestamp::from_nanosecond(i128::from(now.as_nanos())).ok()?;
        let here = now.to_zoned(self.zone.clone());
        let date = here.date();
        let (first, step) = match self.unit {
            CalendarUnit::Hour => return self.hour_edges(&here),
            CalendarUnit::Day => (date, 1.days()),
            CalendarUnit::Week => {
                let past = i64::from(date.weekday().to_monday_zero_offset());
                (date.checked_sub(past.days()).ok()?, 7.days())
            }
            CalendarUnit::WeekFromSunday => {
                let past = i64::from(date.weekday().to_sunday_zero_offset());
                (date.checked_sub(past.days()).ok()?, 7.days())
            }
            CalendarUnit::Month => (date.first_of_month(), 1.months()),
        };
        let next = first.checked_add(step).ok()?;
        let (start, end) = (self.first_instant(first)?, self.first_instant(next)?);
        if end > now {
            return Some((start, end));
        }
        // Clocks set back across midnight repeat the end of a date after the next has begun. What
        // has begun has begun: the next period is not opened twice.
        let after = next.checked_add(step).ok()?;
        Some((end, self.first_instant(after)?))
    }

    /// The first instant at which the zone's clocks show `date`, or a later one if it has none.
    fn first_instant(&self, date: Date) -> Option<jiff::Timestamp> {
        let midnight = self
            .zone
            .to_ambiguous_zoned(date.to_datetime(Time::midnight()));
        let skipped = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
        // Of a midnight that comes twice this is the first; of one that is skipped, an instant
        // as far after the change as the midnight is after the last second shown before it.
        let instant = midnight.compatible().ok()?.timestamp();
        if !skipped {
            return Some(instant);
        }
        let past = instant.checked_add(1.nanoseconds()).ok()?;
        let mut changes = self.zone.preceding(past).map(|change| change.timestamp());
        changes.find(|at| self.moves(*at))
    }

    /// True if the offset changes at `at`. Zone files also list changes of name, and mere ends of
    /// tables.
    fn moves(&self, at: jiff::Timestamp) -> bool {
        let before = at.checked_sub(1.nanoseconds());
        before.is_ok_and(|before| self.zone.to_offset(before) != self.zone.to_offset(at))
    }

    /// Hours are counted on the zone's own clock face, and last an hour or the part of one that a
    /// change of offset leaves: both of the hours from two to three in autumn are one period each.
    fn hour_edges(&self, here: &Zoned) -> Option<(jiff::Timestamp, jiff::Timestamp)> {
        let now = here.timestamp();
        let past_secs = i64::from(here.minute()) * 60 + i64::from(here.second());
        let past_nanos = i64::from(here.subsec_nanosecond());
        let start = now
            .checked_sub(past_secs.seconds().nanoseconds(past_nanos))
            .ok()?;
        let end = start.checked_add(1.hours()).ok()?;
        // `preceding` leaves out a change at this very instant, which has happened.
        let past = now.checked_add(1.nanoseconds()).ok()?;
        let before = self.zone.preceding(past).map(|change| change.timestamp());
        let after = self.zone.following(now).map(|change| change.timestamp());
        let start_cut = before
            .take_while(|at| *at > start)
            .find(|at| self.moves(*at));
        let end_cut = after.take_while(|at| *at < end).find(|at| self.moves(*at));
        Some((start_cut.unwrap_or(start), end_cut.unwrap_or(end)))
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
