//! A counter without a table: a rule, its words, and random histories to run through them.

use proptest::prelude::*;

use super::super::{
    Bucket, Calendar, CalendarUnit, FineWindow, Frame, Pair, Period, Retry, Rule, Sliding, Status,
    Step, Window, Word,
};
use crate::algorithm::word::UNIT_NANOS;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// A hundredth of a second, in nanoseconds.
pub(super) const HUNDREDTH: u64 = NANOS_PER_SEC / 100;

/// A rule and its words, in the two slots a table would keep them in.
pub(super) struct Counter {
    pub(super) rule: Rule,
    pub(super) calendars: Vec<Calendar>,
    pub(super) slots: [Word; 2],
}

/// A take that was admitted, as a caller who may refund it remembers it.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    slot: usize,
    word: Word,
    pub(super) cost: u64,
}

impl Counter {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            rule,
            calendars: Vec::new(),
            slots: [Word::ABSENT; 2],
        }
    }

    pub(super) fn bucket(count: u64, period_nanos: u64, burst: u64) -> Self {
        Self::new(Rule::Bucket(
            Bucket::new(count, period_nanos, burst).unwrap(),
        ))
    }

    pub(super) fn window(amount: u64, span_secs: u64, frame: Frame) -> Self {
        Self::new(Rule::Window(Window::new(amount, span_secs, frame).unwrap()))
    }

    pub(super) fn fine(amount: u64, span_nanos: u64, first_hit: bool) -> Self {
        let window = FineWindow::new(amount, span_nanos, first_hit);
        Self::new(Rule::Fine(window.unwrap()))
    }

    /// A window of so many seconds that the first hit opens.
    pub(super) fn first_hit(amount: u64, span_secs: u64) -> Self {
        Self::fine(amount, span_secs * NANOS_PER_SEC, true)
    }

    pub(super) fn sliding(amount: u64, window_secs: u64) -> Self {
        Self::new(Rule::Sliding(Sliding::new(amount, window_secs).unwrap()))
    }

    pub(super) fn calendar(amount: u64, unit: CalendarUnit, zone: &str) -> Self {
        let mut counter = Self::window(amount, unit.longest_secs(), Frame::Calendar(0));
        counter.calendars = vec![Calendar::new(unit, zone).unwrap()];
        counter
    }

    pub(super) fn look(&self, now: Timestamp) -> (Period, Pair, usize) {
        let period = self.rule.period(now, &self.calendars);
        let slot = usize::try_from(self.rule.parity(period)).unwrap();
        let mut pair = Pair::single(self.slots[slot]);
        if self.rule.has_pair() {
            pair.other = self.slots[1 - slot];
        }
        (period, pair, slot)
    }

    pub(super) fn step(&self, now: Timestamp, cost: u64) -> Step {
        let (period, pair, _) = self.look(now);
        self.rule.step(period, pair, now, cost)
    }

    pub(super) fn admits(&self, now: Timestamp, cost: u64) -> bool {
        matches!(self.step(now, cost), Step::Admit(_))
    }

    /// Takes if that is admitted. Time must not run back: no word may look like a future one.
    pub(super) fn take(&mut self, now: Timestamp, cost: u64) -> Option<Taken> {
        let (_, pair, slot) = self.look(now);
        match self.step(now, cost) {
            Step::Admit(word) => {
                // Later is larger: a take raises the word, unless it takes nothing.
                let raised = word.bits() > pair.main.bits();
                assert!(raised || cost == 0, "{pair:?} -> {word:?}");
                self.slots[slot] = word;
                Some(Taken { slot, word, cost })
            }
            Step::Future | Step::Foreign => {
                panic!("{:?}: {pair:?} is no future at {now:?}", self.rule)
            }
            Step::Refuse | Step::Never => None,
        }
    }

    pub(super) fn charge(&mut self, now: Timestamp, cost: u64) {
        let (period, pair, slot) = self.look(now);
        let word = self.rule.charge(period, pair, now, cost);
        assert!(word.bits() >= pair.main.bits(), "{pair:?} -> {word:?}");
        self.slots[slot] = word;
    }

    pub(super) fn refund(&mut self, now: Timestamp, taken: Taken, cost: u64) {
        let word = self.slots[taken.slot];
        let refunded = self.rule.refund(word, taken.word, now, cost);
        assert!(refunded.bits() <= word.bits(), "{word:?} -> {refunded:?}");
        self.slots[taken.slot] = refunded;
    }

    /// The longest window, or the time in which a bucket fills.
    pub(super) fn rule_span_nanos(&self) -> u64 {
        match &self.rule {
            Rule::Window(window) => u64::from(window.span_secs()) * NANOS_PER_SEC,
            Rule::Sliding(sliding) => u64::from(sliding.window_secs()) * NANOS_PER_SEC,
            Rule::Fine(window) => window.span_nanos(),
            _ => self.status(Timestamp::EPOCH).limit * 60 * NANOS_PER_SEC,
        }
    }

    pub(super) fn status(&self, now: Timestamp) -> Status {
        let (period, pair, _) = self.look(now);
        self.rule.status(period, pair, now)
    }

    pub(super) fn retry(&self, now: Timestamp, cost: u64) -> Retry {
        let (period, pair, _) = self.look(now);
        self.rule.retry(period, pair, now, cost)
    }
}

