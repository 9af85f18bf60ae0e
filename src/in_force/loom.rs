//! Models of a limit that is overridden while others take from it, with a word as the table has it.

use std::convert::Infallible;

use loom::sync::Arc;
use loom::thread;

use super::{InForce, Keep, Keeping};
use crate::sync::{AtomicU64, Ordering};

/// A law of one limit: how much may be taken.
struct Law {
    most: u64,
}

loom::thread_local! {
    static KEEPING: Keeping<Law> = Keeping::new();
}

impl Keep for Law {
    fn with_keeping<R>(visit: impl FnOnce(&Keeping<Self>) -> R) -> R {
        KEEPING.with(visit)
    }
}

struct World {
    law: InForce<Law>,
    taken: AtomicU64,
}

impl World {
    fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            law: InForce::new(Law { most }),
            taken: AtomicU64::new(0),
        })
    }

    /// Takes one, if the law that this thread finds in force has room: true then.
    fn take(&self) -> bool {
        let law = self.law.read();
        // Ordering: as a hit in the table.
        let take = self
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < law.most).then_some(taken + 1)
            });
        take.is_ok()
    }

    fn change(&self, most: u64) {
        let Ok(replaced) = self.law.replace(|_| Ok::<_, Infallible>(Law { most }));
        assert_ne!(replaced.before.most, replaced.now.most);
    }
}

/// A limit is overridden while a thread takes, whichever law it kept before: whoever knows that it
/// was overridden is judged by the override, and what was taken before stays taken.
#[test]
fn loom_override_against_take() {
    for (before, after) in [(1, 2), (2, 1)] {
        for keeps_one in [false, true] {
            loom::model(move || {
                let world = World::new(before);
                if keeps_one {
                    assert_eq!(world.law.read().most, before);
                }
                let other = {
                    let world = world.clone();
                    thread::spawn(move || world.change(after))
                };
                assert!(world.take(), "either law has room for one");
                let by_either = world.take();
                other.join().unwrap();
                // From here on nobody may go by the law before.
                assert_eq!(world.law.read().most, after);
                let taken = 1 + u64::from(by_either);
                assert_eq!(world.take(), taken < after);
            });
        }
    }
}

/// Two overrides at once: one of them stays, and a thread that read between them finds that one.
#[test]
fn loom_override_against_override() {
    loom::model(|| {
        let world = World::new(9);
        let other = {
            let world = world.clone();
            thread::spawn(move || world.change(1))
        };
        world.change(2);
        let seen = world.law.read().most;
        other.join().unwrap();
        let stays = world.law.current().most;
        assert!(
            seen == stays || seen == 2,
            "what went before never comes back"
        );
        assert_eq!(world.law.read().most, stays);
    });
}
