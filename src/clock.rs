//! Time that never runs backwards.
//!
//! The system clock is read as monotonic progress (suspend included) on a wall-clock base. A
//! background thread compares the two now and then:
//!
//! - the wall is ahead: its step is taken at once, which refills a limit at most once;
//! - the wall is behind by up to [`HOLD_MAX`]: time goes on, a thirty-second part slower, until
//!   the wall has caught up; nothing refills twice and nobody is locked out;
//! - the wall is behind by more: the earlier time was an error. The wall is believed, and words
//!   from the future are healed as they are met.
//!
//! There are two ways to read it. [`Clock::now`] is exact. [`Clock::glance`] costs a fraction of
//! that: it reads the kernel's own note of the time, which the timer's interrupt brings up to date
//! some hundred times a second, so it lags. It never leads: both count from the same base, and the
//! note is never ahead of the clock. Who glances must read exactly where the lag could make a
//! difference; `Rule::holds` says where. Suspended time is not in the note, so for a tenth of a
//! second after a machine was suspended, until the base is set anew, the lag can be longer than
//! [`LAG_MAX`].

use std::time::Duration;

use rustix::time::{ClockId, clock_getres, clock_gettime};

use crate::sync::{Arc, AtomicU64, Mutex, Ordering, fence, lock};
use crate::time::{HOLD_MAX, LAG_MAX, LAG_USUAL, NANOS_PER_SEC, Reading, Timestamp};

/// Steps back below this are the jitter of reading two clocks one after the other.
const JITTER: Duration = Duration::from_millis(2);

/// While time waits for the wall it loses one part in 2^5.
const SLOW_SHIFT: u32 = 5;

/// A note that lagged as much when it was last compared is not trusted until it is better again.
const NOTE_LAG_MAX: Duration = Duration::from_millis(50);

const _: () = assert!(NOTE_LAG_MAX.as_nanos() < LAG_MAX.as_nanos());

/// Where limits get their time from.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    System(Arc<SystemClock>),
    Manual(ManualClock),
}

impl Clock {
    /// The time now. Never earlier than any time it gave before, but for the one case above.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System(clock) => clock.now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// The time now or up to [`LAG_MAX`] before, whichever is cheaper.
    #[inline]
    pub(crate) fn glance(&self) -> Reading {
        match self {
            Self::System(clock) => clock.glance(),
            Self::Manual(clock) => clock.now().into(),
        }
    }

    /// True while it waits for the wall, and its spans take a little longer than they say.
    #[inline]
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            Self::System(clock) => clock.is_slow(),
            Self::Manual(_) => false,
        }
    }

    /// Compares with the wall and follows it where it must.
    pub(crate) fn adjust(&self) {
        if let Self::System(clock) = self {
            clock.adjust(wall);
        }
    }

    /// Believes that it was `latest` once, and so is not earlier now, within [`HOLD_MAX`].
    pub(crate) fn resume_from(&self, latest: Timestamp) {
        match self {
            Self::System(clock) => clock.resume_from(latest),
            Self::Manual(clock) if latest.since(clock.now()) <= HOLD_MAX => clock.set(latest),
            Self::Manual(_) => {}
        }
    }
}

/// The real time in which a slow clock moves by `span`.
pub(crate) fn slow_wait(span: Duration) -> Duration {
    let nanos = span.as_nanos().saturating_mul(1 << SLOW_SHIFT);
    let nanos = nanos.div_ceil((1 << SLOW_SHIFT) - 1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A clock that stands still until it is moved: for tests, and for replaying the past.
///
/// Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{ManualClock, Timestamp};
///
/// let clock = ManualClock::new(Timestamp::from_secs(1_700_000_000));
/// clock.advance(Duration::from_secs(60));
/// clock.set(Timestamp::from_secs(5)); // earlier: time never runs backwards
/// assert_eq!(clock.now(), Timestamp::from_secs(1_700_000_060));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(start.as_nanos())))
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        // Ordering: acquire, pairs with the release below: who sees the time also sees what was
        // done before it was set.
        Timestamp::from_nanos(self.0.load(Ordering::Acquire))
    }

    /// Moves it to `to`; an earlier time than it shows changes nothing.
    pub fn set(&self, to: Timestamp) {
        // Ordering: release, as above; the largest of concurrent settings stays.
        self.0.fetch_max(to.as_nanos(), Ordering::AcqRel);
    }

    /// Moves it on by `span`.
    pub fn advance(&self, span: Duration) {
        self.set(self.now() + span);
    }
}

