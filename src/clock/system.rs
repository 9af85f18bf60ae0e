//! The system's time, made monotonic, and read from the processor's counter where that may be.
//!
//! What is exact is the [`Timeline`]: the kernel's time since boot, suspend included, on a
//! wall-clock base. Reading that costs a call into the kernel's page, some 30 ns. So ten times a
//! second the clock looks at the kernel's time and the counter together, and draws a [`Line`] over
//! the counter to the next look. A reading is the line at the counter's present value.
//!
//! - The line is gone by only if the kernel's own clock goes by that counter, and only after two
//!   looks in a row found the same rate. A machine that was suspended, or moved to a processor of
//!   another frequency, is noticed at the next look; until the rate is known again, and whenever no
//!   look came for two seconds, the kernel is asked.
//! - A reading never goes back over a new line. A line that was ahead is followed by a slower one;
//!   a line that was behind ends at once.
//! - How far the line was off is measured at each look, and told.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::counter;
use super::line::{Line, Rate, Sample};
use super::timeline::{SLOW_SHIFT, Timeline};
use crate::sync::{AtomicU64, Mutex, Ordering, fence, lock, yield_now};
use crate::time::{HOLD_MAX, NANOS_PER_SEC, Timestamp};

/// Readings of both clocks for one look: the best of so many is taken.
const TRIES: usize = 4;

/// What the clock reads. Tests and models bring their own.
pub(crate) trait Instruments: Send + Sync + 'static {
    /// The processor's counter.
    fn ticks(&self) -> u64;

    /// The same, after all loads before it in the program.
    fn ticks_in_order(&self) -> u64;

    /// Time since boot, suspend included.
    fn boot_nanos(&self) -> u64;

    /// What the wall clock says; 1970 for a wall clock before 1970.
    fn wall(&self) -> Timestamp;

    /// True if the counter may be gone by.
    fn is_counter_trusted(&self) -> bool;
}

/// The machine itself.
#[derive(Debug)]
pub(crate) struct Machine;

impl Instruments for Machine {
    #[inline(always)]
    fn ticks(&self) -> u64 {
        counter::read()
    }

    #[inline(always)]
    fn ticks_in_order(&self) -> u64 {
        counter::read_in_order()
    }

    #[inline]
    fn boot_nanos(&self) -> u64 {
        nanos_of(ClockId::Boottime).as_nanos()
    }

    fn wall(&self) -> Timestamp {
        nanos_of(ClockId::Realtime)
    }

    fn is_counter_trusted(&self) -> bool {
        counter::is_trusted()
    }
}

fn nanos_of(id: ClockId) -> Timestamp {
    let time = clock_gettime(id);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
}

/// How the clock reads the time, and how well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ClockHealth {
    /// True while readings come from the processor's counter; else each asks the kernel.
    pub reads_counter: bool,
    /// How far the counter's line was from the kernel's clock when the two were last compared.
    pub last_error: Duration,
    /// The most that it was, since the limiter was opened.
    pub worst_error: Duration,
    /// How often the counter was given up since, because its rate had changed.
    pub rate_changes: u64,
}

/// What readings go by.
#[derive(Clone, Copy, Debug)]
struct Course {
    line: Line,
    timeline: Timeline,
    /// No reading by the timeline is earlier: a line once showed as much.
    floor_nanos: u64,
}

impl Course {
    /// The time by the timeline.
    fn exactly(&self, boot_nanos: u64) -> u64 {
        self.timeline
            .at(boot_nanos)
            .as_nanos()
            .max(self.floor_nanos)
    }

    /// The time at a sample, as a reading would show it.
    fn shown(&self, at: Sample) -> u64 {
        let by_timeline = || self.exactly(at.boot_nanos).max(self.line.end_nanos());
        self.line.at(at.ticks).unwrap_or_else(by_timeline)
    }
}

/// What the looks know of each other.
#[derive(Debug)]
struct Looks {
    is_trusted: bool,
    last: Sample,
    rate: Option<Rate>,
    health: ClockHealth,
}

/// The system's time. Read through a sequence lock.
#[derive(Debug)]
pub(crate) struct SystemClock<I = Machine> {
    /// Odd while the words below are changed.
    sequence: AtomicU64,
    start_ticks: AtomicU64,
    start_nanos: AtomicU64,
    rate: AtomicU64,
    ticks: AtomicU64,
    // What is read where there is no line.
    base_nanos: AtomicU64,
    base_boot_nanos: AtomicU64,
    is_slow: AtomicU64,
    floor_nanos: AtomicU64,
    looks: Mutex<Looks>,
    instruments: I,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self::with(Machine)
    }
}

