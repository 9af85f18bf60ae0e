//! Opening a limiter, step by step.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::controlled::Control;
use super::grower::{Grower, GrowerThread, Memory};
use super::journaling::{Rebuilding, Recovery, Tables, Watcher};
use super::keeper::Keeper;
use super::law::Law;
use super::mapping::{Mapping, Wanted};
use super::media::{Media, OpenGenerations};
use super::overrides::Overrides;
use super::store::{Opened, Store, journal_error};
use super::tally::Live;
use super::{Inner, Limiter, reserving};
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::counter::CounterStore;
use crate::directory::DirectoryError;
use crate::error::Error;
use crate::idempotency::Turns;
use crate::in_force::InForce;
use crate::inbox::Inbox;
use crate::policy::Policy;
use crate::sync::{AtomicU64, lock};
use crate::table::{SHARDS, lines_per_shard};
use crate::writer::{OpenJournal, Source, Writer, position};

/// Counters that a directory has room for at the most, unless it is said otherwise.
const COUNTERS: u64 = 1_000_000;
/// Counters that it has room for at first: 300 KiB of them.
const FIRST: u64 = 10_000;
/// How often the journal is written, unless it is said otherwise.
const INTERVAL: Duration = Duration::from_millis(100);
/// Changed words that can wait to be written before the writer must look for them.
const INBOX: usize = 1 << 16;
/// The most a directory can be made for: 24 GiB of them.
const COUNTERS_MAX: u64 = 1 << 30;

/// What an opening does while another process has the directory open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum WhenHeld {
    /// It fails as [`ErrorKind::InUse`](crate::ErrorKind::InUse), and tells which process that is.
    #[default]
    Refuse,
    /// It waits for that process to close the limiter or to end, however it ends, and fails only
    /// if that takes longer than this. No count is lost on the way: the next process of a
    /// deployment goes on where the last one ended.
    Wait(Duration),
}

