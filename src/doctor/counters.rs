//! The counters: the table's slots, the journal's words, the ceilings, and what they say of each
//! other.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::files::said_of;
use super::visit::{Repair, Visit};
use crate::algorithm::Word;
use crate::ceiling;
use crate::directory::{Directory, Header, Mark, Marks, Place, Site, State, Unused};
use crate::error::Error;
use crate::journal::{self, Found};
use crate::key::Tag;
use crate::limiter::survey_table;
use crate::table::survey::{Survey, Times};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Longer than any word of any policy lives: the longest window twice, as a sliding limit keeps it,
/// or the longest filling of a bucket and as much debt.
const LONGEST_NANOS: u64 = 20 * 366 * 86_400 * NANOS_PER_SEC;

const LOST_CEILINGS: &str = "the ceilings are the table's counts, or, if that is lost, too, strict \
                             limits stay closed for their window";

/// Live words by their tags.
type Words = HashMap<Tag, Word>;

/// What is to be made of the table.
struct TableFound {
    /// True if the next opening takes it as it is; else it rebuilds it.
    is_kept: bool,
    /// True if it knows of a journal.
    knows_a_journal: bool,
    in_flight: HashSet<Tag>,
}

/// How the table's words agree with those of the journal and the ceilings.
#[derive(Default)]
struct Agreement {
    /// Words that the journal has later, under tags that were not about to be written to it.
    behind: HashSet<Tag>,
    /// Counters above their ceiling.
    above: u64,
}

impl Visit {
    pub(super) fn counters(&mut self, directory: &Directory) -> Result<(), Error> {
        let header = directory.header();
        let Some(mark) = self.mark(header)? else {
            return Ok(());
        };
        let now = mark.latest;
        let mut journal = self.journal(header, now)?;
        let ceilings = self.ceilings(header, now)?;
        let mut agreement = Agreement::default();
        let compare = &mut |tag, word: Word| {
            let known = journal.remove(&tag).unwrap_or(Word::ABSENT);
            // Told at different rates, neither is the later.
            let is_behind = !known.is_within(word) && !known.differs_in_pace(word);
            if !word.is_dirty() && is_behind {
                agreement.behind.insert(tag);
            }
            let ceiling = ceilings.get(&tag);
            let is_above = ceiling.is_some_and(|ceiling| {
                !word.is_within(*ceiling) && !word.differs_in_pace(*ceiling)
            });
            agreement.above += u64::from(is_above);
        };
        let table = self.table(directory, &mark, compare);
        if table.is_kept {
            // What is left of the journal's words stands nowhere in the table.
            agreement.behind.extend(journal.keys());
            self.agreement(&agreement, &table.in_flight);
        }
        self.no_journal(&table);
        Ok(())
    }

    /// The mark; none if there is no table to be looked at.
    fn mark(&mut self, header: &Header) -> Result<Option<Mark>, Error> {
        let at = self.path.join("marks");
        let Some(mark) = Marks::peek(&at)? else {
            // The first mark is on the disk before there is a journal, and before anybody is
            // admitted.
            if self.path.join("journal").exists() {
                let what = "holds no whole mark, so the table beside it cannot be believed";
                let text = "the table is set aside and rebuilt from the journal";
                self.opening(&at, what, text);
            } else {
                self.fact("table", "none that counts: the next opening makes it");
            }
            return Ok(None);
        };
        if mark.instance != header.instance {
            let what = "belongs to another directory than the header beside it";
            self.person(&at, what, "put together again what belongs together");
            return Ok(None);
        }
        let was_used = mark.latest > Timestamp::EPOCH;
        if mark.place == Place::NOWHERE && !was_used && !self.path.join("journal").exists() {
            // A rebuilding that was interrupted has its journal.
            let path = self.path.clone();
            let what = "is a backup that was not finished: counters are missing";
            self.person(&path, what, "remove it, and make another");
            return Ok(None);
        }
        Ok(Some(mark))
    }

