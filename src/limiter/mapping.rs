//! Where the table lies: what is wanted, what there is, and what became of it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::shards::{Shards, Sizes};
use crate::directory::{
    Directory, DirectoryError, Site, Unused, check_room, is_memory, memory_roots, sweep,
};
use crate::error::Error;

/// Where the table of counters is to lie.
///
/// Wherever that is, it outlives the process; after a reboot it is not believed unless it was
/// closed clean, and what is then known is in the journal. In memory no check ever waits for a
/// disk, and no failing one can end the process; see the README, "Where the counters lie".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Mapping {
    /// On a memory file system where there is one with room, else in the data directory. A data
    /// directory that lies on a memory file system itself keeps its table. When it is closed, a
    /// table of at most 4 MiB is carried from memory into the data directory.
    #[default]
    Automatic,
    /// On a memory file system; if none has room, opening fails. Closed as `Automatic` is.
    Memory,
    /// In the data directory, so that this is complete once it is closed.
    DataDirectory,
    /// Under this directory, which must be there: a memory file system that outlives a container,
    /// say. It may be shared with others only if it is sticky, as `/tmp` is.
    Under(PathBuf),
}

/// How long a table lasts where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lasts {
    /// As long as the file system it is on.
    Disk,
    /// Until the next reboot.
    Boot,
    /// Until the next reboot, or until the container that this process seems to run in is started
    /// again, unless its memory file system comes from outside.
    Container,
}

/// Where the table lies, and why there.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Placement {
    /// The folder with the table's files, until the limiter is closed.
    pub path: PathBuf,
    /// How long it lasts there. When it is gone, the counters are rebuilt from the journal.
    pub lasts: Lasts,
    /// Where it was until this opening, if it was moved.
    pub moved_from: Option<PathBuf>,
    /// What is to be known about the choice: which places were passed over, and why.
    pub notes: Vec<String>,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasts = match self.lasts {
            Lasts::Disk => "on a disk",
            Lasts::Boot => "in memory until a reboot",
            Lasts::Container => "in memory until a reboot or a restart of the container",
        };
        write!(f, "{}, {lasts}", self.path.display())?;
        if let Some(from) = &self.moved_from {
            write!(f, "; moved from {}", from.display())?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

/// What is wanted, and the memory file systems to look at.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) mapping: Mapping,
    pub(super) roots: Vec<PathBuf>,
    /// Lines that a shard may grow to.
    pub(super) most_lines: u64,
}

impl Wanted {
    pub(super) fn new(mapping: Mapping) -> Self {
        Self {
            mapping,
            roots: memory_roots(),
            most_lines: 0,
        }
    }

    /// All in one place, and as large as what is copied.
    pub(super) fn for_copy() -> Self {
        Self::new(Mapping::DataDirectory).growing(u64::MAX)
    }

    /// The same, of a table whose shards may grow to so many lines.
    pub(super) fn growing(self, most_lines: u64) -> Self {
        Self { most_lines, ..self }
    }

    /// Puts a table where it is wanted: the one there is, whose words are kept, or a fresh one.
    pub(super) fn settle(
        &self,
        directory: &Directory,
        there_is: Option<Shards>,
    ) -> Result<(Shards, Placement), Error> {
        let mut notes = Vec::new();
        let sites = self.sites(directory, &mut notes)?;
        let from = there_is.as_ref().map(|shards| shards.folder.site().clone());
        let shards = self.first(directory, &sites, there_is, &mut notes)?;
        let site = shards.folder.site();
        // The mark names no other place than these two: whatever else there is was left by a kill.
        for other in sites.iter().chain([&Site::Data]) {
            if other != site && from.as_ref() != Some(other) {
                let removed = directory.remove_folder(other);
                notes.extend(removed.err().map(|error| error.to_string()));
            }
        }
        let path = shards.folder.path().to_owned();
        let placement = Placement {
            lasts: self.lasts(&path)?,
            path,
            moved_from: from
                .filter(|from| from != site)
                .map(|from| directory.folder_path(&from)),
            notes,
        };
        Ok((shards, placement))
    }

