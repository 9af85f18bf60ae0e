//! A journal looked at from outside. The storage engine writes when it opens, so what it opens is a
//! copy, in a folder of the caller's.

use std::fs;
use std::path::{Path, PathBuf};

use super::current::Current;
use super::folder::Folder;
use super::generation::ledgers;
use super::guarded::Patience;
use super::{Scan, StoreError};
use crate::algorithm::Word;
use crate::directory::make_private;
use crate::key::Tag;

/// What stands in the journal's folder.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The generation that counts, and what was found in it; none if there is none.
    pub(crate) counting: Option<(PathBuf, Found)>,
    /// The last commit that was acknowledged; none if nothing says so.
    pub(crate) acknowledged: Option<u64>,
    /// True if the mark is of another limiter's directory.
    pub(crate) is_foreign: bool,
    /// What was being made or removed when a process ended; the next opening removes it.
    pub(crate) strays: Vec<PathBuf>,
    /// Generations that could not be read, and are kept.
    pub(crate) unreadable: Vec<PathBuf>,
    /// Names that are not the journal's.
    pub(crate) strangers: Vec<PathBuf>,
}

/// What was found in a generation.
#[derive(Debug)]
pub(crate) enum Found {
    Read {
        /// The last commit that is in it.
        sequence: u64,
        scan: Scan,
        bytes: u64,
    },
    /// It cannot be read; true if opening the limiter will set it aside.
    Unread { why: StoreError, is_damage: bool },
}

/// Looks at the journal in the folder `path`, and shows every word of the generation that counts.
/// `scratch` is a folder for the copy, which is left there.
///
/// # Errors
/// If the folder or the mark cannot be read.
pub(crate) fn survey(
    path: &Path,
    instance: [u8; 16],
    scratch: &Path,
    see: &mut dyn FnMut(Tag, Word),
) -> Result<Survey, StoreError> {
    let folder = Folder::at(path)?;
    let listing = folder.list()?;
    let current = folder.current_path();
    let mark = Current::peek(&current)?;
    let marked = mark.map(|mark| mark.number);
    // As `Generations::open` chooses.
    let number = marked.filter(|number| listing.whole.contains(number));
    let number = number.or(listing.whole.first().copied());
    let counting = number.map(|number| {
        let at = folder.path_of(number);
        let found = read(&at, instance, scratch, see).unwrap_or_else(|why| {
            let is_damage = why.is_damage();
            Found::Unread { why, is_damage }
        });
        (at, found)
    });
    let done_with = listing.whole.iter().filter(|other| Some(**other) != number);
    let done_with = done_with.map(|other| folder.path_of(*other));
    let unreadable = listing.unreadable.iter();
    Ok(Survey {
        counting,
        acknowledged: mark.map(|mark| mark.sequence),
        is_foreign: mark.is_some_and(|mark| mark.instance != instance),
        strays: listing.strays.iter().cloned().chain(done_with).collect(),
        unreadable: unreadable
            .map(|number| folder.unreadable(*number))
            .collect(),
        strangers: listing
            .strangers
            .into_iter()
            .filter(|at| *at != current)
            .collect(),
    })
}

fn read(
    at: &Path,
    instance: [u8; 16],
    scratch: &Path,
    see: &mut dyn FnMut(Tag, Word),
) -> Result<Found, StoreError> {
    let copy = scratch.join("journal");
    copy_all(at, &copy)?;
    let mut open = ledgers(instance, Patience::default());
    // What is wrong is wrong with the original.
    let mut store = open(&copy).map_err(|why| why.of(at))?;
    let scan = store.scan(see).map_err(|why| why.of(at))?;
    Ok(Found::Read {
        sequence: store.sequence(),
        scan,
        bytes: store.size_bytes(),
    })
}

/// Copies a generation's files, and those of its folders.
fn copy_all(from: &Path, to: &Path) -> Result<(), StoreError> {
    make_private(to)?;
    for entry in fs::read_dir(from).map_err(StoreError::io("read", from))? {
        let entry = entry.map_err(StoreError::io("read", from))?;
        let (at, to) = (entry.path(), to.join(entry.file_name()));
        let meta = entry.metadata().map_err(StoreError::io("look at", &at))?;
        if meta.is_dir() {
            copy_all(&at, &to)?;
        } else if meta.is_file() {
            fs::copy(&at, &to).map_err(StoreError::io("copy", &at))?;
        } else {
            // A link or a pipe is nothing to follow or to wait for.
            return Err(StoreError::damaged(&at, "it is not what it should be"));
        }
    }
    Ok(())
}

/// Puts a generation that cannot be read out of the way, as opening the limiter would; says where
/// to.
///
/// # Errors
/// If the system says no.
pub(crate) fn set_aside(generation: &Path) -> Result<PathBuf, StoreError> {
    let name = generation.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.parse().ok());
    let folder = generation.parent().map(Folder::at).transpose()?;
    match (folder, number) {
        (Some(folder), Some(number)) => folder.set_aside(number),
        _ => Err(StoreError::damaged(generation, "it is no generation")),
    }
}