    /// Looks at every slot, and shows the words that can be found.
    fn table(
        &mut self,
        directory: &Directory,
        mark: &Mark,
        see: &mut dyn FnMut(Tag, Word),
    ) -> TableFound {
        let now = mark.latest;
        let latest = now.plus_nanos(LONGEST_NANOS);
        let table = survey_table(directory, mark, Times { now, latest }, see);
        for error in &table.errors {
            let path = error.path().unwrap_or(&table.folder).to_owned();
            let what = said_of(&path, &error.to_string());
            if error.is_version() {
                self.person(&path, what, "use the version that wrote it");
            } else {
                let text = "the table is set aside and rebuilt from the journal";
                self.opening(&path, what, text);
            }
        }
        self.fact("table", format!("in {}", table.folder.display()));
        if let Site::Root(root) = &mark.site
            && let Some(note) = Unused::under(root, directory)
                .ok()
                .and_then(|all| all.note())
        {
            self.fact("memory", note);
        }
        let state = match mark.state {
            State::Clean => "closed clean",
            State::Open => "not closed",
        };
        let is_kept = table.differs.is_none() && table.errors.is_empty();
        let then = match table.differs {
            _ if is_kept => "it will be kept".to_owned(),
            None => "it will be rebuilt from the journal".to_owned(),
            Some(why) => format!("{why}: it will be rebuilt from the journal"),
        };
        self.fact(
            "table",
            format!("{state}, last used {}; {then}", mark.latest),
        );
        if table.growing > 0 {
            let text = "were being replaced by larger ones; the next opening goes on with it";
            self.fact("table", format!("{} shards {text}", table.growing));
        }
        if table.differs.is_none() {
            self.slots(&table.folder, &table.slots);
        }
        TableFound {
            is_kept,
            knows_a_journal: table.knows_a_journal,
            in_flight: table.in_flight,
        }
    }

    fn slots(&mut self, at: &Path, all: &Survey) {
        let Survey {
            slots,
            used,
            live,
            dirty,
            markers,
            ..
        } = all;
        self.fact(
            "table",
            format!(
                "{slots} slots, {used} used, {live} counters alive, {dirty} of them not yet in the \
                 journal, {markers} half claimed"
            ),
        );
        if all.astray + all.double > 0 {
            let what = format!(
                "{} live counters stand where no search finds them, {} have two slots",
                all.astray, all.double
            );
            // Not by itself: what only the table knows would be forgotten, resets among it.
            let text = format!(
                "remove the folder to have it rebuilt from the journal, which lacks the {dirty} \
                 that it was not told of, and what limits kept in memory count"
            );
            self.person(at, what, &text);
        }
        if all.future > 0 {
            let what = format!(
                "{} counters live longer than any limit lets them",
                all.future
            );
            self.opening(
                at,
                what,
                "each is taken for spent when it is met, for one window",
            );
        }
    }

    /// A journal that is not there was removed, unless the process ended before it made one; a
    /// backup has none either.
    fn no_journal(&mut self, table: &TableFound) {
        let at = self.path.join("journal");
        if at.exists() {
            return;
        }
        if table.knows_a_journal {
            let text = "a new one is begun, and told all that is in the table";
            self.opening(&at, "there is no journal", text);
        } else {
            self.fact("journal", "none yet: the next opening makes it");
        }
    }

    /// Reads the journal, in a copy. Gives its live words.
    fn journal(&mut self, header: &Header, now: Timestamp) -> Result<Words, Error> {
        let at = self.path.join("journal");
        let mut words = Words::new();
        if !at.exists() {
            return Ok(words);
        }
        let scratch = Scratch::new()?;
        let surveyed = journal::survey(&at, header.instance, &scratch.0, &mut |tag, word| {
            // The last word under a tag counts.
            if word.is_live(now) {
                words.insert(tag, word.clean());
            } else {
                words.remove(&tag);
            }
        });
        let survey = match surveyed {
            Ok(survey) => survey,
            Err(error) => {
                let text = "use the version that wrote it, or make it readable";
                self.person(&at, said_of(&at, &error.to_string()), text);
                return Ok(Words::new());
            }
        };
        self.generation(&survey, words.len());
        self.remains(&survey);
        Ok(words)
    }

