//! Models of counters: the real arithmetic over the real table, on its heap twin.

mod strict;

use loom::sync::Arc;
use loom::thread;

use super::{Counter, CounterStore, Seen, Take};
use crate::algorithm::{
    Bucket, Calendar, CalendarUnit, FineWindow, Frame, Paces, Pair, Rule, Sliding, Step, Window,
    Word,
};
use crate::ceiling::{Ceilings, InMemory};
use crate::clock::{Clock, ManualClock};
use crate::inbox::Inbox;
use crate::key::Tag;
use crate::table::layout::SLOTS;
use crate::table::{Region, Table, Update};
use crate::time::{NANOS_PER_SEC, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(100);

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

fn strict_model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three threads, one of which writes: with more preemptions it takes minutes.
    builder.preemption_bound = Some(1);
    builder.max_branches = 20_000;
    builder.check(run);
}

/// All that counters share, with a clock that stands still.
struct World {
    store: CounterStore,
    calendars: Vec<Calendar>,
    disk: InMemory,
}

impl World {
    fn new(now: Timestamp) -> Arc<Self> {
        let table = Arc::new(Table::new(vec![Region::heap(1)]));
        let shared = Arc::new(Table::new(vec![Region::heap(1)]));
        let (ceilings, disk) = Ceilings::in_memory(&[&table, &shared], now);
        Arc::new(Self {
            store: CounterStore::new(
                table,
                shared,
                Clock::Manual(ManualClock::new(now)),
                Arc::new(Inbox::new(1)),
                ceilings,
            ),
            calendars: Vec::new(),
            disk,
        })
    }

    fn counter<'a>(&'a self, rule: &'a Rule, bits: u64) -> Counter<'a> {
        Counter {
            store: &self.store,
            calendars: &self.calendars,
            rule,
            paces: const { &Paces::NONE },
            tag: Tag::from_bits(bits),
            is_logged: false,
            reserve: None,
            is_shared: false,
        }
    }
}

/// True if it was taken.
fn took(take: Take) -> bool {
    match take {
        Take::Judged(seen) => matches!(seen.step, Step::Admit(_)),
        Take::Full | Take::Unsecured(_) => false,
    }
}

fn sliding(amount: u64) -> Rule {
    Rule::Sliding(Sliding::new(amount, 10).unwrap())
}

fn window(amount: u64) -> Rule {
    Rule::Window(Window::new(amount, 10, Frame::Epoch).unwrap())
}

fn bucket(burst: u64) -> Rule {
    Rule::Bucket(Bucket::new(1, NANOS_PER_SEC, burst).unwrap())
}

/// K of N on each algorithm: two of three were taken, or none yet, and two threads want more.
#[test]
fn loom_counter_takes_k_of_n() {
    let first_hit = Rule::Fine(FineWindow::new(2, 10 * NANOS_PER_SEC, true).unwrap());
    for rule in [bucket(2), window(2), first_hit, sliding(2)] {
        for before in 0..=1 {
            model(move || {
                let world = World::new(NOW);
                for _ in 0..before {
                    assert!(took(world.counter(&rule, 4).take(NOW, 1)));
                }
                let other = {
                    let world = world.clone();
                    thread::spawn(move || {
                        let counter = world.counter(&rule, 4);
                        let took: Vec<bool> = (0..2 - before)
                            .map(|_| took(counter.take(NOW, 1)))
                            .collect();
                        took.iter().filter(|took| **took).count()
                    })
                };
                let mine = usize::from(took(world.counter(&rule, 4).take(NOW, 1)));
                let theirs = other.join().unwrap();
                assert_eq!(before + mine + theirs, 2);
                assert!(!took(world.counter(&rule, 4).take(NOW, 1)));
            });
        }
    }
}

/// Around the edge of a sliding window one thread counts in the old window while the other counts
/// in the next, each unseen by the other's compare-and-swap: never is more admitted than the limit.
/// With slots that are there already no lock of an insertion comes between.
#[test]
fn loom_counter_window_roll() {
    for has_slots in [false, true] {
        model(move || {
            let rule = sliding(1);
            let before = Timestamp::from_nanos(110 * NANOS_PER_SEC - 1);
            let after = Timestamp::from_secs(110);
            let world = World::new(after);
            for which in (0..=1).filter(|_| has_slots) {
                let tag = Tag::from_bits(4).sibling(which);
                let update = world
                    .store
                    .table
                    .update(tag, NOW, |_| Some(Word::window(90, 1)));
                assert_ne!(update, Update::Full);
            }
            let other = {
                let world = world.clone();
                thread::spawn(move || took(world.counter(&rule, 4).take(before, 1)))
            };
            let mine = took(world.counter(&rule, 4).take(after, 1));
            let theirs = other.join().unwrap();
            assert!(
                !(mine && theirs),
                "the old window's hit weighs fully at the edge"
            );
        });
    }
}

