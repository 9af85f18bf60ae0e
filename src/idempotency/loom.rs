//! Models of requests with the same id, over the real turns with words as the table has them.

use loom::sync::Arc;
use loom::thread;

use super::Turns;
use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering};

const IDS: [Tag; 2] = [Tag::from_bits(0), Tag::from_bits(1)];

/// A limit, and what is known of the ids, each in a word as the table has them.
struct World {
    turns: Turns,
    most: u64,
    taken: AtomicU64,
    known: [AtomicU64; 2],
}

impl World {
    /// Takes one, if there is room: true then.
    fn take(&self) -> bool {
        // Ordering: as a hit in the table.
        let take = self
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < self.most).then_some(taken + 1)
            });
        take.is_ok()
    }

    fn known(&self, id: Tag) -> &AtomicU64 {
        &self.known[usize::from(id == IDS[1])]
    }

    fn is_known(&self, id: Tag) -> bool {
        // Ordering: as a look at the table.
        self.known(id).load(Ordering::Acquire) != 0
    }

    /// Sends a request with this id: true if it was admitted, now or before.
    fn send(&self, id: Tag) -> bool {
        let mut is_admitted = false;
        let is_repeat = self.turns.once(
            id,
            &mut is_admitted,
            |_| self.is_known(id),
            |is_admitted| {
                *is_admitted = self.take();
                *is_admitted
            },
            // Ordering: as a claim in the table.
            |_| self.known(id).store(1, Ordering::Release),
        );
        is_repeat || is_admitted
    }

    fn taken(&self) -> u64 {
        // Ordering: all threads are joined.
        self.taken.load(Ordering::Relaxed)
    }
}

fn model(most: u64, run: impl Fn(Arc<World>) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        run(Arc::new(World {
            turns: Turns::with(1),
            most,
            taken: AtomicU64::new(0),
            known: [AtomicU64::new(0), AtomicU64::new(0)],
        }));
    });
}

/// Both of a pair are admitted though there is room for one, and one is charged.
#[test]
fn loom_idempotent_pair_is_charged_once_and_answered_alike() {
    model(1, |world| {
        let other = {
            let world = world.clone();
            thread::spawn(move || world.send(IDS[0]))
        };
        assert!(world.send(IDS[0]));
        assert!(other.join().unwrap());
        assert_eq!(world.taken(), 1);
    });
}

/// A pair that somebody without an id races for the last: both get it, or neither.
#[test]
fn loom_idempotent_pair_against_a_stranger_is_answered_alike() {
    model(1, |world| {
        let [other, stranger] = [true, false].map(|has_id| {
            let world = world.clone();
            thread::spawn(move || {
                if has_id {
                    world.send(IDS[0])
                } else {
                    world.take()
                }
            })
        });
        let mine = world.send(IDS[0]);
        assert_eq!(mine, other.join().unwrap());
        assert_ne!(mine, stranger.join().unwrap());
        assert_eq!(world.taken(), 1);
    });
}

/// Different ids are charged each, and what is refused is not remembered.
#[test]
fn loom_idempotent_ids_of_two_are_charged_each() {
    model(1, |world| {
        let other = {
            let world = world.clone();
            thread::spawn(move || world.send(IDS[1]))
        };
        let admitted = [world.send(IDS[0]), other.join().unwrap()];
        assert_ne!(admitted[0], admitted[1]);
        assert_eq!(IDS.map(|id| world.is_known(id)), admitted);
        assert_eq!(world.taken(), 1);
    });
}