/// How to make a counter: printable, so that a failing case can be read.
#[derive(Clone, Debug)]
pub(super) enum Recipe {
    Bucket {
        count: u64,
        period_nanos: u64,
        burst: u64,
    },
    Window {
        amount: u64,
        span_secs: u64,
    },
    /// In hundredths of a second.
    Fine {
        amount: u64,
        span: u64,
        first_hit: bool,
    },
    Sliding {
        amount: u64,
        window_secs: u64,
    },
    Calendar {
        amount: u64,
        unit: CalendarUnit,
        zone: &'static str,
    },
}

impl Recipe {
    pub(super) fn counter(&self) -> Counter {
        match *self {
            Self::Bucket {
                count,
                period_nanos,
                burst,
            } => Counter::bucket(count, period_nanos, burst),
            Self::Window { amount, span_secs } => Counter::window(amount, span_secs, Frame::Epoch),
            Self::Fine {
                amount,
                span,
                first_hit,
            } => Counter::fine(amount, span * HUNDREDTH, first_hit),
            Self::Sliding {
                amount,
                window_secs,
            } => Counter::sliding(amount, window_secs),
            Self::Calendar { amount, unit, zone } => Counter::calendar(amount, unit, zone),
        }
    }

    /// The span over which the rule comes back to full.
    pub(super) fn span_nanos(&self) -> u64 {
        match *self {
            Self::Bucket {
                count,
                period_nanos,
                burst,
            } => {
                let nanos = u128::from(period_nanos) * u128::from(burst) / u128::from(count);
                u64::try_from(nanos).unwrap().max(1)
            }
            Self::Window { span_secs, .. } => span_secs * NANOS_PER_SEC,
            Self::Fine { span, .. } => span * HUNDREDTH,
            Self::Sliding { window_secs, .. } => window_secs * NANOS_PER_SEC,
            Self::Calendar { unit, .. } => unit.longest_secs() * NANOS_PER_SEC / 2,
        }
    }
}

pub(super) fn buckets() -> impl Strategy<Value = Recipe> {
    let secs = prop::sample::select(vec![1_u64, 10, 60, 3_600, 86_400]);
    let usual = (1..1_000_u64, secs, 1..40_u64);
    let usual = usual.prop_map(|(count, secs, burst)| (count, secs * NANOS_PER_SEC, burst));
    // Tokens of a few units, where every fraction shows.
    let nanos = |units| units * UNIT_NANOS;
    let tiny = (1..60_u64, 0..150_u64, 1..12_u64);
    let tiny = tiny.prop_map(move |(count, more, burst)| (count, nanos(count + more), burst));
    let most = u64::MAX / 4 / UNIT_NANOS;
    let huge = (1..most, 0..most, 1..u64::from(u32::MAX));
    let huge = huge.prop_map(move |(count, more, burst)| (count, nanos(count + more), burst));
    prop_oneof![usual, tiny, huge]
        .prop_filter("fills in time", |&(count, period, burst)| {
            Bucket::new(count, period, burst).is_ok()
        })
        .prop_map(|(count, period_nanos, burst)| Recipe::Bucket {
            count,
            period_nanos,
            burst,
        })
}

