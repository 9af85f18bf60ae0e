//! The journal's folder: which generations stand in it, and in what state, by their names alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;
use crate::directory::{Standing, make_private, sync_dir};

/// The most journals that are kept after they could not be read.
// Bound: a drive that damages every journal would fill itself with them; the eldest goes.
const SET_ASIDE_MAX: usize = 8;

const MAKING: &str = "making";
const OLD: &str = "old";
const UNREADABLE: &str = "unreadable";

/// A journal that could not be read.
#[derive(Debug)]
pub(crate) struct SetAside {
    /// Where it is now.
    pub(crate) path: PathBuf,
    /// Why it could not be read.
    pub(crate) why: StoreError,
}

/// What stands in the folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Generations that were made to the end and are not done with.
    pub(super) whole: Vec<u64>,
    /// What was being made or removed when a process ended.
    pub(super) strays: Vec<PathBuf>,
    /// What could not be read, by its number.
    pub(super) unreadable: Vec<u64>,
    /// Names that are none of ours, and are left alone.
    pub(super) strangers: Vec<PathBuf>,
    /// The largest number seen.
    pub(super) largest: u64,
}

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    standing: Standing,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path)?;
        Self::at(path)
    }

    /// The folder as it is.
    pub(super) fn at(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            path: path.to_owned(),
            standing: Standing::of(path)?,
        })
    }

    /// # Errors
    /// If another folder, or none, stands there by now.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        Ok(self.standing.check()?)
    }

    pub(super) fn list(&self) -> Result<Listing, StoreError> {
        self.check()?;
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path).map_err(StoreError::io("read", &self.path))? {
            let entry = entry.map_err(StoreError::io("read", &self.path))?;
            let name = entry.file_name();
            let Some((number, state)) = name.to_str().and_then(parse) else {
                listing.strangers.push(entry.path());
                continue;
            };
            listing.largest = listing.largest.max(number);
            match state {
                "" => listing.whole.push(number),
                UNREADABLE => listing.unreadable.push(number),
                _ => listing.strays.push(entry.path()),
            }
        }
        listing.whole.sort_unstable();
        listing.unreadable.sort_unstable();
        Ok(listing)
    }

    pub(super) fn current_path(&self) -> PathBuf {
        Self::current_in(&self.path)
    }

    /// Where the mark of a journal in the folder `path` stands.
    pub(super) fn current_in(path: &Path) -> PathBuf {
        path.join("current")
    }

    /// Where a generation lies that could not be read.
    pub(super) fn unreadable(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:06}.{UNREADABLE}"))
    }

    /// Where a generation lies.
    pub(super) fn path_of(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:06}"))
    }

    /// Where a generation lies while it is made.
    pub(super) fn making(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:06}.{MAKING}"))
    }

    /// Gives a generation that is made its name.
    pub(super) fn name(&self, number: u64) -> Result<(), StoreError> {
        self.rename(&self.making(number), &self.path_of(number))
    }

    /// Moves a generation that cannot be read out of the way; says where to.
    pub(super) fn set_aside(&self, number: u64) -> Result<PathBuf, StoreError> {
        let aside = self.unreadable(number);
        self.rename(&self.path_of(number), &aside)?;
        Ok(aside)
    }

    /// Removes a generation. It is renamed first, so that half of one never looks whole.
    pub(super) fn retire(&self, number: u64) -> Result<(), StoreError> {
        let old = self.path.join(format!("{number:06}.{OLD}"));
        self.rename(&self.path_of(number), &old)?;
        remove(&old)
    }

    /// Removes what a process that ended was making or removing, every generation but
    /// `but_for`, and the eldest of too many that could not be read.
    ///
    /// # Errors
    /// The first, after everything was tried. What is left takes room and does no other harm.
    pub(super) fn tidy(&self, but_for: u64) -> Result<(), StoreError> {
        let listing = self.list()?;
        let strays = listing.strays.iter().map(|path| remove(path));
        let retired = listing.whole.iter().filter(|number| **number != but_for);
        let retired = retired.map(|number| self.retire(*number));
        let surplus = listing.unreadable.len().saturating_sub(SET_ASIDE_MAX);
        let eldest = listing.unreadable.iter().take(surplus);
        let eldest = eldest.map(|number| remove(&self.unreadable(*number)));
        strays
            .chain(retired)
            .chain(eldest)
            // All of them, whatever becomes of each; the first error is the one told.
            .reduce(Result::and)
            .unwrap_or(Ok(()))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.check()?;
        fs::rename(from, to).map_err(StoreError::io("rename", from))?;
        Ok(sync_dir(&self.path)?)
    }
}

/// A generation's number, and what follows it in the name. Other names are not ours.
fn parse(name: &str) -> Option<(u64, &str)> {
    let (digits, state) = name.split_once('.').unwrap_or((name, ""));
    let is_number = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let known = ["", MAKING, OLD, UNREADABLE].contains(&state) && !name.ends_with('.');
    let number = digits.parse().ok().filter(|_| is_number && known)?;
    // One name a number: a second spelling of one is not ours.
    (format!("{number:06}") == digits).then_some((number, state))
}

/// Removes a folder with what is in it, or whatever else stands there, if anything does.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
