//! Recovery: the words of the journal go back into an empty table.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use super::grower::Grower;
use super::store::Store;
use crate::algorithm::Word;
use crate::journal::{Generations, Report, StoreError};
use crate::key::Tag;
use crate::sync::Arc;
use crate::table::{Position, Table, Update};
use crate::time::Timestamp;

/// What was found in the journal when a directory was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Counters put back into the table; zero if the table was kept.
    pub counters: u64,
    /// Records that were damaged, and left out.
    pub damaged: u64,
    /// Counters that found no room in the table.
    pub without_slot: u64,
    /// Words read from the journal for that; of several of one counter the last counts.
    pub words: u64,
    /// How long the rebuilding took.
    pub took: Duration,
    /// What is wrong with the journal, in words; empty if nothing is.
    pub troubles: Vec<String>,
}

/// How far the rebuilding of the counters has come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rebuilding {
    /// Words read so far.
    pub words: u64,
    /// Counters put back so far.
    pub counters: u64,
    /// Bytes of the journal that is read: a word takes some 20 to 40.
    pub journal_bytes: u64,
}

/// Words between two calls of a watcher.
const WATCH_EVERY: u64 = 1 << 16;

/// Who wants to know how far it has come.
#[derive(Clone, Default)]
pub(super) struct Watcher(Option<Arc<dyn Fn(Rebuilding) + Send + Sync>>);

impl Watcher {
    pub(super) fn new(watch: impl Fn(Rebuilding) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    fn tell(&self, recovery: &Recovery, journal_bytes: u64) {
        if let Some(watch) = &self.0 {
            watch(Rebuilding {
                words: recovery.words,
                counters: recovery.counters,
                journal_bytes,
            });
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher" } else { "none" })
    }
}

/// The tables of a directory that is being opened, to be filled with what is known.
pub(super) struct Tables<'a> {
    pub(super) store: &'a Store,
    /// They grow as they fill: there is no thread yet that lets them.
    pub(super) grower: Grower,
    /// Tags of the counters that newcomers share.
    pub(super) shared: HashSet<Tag>,
    pub(super) now: Timestamp,
}

impl Tables<'_> {
    fn table(&self, tag: Tag) -> &Table {
        if self.shared.contains(&tag) {
            &self.store.shared
        } else {
            &self.store.table
        }
    }

    /// Puts what `step` makes of a word in its place, and counts it as recovered.
    pub(super) fn put(
        &mut self,
        recovery: &mut Recovery,
        tag: Tag,
        step: impl FnMut(Word) -> Option<Word>,
    ) {
        let now = self.now;
        let update = if self.shared.contains(&tag) {
            self.store.shared.update(tag, now, step)
        } else {
            self.grower.update(tag, now, step)
        };
        match update {
            Update::Done { before, after } => {
                let is_new = !before.is_live(now) && after.is_live(now);
                recovery.counters += u64::from(is_new);
            }
            Update::Full => recovery.without_slot += 1,
        }
    }
}

impl Recovery {
    /// What opening the journal told.
    pub(super) fn told(&mut self, report: Report) {
        if let Some(aside) = report.set_aside {
            let at = aside.path.display();
            self.troubles.push(format!(
                "the journal could not be read ({}); see {at}",
                aside.why
            ));
        }
        if let Some(loss) = report.loss {
            let (found, acknowledged) = (loss.found, loss.acknowledged);
            self.troubles.push(format!(
                "the journal has lost commits that it had acknowledged: {found} of {acknowledged}"
            ));
        }
        if report.is_unmarked {
            self.troubles
                .push("the journal's mark is gone or torn; a loss in it would not show".into());
        }
        if let Some(error) = report.not_removed {
            self.troubles
                .push(format!("remains of an older journal are left: {error}"));
        }
    }

    /// Compares the journal with the table that was kept, which notes how far the journal had come
    /// when it last held everything. True if this is that journal.
    pub(super) fn compared(&mut self, noted: Option<Position>, found: Position) -> bool {
        let Some(noted) = noted else {
            return false;
        };
        if found < noted {
            self.troubles.push(format!(
                "the journal is older than the counters (generation {}, commit {}; they know of \
                 generation {}, commit {}); they are written to it again",
                found.generation, found.sequence, noted.generation, noted.sequence
            ));
        }
        found.generation == noted.generation && found >= noted
    }

    /// Puts what the journal holds back into the tables, which are empty.
    pub(super) fn rebuild(
        &mut self,
        journal: &mut Generations,
        tables: &mut Tables<'_>,
        watcher: &Watcher,
    ) -> Result<(), StoreError> {
        let (began, bytes) = (Instant::now(), journal.size_bytes());
        watcher.tell(self, bytes);
        // The journal is a log: of several words under one tag the last counts.
        let recovered = journal.scan(&mut |tag, word| {
            self.words += 1;
            if self.words.is_multiple_of(WATCH_EVERY) {
                watcher.tell(self, bytes);
            }
            if word.is_live(tables.now) {
                tables.put(self, tag, |_| Some(word));
            } else {
                // Nothing to put back; what an earlier record put there is over too.
                tables.table(tag).amend(tag, |_| word);
            }
        })?;
        self.took = began.elapsed();
        watcher.tell(self, bytes);
        self.damaged = recovered.scan.damaged;
        if let Some(aside) = recovered.set_aside {
            let at = aside.path.display();
            self.troubles.push(format!(
                "the journal could not be read whole ({}); see {at}",
                aside.why
            ));
        }
        Ok(())
    }
}