/// What a limiter is opened with.
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open` is called"]
pub struct Builder {
    policy: Policy,
    counters: u64,
    first: u64,
    clock: Option<ManualClock>,
    interval: Duration,
    mapping: Mapping,
    watcher: Watcher,
    control: bool,
    when_held: WhenHeld,
    #[cfg(feature = "watch")]
    watches: super::watch::Watches,
}

impl Builder {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            counters: COUNTERS,
            first: FIRST,
            clock: None,
            interval: INTERVAL,
            mapping: Mapping::default(),
            watcher: Watcher::default(),
            control: true,
            when_held: WhenHeld::default(),
            #[cfg(feature = "watch")]
            watches: super::watch::Watches::default(),
        }
    }

    /// Tells `watch` of every request that is judged, and how; several may be told. Without any, a
    /// check looks whether there are any, and nothing more.
    #[cfg(feature = "watch")]
    pub fn watch(mut self, watch: impl super::Watch + 'static) -> Self {
        self.watches.push(watch);
        self
    }

    /// Lets there be so many counters (one a limit and key; two for a sliding window), a million if
    /// unsaid: about 24 bytes each when they are all there. A directory begins with room for few
    /// ([`Self::counters_at_first`]) and grows by itself as they come, while checks go on;
    /// [`Health::growth`](crate::Health::growth) says how that goes. It may be said anew at every
    /// opening; a directory that has more room already keeps that.
    pub fn counters(mut self, counters: u64) -> Self {
        self.counters = counters;
        self
    }

    /// Makes room for so many counters in a directory that is new, ten thousand if unsaid, and for
    /// no more than the most. With the most said here, too, it never has to grow.
    pub fn counters_at_first(mut self, counters: u64) -> Self {
        self.first = counters;
        self
    }

    /// Takes the time from `clock` instead of the system: for tests, and to replay the past.
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Writes changed counters to the journal once an `interval`, 100 ms if unsaid: the most that
    /// a power cut makes a logged limit forget.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Calls `watch` while counters are rebuilt from the journal, if they have to be: when it
    /// begins, once every 65,536 words, and when it is done. Opening waits for it: no check is
    /// answered from half of the counters.
    pub fn on_rebuild(mut self, watch: impl Fn(Rebuilding) + Send + Sync + 'static) -> Self {
        self.watcher = Watcher::new(watch);
        self
    }

    /// Says where the table of counters is to lie: [`Mapping::Automatic`] if unsaid. It may be said
    /// anew at every opening; the table is moved then, and every counter kept.
    pub fn mapping(mut self, mapping: Mapping) -> Self {
        self.mapping = mapping;
        self
    }

    /// Says whether to listen on a Unix socket in the directory, by which the running limiter can
    /// be looked at and changed by its own user and root: true if unsaid. The `tollgate` command
    /// and [`control::Connection`](crate::control::Connection) ask there; no check waits for it.
    pub fn control(mut self, listens: bool) -> Self {
        self.control = listens;
        self
    }

    /// Says what to do while another process has the directory open: [`WhenHeld::Refuse`] if
    /// unsaid.
    pub fn when_held(mut self, when_held: WhenHeld) -> Self {
        self.when_held = when_held;
        self
    }

    /// Opens the directory at `path`, made if there is none.
    ///
    /// # Errors
    /// If another limiter has it open, it is not private to this user, it is damaged or of another
    /// format, there is no room for it, the table cannot be put where [`Self::mapping`] says, or
    /// the system refuses.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Limiter, Error> {
        self.open_on(path.as_ref(), Media::default())
    }

    /// The directory, locked, and how its table is wanted.
    fn open_store(&self, path: &Path) -> Result<(Store, Wanted), Error> {
        if self.counters == 0 || self.counters > COUNTERS_MAX {
            let why = format!("a directory has room for 1 to {COUNTERS_MAX}");
            return Err(Error::invalid(format!("{} counters", self.counters), why));
        }
        let most_lines = lines_per_shard(self.counters, SHARDS);
        let wanted = Wanted::new(self.mapping.clone()).growing(most_lines);
        let patience = match self.when_held {
            WhenHeld::Refuse => Duration::ZERO,
            WhenHeld::Wait(most) => most,
        };
        let first = self.first.clamp(1, self.counters);
        Ok((Store::open(path, patience, first, &wanted)?, wanted))
    }

    /// As [`Self::open`], with what outlives the kernel on `media`.
    pub(super) fn open_on(self, path: &Path, media: Media) -> Result<Limiter, Error> {
        let (mut store, wanted) = self.open_store(path)?;
        let overrides = Overrides::read(&store.directory.overrides_path())?;
        let clock = match self.clock {
            Some(clock) => Clock::Manual(clock),
            None => Clock::System(Arc::new(SystemClock::new())),
        };
        if let Some(latest) = store.latest {
            clock.resume_from(latest);
        }
        let header = store.directory.header();
        let law = Law::new(self.policy, overrides, header, clock.now())?;
        if law.rates != header.rates {
            store.directory.write_rates(&law.rates)?;
        }
        let recovery = Arc::new(Mutex::new(Recovery::default()));
        let (told, watcher) = (&recovery, &self.watcher);
        let mut tables = Tables {
            store: &store,
            grower: store.grower(&wanted),
            shared: law.shared_tags(),
            now: clock.now(),
        };
        let open_journal = open_journal(media.journal, &mut tables, told, watcher)?;
        let ceilings = (media.ceilings)(&store.directory.ceilings_path());
        let ceilings = reserving::open(ceilings, &mut tables, &wanted, &mut lock(&recovery))?;
        let grower = tables.grower;
        store.begin(clock.now())?;
        let inbox = Arc::new(Inbox::new(INBOX));
        // What was dirty when a process was killed is in no queue.
        inbox.ask_for_sweep();
        let source = source(&clock, &store, &inbox);
        let no_thread = || DirectoryError::io("start a thread for", path);
        let writer = Writer::start(source, open_journal, self.interval).map_err(no_thread())?;
        let growth = grower.told();
        let growers = vec![grower, Grower::new(ceilings.table(), Box::new(Memory))];
        let grower = GrowerThread::start(growers, clock.clone()).map_err(no_thread())?;
        let (table, shared) = (store.table.clone(), store.shared.clone());
        let counters = CounterStore::new(table, shared, clock, inbox, ceilings);
        let inner = Arc::new(Inner {
            law: InForce::new(law),
            counters,
            store,
            turns: Turns::new(),
            writer,
            grower: Mutex::new(grower),
            growth,
            recovery,
            newcomers: AtomicU64::new(0),
            live: Live::default(),
            keyless: AtomicU64::new(0),
            keeper: Mutex::new(None),
            control: Mutex::default(),
            trouble: Mutex::new(None),
            closed: Mutex::new(false),
            opened_at: Instant::now(),
            process: std::process::id(),
            #[cfg(feature = "watch")]
            told_trouble: false.into(),
            #[cfg(feature = "watch")]
            watches: self.watches,
        });
        keep(&inner).map_err(no_thread())?;
        introduce(&inner, self.control);
        Ok(Limiter { inner })
    }
}

/// Tells of a takeover, and lets others ask.
fn introduce(inner: &Arc<Inner>, listens: bool) {
    #[cfg(feature = "watch")]
    if let Some(waited) = inner.store.directory.waited() {
        inner.watches.tell_of_takeover(waited);
    }
    if listens {
        let path = inner.store.directory.path();
        *lock(&inner.control) = Control::start(path, inner);
    }
}

/// Starts the thread that ticks for as long as the limiter is there.
fn keep(inner: &Arc<Inner>) -> std::io::Result<()> {
    let kept = Arc::downgrade(inner);
    let keeper = Keeper::start(move |number| {
        if let Some(inner) = kept.upgrade() {
            inner.tick(number);
            #[cfg(feature = "watch")]
            if number.is_multiple_of(10) {
                let watches = inner.watches.clone();
                watches.tick(&Limiter { inner });
            }
        }
    })?;
    *lock(&inner.keeper) = Some(keeper);
    Ok(())
}

/// What the writer reads.
fn source(clock: &Clock, store: &Store, inbox: &Arc<Inbox>) -> Source {
    Source {
        clock: clock.clone(),
        table: store.table.clone(),
        shared: store.shared.clone(),
        inbox: inbox.clone(),
        in_flight: store.in_flight.clone(),
    }
}

/// How the journal is to be opened: by the writer, off the path of starting up, whatever its size.
/// Only if the table could not be kept is it opened at once, and the counters rebuilt from it.
fn open_journal(
    open: OpenGenerations,
    tables: &mut Tables<'_>,
    recovery: &Arc<Mutex<Recovery>>,
    watcher: &Watcher,
) -> Result<OpenJournal, Error> {
    let store = tables.store;
    let (instance, path) = (
        store.directory.header().instance,
        store.directory.journal_path(),
    );
    let told = recovery.clone();
    let in_flight = store.in_flight.clone();
    let is_lost = matches!(store.opened, Opened::SetAside { .. });
    let is_new = store.opened == Opened::New;
    let mut open = move || {
        let (journal, report) = open(&path, instance)?;
        let mut recovery = lock(&told);
        if is_lost && report.is_new {
            let why = "there was no journal to rebuild the counters from";
            recovery.troubles.push(why.into());
        }
        recovery.told(report);
        // A new table holds nothing that any journal could lack.
        let is_known = is_new || recovery.compared(in_flight.position(), position(&journal));
        let is_whole = is_known && journal.is_whole();
        Ok((journal, is_whole))
    };
    if !is_lost {
        return Ok(Box::new(open));
    }
    let (mut journal, _) = open().map_err(journal_error)?;
    let mut recovery = lock(recovery);
    recovery
        .rebuild(&mut journal, tables, watcher)
        .map_err(journal_error)?;
    // The table holds what the journal told, and nothing else yet.
    let is_whole = journal.is_whole();
    let mut opened = Some((journal, is_whole));
    Ok(Box::new(move || opened.take().map_or_else(&mut open, Ok)))
}
