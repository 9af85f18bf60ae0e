//! Steps of the wall, glances, and readings while the clock is changed.

use super::*;

const HOUR: u64 = 3_600 * NANOS_PER_SEC;
const START: u64 = 1_700_000_000 * NANOS_PER_SEC;

fn line() -> Timeline {
    Timeline {
        base_nanos: START,
        base_mono_nanos: 0,
        slow: false,
    }
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

#[test]
fn edge_19_a_step_forward_is_taken_once() {
    let ahead = line().adjusted(at(START + HOUR), 0);
    assert_eq!(ahead.at(5), at(START + HOUR + 5));
    // Back again: time goes on from where it was, slower, and gives no hour twice.
    let back = ahead.adjusted(at(START + 10), 10);
    assert_eq!(back.at(10), at(START + HOUR + 10));
    assert!(back.slow);
}

#[test]
fn edge_18_a_step_back_locks_nobody_out() {
    let held = line().adjusted(at(START - HOUR), 0);
    let minute = 60 * NANOS_PER_SEC;
    let moved = held.at(minute).since(at(START));
    assert!(
        moved >= Duration::from_secs(58),
        "a minute still passes in about one: {moved:?}"
    );
}

#[test]
fn the_wall_is_caught_up_with() {
    let mut held = line().adjusted(at(START - HOUR), 0);
    let (mut mono, mut hours) = (0, 0);
    while held.slow {
        mono += HOUR;
        hours += 1;
        held = held.adjusted(at(START - HOUR + mono), mono);
        assert!(hours < 40);
    }
    assert_eq!(held.at(mono), at(START - HOUR + mono));
    assert!(hours >= 31, "an hour is made up for in 32: {hours}");
}

#[test]
fn a_step_back_beyond_reason_is_believed() {
    let far = START - 40 * 24 * HOUR;
    assert_eq!(line().adjusted(at(far), 7).at(7), at(far));
}

#[test]
fn a_slow_clocks_promise_is_kept() {
    let clock = SystemClock::new();
    clock.resume_from(wall() + Duration::from_secs(3_600));
    assert!(clock.is_slow());
    let wait = slow_wait(Duration::from_secs(31));
    assert!(wait >= Duration::from_secs(32) && wait < Duration::from_millis(32_001));
}

#[test]
fn time_goes_on_from_the_latest_seen() {
    let clock = SystemClock::new();
    let latest = wall() + Duration::from_secs(86_400);
    clock.resume_from(latest);
    assert!(clock.now() >= latest);
    clock.resume_from(wall() - Duration::from_secs(86_400));
    assert!(clock.now() >= latest, "an older mark changes nothing");
}

#[test]
fn a_glance_never_leads() {
    let clock = SystemClock::new();
    for round in 0..20_000 {
        if round % 500 == 0 {
            clock.adjust(wall);
        }
        let glance = clock.glance();
        let exact = clock.now();
        assert!(glance.at <= exact, "{glance:?} before {exact:?}");
    }
}

#[test]
fn a_glance_follows_the_time() {
    let clock = SystemClock::new();
    let before = clock.now();
    // Bound: half a minute; the note is some milliseconds old when the machine is at ease.
    let gave_up = std::time::Instant::now() + Duration::from_secs(30);
    while clock.glance().at <= before {
        assert!(std::time::Instant::now() < gave_up, "the note stands still");
        std::thread::yield_now();
    }
}

#[test]
fn a_note_that_is_not_trusted_is_not_read() {
    let clock = SystemClock::new();
    // Ordering: relaxed; there is no other thread.
    clock.since_note_nanos.store(NO_NOTE, Ordering::Relaxed);
    let before = clock.now();
    let glance = clock.glance();
    assert!(glance.is_exact() && glance.at >= before, "{glance:?}");
    clock.adjust(wall);
    assert!(since_note(line(), mono_nanos()) == NO_NOTE || !clock.glance().is_exact());
}

#[test]
fn a_slow_clocks_glance_is_slow_too() {
    let clock = SystemClock::new();
    clock.resume_from(wall() + Duration::from_secs(3_600));
    assert!(clock.is_slow());
    for _ in 0..1_000 {
        let glance = clock.glance();
        assert!(glance.at <= clock.now(), "{glance:?}");
    }
}

#[test]
fn readings_never_go_back_while_it_is_adjusted() {
    let clock = Arc::new(SystemClock::new());
    let reader = {
        let clock = clock.clone();
        std::thread::spawn(move || {
            let mut last = clock.now();
            for _ in 0..200_000 {
                let now = clock.now();
                assert!(now >= last, "{now:?} after {last:?}");
                last = now;
            }
        })
    };
    let mut step = 0;
    while !reader.is_finished() {
        step += 1;
        let back = Duration::from_millis(step % 50 * 10);
        clock.adjust(|| wall() - back);
    }
    reader.join().unwrap();
}
