//! Calendar periods against an independent computation: offsets, and civil dates by arithmetic.

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::{Calendar, CalendarUnit, Period};
use super::harness::UNITS;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Year times twelve plus month, of a day counted from 1970.
/// Source: the era-based algorithm of Howard Hinnant's "chrono-compatible date algorithms".
fn month_number(day: i64) -> i64 {
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Counted from March, so that the leap day is the last of its year.
    let month_from_march = (5 * day_of_year + 2) / 153;
    (era * 400 + year_of_era) * 12 + month_from_march
}

/// The number of the period that the clocks of a zone show at second `at`.
fn label(zone: &TimeZone, unit: CalendarUnit, at: i64) -> i64 {
    let local = at + offset(zone, at);
    let day = local.div_euclid(86_400);
    match unit {
        CalendarUnit::Hour => local.div_euclid(3_600),
        CalendarUnit::Day => day,
        // 1970 began on a Thursday.
        CalendarUnit::Week => (day + 3).div_euclid(7),
        CalendarUnit::WeekFromSunday => (day + 4).div_euclid(7),
        CalendarUnit::Month => month_number(day),
    }
}

fn offset(zone: &TimeZone, at: i64) -> i64 {
    let at = jiff::Timestamp::from_second(at).unwrap();
    i64::from(zone.to_offset(at).seconds())
}

/// True if a period begins at second `at`: its label was never shown before. For hours, also
/// where the offset changes.
fn is_edge(zone: &TimeZone, unit: CalendarUnit, at: i64) -> bool {
    let here = label(zone, unit, at);
    if unit == CalendarUnit::Hour {
        let moved = offset(zone, at) != offset(zone, at - 1);
        return moved || here != label(zone, unit, at - 1);
    }
    // Clocks are set back by three hours at most; quarters of an hour miss no change of date,
    // but for the second before.
    let mut before = (1..20).map(|quarters| at - quarters * 900).chain([at - 1]);
    before.all(|earlier| label(zone, unit, earlier) < here)
}

fn check(zone_name: &str, unit: CalendarUnit, now: Timestamp) -> Result<(), TestCaseError> {
    let zone = TimeZone::get(zone_name).unwrap();
    let calendar = Calendar::new(unit, zone_name).unwrap();
    let period = calendar.period(now);
    let (start, end) = (i64::from(period.start_secs), i64::from(period.end_secs));
    let seconds = i64::try_from(now.as_secs()).unwrap();
    prop_assert!(start <= seconds && seconds < end, "{:?}", period);
    prop_assert!(u64::try_from(end - start).unwrap() <= unit.longest_secs());
    prop_assert!(is_edge(&zone, unit, end), "{:?} ends off an edge", period);
    prop_assert!(
        start == 0 || is_edge(&zone, unit, start),
        "{:?} starts off an edge",
        period
    );
    // Nothing begins in between: no later label is shown.
    let step = ((end - start) / 50).max(1);
    for at in (start..end)
        .step_by(usize::try_from(step).unwrap())
        .chain([end - 1])
    {
        prop_assert!(
            label(&zone, unit, at) <= label(&zone, unit, start),
            "{:?}",
            period
        );
    }
    // Asked afresh, so that nothing remembered helps: the neighbours touch, both ends agree.
    let afresh = |secs: u32, nanos: u64| {
        let at = Timestamp::from_secs(u64::from(secs)).plus_nanos(nanos);
        Calendar::new(unit, zone_name).unwrap().period(at)
    };
    prop_assert_eq!(afresh(period.start_secs, 0), period);
    prop_assert_eq!(afresh(period.end_secs - 1, NANOS_PER_SEC - 1), period);
    prop_assert_eq!(afresh(period.end_secs, 0).start_secs, period.end_secs);
    if period.start_secs > 0 {
        let before = afresh(period.start_secs - 1, NANOS_PER_SEC - 1);
        prop_assert_eq!(before.end_secs, period.start_secs);
    }
    Ok(())
}