pub(super) fn windows() -> impl Strategy<Value = Recipe> {
    let spans = prop_oneof![
        1..120_u64,
        prop::sample::select(vec![3_600, 86_400, 31_536_000])
    ];
    let whole = (1..25_u64, spans);
    let whole = whole.prop_map(|(amount, span_secs)| Recipe::Window { amount, span_secs });
    let spans = prop_oneof![
        1..300_u64,
        prop::sample::select(vec![360_000, 8_640_000, 3_153_600_000])
    ];
    let fine = (1..25_u64, spans, any::<bool>());
    let fine = fine.prop_map(|(amount, span, first_hit)| Recipe::Fine {
        amount,
        span,
        first_hit,
    });
    prop_oneof![whole, fine]
}

pub(super) fn slidings() -> impl Strategy<Value = Recipe> {
    let spans = prop_oneof![
        1..120_u64,
        prop::sample::select(vec![3_600, 86_400, 31_536_000])
    ];
    (1..25_u64, spans).prop_map(|(amount, window_secs)| Recipe::Sliding {
        amount,
        window_secs,
    })
}

pub(super) const UNITS: [CalendarUnit; 5] = [
    CalendarUnit::Hour,
    CalendarUnit::Day,
    CalendarUnit::Week,
    CalendarUnit::WeekFromSunday,
    CalendarUnit::Month,
];

pub(super) fn calendars() -> impl Strategy<Value = Recipe> {
    let zones = vec![
        "UTC",
        "America/New_York",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
    ];
    let units = prop::sample::select(UNITS.to_vec());
    (1..25_u64, units, prop::sample::select(zones))
        .prop_map(|(amount, unit, zone)| Recipe::Calendar { amount, unit, zone })
}

pub(super) fn recipes() -> impl Strategy<Value = Recipe> {
    prop_oneof![buckets(), windows(), slidings(), calendars()]
}

/// One event: how long after the last, and a number that says what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    gap: (u8, u64),
    pub(super) what: u8,
    cost: u64,
}

impl Event {
    fn gap_nanos(&self, recipe: &Recipe) -> u64 {
        let (kind, share) = self.gap;
        let span = recipe.span_nanos();
        match kind {
            0 | 1 => 0,
            2 => share % 3,
            3 => share % (span / 20 + 1),
            4 => share % (span + 1),
            // Whole seconds, as logs have them, so that edges are met exactly.
            5 => share % (2 * span / NANOS_PER_SEC + 1) * NANOS_PER_SEC,
            _ => share % (3 * span),
        }
    }

    /// Mostly small, sometimes all there can be, or one more.
    pub(super) fn cost(&self, counter: &Counter) -> u64 {
        let capacity = counter.rule.capacity();
        match self.cost % 16 {
            0 => capacity,
            1 => capacity + 1,
            2 => self.cost,
            3..8 => 1,
            _ => 1 + self.cost % capacity.div_ceil(3),
        }
    }
}

pub(super) fn events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = ((0..7_u8, any::<u64>()), any::<u8>(), any::<u64>());
    let event = event.prop_map(|(gap, what, cost)| Event { gap, what, cost });
    prop::collection::vec(event, 1..most)
}

/// The events with their instants, up to a few spans before the end of time, where words are cut.
pub(super) fn timed(
    recipe: &Recipe,
    start: Timestamp,
    events: &[Event],
) -> impl Iterator<Item = (Timestamp, Event)> {
    let end = Timestamp::MAX.minus_nanos(4 * recipe.span_nanos());
    let timed = events.iter().scan(start, |now, event| {
        *now = now.plus_nanos(event.gap_nanos(recipe));
        Some((*now, *event))
    });
    timed.take_while(move |(now, _)| *now < end)
}

/// Any beginning that leaves room for a history: from 1970 to a century later.
pub(super) fn beginnings() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::EPOCH),
        (0..3_000_000_000_u64).prop_map(Timestamp::from_secs),
        (0..3_000_000_000_000_000_000_u64).prop_map(Timestamp::from_nanos),
    ]
}
