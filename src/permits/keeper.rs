//! The thread that ends waits on time, for futures: a blocked thread sees to its own wait.
//!
//! It sleeps until the earliest deadline it was told of, ends what is due in everything it looks
//! after, and asks each for the next. Each tells it of a deadline earlier than all others of its
//! own; the rest it finds by itself. Nobody need poll a future for its wait to end, so a future
//! that is never polled again cannot hold up a line beyond its deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, lock, wait};

/// Something with deadlines that the keeper looks after.
pub(super) trait Expire: Send + Sync {
    /// Ends the waits whose deadline has come. Gives who must be woken, and the next deadline.
    fn expire(&self, now: Instant) -> (Vec<Waker>, Option<Instant>);
}

struct Alarm {
    /// When to look next; `None` if nobody waits.
    next: Option<Instant>,
    running: bool,
    stopped: bool,
}

pub(super) struct Keeper {
    alarm: Mutex<Alarm>,
    bell: Condvar,
    watched: OnceLock<Box<[Weak<dyn Expire>]>>,
}

impl Keeper {
    pub(super) fn new() -> Self {
        Self {
            alarm: Mutex::new(Alarm {
                next: None,
                running: false,
                stopped: false,
            }),
            bell: Condvar::new(),
            watched: OnceLock::new(),
        }
    }

    /// Names what to look after, once.
    pub(super) fn watch(&self, all: impl Iterator<Item = Weak<dyn Expire>>) {
        self.watched.get_or_init(|| all.collect());
    }

    /// Makes sure to look at `deadline`. False if there is no thread to do it and none to be had.
    pub(super) fn notice(self: &Arc<Self>, deadline: Instant) -> bool {
        let mut alarm = lock(&self.alarm);
        if alarm.stopped {
            return true;
        }
        if !alarm.running {
            let keeper = Arc::clone(self);
            let builder = thread::Builder::new().name("tollgate-permits".into());
            if builder.spawn(move || keeper.run()).is_err() {
                return false;
            }
            alarm.running = true;
        }
        if alarm.next.is_none_or(|next| deadline < next) {
            alarm.next = Some(deadline);
            self.bell.notify_one();
        }
        true
    }

    /// Lets the thread end, without waiting for it.
    pub(super) fn stop(&self) {
        lock(&self.alarm).stopped = true;
        self.bell.notify_one();
    }

    fn run(self: &Arc<Self>) {
        while self.sleep() {
            let now = Instant::now();
            for one in self.watched.get().iter().flat_map(|all| all.iter()) {
                let Some(one) = one.upgrade() else {
                    continue;
                };
                let (woken, next) = one.expire(now);
                for waker in woken {
                    // A waker is foreign code. Its panic is reported by the hook, and must not end
                    // the thread that all others rely on.
                    let _reported = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                if let Some(next) = next {
                    self.notice(next);
                }
            }
        }
    }

    /// Sleeps until there is something to look at; false when it is time to end.
    fn sleep(&self) -> bool {
        let mut alarm = lock(&self.alarm);
        while !alarm.stopped {
            let left = alarm
                .next
                .map(|next| next.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                // Cleared before the shards are looked at: whoever joins a line meanwhile is
                // either found there or rings again.
                alarm.next = None;
                return true;
            }
            alarm = wait(&self.bell, alarm, left);
        }
        false
    }
}