fn zones() -> impl Strategy<Value = String> {
    let names: Vec<String> = jiff::tz::db()
        .available()
        .map(|name| name.to_string())
        .collect();
    assert!(names.len() > 300, "{} zones", names.len());
    let odd = [
        "America/St_Johns",
        "America/Moncton",
        "Antarctica/Casey",
        "Antarctica/Troll",
    ];
    let odd = prop::sample::select(odd.map(String::from).to_vec());
    prop_oneof![3 => prop::sample::select(names), 1 => odd]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn periods_tile_time(
        zone in zones(), unit in prop::sample::select(UNITS.to_vec()),
        nanos in 0..4_200_000_000_000_000_000_u64,
    ) {
        check(&zone, unit, Timestamp::from_nanos(nanos))?;
    }

    #[test]
    fn periods_tile_time_around_changes_of_offset(
        zone in zones(), from in 0..2_000_000_000_i64, near in -90_000..90_000_i64,
    ) {
        let from = jiff::Timestamp::from_second(from).unwrap();
        let rules = TimeZone::get(&zone).unwrap();
        let Some(change) = rules.following(from).next() else { return Ok(()) };
        let at = change.timestamp().as_second();
        for seconds in [at - 1, at, at + 1, at + near, at + near / 50] {
            let now = Timestamp::from_secs(u64::try_from(seconds).unwrap());
            for unit in UNITS {
                check(&zone, unit, now)?;
                check(&zone, unit, now.plus_nanos(999_999_999))?;
            }
        }
    }

    #[test]
    fn what_is_remembered_changes_nothing(
        zone in zones(), unit in prop::sample::select(UNITS.to_vec()),
        steps in prop::collection::vec(any::<u32>(), 2..20),
    ) {
        let calendar = Calendar::new(unit, &zone).unwrap();
        for secs in steps {
            let now = Timestamp::from_secs(u64::from(secs));
            let afresh = Calendar::new(unit, &zone).unwrap();
            prop_assert_eq!(calendar.period(now), afresh.period(now));
            let next = Timestamp::from_secs(u64::from(calendar.period(now).end_secs));
            prop_assert_eq!(calendar.period(next), afresh.period(next));
        }
    }
}

#[test]
fn the_end_of_time_has_a_period_too() {
    for unit in UNITS {
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"] {
            let period = Calendar::new(unit, zone).unwrap().period(Timestamp::MAX);
            assert!(u64::from(period.start_secs) <= Timestamp::MAX.as_secs());
            assert_eq!(period.end_secs, u32::MAX, "{unit} in {zone}");
            let first = Calendar::new(unit, zone).unwrap().period(Timestamp::EPOCH);
            assert_eq!(first.start_secs, 0, "{unit} in {zone}");
            assert!(first.end_secs > 0);
        }
    }
}

#[test]
fn epoch_windows_tile_time() {
    for span in [1, 7, 60, 86_400] {
        let mut end = 1_699_999_999 / span * span;
        for _ in 0..100 {
            let period = Period::aligned(Timestamp::from_secs(u64::from(end)), span);
            assert_eq!((period.start_secs, period.end_secs), (end, end + span));
            end = period.end_secs;
        }
    }
}

#[test]
fn ends_of_tables_and_changes_of_name_cut_no_hour() {
    // Many zone files list a change to the same offset at the last second of 31 bits.
    for zone in ["Asia/Aden", "UTC", "Europe/London"] {
        let at = Timestamp::from_secs(2_147_483_647);
        for now in [at.minus_nanos(1), at, at.plus_nanos(1)] {
            let period = Calendar::new(CalendarUnit::Hour, zone).unwrap().period(now);
            let found = (period.start_secs, period.end_secs);
            assert_eq!(found, (2_147_482_800, 2_147_486_400), "{zone}");
        }
    }
}