    /// A table at the first of these sites that takes one.
    fn first(
        &self,
        directory: &Directory,
        sites: &[Site],
        mut there_is: Option<Shards>,
        notes: &mut Vec<String>,
    ) -> Result<Shards, Error> {
        for site in sites {
            if let Some(shards) = there_is.take_if(|shards| shards.folder.site() == site) {
                return Ok(shards);
            }
            let made = self.make(directory, site, there_is.as_ref());
            match made {
                Ok(shards) => {
                    if let Some(there_is) = &there_is {
                        shards.copy_from(there_is);
                    }
                    return Ok(shards);
                }
                Err(error) if self.is_one_place() => return Err(error),
                Err(error) => notes.push(error.to_string()),
            }
        }
        let why = match notes.as_slice() {
            [] => "no memory file system was found".into(),
            notes => notes.join("; "),
        };
        let path = directory.path().into();
        Err(DirectoryError::NoPlace { path, why }.into())
    }

    /// Where it may lie, best first. What is passed over goes into the notes.
    fn sites(&self, directory: &Directory, notes: &mut Vec<String>) -> Result<Vec<Site>, Error> {
        match &self.mapping {
            Mapping::DataDirectory => return Ok(vec![Site::Data]),
            Mapping::Under(root) => {
                let site = Site::under(root)?;
                notes.extend(tidy(root, directory));
                return Ok(vec![site]);
            }
            Mapping::Automatic | Mapping::Memory => {}
        }
        let mut sites = Vec::new();
        for root in &self.roots {
            match memory_site(root) {
                Ok(site) => sites.push(site),
                Err(error) => notes.push(error.to_string()),
            }
            notes.extend(tidy(root, directory));
        }
        if is_memory(directory.path())? {
            notes.clear();
            notes.push("the data directory lies in memory itself".into());
            return Ok(vec![Site::Data]);
        }
        if self.mapping == Mapping::Automatic {
            sites.push(Site::Data);
        }
        Ok(sites)
    }

    /// An empty table at this site; as large as `like`, if that is to be moved there.
    fn make(
        &self,
        directory: &Directory,
        site: &Site,
        like: Option<&Shards>,
    ) -> Result<Shards, Error> {
        let header = directory.header();
        let mut sizes = Sizes::of(header, self.most_lines);
        if let Some(like) = like {
            sizes.first = like.lines()?;
        }
        if let (Site::Root(root), true) = (site, self.is_guest()) {
            // Where it could not become what it was opened to become, it does not begin.
            check_room(root, sizes.bytes(header))?;
            Unused::under(root, directory)?.check()?;
        }
        let folder = directory.make_folder(site)?;
        let made = Shards::create(header, folder, &sizes);
        if made.is_err() {
            // What was made of it takes room that others need; the error counts.
            let _ = directory.remove_folder(site);
        }
        made
    }

    /// True if it must leave others room: nobody said that the table is to lie there.
    pub(super) fn is_guest(&self) -> bool {
        matches!(self.mapping, Mapping::Automatic | Mapping::Memory)
    }

    /// True if one place was asked for, and what is wrong with it is what is wrong.
    fn is_one_place(&self) -> bool {
        matches!(self.mapping, Mapping::DataDirectory | Mapping::Under(_))
    }

    fn lasts(&self, path: &Path) -> Result<Lasts, Error> {
        Ok(if !is_memory(path)? {
            Lasts::Disk
        } else if is_container() && !matches!(self.mapping, Mapping::Under(_)) {
            Lasts::Container
        } else {
            Lasts::Boot
        })
    }
}

/// Removes what kills left half made or half removed under this root, and says what else is to be
/// known of what lies there. None of it is a reason to go elsewhere.
fn tidy(root: &Path, directory: &Directory) -> Vec<String> {
    let swept = sweep(root, directory).err().map(|error| error.to_string());
    let unused = match Unused::under(root, directory) {
        Ok(unused) => unused.note(),
        Err(error) => Some(error.to_string()),
    };
    let renamed = directory.renamed(root);
    renamed.into_iter().chain(swept).chain(unused).collect()
}

/// The site under this root, if it is a memory file system.
fn memory_site(root: &Path) -> Result<Site, DirectoryError> {
    let site = Site::under(root)?;
    if is_memory(root)? {
        return Ok(site);
    }
    let why = "it is not a memory file system".into();
    Err(DirectoryError::NoPlace {
        path: root.into(),
        why,
    })
}

/// True if there are signs that this process runs in a container.
fn is_container() -> bool {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    marks.iter().any(|mark| Path::new(mark).exists())
        || std::env::var_os("container").is_some()
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}
