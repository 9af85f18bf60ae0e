//! The thread that makes room: shards that fill up get larger files, and their words move there.
//!
//! One shard is replaced like this, and a kill between any two steps leaves what is whole:
//!
//! ```text
//! NN.making is made      allocated, mapped, stamped as NN is
//! it becomes NN.next     nothing refers to it yet: who opens now removes it
//! NN notes how large     from now on who opens takes both
//! the words move         see `table/shard.rs`
//! NN.next becomes NN     the old file is gone; its memory goes when nothing is mapped there
//! ```
//!
//! Files are made first, wherever they are wanted, and words move when none is; but where somebody
//! has found no slot because words are still to move, these go first.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Trouble;
use super::shards::{remove, shard_error, shard_header};
use crate::algorithm::Word;
use crate::clock::Clock;
use crate::directory::{DirectoryError, Folder, Header, Site, check_room};
use crate::error::Error;
use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering, lock, spawn};
use crate::table::file::{self, ShardHeader};
use crate::table::{Carried, Region, Table, Update};
use crate::time::Timestamp;

/// How often it looks whether there is something to be done, if nobody calls.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it waits before it tries again what has failed: first, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// How the growth of the table goes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Growth {
    /// Shards that were replaced by larger ones since the limiter was opened.
    pub grown: u64,
    /// Shards whose words are moving to larger ones just now.
    pub growing: u64,
    /// True if the table is as large as it was opened to become, or larger.
    pub is_at_most: bool,
    /// Why it does not grow though it should, if it does not. It is tried again by itself.
    pub trouble: Option<Trouble>,
}

/// Where a table's shards come from.
pub(super) trait Source: Send {
    /// A shard of so many lines, empty, to take the place of `old`.
    fn make(&mut self, shard: usize, lines: u64, old: &Region) -> Result<Region, Error>;

    /// Puts what was made for a shard in the place of what was there.
    fn place(&mut self, shard: usize) -> Result<(), Error>;
}

/// Memory of this process.
pub(super) struct Memory;

impl Source for Memory {
    fn make(&mut self, _: usize, lines: u64, _: &Region) -> Result<Region, Error> {
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        let at = std::path::Path::new("memory");
        Region::anonymous(lines).map_err(|error| Error::io("get", at, error))
    }

