//! Calendar periods where clocks and calendars are odd, with edges worked out elsewhere: by
//! Python's `zoneinfo`, from the same time zone database.

use super::super::{Calendar, CalendarUnit, Retry};
use super::harness::Counter;
use crate::time::Timestamp;

use CalendarUnit::{Day, Hour, Month, Week, WeekFromSunday};

/// Checks that in `zone` these seconds are edges of `unit`, with no other between them.
fn edges(zone: &str, unit: CalendarUnit, edges: &[u64]) {
    for pair in edges.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        for secs in [start, start + 1, (start + end) / 2, end - 1] {
            for now in [
                Timestamp::from_secs(secs),
                Timestamp::from_secs(secs).plus_nanos(1),
            ] {
                let period = Calendar::new(unit, zone).unwrap().period(now);
                let found = (u64::from(period.start_secs), u64::from(period.end_secs));
                assert_eq!(found, (start, end), "{unit} in {zone} at {now}");
            }
        }
    }
}

#[test]
fn days_of_23_and_25_hours() {
    edges("America/New_York", Day, &[1_710_046_800, 1_710_129_600]);
    assert_eq!(1_710_129_600 - 1_710_046_800, 23 * 3_600);
    edges("America/New_York", Day, &[1_730_606_400, 1_730_696_400]);
    assert_eq!(1_730_696_400 - 1_730_606_400, 25 * 3_600);
}

#[test]
fn zones_that_skip_midnight_begin_the_day_at_one() {
    edges(
        "America/Sao_Paulo",
        Day,
        &[1_541_214_000, 1_541_300_400, 1_541_383_200],
    );
    edges(
        "Africa/Cairo",
        Day,
        &[1_713_996_000, 1_714_082_400, 1_714_165_200],
    );
    edges(
        "Asia/Beirut",
        Day,
        &[1_648_245_600, 1_648_332_000, 1_648_414_800],
    );
}

#[test]
fn a_midnight_that_comes_twice_begins_the_day_once() {
    edges("America/Sao_Paulo", Day, &[1_518_832_800, 1_518_922_800]);
    edges(
        "America/Havana",
        Day,
        &[1_699_070_400, 1_699_156_800, 1_699_246_800],
    );
}

#[test]
fn clocks_set_back_across_midnight_do_not_open_a_day_twice() {
    // At a minute past midnight it was 23:01 again; 562,131,000 is the second midnight.
    let midnights = [562_041_000, 562_127_400, 562_217_400];
    assert!((midnights[1]..midnights[2]).contains(&562_131_000));
    edges("America/St_Johns", Day, &midnights);
    for secs in [
        562_127_459,
        562_127_460,
        562_129_000,
        562_130_999,
        562_131_000,
    ] {
        let calendar = Calendar::new(Day, "America/St_Johns").unwrap();
        let period = calendar.period(Timestamp::from_secs(secs));
        assert_eq!(u64::from(period.start_secs), midnights[1], "at {secs}");
    }
}

#[test]
fn a_gap_that_begins_before_midnight_ends_the_day_early() {
    // No zone has done so since 1970 (Toronto did in 1919): 23:30 on the Saturday before the last
    // Sunday of March is 00:30 of that Sunday.
    let zone = jiff::tz::TimeZone::posix("XST0XDT,M3.5.0/-0:30,M10.5.0/2").unwrap();
    let calendar = Calendar::in_zone(Day, zone, "made up");
    // 2024-03-31T00:00:00Z less half an hour, and the two midnights around it.
    let (before, change, after) = (1_711_756_800, 1_711_841_400, 1_711_926_000);
    for (start, end) in [(before, change), (change, after)] {
        for secs in [start, start + 1_799, start + 3_599, end - 1] {
            let period = calendar.period(Timestamp::from_secs(secs));
            assert_eq!(u64::from(period.start_secs), start, "at {secs}");
            assert_eq!(u64::from(period.end_secs), end, "at {secs}");
        }
    }
}

