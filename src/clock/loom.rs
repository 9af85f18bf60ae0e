//! A model of the sequence lock: readings beside a look.

use loom::sync::Arc;
use loom::thread;

use super::system::{Instruments, SystemClock};
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;

/// A machine whose time moves on by a millisecond a step.
#[derive(Debug)]
struct Model {
    step: AtomicU64,
}

const STEP_NANOS: u64 = 1_000_000;

impl Model {
    fn steps(&self) -> u64 {
        // Ordering: acquire, pairs with the release in `pass`.
        self.step.load(Ordering::Acquire)
    }

    fn pass(&self) {
        self.step.fetch_add(1, Ordering::AcqRel);
    }
}

impl Instruments for Arc<Model> {
    fn ticks(&self) -> u64 {
        self.steps() * 3 * STEP_NANOS
    }

    fn ticks_in_order(&self) -> u64 {
        self.ticks()
    }

    fn boot_nanos(&self) -> u64 {
        self.steps() * STEP_NANOS
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_nanos(self.steps() * STEP_NANOS)
    }

    fn is_counter_trusted(&self) -> bool {
        true
    }
}

/// Two readings beside a look that begins a new line: neither is of two lines at once, and the
/// second is no earlier than the first.
#[test]
fn loom_clock_look_against_readings() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(1);
    builder.check(|| {
        let model = Arc::new(Model {
            step: AtomicU64::new(1_000),
        });
        let clock = Arc::new(SystemClock::with(model.clone()));
        for _ in 0..2 {
            model.pass();
            clock.adjust();
        }
        assert!(clock.health().reads_counter);
        let reader = {
            let (model, clock) = (model.clone(), clock.clone());
            thread::spawn(move || {
                let before = model.steps() * STEP_NANOS;
                let first = clock.now().as_nanos();
                let second = clock.now().as_nanos();
                let after = model.steps() * STEP_NANOS;
                // A line rounds down by a nanosecond or two.
                assert!(before <= first + 2 && first <= second && second <= after + 2);
            })
        };
        model.pass();
        clock.adjust();
        reader.join().unwrap();
    });
}