impl<I: Instruments> SystemClock<I> {
    pub(crate) fn with(instruments: I) -> Self {
        let last = sample(&instruments);
        let looks = Looks {
            is_trusted: instruments.is_counter_trusted(),
            last,
            rate: None,
            health: ClockHealth {
                reads_counter: false,
                last_error: Duration::ZERO,
                worst_error: Duration::ZERO,
                rate_changes: 0,
            },
        };
        Self {
            sequence: AtomicU64::new(0),
            start_ticks: AtomicU64::new(0),
            start_nanos: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            base_nanos: AtomicU64::new(instruments.wall().as_nanos()),
            base_boot_nanos: AtomicU64::new(last.boot_nanos),
            is_slow: AtomicU64::new(0),
            floor_nanos: AtomicU64::new(0),
            looks: Mutex::new(looks),
            instruments,
        }
    }

    /// The time now.
    #[inline(always)]
    pub(super) fn now(&self) -> Timestamp {
        self.read(|| self.instruments.ticks())
    }

    /// The time now, read after every load that stands before it in the program.
    #[inline(never)]
    pub(super) fn now_in_order(&self) -> Timestamp {
        self.read(|| self.instruments.ticks_in_order())
    }

    #[inline(always)]
    fn read(&self, ticks: impl FnOnce() -> u64) -> Timestamp {
        // Ordering: acquire, pairs with the release that ends a change: an even number means that
        // the loads below see that change whole, or parts of a later one, which the second look at
        // the number shows.
        let before = self.sequence.load(Ordering::Acquire);
        let time = self.line().at(ticks());
        // Ordering: the fence keeps the loads above before the look below.
        fence(Ordering::Acquire);
        match time {
            Some(nanos) if self.is_still(before) => Timestamp::from_nanos(nanos),
            _ => self.read_with_care(),
        }
    }

    /// The same where the words are changed meanwhile, or there is no line.
    #[cold]
    fn read_with_care(&self) -> Timestamp {
        loop {
            // Ordering: as in `read`.
            let before = self.sequence.load(Ordering::Acquire);
            let course = self.course();
            // Read in between: no reading by an old timeline can be later than the first by the
            // next.
            let at = Sample {
                ticks: self.instruments.ticks_in_order(),
                boot_nanos: self.instruments.boot_nanos(),
            };
            fence(Ordering::Acquire);
            if self.is_still(before) {
                return Timestamp::from_nanos(course.shown(at));
            }
            // A change takes some nanoseconds, if the thread that makes it may run.
            yield_now();
        }
    }

    #[inline(always)]
    fn is_still(&self, sequence: u64) -> bool {
        // Ordering: relaxed; the caller's fence orders it.
        sequence.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == sequence
    }

    #[inline(always)]
    fn line(&self) -> Line {
        // Ordering: relaxed; the sequence number makes the words belong together.
        Line {
            start_ticks: self.start_ticks.load(Ordering::Relaxed),
            start_nanos: self.start_nanos.load(Ordering::Relaxed),
            rate: self.rate.load(Ordering::Relaxed),
            ticks: self.ticks.load(Ordering::Relaxed),
        }
    }

    fn course(&self) -> Course {
        // Ordering: relaxed; the sequence number makes the words belong together.
        Course {
            line: self.line(),
            timeline: Timeline {
                base_nanos: self.base_nanos.load(Ordering::Relaxed),
                base_boot_nanos: self.base_boot_nanos.load(Ordering::Relaxed),
                is_slow: self.is_slow.load(Ordering::Relaxed) != 0,
            },
            floor_nanos: self.floor_nanos.load(Ordering::Relaxed),
        }
    }

    /// True while time waits for the wall.
    #[inline]
    pub(super) fn is_slow(&self) -> bool {
        // Ordering: relaxed; a promise made on the verge of a change is off by a 32nd either way.
        self.is_slow.load(Ordering::Relaxed) != 0
    }