/// Two requests want the same two limits: what a request took from the first is given back if
/// the second refuses, and nothing is lost or won on the way.
#[test]
fn loom_counter_all_or_none() {
    fn both(world: &World) -> bool {
        let (first, second) = (window(2), window(1));
        let taken = match world.counter(&first, 4).take(NOW, 1) {
            Take::Judged(seen) => seen,
            Take::Full | Take::Unsecured(_) => unreachable!("there is room"),
        };
        let Step::Admit(word) = taken.step else {
            return false;
        };
        if took(world.counter(&second, 8).take(NOW, 1)) {
            return true;
        }
        world.counter(&first, 4).refund(taken.period, word, NOW, 1);
        false
    }
    model(|| {
        let world = World::new(NOW);
        let other = {
            let world = world.clone();
            thread::spawn(move || both(&world))
        };
        let mine = both(&world);
        let theirs = other.join().unwrap();
        assert!(mine ^ theirs, "the second limit has room for one");
        assert_eq!(world.store.table.read(Tag::from_bits(4)).count(), 1);
        assert_eq!(world.store.table.read(Tag::from_bits(8)).count(), 1);
    });
}

/// A refund, and a settlement into debt, beside a take: each is counted once.
#[test]
fn loom_counter_refund_and_settle_against_take() {
    for charges in [false, true] {
        model(move || {
            let rule = window(5);
            let world = World::new(NOW);
            let Take::Judged(seen) = world.counter(&rule, 4).take(NOW, 3) else {
                unreachable!("there is room")
            };
            let Step::Admit(word) = seen.step else {
                unreachable!("there is room")
            };
            let other = {
                let world = world.clone();
                thread::spawn(move || {
                    let counter = world.counter(&rule, 4);
                    if charges {
                        let _: Take = counter.charge(NOW, 4);
                    } else {
                        counter.refund(seen.period, word, NOW, 2);
                    }
                })
            };
            let mine = u32::from(took(world.counter(&rule, 4).take(NOW, 1)));
            other.join().unwrap();
            let expected = if charges { 3 + 4 } else { 3 - 2 };
            assert_eq!(
                world.store.table.read(Tag::from_bits(4)).count(),
                expected + mine
            );
        });
    }
}

/// A rate has ended, and one thread still goes by it while the other writes the word anew: what
/// both take is counted, in tokens of the new rate. Who comes late with the old one takes nothing.
#[test]
fn loom_counter_change_of_rate_against_take() {
    model(|| {
        let world = World::new(NOW);
        let mut paces = Paces::default();
        let minute = Bucket::new(3, 60 * NANOS_PER_SEC, 3).unwrap();
        let hour = Bucket::new(3, 3_600 * NANOS_PER_SEC, 3).unwrap();
        let old = Rule::Bucket(paces.name(&minute, NOW));
        let old_counter = |world: &World| took(world.counter(&old, 4).take(NOW, 1));
        assert!(old_counter(&world));
        let other = {
            let world = world.clone();
            thread::spawn(move || took(world.counter(&old, 4).take(NOW, 1)))
        };
        let new = Rule::Bucket(paces.name(&hour, NOW));
        paces.retire(&[hour], NOW);
        let counter = Counter {
            paces: &paces,
            ..world.counter(&new, 4)
        };
        let mine = took(counter.take(NOW, 1));
        let theirs = other.join().unwrap();
        assert!(mine, "there is room for three");
        let seen = counter.look(NOW, 1);
        let status = new.status(seen.period, seen.words, NOW);
        assert_eq!(status.used, 2 + u64::from(theirs));
    });
}

/// Takes of a logged counter while the writer drains: the last word is written, or the next drain
/// is told of it. The inbox holds one tag, so that the flag is needed.
#[test]
fn loom_counter_dirty_against_drain() {
    fn take(world: &World, bits: u64) {
        let rule = window(9);
        let counter = Counter {
            is_logged: true,
            ..world.counter(&rule, bits)
        };
        assert!(took(counter.take(NOW, 1)));
    }
    model(|| {
        let world = World::new(NOW);
        take(&world, 4);
        let taker = {
            let world = world.clone();
            thread::spawn(move || {
                take(&world, 8);
                take(&world, 4);
            })
        };
        let mut written = [0; 2];
        let mut drain = || {
            let sweep = || {
                let mut dirty = Vec::new();
                world.store.table.for_each(|tag, word| {
                    if word.is_dirty() {
                        dirty.push(tag);
                    }
                });
                dirty
            };
            for tag in world.store.inbox.drain().unwrap_or_else(sweep) {
                if let Some(word) = world.store.table.wash(tag) {
                    written[usize::from(tag.bits() == 8)] = word.count();
                }
            }
        };
        drain();
        taker.join().unwrap();
        drain();
        assert_eq!(written, [2, 1]);
        world
            .store
            .table
            .for_each(|_, word| assert!(!word.is_dirty()));
    });
}

