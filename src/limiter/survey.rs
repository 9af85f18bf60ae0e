//! A table looked at from outside: its files are read, never mapped and never written.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::shards::{shard_error, shard_header, size_of};
use crate::algorithm::Word;
use crate::directory::{Directory, Mark, Place, Site, State, next_name, shard_name};
use crate::error::Error;
use crate::key::Tag;
use crate::table::survey::{Files, Position, Survey, Times, survey, survey_in_flight};

/// What stands in a table.
#[derive(Debug)]
pub(crate) struct TableSurvey {
    /// The folder that it lies in.
    pub(crate) folder: PathBuf,
    /// What stands in the slots of the shards that could be read.
    pub(crate) slots: Survey,
    /// What is wrong with the others.
    pub(crate) errors: Vec<Error>,
    /// Shards whose words were on the way to larger ones.
    pub(crate) growing: u64,
    /// Words on their way to the journal.
    pub(crate) in_flight: HashSet<Tag>,
    /// True if it knows of a journal that holds what it says is written.
    pub(crate) knows_a_journal: bool,
    /// Why the next opening does not believe it, though nothing is wrong with it.
    pub(crate) differs: Option<&'static str>,
}

/// What the files say of themselves.
#[derive(Default)]
struct Claims {
    files: usize,
    /// Files that are copies of those that were in use.
    copies: Vec<PathBuf>,
    /// Files with another stamp than the mark's.
    strange: Vec<PathBuf>,
}

/// Looks at every slot of the table that `mark` speaks of, and shows the live words that can be
/// found. A table that is not to be believed for reasons of its own is not looked at: whatever
/// stands in it is nobody's any more.
pub(crate) fn survey_table(
    directory: &Directory,
    mark: &Mark,
    times: Times,
    see: &mut dyn FnMut(Tag, Word),
) -> TableSurvey {
    let folder = directory.folder_path(&mark.site);
    let mut all = TableSurvey {
        differs: differs(&folder, mark),
        folder,
        slots: Survey::default(),
        growing: 0,
        errors: Vec::new(),
        in_flight: HashSet::new(),
        knows_a_journal: false,
    };
    if all.differs.is_some() {
        return all;
    }
    if !all.folder.is_dir() {
        all.errors.push(Error::damaged(&all.folder, "is gone"));
        return all;
    }
    let mut claims = Claims::default();
    let shards = directory.header().shards;
    for number in 0..=shards {
        let files = files_of(directory, &all.folder, number);
        // What newcomers share is a table of one shard.
        let position = if number == shards {
            Position {
                number: 0,
                shard_bits: 0,
            }
        } else {
            Position {
                number,
                shard_bits: shards.trailing_zeros(),
            }
        };
        match survey(&files, position, times, see) {
            Ok(one) => {
                all.slots = all.slots.and(one.survey);
                all.growing += u64::from(one.is_growing);
                claims.hear(&files, one.is_itself, &one.stamps, mark);
            }
            Err((path, error)) => all.errors.push(shard_error(&path, error)),
        }
    }
    let files = files_of(directory, &all.folder, shards + 1);
    match survey_in_flight(&files) {
        Ok(one) => {
            claims.hear(&files, one.is_itself, &[one.stamp], mark);
            all.in_flight = one.tags;
            all.knows_a_journal = one.reached.is_some();
        }
        Err((path, error)) => all.errors.push(shard_error(&path, error)),
    }
    claims.judge(mark, &mut all);
    all
}

fn files_of(directory: &Directory, folder: &Path, number: u32) -> Files {
    let header = directory.header();
    Files {
        path: folder.join(shard_name(number)),
        next: folder.join(next_name(number)),
        header: shard_header(header, number, header.lines),
        size: size_of(header, number),
    }
}

/// Why a whole table is not believed under this mark: as after a reboot, or in a copy.
fn differs(folder: &Path, mark: &Mark) -> Option<&'static str> {
    if mark.place == Place::NOWHERE {
        return Some("it was given up");
    }
    let is_open = mark.state == State::Open;
    match Place::here(folder) {
        Ok(place) if is_open => place.differs_from(&mark.place),
        Ok(_) => None,
        // Where it lies in memory, a reboot takes it away, and a copy has none.
        Err(_) if mark.site != Site::Data => Some("it is gone from memory"),
        Err(_) => (is_open && !is_this_boot(mark)).then_some("another boot"),
    }
}

fn is_this_boot(mark: &Mark) -> bool {
    Place::boot().is_ok_and(|boot| boot == mark.place.boot)
}

impl Claims {
    fn hear(&mut self, files: &Files, is_itself: bool, stamps: &[u64], mark: &Mark) {
        self.files += 1;
        if !is_itself {
            self.copies.push(files.path.clone());
        }
        if !stamps.iter().all(|stamp| mark.stamps.contains(stamp)) {
            self.strange.push(files.path.clone());
        }
    }

    /// What is wrong with single files, or why the whole is not to be believed, though nothing is.
    fn judge(self, mark: &Mark, all: &mut TableSurvey) {
        let told = |path: &PathBuf, what| Error::damaged(path, what);
        if mark.state == State::Open && !self.copies.is_empty() {
            if self.copies.len() == self.files {
                // A copy of a directory in use, of which each file may be of another instant.
                all.differs = Some("other files");
                all.errors.clear();
                return;
            }
            let what = "is another file than the one that was in use";
            all.errors
                .extend(self.copies.iter().map(|path| told(path, what)));
        }
        if self.strange.is_empty() {
            return;
        }
        let is_whole = self.strange.len() == self.files;
        let is_restored = is_whole && mark.site != Site::Data;
        if is_restored || !is_this_boot(mark) {
            // The directory is of another time; or the power went while it was opened or closed.
            all.differs = Some("another time's table");
        } else {
            let what = "is of another time than the marks";
            all.errors
                .extend(self.strange.iter().map(|path| told(path, what)));
        }
    }
}