#[test]
fn a_day_that_never_was_has_no_period() {
    // Samoa went from the 29th to the 31st of December 2011, Kwajalein from the 20th to the 22nd
    // of August 1993.
    edges(
        "Pacific/Apia",
        Day,
        &[1_325_152_800, 1_325_239_200, 1_325_325_600],
    );
    edges(
        "Pacific/Kwajalein",
        Day,
        &[745_848_000, 745_934_400, 746_020_800],
    );
    // Samoa's week had six days.
    edges("Pacific/Apia", Week, &[1_324_893_600, 1_325_412_000]);
    assert_eq!(1_325_412_000 - 1_324_893_600, 6 * 86_400);
}

#[test]
fn half_an_hour_of_lord_howe() {
    let zone = "Australia/Lord_Howe";
    edges(zone, Day, &[1_728_135_000, 1_728_219_600]);
    edges(zone, Day, &[1_712_408_400, 1_712_496_600]);
    // From 2:00 to 2:30 in spring: the hour from two to three lasts half an hour.
    edges(
        zone,
        Hour,
        &[1_728_138_600, 1_728_142_200, 1_728_144_000, 1_728_147_600],
    );
    // From 2:00 back to 1:30 in autumn: half an hour of the one from one to two comes again.
    edges(zone, Hour, &[1_712_412_000, 1_712_415_600, 1_712_417_400]);
}

#[test]
fn an_hour_that_comes_twice_is_two_hours() {
    edges(
        "America/New_York",
        Hour,
        &[1_730_610_000, 1_730_613_600, 1_730_617_200],
    );
    // Kathmandu is 5:45 ahead: its hours begin at a quarter past.
    edges("Asia/Kathmandu", Hour, &[1_700_000_100, 1_700_003_700]);
}

#[test]
fn months_have_their_own_lengths() {
    edges("UTC", Month, &[1_706_745_600, 1_709_251_200]);
    assert_eq!(1_709_251_200 - 1_706_745_600, 29 * 86_400);
    edges("UTC", Month, &[1_675_209_600, 1_677_628_800]);
    assert_eq!(1_677_628_800 - 1_675_209_600, 28 * 86_400);
    // 2100 is no leap year.
    edges("UTC", Month, &[4_105_123_200, 4_107_542_400]);
    assert_eq!(4_107_542_400_u64 - 4_105_123_200, 28 * 86_400);
    edges("Europe/Berlin", Month, &[1_709_247_600, 1_711_922_400]);
    assert_eq!(1_711_922_400 - 1_709_247_600, 31 * 86_400 - 3_600);
}

#[test]
fn the_year_ends_within_a_week_and_between_months() {
    edges("UTC", Month, &[1_733_011_200, 1_735_689_600, 1_738_368_000]);
    edges("UTC", Week, &[1_735_516_800, 1_736_121_600]);
    edges("UTC", WeekFromSunday, &[1_735_430_400, 1_736_035_200]);
}

#[test]
fn a_quota_lasts_as_long_as_its_day() {
    let mut counter = Counter::calendar(3, Day, "America/New_York");
    let (start, end) = (
        Timestamp::from_secs(1_730_606_400),
        Timestamp::from_secs(1_730_696_400),
    );
    assert!(counter.take(start, 3).is_some());
    // 24 hours on it is still the same day, of 25.
    let a_day_on = Timestamp::from_secs(1_730_606_400 + 86_400);
    assert!(counter.take(a_day_on, 1).is_none());
    assert_eq!(counter.retry(a_day_on, 1), Retry::At(end));
    assert_eq!(counter.status(a_day_on).reset, end);
    assert!(counter.take(end.minus_nanos(1), 1).is_none());
    assert!(counter.take(end, 3).is_some());
}

#[test]
fn zones_are_named_as_the_database_names_them() {
    let calendar = Calendar::new(Day, "america/NEW_york").unwrap();
    assert_eq!(calendar.zone_name(), "America/New_York");
    assert_eq!(calendar.unit(), Day);
    assert_eq!(format!("{calendar:?}"), "Calendar(day in America/New_York)");
    assert!(Calendar::new(Day, "Mars/Olympus_Mons").is_err());
}