    /// Puts what `next` makes of the present course in its place. It is given both clocks, read
    /// while no reading comes to an end.
    fn change(&self, next: impl FnOnce(Course, Sample) -> Course) {
        // Ordering: relaxed load, only the holder of the looks changes it. The odd number must be
        // seen before any of the stores below: release fence after it.
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let at = Sample {
            ticks: self.instruments.ticks_in_order(),
            boot_nanos: self.instruments.boot_nanos(),
        };
        let Course {
            line,
            timeline,
            floor_nanos,
        } = next(self.course(), at);
        // Ordering: relaxed, between the odd number and the even one.
        for (word, value) in [
            (&self.start_ticks, line.start_ticks),
            (&self.start_nanos, line.start_nanos),
            (&self.rate, line.rate),
            (&self.ticks, line.ticks),
            (&self.base_nanos, timeline.base_nanos),
            (&self.base_boot_nanos, timeline.base_boot_nanos),
            (&self.is_slow, u64::from(timeline.is_slow)),
            (&self.floor_nanos, floor_nanos),
        ] {
            // Ordering: as above.
            word.store(value, Ordering::Relaxed);
        }
        // Ordering: release, pairs with the acquire in `read`.
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// A look at the wall and at both clocks: time follows the wall where it must, and a new line
    /// begins. To be called some ten times a second.
    pub(super) fn adjust(&self) {
        let mut looks = lock(&self.looks);
        let sample = sample(&self.instruments);
        let wall = self.instruments.wall();
        let rate = looks.rate_until(sample);
        let mut error_nanos = None;
        self.change(|course, at| {
            let timeline = course.timeline.adjusted(wall, at.boot_nanos);
            let target_nanos = timeline.at(at.boot_nanos).as_nanos();
            let ours_nanos = course.shown(at);
            if course.line != Line::NONE {
                let exact_nanos = course.timeline.at(at.boot_nanos).as_nanos();
                error_nanos = Some(exact_nanos.abs_diff(ours_nanos));
            }
            // A wall that is behind by more than can be waited for is believed.
            let is_believed = ours_nanos.saturating_sub(target_nanos) > nanos(HOLD_MAX);
            let ours_nanos = if is_believed { 0 } else { ours_nanos };
            let line = rate.map_or(Line::NONE, |rate| {
                let lost = if timeline.is_slow {
                    rate.0 >> SLOW_SHIFT
                } else {
                    0
                };
                let rate = Rate(rate.0 - lost);
                Line::next(at.ticks, rate, target_nanos, course.line, ours_nanos)
            });
            Course {
                line,
                timeline,
                floor_nanos: ours_nanos,
            }
        });
        looks.note(rate.is_some(), error_nanos);
    }

    /// Believes that it was `latest` once, and so is not earlier now, within [`HOLD_MAX`].
    pub(super) fn resume_from(&self, latest: Timestamp) {
        let _looks = lock(&self.looks);
        self.change(|course, at| Course {
            line: Line::NONE,
            timeline: course.timeline.resumed(latest, at.boot_nanos),
            floor_nanos: 0,
        });
    }

    pub(super) fn health(&self) -> ClockHealth {
        lock(&self.looks).health
    }
}

impl Looks {
    /// The counter's rate since the last look, if it can be trusted to go on.
    fn rate_until(&mut self, sample: Sample) -> Option<Rate> {
        let last = std::mem::replace(&mut self.last, sample);
        let rate = Rate::between(last, sample).filter(|_| self.is_trusted);
        let before = std::mem::replace(&mut self.rate, rate);
        let agrees = |rate: &Rate| before.is_some_and(|before| rate.agrees_with(before));
        rate.filter(agrees)
    }

    fn note(&mut self, reads_counter: bool, error_nanos: Option<u64>) {
        let health = &mut self.health;
        health.rate_changes += u64::from(health.reads_counter && !reads_counter);
        health.reads_counter = reads_counter;
        if let Some(nanos) = error_nanos {
            health.last_error = Duration::from_nanos(nanos);
            health.worst_error = health.worst_error.max(health.last_error);
        }
    }
}

/// Both clocks, read as close together as they can be.
fn sample(instruments: &impl Instruments) -> Sample {
    let tries = (0..TRIES).map(|_| {
        let before = instruments.ticks_in_order();
        let boot_nanos = instruments.boot_nanos();
        let between = instruments.ticks_in_order().saturating_sub(before);
        let ticks = before + between / 2;
        (between, Sample { ticks, boot_nanos })
    });
    let best = tries.min_by_key(|(between, _)| *between);
    best.map_or_else(
        || unreachable!("there are several tries"),
        |(_, sample)| sample,
    )
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