    fn place(&mut self, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// Files of a folder.
pub(super) struct Files {
    header: Header,
    folder: Arc<Folder>,
    /// True if it must leave others room where it lies.
    is_guest: bool,
}

impl Files {
    pub(super) fn new(header: &Header, folder: Arc<Folder>, is_guest: bool) -> Self {
        Self {
            header: header.clone(),
            folder,
            is_guest,
        }
    }

    fn create(&self, number: u32, header: &ShardHeader, old: &Region) -> Result<Region, Error> {
        let (making, next) = (
            self.folder.making_path(number),
            self.folder.next_path(number),
        );
        let made = file::create(&making, header).map_err(|error| shard_error(&making, error))?;
        made.stamp(old.stamped());
        std::fs::rename(&making, &next).map_err(DirectoryError::io("name", &next))?;
        old.set_next_lines(header.lines);
        Ok(made)
    }
}

impl Source for Files {
    fn make(&mut self, shard: usize, lines: u64, old: &Region) -> Result<Region, Error> {
        let number = u32::try_from(shard).unwrap_or(u32::MAX);
        let header = shard_header(&self.header, number, lines);
        if let (Site::Root(root), true) = (self.folder.site(), self.is_guest) {
            check_room(root, header.file_len().unwrap_or(u64::MAX))?;
        }
        self.folder.check()?;
        let making = self.folder.making_path(number);
        remove(&making)?;
        let made = self.create(number, &header, old);
        if made.is_err() {
            // What was made of it takes room that others need; the error counts.
            let _ = remove(&making);
        }
        made
    }

    fn place(&mut self, shard: usize) -> Result<(), Error> {
        let number = u32::try_from(shard).unwrap_or(u32::MAX);
        let (next, path) = (
            self.folder.next_path(number),
            self.folder.shard_path(number),
        );
        self.folder.check()?;
        Ok(std::fs::rename(&next, &path).map_err(DirectoryError::io("name", &path))?)
    }
}

/// What has failed, and when to try again.
struct Failing {
    trouble: Trouble,
    delay: Duration,
    retry_at: Instant,
}

/// A table, and what lets it grow.
pub(super) struct Grower {
    table: Arc<Table>,
    source: Box<dyn Source>,
    carrying: Vec<Carried>,
    failing: Option<Failing>,
    told: Arc<Mutex<Growth>>,
}

impl Grower {
    /// A table that grows from `source`; what was growing goes on.
    pub(super) fn new(table: Arc<Table>, source: Box<dyn Source>) -> Self {
        let carrying = table.growing_shards();
        let grower = Self {
            table,
            source,
            carrying,
            failing: None,
            told: Arc::default(),
        };
        grower.tell(0);
        grower
    }

    /// What it tells.
    pub(super) fn told(&self) -> Arc<Mutex<Growth>> {
        self.told.clone()
    }

    /// Replaces a tag's word as [`Table::update`], by a thread that makes the room itself.
    pub(super) fn update(
        &mut self,
        tag: Tag,
        now: Timestamp,
        mut step: impl FnMut(Word) -> Option<Word>,
    ) -> Update {
        loop {
            let update = self.table.update(tag, now, &mut step);
            let mut has_more = false;
            // To its end: nobody else moves what stood there before, and newcomers would take the
            // room that is meant for it.
            while self.is_wanted() && self.step(now, false) {
                has_more = true;
            }
            if update != Update::Full || !has_more {
                return update;
            }
        }
    }

    fn is_wanted(&self) -> bool {
        self.table.is_called() || !self.carrying.is_empty()
    }

    /// Makes one step, if there is one to make; with `looks`, though nobody called.
    pub(super) fn step(&mut self, now: Timestamp, looks: bool) -> bool {
        if let Some(failing) = &self.failing
            && Instant::now() < failing.retry_at
        {
            return false;
        }
        match self.advance(now, looks) {
            Ok(has_stepped) => {
                if has_stepped && self.failing.take().is_some() {
                    self.tell(0);
                }
                has_stepped
            }
            Err(error) => {
                self.fail(error.to_string());
                false
            }
        }
    }

    fn advance(&mut self, now: Timestamp, looks: bool) -> Result<bool, Error> {
        let waited = |carried: &Carried| self.table.is_carry_waited_for(carried);
        if let Some(place) = self.carrying.iter().position(waited)
            && self.carry(place, now)?
        {
            return Ok(true);
        }
        Ok(self.make(now, looks)? || self.carry(0, now)?)
    }

    /// Makes a larger shard where one is wanted; false if none is.
    fn make(&mut self, now: Timestamp, looks: bool) -> Result<bool, Error> {
        if !looks && !self.table.is_called() && self.failing.is_none() {
            return Ok(false);
        }
        let Some((shard, lines)) = self.table.pressed(now) else {
            return Ok(false);
        };
        let Some(old) = self.table.region(shard) else {
            return Ok(false);
        };
        let next = self.source.make(shard, lines as u64, old)?;
        next.populate(|| self.table.is_waited_for());
        let Some(begun) = self.table.begin(shard, next) else {
            let why = "has been replaced as often as can be; it is when it is opened again";
            return Err(Error::damaged(std::path::Path::new("a shard"), why));
        };
        self.carrying.push(begun);
        self.tell(0);
        Ok(true)
    }

    /// Moves some words of a shard; false if there are none to move.
    fn carry(&mut self, place: usize, now: Timestamp) -> Result<bool, Error> {
        let Some(carried) = self.carrying.get_mut(place) else {
            return Ok(false);
        };
        if !self.table.carry(carried, now) {
            // What is short of room begins anew, but not at once.
            return Ok(!carried.is_anew());
        }
        let shard = carried.shard();
        self.source.place(shard)?;
        self.table.end(shard);
        self.carrying.remove(place);
        self.tell(1);
        // What it does not give back now goes with the table.
        let path = std::path::Path::new("a shard that has moved");
        let retired = self.table.retire(shard);
        retired.map_err(|error| Error::io("unmap", path, error))?;
        Ok(true)
    }

    /// Lets what has failed be tried again at once.
    #[cfg(test)]
    pub(super) fn retry_now(&mut self) {
        if let Some(failing) = &mut self.failing {
            failing.retry_at = Instant::now();
        }
    }

    fn fail(&mut self, why: String) {
        let delay = self
            .failing
            .as_ref()
            .map_or(RETRY_FIRST, |failing| (failing.delay * 2).min(RETRY_MOST));
        let before = self.failing.take().map(|failing| failing.trouble);
        self.failing = Some(Failing {
            trouble: Trouble::after(before, why),
            delay,
            retry_at: Instant::now() + delay,
        });
        self.tell(0);
    }

    fn tell(&self, grown: u64) {
        let trouble = self.failing.as_ref().map(|failing| failing.trouble.clone());
        self.table.set_failing(trouble.is_some());
        let mut told = lock(&self.told);
        told.grown += grown;
        told.growing = self.carrying.len() as u64;
        told.is_at_most = self.table.is_at_most();
        told.trouble = trouble;
    }
}

/// The thread that makes room for all tables of a limiter.
#[derive(Debug)]
pub(super) struct GrowerThread {
    is_stopped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl GrowerThread {
    /// Starts it.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(mut growers: Vec<Grower>, clock: Clock) -> std::io::Result<Self> {
        let is_stopped = Arc::new(AtomicU64::new(0));
        let seen = is_stopped.clone();
        let tables: Vec<_> = growers.iter().map(|grower| grower.table.clone()).collect();
        let thread = spawn("tollgate-grower", move || {
            let mut looks = false;
            // Ordering: acquire, pairs with the release in `stop`.
            while seen.load(Ordering::Acquire) == 0 {
                let mut has_stepped = false;
                for grower in &mut growers {
                    has_stepped |= grower.step(clock.now(), looks);
                }
                looks = false;
                if !has_stepped {
                    let slept = Instant::now();
                    std::thread::park_timeout(LOOK_EVERY);
                    looks = slept.elapsed() >= LOOK_EVERY;
                }
            }
        })?;
        for table in tables {
            table.set_maker(thread.thread().clone());
        }
        Ok(Self {
            is_stopped,
            thread: Some(thread),
        })
    }

    /// Stops it and waits until it is gone; what is half moved stays so, and is whole.
    pub(super) fn stop(&mut self) {
        // Ordering: release; what it sees of us before it stops.
        self.is_stopped.store(1, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A growth that panicked has said so on standard error; there is nothing to add.
            let _ = thread.join();
        }
    }
}
