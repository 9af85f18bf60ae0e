//! Gauges of how a limiter is doing, and what all numbers mean.

use std::time::Duration;

use metrics::{SharedString, Unit, describe_counter, describe_gauge, gauge};

use crate::limiter::Limiter;

/// Sets every gauge.
pub(super) fn set(limiter: &Limiter) {
    let health = limiter.health();
    let writing = &health.writing;
    let troubles = [
        writing.trouble.is_some(),
        health.reservations.trouble.is_some(),
        health.growth.trouble.is_some(),
        health.trouble.is_some(),
    ];
    let oldest = writing.oldest_unwritten.unwrap_or(Duration::ZERO);
    for (name, value) in [
        ("tollgate_journal_backlog", float(writing.backlog)),
        (
            "tollgate_journal_oldest_unwritten_seconds",
            oldest.as_secs_f64(),
        ),
        ("tollgate_journal_bytes", float(writing.journal_bytes)),
        (
            "tollgate_reservations_bytes",
            float(health.reservations.bytes),
        ),
        (
            "tollgate_reservations_missing",
            float(health.reservations.admitted_without),
        ),
        ("tollgate_table_slots", float(health.slots)),
        ("tollgate_table_growing", float(health.growth.growing)),
        (
            "tollgate_table_refused_newcomers",
            float(health.newcomers_without_slot),
        ),
        (
            "tollgate_troubles",
            troubles.map(|is| f64::from(u8::from(is))).iter().sum(),
        ),
    ] {
        gauge!(name).set(value);
    }
    let policy = limiter.policy();
    for (name, _) in policy.concurrency() {
        let usage = limiter.running(name).unwrap_or_default();
        let limit = SharedString::from(name.to_owned());
        gauge!("tollgate_permits_running", "limit" => limit.clone()).set(float(usage.running));
        gauge!("tollgate_permits_waiting", "limit" => limit).set(float(usage.waiting));
    }
}

fn float(count: impl TryInto<u32>) -> f64 {
    // What is more than four milliards is not told apart by anybody.
    f64::from(count.try_into().unwrap_or(u32::MAX))
}

/// The gauges, their units, and what they mean.
const GAUGES: &[(&str, Unit, &str)] = &[
    (
        "tollgate_journal_backlog",
        Unit::Count,
        "Changed counters that are not in the journal yet",
    ),
    (
        "tollgate_journal_oldest_unwritten_seconds",
        Unit::Seconds,
        "How long the oldest change has waited to be durable; 0 if none waits",
    ),
    (
        "tollgate_journal_bytes",
        Unit::Bytes,
        "What the journal takes on the disk",
    ),
    (
        "tollgate_reservations_bytes",
        Unit::Bytes,
        "What the reservations of strict limits take on the disk",
    ),
    (
        "tollgate_reservations_missing",
        Unit::Count,
        "Admissions of strict limits without a reservation since the start",
    ),
    (
        "tollgate_table_slots",
        Unit::Count,
        "Counters that the table has room for now",
    ),
    (
        "tollgate_table_growing",
        Unit::Count,
        "Shards of the table that are being enlarged",
    ),
    (
        "tollgate_table_refused_newcomers",
        Unit::Count,
        "Checks since the start that found no room for a counter of their own",
    ),
    (
        "tollgate_troubles",
        Unit::Count,
        "Things that cannot be written or enlarged now",
    ),
    (
        "tollgate_permits_running",
        Unit::Count,
        "Permits that are out, by limit",
    ),
    (
        "tollgate_permits_waiting",
        Unit::Count,
        "Requests that wait for permits, by limit",
    ),
];

/// Says what each number means, to the recorder that there is.
pub(super) fn describe() {
    for (name, text) in [
        (
            "tollgate_requests_total",
            "Requests that were judged, by outcome",
        ),
        (
            "tollgate_decisions_total",
            "Decisions of limits, by limit and verdict",
        ),
    ] {
        describe_counter!(name, Unit::Count, text);
    }
    for (name, unit, text) in GAUGES {
        describe_gauge!(*name, *unit, *text);
    }
}
