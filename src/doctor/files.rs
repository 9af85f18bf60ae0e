//! Which files there are, whose they are, and what the small ones say.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::visit::{Repair, Visit};
use crate::directory::{DirectoryError, Header, me, read_bounded};
use crate::error::Error;
use crate::limiter::Overrides;

/// Names at the top of a directory, and what they are.
const FILES: [&str; 6] = [
    "lock",
    "header",
    "marks",
    "ceilings",
    "overrides",
    "control.at",
];
/// What a limiter that is open listens on, or left when it was killed.
const SOCKET: &str = "control";
const FOLDERS: [&str; 2] = ["table", "journal"];
/// What is kept for people to look at.
const KEPT: [&str; 2] = ["table.untrusted", "ceilings.unreadable"];

impl Visit {
    /// Looks at every file from outside, and into the small ones; gives the header if the rest can
    /// be understood.
    pub(super) fn files(&mut self) -> Result<Option<Header>, Error> {
        let path = self.path.clone();
        let entries = list(&path)?;
        let mut names = FILES.iter().chain(&FOLDERS);
        let is_ours = names.any(|name| entries.iter().any(|(at, _)| at.ends_with(name)));
        if !entries.is_empty() && !is_ours {
            let why = "is no directory of a limiter's";
            return Err(Error::damaged(&path, why));
        }
        let meta = fs::symlink_metadata(&path);
        let meta = meta.map_err(|error| Error::io("look at", &path, error))?;
        self.owner = meta.uid();
        if self.owner != me() {
            let text = format!(
                "belong to user {}; this process's, {}, cannot open them with a limiter",
                self.owner,
                me()
            );
            self.fact("files", text);
        }
        self.privacy(&path, &meta);
        for (at, meta) in entries {
            self.entry(&at, &meta)?;
        }
        if !self.has_lock && path.join("header").exists() {
            let what = "there is no lock; a limiter that is open now would go unnoticed";
            self.opening(&path.join("lock"), what, "it is made again");
        }
        self.overrides();
        self.header()
    }

    /// A name at the top.
    fn entry(&mut self, at: &Path, meta: &Metadata) -> Result<(), Error> {
        let name = at.file_name().unwrap_or_default().to_string_lossy();
        let is = |names: &[&str]| names.contains(&&*name);
        if is(&FILES) && meta.is_file() {
            self.privacy(at, meta);
            if meta.nlink() > 1 && !self.is_kept_aside(meta) {
                let what = format!("has {} names; others may be changing it", meta.nlink());
                self.person(at, what, "remove the names that are not in this directory");
            }
        } else if name == SOCKET && meta.file_type().is_socket() {
            self.privacy(at, meta);
        } else if is(&FOLDERS) && meta.is_dir() {
            self.privacy(at, meta);
            self.below(at, false)?;
        } else if is(&FILES) || is(&FOLDERS) {
            let what = "is not the kind of file that belongs there";
            self.person(
                at,
                what,
                "put in its place what belongs there, from a copy, or remove it",
            );
        } else if is(&KEPT) {
            self.fact("kept", format!("{} is kept to be looked at", at.display()));
        } else if name
            .strip_suffix(".next")
            .is_some_and(|name| FILES.contains(&name) || name == SOCKET)
        {
            let text = "was being written when a process ended; the next opening removes it";
            self.fact("kept", format!("{} {text}", at.display()));
        } else {
            self.person(
                at,
                "is none of the limiter's files",
                "it is left alone; move it away",
            );
        }
        Ok(())
    }

    /// True of the ceilings that were just kept aside under another name, too.
    fn is_kept_aside(&self, meta: &Metadata) -> bool {
        let aside = fs::symlink_metadata(self.path.join("ceilings.unreadable"));
        meta.nlink() == 2 && aside.is_ok_and(|aside| aside.ino() == meta.ino())
    }

    /// Everything below a folder is private, too. In a generation of the journal, which nobody else
    /// can enter, the engine makes files as it likes.
    fn below(&mut self, folder: &Path, is_closed: bool) -> Result<(), Error> {
        for (at, meta) in list(folder)? {
            if is_closed {
                self.owner(&at, &meta);
            } else if !meta.is_symlink() {
                self.privacy(&at, &meta);
            }
            if meta.is_dir() {
                self.below(&at, is_closed || meta.mode() & 0o077 == 0)?;
            }
        }
        Ok(())
    }

    /// Whether a file or folder is the directory's user's.
    fn owner(&mut self, at: &Path, meta: &Metadata) {
        if meta.uid() != self.owner {
            let (user, owner) = (meta.uid(), self.owner);
            let what = format!("belongs to user {user}, and the directory to user {owner}");
            self.person(at, what, "give it to the directory's user");
        }
    }

    /// Whether a file or folder is the directory's user's, and nobody else's to read or write.
    fn privacy(&mut self, at: &Path, meta: &Metadata) {
        self.owner(at, meta);
        let open = meta.mode() & 0o077;
        if open != 0 {
            let mode = if meta.is_dir() { 0o700 } else { 0o600 };
            let what = format!("is open to others, mode {:04o}", meta.mode() & 0o7777);
            let text = format!("make it private, mode {mode:04o}");
            self.repairable(at, what, &text, Repair::Mode(at.into(), mode));
        }
    }

    fn overrides(&mut self) {
        let at = self.path.join("overrides");
        match Overrides::read(&at) {
            Ok(overrides) => {
                let count = overrides.iter().count();
                if count > 0 {
                    self.fact("overrides", format!("{count} keys have rates of their own"));
                }
            }
            Err(error) => {
                let what = said_of(&at, &error.to_string());
                self.person(
                    &at,
                    what,
                    "restore it from a copy, or remove it and set them anew",
                );
            }
        }
    }

    fn header(&mut self) -> Result<Option<Header>, Error> {
        let at = self.path.join("header");
        let bytes = match read_bounded(&at, Header::LEN_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let begun = ["table", "marks", "ceilings", "overrides", "journal"];
                if begun.iter().any(|name| self.path.join(name).exists()) {
                    let what = "is missing, and without its secret no counter can be found";
                    self.person(&at, what, "restore it from a copy, or remove the directory");
                } else {
                    self.fact("header", "none yet: the next opening makes a new directory");
                }
                return Ok(None);
            }
            Err(error) => return Err(DirectoryError::io("read", &at)(error).into()),
        };
        match Header::decode(&at, &bytes) {
            Ok(header) => {
                let id: String = header
                    .instance
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                self.fact("header", format!("instance {id}"));
                Ok(Some(header))
            }
            Err(error) => {
                let what = said_of(&at, &error.to_string());
                self.person(&at, what, "nothing else can be understood without it");
                Ok(None)
            }
        }
    }
}

/// What an error says of a file, without saying of which again.
pub(super) fn said_of(at: &Path, error: &str) -> String {
    let named = format!("{}: ", at.display());
    let bare = format!("{} ", at.display());
    let said = error.strip_prefix(&named).or(error.strip_prefix(&bare));
    said.unwrap_or(error).into()
}

/// What is in a folder, in the order of names; links are not followed.
fn list(folder: &Path) -> Result<Vec<(PathBuf, Metadata)>, Error> {
    let io = |doing| move |error| Error::io(doing, folder, error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(io("read"))? {
        let at = entry.map_err(io("read"))?.path();
        let meta = fs::symlink_metadata(&at);
        entries.push((
            at.clone(),
            meta.map_err(|error| Error::io("look at", &at, error))?,
        ));
    }
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(entries)
}