/// How time goes on from a base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Timeline {
    base_nanos: u64,
    base_mono_nanos: u64,
    slow: bool,
}

impl Timeline {
    #[inline]
    fn at(self, mono_nanos: u64) -> Timestamp {
        self.after(mono_nanos.saturating_sub(self.base_mono_nanos))
    }

    /// The time so many nanoseconds after the base.
    #[inline]
    fn after(self, elapsed: u64) -> Timestamp {
        let lost = if self.slow { elapsed >> SLOW_SHIFT } else { 0 };
        Timestamp::from_nanos(self.base_nanos.saturating_add(elapsed - lost))
    }

    /// The timeline from `mono_nanos` on, given what the wall says then.
    fn adjusted(self, wall: Timestamp, mono_nanos: u64) -> Self {
        let ours = self.at(mono_nanos);
        let behind = ours.since(wall);
        let on = |base: Timestamp, slow| Self {
            base_nanos: base.as_nanos(),
            base_mono_nanos: mono_nanos,
            slow,
        };
        if wall >= ours || behind > HOLD_MAX {
            on(wall, false)
        } else if behind > JITTER {
            on(ours, true)
        } else {
            on(ours, false)
        }
    }
}

/// The system's time, made monotonic. Read through a sequence lock: readers never wait for long.
#[derive(Debug)]
pub(crate) struct SystemClock {
    sequence: AtomicU64,
    base_nanos: AtomicU64,
    base_mono_nanos: AtomicU64,
    /// What the kernel's note says, or will say, of the base; `u64::MAX` while it is not trusted.
    base_note_nanos: AtomicU64,
    slow: AtomicU64,
    writer: Mutex<()>,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        let clock = Self {
            sequence: AtomicU64::new(0),
            base_nanos: AtomicU64::new(wall().as_nanos()),
            base_mono_nanos: AtomicU64::new(mono_nanos()),
            base_note_nanos: AtomicU64::new(u64::MAX),
            slow: AtomicU64::new(0),
            writer: Mutex::new(()),
        };
        clock.change(|timeline, _| timeline);
        clock
    }

    #[inline]
    fn now(&self) -> Timestamp {
        // Read in there: no reading of the old timeline can be later than the first of the next.
        self.read(|timeline| timeline.at(mono_nanos()))
    }

    #[inline]
    fn glance(&self) -> Reading {
        self.read(|timeline| {
            // Ordering: relaxed; the sequence number makes it belong to the timeline.
            let base = self.base_note_nanos.load(Ordering::Relaxed);
            if base == u64::MAX {
                return timeline.at(mono_nanos()).into();
            }
            let elapsed = note_nanos().saturating_sub(base);
            Reading::lagging(timeline.after(elapsed))
        })
    }

    #[inline]
    fn read<R>(&self, read: impl Fn(Timeline) -> R) -> R {
        loop {
            // Ordering: acquire, pairs with the release that ends a write: an even number means
            // that the loads below see that write whole, or a later one, which the second look
            // at the number shows.
            let before = self.sequence.load(Ordering::Acquire);
            let read = read(self.load());
            // Ordering: the fence keeps the loads above before the look below.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                return read;
            }
            std::hint::spin_loop();
        }
    }

    #[inline]
    fn load(&self) -> Timeline {
        // Ordering: relaxed; the sequence number makes the three belong together.
        Timeline {
            base_nanos: self.base_nanos.load(Ordering::Relaxed),
            base_mono_nanos: self.base_mono_nanos.load(Ordering::Relaxed),
            slow: self.slow.load(Ordering::Relaxed) != 0,
        }
    }

    #[inline]
    fn is_slow(&self) -> bool {
        // Ordering: relaxed; a promise made on the verge of a change is off by a 32nd either way.
        self.slow.load(Ordering::Relaxed) != 0
    }

    /// Puts in place what `next` makes of the timeline, from the monotonic time it is given on.
    fn change(&self, next: impl FnOnce(Timeline, u64) -> Timeline) {
        let _one = lock(&self.writer);
        // Ordering: relaxed load, only writers change it and the lock orders them. The odd number
        // must be seen before any of the stores below: release fence after it.
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let before = self.load();
        let mono_nanos = mono_nanos();
        let timeline = next(before, mono_nanos);
        // Read last: whatever came in between makes the note lag more, and never lead.
        let note = note_base(timeline.base_mono_nanos, mono_nanos);
        // Ordering: relaxed, between the odd number and the even one.
        self.base_nanos
            .store(timeline.base_nanos, Ordering::Relaxed);
        self.base_mono_nanos
            .store(timeline.base_mono_nanos, Ordering::Relaxed);
        self.base_note_nanos.store(note, Ordering::Relaxed);
        self.slow.store(u64::from(timeline.slow), Ordering::Relaxed);
        // Ordering: release, pairs with the acquire in `read`.
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    fn adjust(&self, wall: impl FnOnce() -> Timestamp) {
        self.change(|timeline, mono_nanos| timeline.adjusted(wall(), mono_nanos));
    }

    fn resume_from(&self, latest: Timestamp) {
        self.change(|timeline, mono_nanos| {
            let wall = timeline.at(mono_nanos);
            let base_nanos = latest.as_nanos();
            Timeline {
                base_nanos,
                base_mono_nanos: mono_nanos,
                slow: false,
            }
            .adjusted(wall, mono_nanos)
        });
    }
}

