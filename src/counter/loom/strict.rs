//! Models of strict counters: takers, those who give back, and the thread that writes ceilings.

use super::{NOW, World, bucket, counted, sliding, strict_model, thread, took, window};
use crate::algorithm::{Rule, Step};
use crate::counter::{Counter, Reserve, Take};
use crate::key::Tag;

/// Takes one of a strict limit of two; what it was told is durable.
fn take_strictly(world: &World) -> bool {
    let rule = window(2);
    let counter = strict(world, &rule);
    let taken = counter.take(NOW, 1);
    if let Take::Judged(seen) = taken
        && let Step::Admit(word) = seen.step
    {
        let durable = world.disk.durable(Tag::from_bits(4));
        assert!(word.count() <= durable.count(), "admitted, yet not durable");
    }
    took(taken)
}

fn strict<'a>(world: &'a World, rule: &'a Rule) -> Counter<'a> {
    Counter {
        reserve: Some(&Reserve {
            amount: Some(1),
            admits_unsecured: false,
        }),
        ..world.counter(rule, 4)
    }
}

/// A strict counter with room for two, two takers and the thread that writes: both are admitted,
/// each when the disk knows of it.
#[test]
fn loom_ceiling_take() {
    strict_model(|| {
        let world = World::new(NOW);
        let other = {
            let world = world.clone();
            thread::spawn(move || take_strictly(&world))
        };
        assert!(take_strictly(&world));
        assert!(other.join().unwrap());
        assert_eq!(world.store.table.read(Tag::from_bits(4)).count(), 2);
        world.store.ceilings.stop();
    });
}

/// What the model does with a strict counter of which two of four are taken.
#[derive(Clone, Copy)]
enum GivesBack {
    /// Both are refunded: the ceiling comes down.
    Refund,
    /// Both are forgotten: the ceiling comes down.
    Reset,
}

/// A ceiling is brought down after a refund or a reset, while another takes one and keeps it, for
/// each algorithm: what the taker was told is durable and stays so, it alone is counted, and when
/// the lowering is settled the ceiling is at most one reservation above.
#[test]
fn loom_ceiling_brought_down() {
    for rule in [window(4), bucket(4), sliding(4)] {
        for gives_back in [GivesBack::Refund, GivesBack::Reset] {
            strict_model(move || {
                let world = World::new(NOW);
                let Take::Judged(seen) = strict(&world, &rule).take(NOW, 2) else {
                    unreachable!("there is room")
                };
                let Step::Admit(word) = seen.step else {
                    unreachable!("there is room")
                };
                match gives_back {
                    GivesBack::Refund => strict(&world, &rule).refund(seen.period, word, NOW, 2),
                    GivesBack::Reset => strict(&world, &rule).reset(NOW),
                }
                assert!(took(strict(&world, &rule).take(NOW, 1)));
                // And one that comes and goes again, while the ceiling is on its way.
                let Take::Judged(seen) = strict(&world, &rule).take(NOW, 2) else {
                    unreachable!("there is room")
                };
                if let Step::Admit(word) = seen.step {
                    strict(&world, &rule).refund(seen.period, word, NOW, 2);
                }
                assert_eq!(world.store.ceilings.settle(), Ok(()));
                world.store.ceilings.stop();
                let tag = Tag::from_bits(4);
                let kept = counted(&rule, world.store.table.read(tag));
                let durable = counted(&rule, world.disk.durable(tag));
                assert_eq!(kept, 1, "{rule:?}");
                assert!((1..=2).contains(&durable), "{rule:?}: {durable}");
            });
        }
    }
}

/// Two threads: one refunds what it took of a strict counter, the other takes and keeps, within the
/// ceiling or above it. What is kept is counted, whichever take loses against the ceiling that
/// comes down (row W2); and when the lowering is settled the ceiling is at most one reservation
/// above, whether it was being raised meanwhile or not.
#[test]
fn loom_ceiling_take_against_lower() {
    for rule in [window(4), bucket(4)] {
        for (given, cost) in [(2, 1), (2, 2), (1, 1)] {
            strict_model(move || take_against_refund(rule, given, cost));
        }
    }
}

/// Of two that were taken so many are given back, while so many are taken.
fn take_against_refund(rule: Rule, given: u64, cost: u64) {
    let world = World::new(NOW);
    let Take::Judged(seen) = strict(&world, &rule).take(NOW, 2) else {
        unreachable!("there is room")
    };
    let Step::Admit(word) = seen.step else {
        unreachable!("there is room")
    };
    let other = {
        let world = world.clone();
        thread::spawn(move || strict(&world, &rule).refund(seen.period, word, NOW, given))
    };
    assert!(took(strict(&world, &rule).take(NOW, cost)));
    other.join().unwrap();
    assert_eq!(world.store.ceilings.settle(), Ok(()));
    world.store.ceilings.stop();
    let tag = Tag::from_bits(4);
    let kept = counted(&rule, world.store.table.read(tag));
    let durable = counted(&rule, world.disk.durable(tag));
    assert_eq!(kept, 2 - given + cost, "{rule:?}");
    let bounds = kept..=kept + 1;
    assert!(bounds.contains(&durable), "{rule:?}: {durable} of {kept}");
}
