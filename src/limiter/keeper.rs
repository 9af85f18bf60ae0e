//! The background thread: keeps the clock on the wall, and remembers the latest time seen.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sync::{lock, spawn};

/// How often the clock is compared with the wall.
const TICK: Duration = Duration::from_millis(100);

/// A thread that calls a function at every tick until it is stopped.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts it. `tick` is given the number of the tick, from 1.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(mut tick: impl FnMut(u64) + Send + 'static) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = stop.clone();
        let thread = spawn("tollgate-keeper", move || {
            let (stopped, wake) = &*seen;
            for number in 1.. {
                let waited = wake.wait_timeout_while(lock(stopped), TICK, |stopped| !*stopped);
                if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                    return;
                }
                tick(number);
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Stops it and waits until it is gone. Safe to call from the thread itself: then it only ends.
    pub(super) fn stop(&mut self) {
        let (stopped, wake) = &*self.stop;
        *lock(stopped) = true;
        wake.notify_all();
        let is_other =
            |thread: &JoinHandle<()>| thread.thread().id() != std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(is_other) {
            // A tick that panicked has said so on standard error; there is nothing to add.
            let _ = thread.join();
        }
    }
}