/// Two newcomers to a full table share one counter, while a slot of the table dies and is taken
/// by one who comes back: the shared limit is never exceeded, and who has a slot counts there.
#[test]
fn loom_counter_overflow() {
    fn newcomer(world: &World, bits: u64, now: Timestamp) -> bool {
        let rule = window(1);
        match world.counter(&rule, bits).take(now, 1) {
            Take::Full => {
                let shared = Counter {
                    is_shared: true,
                    ..world.counter(&rule, 64)
                };
                took(shared.take(now, 1))
            }
            take => took(take),
        }
    }
    model(|| {
        let world = World::new(NOW);
        for bits in 1..=SLOTS as u64 {
            // One dies at 110, the others live on.
            let dies_at = if bits == 1 { 110 } else { 200 };
            let update = world
                .store
                .table
                .update(Tag::from_bits(bits << 2), NOW, |_| {
                    Some(Word::window(dies_at, 1))
                });
            assert_ne!(update, Update::Full);
        }
        let other = {
            let world = world.clone();
            thread::spawn(move || newcomer(&world, 32, NOW))
        };
        let mine = newcomer(&world, 36, NOW);
        let theirs = other.join().unwrap();
        assert!(mine ^ theirs, "both share a counter of one");
        // A slot has died: it takes one of them in, the other still shares.
        let later = Timestamp::from_secs(111);
        assert!(newcomer(&world, 32, later));
        assert_eq!(world.store.table.read(Tag::from_bits(32)).count(), 1);
        assert!(
            newcomer(&world, 36, later),
            "the shared window is a new one"
        );
        assert!(world.store.table.read(Tag::from_bits(36)).is_absent());
    });
}

/// What is counted of a rule whose every token is a second, or a count of one.
fn counted(rule: &Rule, word: Word) -> u64 {
    let pair = Pair {
        main: word,
        other: Word::ABSENT,
    };
    rule.status(rule.period(NOW, &[]), pair, NOW).used
}

/// Every pair of changes that two threads can make to one counter at once, for each algorithm: what
/// is counted afterwards is what one of the two orders comes to.
#[test]
fn loom_counter_pairs() {
    fn change(world: &World, rule: &Rule, which: usize, first: &Seen) {
        let counter = world.counter(rule, 4);
        let Step::Admit(word) = first.step else {
            unreachable!("there is room")
        };
        match which {
            0 => assert!(took(counter.take(NOW, 1))),
            1 => counter.refund(first.period, word, NOW, 2),
            2 => drop(counter.charge(NOW, 3)),
            _ => counter.reset(NOW),
        }
    }
    fn begun(rule: &Rule) -> (Arc<World>, Seen) {
        let world = World::new(NOW);
        let Take::Judged(seen) = world.counter(rule, 4).take(NOW, 3) else {
            unreachable!("there is room")
        };
        (world, seen)
    }
    fn used(world: &World, rule: &Rule) -> u64 {
        counted(rule, world.store.table.read(Tag::from_bits(4)))
    }
    for rule in [window(8), bucket(8), sliding(8)] {
        for (one, two) in [
            (0, 1),
            (0, 2),
            (0, 3),
            (1, 2),
            (1, 3),
            (2, 3),
            (1, 1),
            (2, 2),
        ] {
            model(move || {
                let in_order = [(one, two), (two, one)].map(|(former, latter)| {
                    let (world, seen) = begun(&rule);
                    change(&world, &rule, former, &seen);
                    change(&world, &rule, latter, &seen);
                    used(&world, &rule)
                });
                let (world, seen) = begun(&rule);
                let other = {
                    let world = world.clone();
                    thread::spawn(move || change(&world, &rule, two, &seen))
                };
                change(&world, &rule, one, &seen);
                other.join().unwrap();
                let used = used(&world, &rule);
                assert!(in_order.contains(&used), "{rule:?} {one} {two}: {used}");
            });
        }
    }
}

/// A day begins while two threads count: each day's word is worked out once, and both count in the
/// day that is theirs.
#[test]
fn loom_counter_calendar_edge() {
    model(|| {
        let rule = Rule::Window(Window::new(2, 86_400, Frame::Calendar(0)).unwrap());
        let mut world = World::new(Timestamp::from_secs(86_400));
        let calendars = vec![Calendar::new(CalendarUnit::Day, "UTC").unwrap()];
        Arc::get_mut(&mut world).unwrap().calendars = calendars;
        let (before, after) = (Timestamp::from_secs(86_399), Timestamp::from_secs(86_400));
        let other = {
            let world = world.clone();
            thread::spawn(move || took(world.counter(&rule, 4).take(before, 1)))
        };
        let mine = took(world.counter(&rule, 4).take(after, 1));
        let theirs = other.join().unwrap();
        assert!(mine && theirs);
        let word = world.store.table.read(Tag::from_bits(4));
        assert_eq!(word.dies_at_secs(), 2 * 86_400);
        // Who was late either came first, in the old day, or counts in the new one.
        assert!((1..=2).contains(&word.count()));
    });
}
