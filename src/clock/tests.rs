//! Steps of the wall, and a counter whose rate and origin are moved by hand.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::line::{Line, Rate, Sample};
use super::system::{Instruments, SystemClock};
use super::timeline::{Timeline, slow_wait};
use crate::sync::Arc;
use crate::time::{NANOS_PER_SEC, Timestamp};

const HOUR: u64 = 3_600 * NANOS_PER_SEC;
const START: u64 = 1_700_000_000 * NANOS_PER_SEC;
const TICK: Duration = Duration::from_millis(100);

fn timeline() -> Timeline {
    Timeline {
        base_nanos: START,
        base_boot_nanos: 0,
        is_slow: false,
    }
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

#[test]
fn edge_19_a_step_forward_is_taken_once() {
    let ahead = timeline().adjusted(at(START + HOUR), 0);
    assert_eq!(ahead.at(5), at(START + HOUR + 5));
    // Back again: time goes on from where it was, slower, and gives no hour twice.
    let back = ahead.adjusted(at(START + 10), 10);
    assert_eq!(back.at(10), at(START + HOUR + 10));
    assert!(back.is_slow);
}

#[test]
fn edge_18_a_step_back_locks_nobody_out() {
    let held = timeline().adjusted(at(START - HOUR), 0);
    let minute = 60 * NANOS_PER_SEC;
    let moved = held.at(minute).since(at(START));
    assert!(
        moved >= Duration::from_secs(58),
        "a minute still passes in about one: {moved:?}"
    );
}

#[test]
fn the_wall_is_caught_up_with() {
    let mut held = timeline().adjusted(at(START - HOUR), 0);
    let (mut boot, mut hours) = (0, 0);
    while held.is_slow {
        boot += HOUR;
        hours += 1;
        held = held.adjusted(at(START - HOUR + boot), boot);
        assert!(hours < 40);
    }
    assert_eq!(held.at(boot), at(START - HOUR + boot));
    assert!(hours >= 31, "an hour is made up for in 32: {hours}");
}

#[test]
fn a_step_back_beyond_reason_is_believed() {
    let far = START - 40 * 24 * HOUR;
    assert_eq!(timeline().adjusted(at(far), 7).at(7), at(far));
}

/// A machine whose clocks are moved by hand. The counter's rate is in ticks a microsecond.
#[derive(Debug)]
struct Model {
    ticks: AtomicU64,
    boot_nanos: AtomicU64,
    wall_nanos: AtomicU64,
    ticks_a_micro: AtomicU64,
    is_trusted: AtomicBool,
}

impl Model {
    fn load(word: &AtomicU64) -> u64 {
        // Ordering: sequentially consistent; the tests are not about it.
        word.load(Ordering::SeqCst)
    }

    /// Time goes on, and the counter with it.
    fn pass(&self, span: Duration) {
        self.pass_without_counter(span);
        let ticks = span.as_nanos() as u64 * Self::load(&self.ticks_a_micro) / 1_000;
        self.ticks.fetch_add(ticks, Ordering::SeqCst);
    }

    /// Time goes on while the counter stands still, as while a machine is suspended.
    fn pass_without_counter(&self, span: Duration) {
        let nanos = span.as_nanos() as u64;
        self.boot_nanos.fetch_add(nanos, Ordering::SeqCst);
        self.wall_nanos.fetch_add(nanos, Ordering::SeqCst);
    }

    fn set(&self, word: &AtomicU64, value: u64) {
        word.store(value, Ordering::SeqCst);
    }
}

impl Instruments for Arc<Model> {
    fn ticks(&self) -> u64 {
        Model::load(&self.ticks)
    }

    fn ticks_in_order(&self) -> u64 {
        Model::load(&self.ticks)
    }

    fn boot_nanos(&self) -> u64 {
        Model::load(&self.boot_nanos)
    }

    fn wall(&self) -> Timestamp {
        at(Model::load(&self.wall_nanos))
    }

    fn is_counter_trusted(&self) -> bool {
        self.is_trusted.load(Ordering::SeqCst)
    }
}

/// A machine, and a clock that goes by its counter of 3 GHz already.
fn begun() -> (Arc<Model>, SystemClock<Arc<Model>>) {
    let model = Arc::new(Model {
        ticks: AtomicU64::new(1 << 50),
        boot_nanos: AtomicU64::new(77 * NANOS_PER_SEC),
        wall_nanos: AtomicU64::new(START),
        ticks_a_micro: AtomicU64::new(3_000),
        is_trusted: AtomicBool::new(true),
    });
    let clock = SystemClock::with(model.clone());
    for _ in 0..2 {
        assert!(!clock.health().reads_counter, "two looks must agree");
        model.pass(TICK);
        clock.adjust();
    }
    assert!(clock.health().reads_counter);
    (model, clock)
}

/// What the clock should show.
fn truth(model: &Model) -> Timestamp {
    at(Model::load(&model.wall_nanos))
}

fn off_by(model: &Model, clock: &SystemClock<Arc<Model>>) -> Duration {
    let (now, truth) = (clock.now(), truth(model));
    now.since(truth).max(truth.since(now))
}

#[test]
fn readings_follow_the_counter_between_two_looks() {
    let (model, clock) = begun();
    for _ in 0..1_000 {
        model.pass(Duration::from_micros(97));
        assert!(off_by(&model, &clock) <= Duration::from_nanos(2));
    }
    // It is the counter that is read: the kernel's clock alone moves nothing.
    let before = clock.now();
    model.pass_without_counter(Duration::from_millis(1));
    assert_eq!(clock.now(), before);
}

#[test]
fn a_counter_that_drifts_is_followed_and_told() {
    let (model, clock) = begun();
    let mut ticks_a_micro = 3_000_000;
    let mut last = clock.now();
    for look in 0..2_000_u64 {
        // By up to 100 parts in a million from look to look.
        ticks_a_micro += look % 7 * 50;
        ticks_a_micro -= look % 5 * 70;
        let ticks = TICK.as_nanos() as u64 * ticks_a_micro / 1_000_000;
        for _ in 0..10 {
            model.pass_without_counter(TICK / 10);
            model.ticks.fetch_add(ticks / 10, Ordering::SeqCst);
            let now = clock.now();
            assert!(now >= last, "{now:?} after {last:?}");
            last = now;
            assert!(off_by(&model, &clock) < Duration::from_micros(50));
        }
        let off = off_by(&model, &clock);
        clock.adjust();
        let told = clock.health().last_error;
        assert!(
            off <= told + Duration::from_nanos(2),
            "{off:?}, told {told:?}"
        );
    }
    let health = clock.health();
    assert!(health.reads_counter && health.worst_error < Duration::from_micros(50));
    assert_eq!(health.rate_changes, 0);
}

/// Suspended for an hour: the counter stood still or began anew. At the next look the time is
/// right, and until the rate is known again the kernel is asked.
#[test]
fn a_suspended_machine_is_noticed_at_the_next_look() {
    for restarts in [false, true] {
        let (model, clock) = begun();
        let before = clock.now();
        model.pass_without_counter(Duration::from_secs(3_600));
        if restarts {
            model.set(&model.ticks, 5);
        }
        // What can be shown until then: no earlier time, and none that is ahead.
        let now = clock.now();
        assert!(now >= before && now <= truth(&model), "{now:?}");
        model.pass(TICK / 2);
        clock.adjust();
        let health = clock.health();
        assert_eq!((health.reads_counter, health.rate_changes), (false, 1));
        for _ in 0..2 {
            assert_eq!(clock.now(), truth(&model));
            model.pass(TICK);
            assert_eq!(clock.now(), truth(&model));
            clock.adjust();
        }
        assert!(clock.health().reads_counter);
        assert!(off_by(&model, &clock) <= Duration::from_nanos(2));
    }
}

/// A guest that is moved to a host whose counter is twice as fast: time is ahead by a tenth of a
/// second at most, a sixteenth slower until that is made up for, and never goes back.
#[test]
fn a_migration_to_another_frequency_is_bounded() {
    for ticks_a_micro in [1_500, 2_997, 3_003, 6_000, 30_000] {
        let (model, clock) = begun();
        model.set(&model.ticks_a_micro, ticks_a_micro);
        let mut last = clock.now();
        let worst = TICK * u32::try_from(ticks_a_micro.max(3_000)).unwrap() / 3_000;
        for step in 1..=4_000 {
            model.pass(TICK / 10);
            let now = clock.now();
            assert!(now >= last, "{now:?} after {last:?}");
            last = now;
            assert!(off_by(&model, &clock) <= worst, "{ticks_a_micro}");
            if step % 10 == 0 {
                clock.adjust();
            }
        }
        assert!(clock.health().reads_counter);
        assert!(off_by(&model, &clock) < Duration::from_micros(1));
    }
}

/// Two processors whose counters differ: one that is behind the look shows the time of the look or
/// later, and one that is far ahead has the kernel asked.
#[test]
fn processors_that_disagree_show_no_nonsense() {
    let (model, clock) = begun();
    let base = Model::load(&model.ticks);
    model.pass(Duration::from_millis(1));
    let truth = truth(&model);
    for behind in [1, 1_000, 3_000_000, 3_000_000_000] {
        model.set(&model.ticks, base - behind);
        let now = clock.now();
        assert!(now <= truth + Duration::from_secs(2), "{behind}: {now:?}");
        assert!(now >= at(START), "{behind}: {now:?}");
    }
    for ahead in [u64::MAX - base, 1 << 40] {
        model.set(&model.ticks, base + ahead);
        let now = clock.now();
        // No look came for two seconds, as far as that counter tells.
        assert!(
            now.since(truth) <= Duration::from_secs(2),
            "{ahead}: {now:?}"
        );
    }
}

#[test]
fn without_looks_the_kernel_is_asked_and_time_goes_on() {
    let (model, clock) = begun();
    let mut last = clock.now();
    for _ in 0..100 {
        model.pass(TICK);
        let now = clock.now();
        assert!(now >= last);
        last = now;
        assert!(
            off_by(&model, &clock) <= Duration::from_nanos(20),
            "{now:?}"
        );
    }
}

#[test]
fn a_counter_that_is_not_trusted_is_never_gone_by() {
    let (model, _) = begun();
    model.is_trusted.store(false, Ordering::SeqCst);
    let clock = SystemClock::with(model.clone());
    for _ in 0..10 {
        model.pass(TICK);
        model.ticks.fetch_add(1 << 35, Ordering::SeqCst);
        assert_eq!(clock.now(), truth(&model));
        clock.adjust();
        assert!(!clock.health().reads_counter);
    }
}

#[test]
fn a_slow_clocks_promise_is_kept_by_the_counter_too() {
    let (model, clock) = begun();
    clock.resume_from(truth(&model) + Duration::from_secs(3_600));
    assert!(clock.is_slow());
    for _ in 0..3 {
        model.pass(TICK);
        clock.adjust();
    }
    assert!(clock.health().reads_counter && clock.is_slow());
    let wait = slow_wait(Duration::from_secs(31));
    assert!(wait >= Duration::from_secs(32) && wait < Duration::from_millis(32_001));
    let before = clock.now();
    for _ in 0..320 {
        model.pass(TICK);
        clock.adjust();
    }
    let moved = clock.now().since(before);
    let most = Duration::from_millis(31_001);
    assert!(
        moved >= Duration::from_secs(31) && moved <= most,
        "{moved:?}"
    );
}

#[test]
fn a_wall_that_was_set_back_by_months_is_believed_by_the_counter_too() {
    let (model, clock) = begun();
    model.wall_nanos.fetch_sub(40 * 24 * HOUR, Ordering::SeqCst);
    for _ in 0..4 {
        model.pass(TICK);
        clock.adjust();
    }
    assert!(off_by(&model, &clock) <= Duration::from_nanos(20));
}

#[test]
fn time_goes_on_from_the_latest_seen() {
    let clock = SystemClock::new();
    let wall = clock.now();
    let latest = wall + Duration::from_secs(86_400);
    clock.resume_from(latest);
    assert!(clock.now() >= latest);
    clock.resume_from(wall - Duration::from_secs(86_400));
    assert!(clock.now() >= latest, "an older mark changes nothing");
}

#[test]
fn the_machines_own_clock_never_goes_back_while_it_is_looked_at() {
    let clock = Arc::new(SystemClock::new());
    let reader = {
        let clock = clock.clone();
        std::thread::spawn(move || {
            let mut last = clock.now();
            for _ in 0..2_000_000 {
                let now = clock.now();
                assert!(now >= last, "{now:?} after {last:?}");
                last = now;
            }
        })
    };
    while !reader.is_finished() {
        std::thread::sleep(Duration::from_millis(5));
        clock.adjust();
    }
    reader.join().unwrap();
}

proptest! {
    /// A new line shows no less than the old one, at the tick at which it begins and for as long
    /// as others may still go by the old one; and it ends within what fits.
    #[test]
    fn a_new_line_never_goes_back(
        rates in prop::array::uniform2((1_u64 << 26)..(1000 << 32)), start in any::<u32>(),
        gone in 0_u64..1 << 34, off in -2_000_000_000_i64..2_000_000_000, later in 0_u64..1 << 12,
    ) {
        let base = u64::from(start) + START;
        let old = Line::next(1 << 40, Rate(rates[0]), base, Line::NONE, 0);
        let ticks = old.start_ticks + gone % old.ticks;
        let ours = old.at(ticks).unwrap();
        let target = ours.saturating_add_signed(off);
        let line = Line::next(ticks, Rate(rates[1]), target, old, ours);
        prop_assert!(line.at(ticks).unwrap() >= ours.max(target));
        if let (Some(new), Some(old)) = (line.at(ticks + later), old.at(ticks + later)) {
            prop_assert!(new >= old, "{} after {}", new, old);
        }
        let end = line.at(ticks + line.ticks - 1).unwrap();
        prop_assert!(end <= line.end_nanos() && line.at(ticks + line.ticks).is_none());
        prop_assert!(line.at(ticks.wrapping_sub(1)).is_none());
    }

    #[test]
    fn a_rate_is_what_was_measured(
        ticks in 1_000_u64..1 << 34, nanos in 1_u64..10_000_000_000,
    ) {
        let former = Sample { ticks: 5, boot_nanos: 7 };
        let latter = Sample { ticks: 5 + ticks, boot_nanos: 7 + nanos };
        if let Some(rate) = Rate::between(former, latter) {
            let line = Line::next(5, rate, 7, Line::NONE, 0);
            if let Some(shown) = line.at(latter.ticks) {
                let rounding = 2 + (ticks >> 32);
                prop_assert!(shown.abs_diff(latter.boot_nanos) <= rounding);
            }
        }
        prop_assert_eq!(Rate::between(latter, former), None);
    }
}
