//! The judge: opens what was left, and holds it against what was printed.

use std::path::Path;

use tollgate::{Limiter, Opened};

use crate::story::{Bounds, Fate, Stage, Story};
use crate::{LIMITS, POT, THREADS, counts, open, text};

/// Nothing durable for so long, and no reason told: too long for any drive of a rig.
const LATE_MILLIS: u64 = 10_000;

/// Says `PASS` if every promise was kept.
pub(crate) fn verify(dir: &Path) -> Result<String, String> {
    let is_killed = std::env::var("POWERCUT_RIG").is_ok_and(|rig| rig == "kill");
    let may_report = std::env::var("POWERCUT_LOSS").is_ok_and(|loss| loss == "reported");
    // What was read before the cut must be there; what was printed until it may be.
    let acknowledged = Story::read("POWERCUT_ACKS", is_killed, None)?;
    let seen = Story::read("POWERCUT_SEEN", is_killed, Some(&acknowledged))?;
    if !acknowledged.was_opened() {
        // The rig's own folder is not on the disk until something in it is.
        std::fs::create_dir_all(dir).map_err(text)?;
    }
    let unsound = unsound(dir, may_report);
    let limiter = open(dir)?;
    let health = limiter.health();
    println!("{}; {:?}", health.opened, health.recovery);
    let is_closed = acknowledged.stage == Stage::Closed && seen.stage == Stage::Closed;
    let is_on_disk = std::env::var("POWERCUT_TABLE").is_ok_and(|table| table == "data");
    let mut faults = acknowledged.faults.clone();
    faults.extend(unsound);
    faults.extend(seen.ranges_faults.iter().cloned());
    faults.extend(seen.excess.iter().cloned());
    let fate = match (is_killed, is_closed) {
        (true, _) => Fate::Killed,
        (false, true) if is_on_disk => {
            if health.opened != Opened::Clean {
                faults.push("it was closed before the cut, and is not found clean".into());
            }
            // As good as a kill: nothing is missing.
            Fate::Killed
        }
        (false, true) => Fate::Closed,
        (false, false) => Fate::Cut,
    };
    let (mut lag, mut is_lost) = (0, false);
    for thread in 0..THREADS {
        for (limit, count) in counts(&limiter, thread)?.into_iter().enumerate() {
            let bounds = Bounds {
                low: acknowledged.bounds(thread, limit, fate).low,
                ..seen.bounds(thread, limit, fate)
            };
            is_lost |= count < bounds.low;
            faults.extend(bounds.fault(count));
            if LIMITS[limit].name == "quota" {
                lag = lag.max(acknowledged.lag_millis(thread, limit, count));
            }
        }
    }
    let raced = seen.ranges.judge(&limiter, fate)?;
    is_lost |= raced.is_lost;
    faults.extend(raced.faults);
    judge_pots(&limiter, &acknowledged, &seen, &mut faults)?;
    if seen.late > LATE_MILLIS {
        faults.push(format!("{} ms late without a reason", seen.late));
    }
    println!("lag_ms={lag} lines={} faults={}", seen.lines, faults.len());
    if is_lost && may_report && !health.recovery.troubles.is_empty() {
        return Ok("PASS, the loss was told".into());
    }
    // The next life finds it closed or not, in turns.
    if seen.lines.is_multiple_of(2) {
        limiter.close().map_err(text)?;
    } else {
        std::mem::forget(limiter);
    }
    match faults.first() {
        None => Ok("PASS".into()),
        Some(first) => Err(format!("{first} (1 of {})", faults.len())),
    }
}

/// What the doctor calls wrong: nothing, in what a cut or a kill leaves. A drive that lies or fails
/// leaves what is.
fn unsound(dir: &Path, may_report: bool) -> Option<String> {
    let data = dir.join("limiter");
    let is_there = std::fs::read_dir(&data).is_ok_and(|mut all| all.next().is_some());
    let fails = std::env::var("POWERCUT_DRIVE").is_ok_and(|drive| drive == "fails");
    if may_report || fails || !is_there {
        return None;
    }
    match tollgate::doctor::examine(&data) {
        Ok(report) if report.is_healthy() => None,
        Ok(report) => Some(format!(
            "the doctor: {}",
            report.to_string().replace('\n', "; ")
        )),
        Err(error) => Some(format!("the doctor: {error}")),
    }
}

/// A pot admits what it holds, over all lives.
fn judge_pots(
    limiter: &Limiter,
    acknowledged: &Story,
    seen: &Story,
    faults: &mut Vec<String>,
) -> Result<(), String> {
    let pots = limiter.limit("pot").map_err(text)?;
    for (pot, took) in &seen.pots {
        let acknowledged = acknowledged.pots.get(pot).copied().unwrap_or(0);
        let count = pots.usage(pot.to_string().as_str()).used();
        if *took > POT || count < acknowledged {
            faults.push(format!(
                "pot {pot}: {took} of {POT} admitted, {count} counted"
            ));
        }
    }
    Ok(())
}
