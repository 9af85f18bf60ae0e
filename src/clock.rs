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
//! some hundred times a second, so it lags. It never leads: what is added to the note was measured
//! when the note was not ahead of the clock, and while time waits for the wall it is not read at
//! all. Who glances must read exactly where the lag could make a difference; `Rule::holds` says
//! where. Suspended time is not in the note, so for a tenth of a second after a machine was
//! suspended, until the base is set anew, the lag can be longer than [`LAG_MAX`].

#[cfg(test)]
mod tests;

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

/// Time and note never lie so far apart: both end long before.
const NO_NOTE: u64 = u64::MAX / 2;

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

    /// The time now, and how fast it goes.
    #[inline(never)]
    pub(crate) fn exact(&self) -> Reading {
        match self {
            Self::System(clock) => clock.exact(),
            Self::Manual(clock) => clock.now().into(),
        }
    }

    /// The time now or up to [`LAG_MAX`] before, whichever is cheaper.
    #[inline(always)]
    pub(crate) fn glance(&self) -> Reading {
        match self {
            Self::System(clock) => clock.glance(),
            Self::Manual(clock) => clock.now().into(),
        }
    }

    /// The same where that is cheap: by a note that lags, of a clock that is not slow; else none.
    #[inline(always)]
    pub(crate) fn at_a_glance(&self) -> Option<Timestamp> {
        match self {
            Self::System(clock) => clock.at_a_glance(),
            Self::Manual(_) => None,
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
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
    /// By how much each reading moves it on.
    step_nanos: u64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self::ticking(start, Duration::ZERO)
    }

    /// A clock that shows `start` and moves on by `step` at each reading: no two readings are
    /// alike, as those of a real clock. What goes wrong when time passes in the middle of a call
    /// shows under it.
    pub fn ticking(start: Timestamp, step: Duration) -> Self {
        Self {
            nanos: Arc::new(AtomicU64::new(start.as_nanos())),
            step_nanos: u64::try_from(step.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        // Ordering: acquire, pairs with the release below: who sees the time also sees what was
        // done before it was set.
        if self.step_nanos == 0 {
            return Timestamp::from_nanos(self.nanos.load(Ordering::Acquire));
        }
        let moved = |nanos: u64| Some(nanos.saturating_add(self.step_nanos));
        let before = self
            .nanos
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, moved);
        Timestamp::from_nanos(before.unwrap_or(u64::MAX))
    }

    /// Moves it to `to`; an earlier time than it shows changes nothing.
    pub fn set(&self, to: Timestamp) {
        // Ordering: release, as above; the largest of concurrent settings stays.
        self.nanos.fetch_max(to.as_nanos(), Ordering::AcqRel);
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
        let elapsed = mono_nanos.saturating_sub(self.base_mono_nanos);
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
    /// What lies between the kernel's note and the time, added with a wrap; [`NO_NOTE`] while the
    /// note is not to be gone by. One word, so that a glance is in need of no sequence.
    since_note_nanos: AtomicU64,
    slow: AtomicU64,
    writer: Mutex<()>,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        let clock = Self {
            sequence: AtomicU64::new(0),
            base_nanos: AtomicU64::new(wall().as_nanos()),
            base_mono_nanos: AtomicU64::new(mono_nanos()),
            since_note_nanos: AtomicU64::new(NO_NOTE),
            slow: AtomicU64::new(0),
            writer: Mutex::new(()),
        };
        clock.change(|timeline, _| timeline);
        clock
    }

    #[inline]
    fn now(&self) -> Timestamp {
        self.exact().at
    }

    #[inline]
    fn exact(&self) -> Reading {
        // Read in there: no reading of the old timeline can be later than the first of the next.
        self.read(|timeline| Reading::exact(timeline.at(mono_nanos()), timeline.slow))
    }

    #[inline(always)]
    fn glance(&self) -> Reading {
        match self.at_a_glance() {
            Some(at) => Reading::lagging(at),
            None => self.exact(),
        }
    }

    /// By the kernel's note, if that is to be gone by, and nothing else came in force meanwhile.
    #[inline(always)]
    fn at_a_glance(&self) -> Option<Timestamp> {
        // Ordering: relaxed; all of it is in this word.
        let since = self.since_note_nanos.load(Ordering::Relaxed);
        if since == NO_NOTE {
            return None;
        }
        let at = Timestamp::from_nanos(note_nanos().wrapping_add(since));
        // Ordering: the fence keeps the note's loads above before the look below: the note was
        // read before anything else was in force, so that no old timeline is gone on with.
        fence(Ordering::Acquire);
        (self.since_note_nanos.load(Ordering::Relaxed) == since).then_some(at)
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
        let since_note = since_note(timeline, mono_nanos);
        // Ordering: relaxed, between the odd number and the even one.
        self.base_nanos
            .store(timeline.base_nanos, Ordering::Relaxed);
        self.base_mono_nanos
            .store(timeline.base_mono_nanos, Ordering::Relaxed);
        self.since_note_nanos.store(since_note, Ordering::Relaxed);
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
    let time = clock_gettime(ClockId::MonotonicCoarse);
    // It counts from the start of the machine: both are positive, and five centuries fit.
    (time.tv_sec as u64)
        .wrapping_mul(NANOS_PER_SEC)
        .wrapping_add(time.tv_nsec as u64)
}

/// What the note is to be advanced by to show the timeline's time, at `mono_nanos` just now; none
/// if the note lags too far behind to be trusted, or time is slow, as the note is not.
fn since_note(timeline: Timeline, mono_nanos: u64) -> u64 {
    let period = clock_getres(ClockId::MonotonicCoarse);
    let is_fine = period.tv_sec == 0 && period.tv_nsec <= LAG_USUAL.subsec_nanos().into();
    let note = note_nanos();
    // The clock that the note is of. It is read after `mono_nanos`, so what is added to it comes
    // short by what lies between, and the sum lags by as much.
    let exact = nanos_of(ClockId::Monotonic).as_nanos();
    let lag = Duration::from_nanos(exact.saturating_sub(note));
    match is_fine && lag <= NOTE_LAG_MAX && !timeline.slow {
        true => timeline.at(mono_nanos).as_nanos().wrapping_sub(exact),
        false => NO_NOTE,
    }
}

#[inline]
fn nanos_of(id: ClockId) -> Timestamp {
    let time = clock_gettime(id);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
}
