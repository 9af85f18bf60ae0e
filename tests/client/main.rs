//! The client's side: what it reads, how long it waits, when it gives up; over real sockets where
//! a service answers. Time is moved by hand: a client that sleeps moves the clock.
#![cfg(feature = "client")]

mod backoff;
#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod notice;
mod pace;
mod queue;
mod retry;
mod server;
#[cfg(feature = "tower")]
mod skakio;
#[path = "../common/skipped.rs"]
mod skipped;
mod structured;
mod systems;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollgate::client::Timing;
use tollgate::{ManualClock, Timestamp};

/// 2025-10-09T08:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_759_996_800);

/// A clock moved by whoever sleeps, and a list of how long they did.
#[derive(Clone)]
struct World {
    clock: ManualClock,
    slept: Arc<Mutex<Vec<Duration>>>,
}

impl World {
    fn new() -> Self {
        Self {
            clock: ManualClock::new(START),
            slept: Arc::default(),
        }
    }

    /// Sleeps by moving the clock; no jitter.
    fn timing(&self) -> Timing {
        let (sleeper, clock) = (self.clone(), self.clock.clone());
        Timing::new(move |span| {
            sleeper.slept.lock().unwrap().push(span);
            sleeper.clock.advance(span);
            std::future::ready(())
        })
        .clock(move || clock.now())
        .jitter(|_| 0)
    }

    fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap().clone()
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