    /// Says what was found in the generation that counts.
    fn generation(&mut self, survey: &journal::Survey, live: usize) {
        let acknowledged = survey.acknowledged;
        if survey.is_foreign {
            let at = self.path.join("journal");
            let text = "it is set aside, and a new one is begun";
            self.opening(&at, "is of another limiter's directory", text);
            return;
        }
        let Some((at, found)) = &survey.counting else {
            let at = self.path.join("journal");
            if let Some(sequence) = acknowledged.filter(|sequence| *sequence > 0) {
                let what = format!("all that was acknowledged is gone, {sequence} commits");
                self.opening(&at, what, "a new one is told all that is in the table");
            } else {
                self.fact("journal", "empty");
            }
            return;
        };
        match found {
            Found::Unread { why, is_damage } => {
                let what = format!("cannot be read: {}", said_of(at, &why.to_string()));
                if *is_damage {
                    let text = "put it out of the way; the next opening begins another";
                    self.repairable(at, what, text, Repair::SetAside(at.clone()));
                } else {
                    self.person(at, what, "the reason may pass; look again then");
                }
            }
            Found::Read {
                sequence,
                scan,
                bytes,
            } => {
                let number = at.file_name().unwrap_or_default().to_string_lossy();
                self.fact(
                    "journal",
                    format!(
                        "generation {number}: {sequence} commits, {} words, {live} of them of \
                         counters alive, {bytes} bytes",
                        scan.words
                    ),
                );
                let text = "it is renewed from what is in the table";
                if let Some(acknowledged) = acknowledged.filter(|most| most > sequence) {
                    let what = format!("has lost commits: {sequence} of {acknowledged} are there");
                    self.opening(at, what, text);
                }
                if acknowledged.is_none() && *sequence > 1 {
                    let what = "has no mark that says what was acknowledged: a loss would not show";
                    self.opening(at, what, text);
                }
                if scan.damaged > 0 {
                    let what = format!("is damaged in {} places", scan.damaged);
                    self.opening(at, what, text);
                }
            }
        }
    }

    /// What lies beside the generation that counts.
    fn remains(&mut self, survey: &journal::Survey) {
        for at in &survey.strays {
            let text =
                "was being made or removed when a process ended; the next opening removes it";
            self.fact("journal", format!("{} {text}", at.display()));
        }
        for at in &survey.unreadable {
            self.fact("kept", format!("{} could not be read once", at.display()));
        }
        for at in &survey.strangers {
            self.person(
                at,
                "is none of the journal's files",
                "it is left alone; move it away",
            );
        }
    }

    fn ceilings(&mut self, header: &Header, now: Timestamp) -> Result<Words, Error> {
        let at = self.path.join("ceilings");
        let mut words = Words::new();
        let surveyed = ceiling::survey(&at, header.instance, &mut |tag, word| {
            if word.is_live(now) {
                words.insert(tag, word.clean());
            } else {
                words.remove(&tag);
            }
        });
        match surveyed {
            // They are made before the first mark is written.
            Ok(ceiling::Surveyed::Missing) => self.opening(&at, "is gone", LOST_CEILINGS),
            Ok(ceiling::Surveyed::Whole { bytes, closed }) => {
                let count = words.len();
                self.fact(
                    "ceilings",
                    format!("{count} of counters alive, {bytes} bytes"),
                );
                if let Some(closed) = closed {
                    let text = format!("strict keys of which nothing is known are spent, {closed}");
                    self.fact("ceilings", text);
                }
            }
            Ok(ceiling::Surveyed::Damaged { why }) => {
                self.opening(&at, why, LOST_CEILINGS);
            }
            Err(error) => {
                let what = said_of(&at, &error.to_string());
                self.person(
                    &at,
                    what,
                    "use the version that wrote it, or make it readable",
                );
            }
        }
        Ok(words)
    }

    /// What the files say of each other is told and never called wrong: a counter may be behind the
    /// journal because it was reset or given back under a limit that is kept in memory, and above
    /// its ceiling because its limit is not strict any more, or admits what it cannot write.
    fn agreement(&mut self, agreement: &Agreement, in_flight: &HashSet<Tag>) {
        let behind = agreement.behind.difference(in_flight).count();
        if behind > 0 {
            let text = "counters are further in the journal than in the table: they were lowered \
                        since, under limits kept in memory, or the table is damaged";
            self.fact("agreement", format!("{behind} {text}"));
        }
        if agreement.above > 0 {
            let text = "counters are above their ceilings: their limits are not strict, or admit \
                        what cannot be written, or the ceilings are older than the table";
            self.fact("agreement", format!("{} {text}", agreement.above));
        }
    }
}

/// A folder for what an examination writes; it goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Error> {
        let since = std::time::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .as_nanos();
        let name = format!("tollgate-doctor-{}-{since}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // It must not be there yet: who made it could have put anything into it.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Error::io("create", &path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to those who clean up temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
