//! Opening a limiter, step by step.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::cell::LawCell;
use super::keeper::Keeper;
use super::law::Law;
use super::overrides::Overrides;
use super::store::Store;
use super::{Inner, Limiter};
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::directory::DirectoryError;
use crate::error::Error;
use crate::inbox::Inbox;
use crate::policy::Policy;
use crate::sync::AtomicU64;

/// Counters that a directory has room for unless it is said otherwise.
const COUNTERS: u64 = 1_000_000;
/// Changed words that can wait to be written before the writer must look for them.
const INBOX: usize = 1 << 16;
/// The most a directory can be made for: 24 GiB of them.
const COUNTERS_MAX: u64 = 1 << 30;

/// What a limiter is opened with.
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open` is called"]
pub struct Builder {
    policy: Policy,
    counters: u64,
    clock: Option<ManualClock>,
}

impl Builder {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            counters: COUNTERS,
            clock: None,
        }
    }

    /// Makes room for so many counters (one a limit and key; two for a sliding window) in a
    /// directory that is new: about 24 bytes each, allocated at once. A directory that is not new
    /// keeps the room it was made with.
    pub fn counters(mut self, counters: u64) -> Self {
        self.counters = counters;
        self
    }

    /// Takes the time from `clock` instead of the system: for tests, and to replay the past.
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens the directory at `path`, made if there is none.
    ///
    /// # Errors
    /// If another limiter has it open, it is not private to this user, it is damaged or of another
    /// format, there is no room for it, or the system refuses.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Limiter, Error> {
        if self.counters == 0 || self.counters > COUNTERS_MAX {
            let why = format!("a directory has room for 1 to {COUNTERS_MAX}");
            return Err(Error::invalid(format!("{} counters", self.counters), why));
        }
        let store = Store::open(path.as_ref(), self.counters)?;
        let overrides = Overrides::read(&store.directory.overrides_path())?;
        let law = Law::new(self.policy, overrides, store.directory.header().secret())?;
        let clock = match self.clock {
            Some(clock) => Clock::Manual(clock),
            None => Clock::System(Arc::new(SystemClock::new())),
        };
        if let Some(latest) = store.latest {
            clock.resume_from(latest);
        }
        let inner = Arc::new(Inner {
            law: LawCell::new(law),
            clock,
            store,
            inbox: Arc::new(Inbox::new(INBOX)),
            healed: AtomicU64::new(0),
            newcomers: AtomicU64::new(0),
            keeper: Mutex::new(None),
            trouble: Mutex::new(None),
            closed: Mutex::new(false),
        });
        let kept = Arc::downgrade(&inner);
        let keeper = Keeper::start(move |number| {
            if let Some(inner) = kept.upgrade() {
                inner.tick(number);
            }
        });
        let keeper = keeper.map_err(DirectoryError::io("start a thread for", path.as_ref()))?;
        *inner
            .keeper
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(keeper);
        Ok(Limiter { inner })
    }
}