/// What the wall clock says; 1970 for a wall clock before 1970.
fn wall() -> Timestamp {
    nanos_of(ClockId::Realtime)
}

/// Time since boot, suspend included.
fn mono_nanos() -> u64 {
    nanos_of(ClockId::Boottime).as_nanos()
}

/// The kernel's note of the time since boot, suspend not included.
#[inline]
fn note_nanos() -> u64 {
    nanos_of(ClockId::MonotonicCoarse).as_nanos()
}

/// What the note says of the monotonic time `base`, which was `mono_nanos` just now; `u64::MAX` if
/// the note lags too far behind to be trusted.
fn note_base(base: u64, mono_nanos: u64) -> u64 {
    let since = mono_nanos.saturating_sub(base);
    let period = clock_getres(ClockId::MonotonicCoarse);
    let is_fine = period.tv_sec == 0 && period.tv_nsec <= LAG_USUAL.subsec_nanos().into();
    let note = note_nanos();
    // The clock that the note is of. It is read after `mono_nanos`, so the base comes late by
    // what lies between, and what is counted from it lags by as much.
    let exact = nanos_of(ClockId::Monotonic).as_nanos();
    let lag = Duration::from_nanos(exact.saturating_sub(note));
    match is_fine && lag <= NOTE_LAG_MAX {
        true => exact.saturating_sub(since),
        false => u64::MAX,
    }
}

#[inline]
fn nanos_of(id: ClockId) -> Timestamp {
    let time = clock_gettime(id);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
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
        clock.base_note_nanos.store(u64::MAX, Ordering::Relaxed);
        let before = clock.now();
        let glance = clock.glance();
        assert!(glance.is_exact && glance.at >= before, "{glance:?}");
        clock.adjust(wall);
        assert!(note_base(0, mono_nanos()) == u64::MAX || !clock.glance().is_exact);
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
}
