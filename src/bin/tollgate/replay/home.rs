//! A replay's directory, and the checkpoints in it.
//!
//! ```text
//! DIR/replay.lock       held while a replay runs; its presence says whose directory this is
//! DIR/counters/         the limiter's own directory, ahead of the checkpoint by what came since
//! DIR/counters-2/       the same of the second policy, and so on
//! DIR/trace/            what each limit was asked; cut back to the checkpoint on resuming
//! DIR/trial/            while amounts are tried
//! DIR/parts/            a trace in parts, while amounts are tried
//! DIR/attempts          what trials of amounts came to
//! DIR/checkpoint-7/     progress.json, counts-1 and counters/, of one and the same moment
//! DIR/finished          once the results were told: the next replay may begin anew
//! ```
//!
//! A checkpoint is written beside the others, made durable and then named, so one that has its
//! name is whole, and counters and totals never come from different moments.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use flate2::Crc;

use crate::out;

const LOCK: &str = "replay.lock";
const COUNTERS: &str = "counters";
const TRACE: &str = "trace";
const TRIAL: &str = "trial";
const PARTS: &str = "parts";
const ATTEMPTS: &str = "attempts";
const COUNTS: &str = "counts-";
const CHECKPOINT: &str = "checkpoint-";
const UNFINISHED: &str = "checkpoint.tmp";
const PROGRESS: &str = "progress.json";
const FINISHED: &str = "finished";

/// What the progress file begins with: its kind and version.
const MAGIC: &str = "tollgate replay 2";

/// What to do with the replay that a directory holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    /// Go on with it.
    Resume,
    /// Remove it, if it is finished.
    ReplaceFinished,
    /// Remove it, finished or not.
    Replace,
}

/// A directory that one replay, this one, works in.
pub(crate) struct Home {
    path: PathBuf,
    /// Held as long as this lives.
    _lock: File,
    /// Number of the checkpoint that stands, if there is one.
    standing: Option<u64>,
}

impl Home {
    /// Takes the directory `path`, which may not exist yet, for a new replay or for going on with
    /// the one that it holds.
    ///
    /// # Errors
    /// If another replay works in it, if it holds something else, or a replay that is not finished
    /// and is neither to be resumed nor replaced.
    pub(crate) fn open(path: &Path, held: Held) -> anyhow::Result<Self> {
        let shown = path.display();
        // Keys are names and addresses of people: nobody else's business.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.with_context(|| format!("cannot create {shown}"))?;
        let names = names(path)?;
        if !names.is_empty() && !names.iter().any(|name| name == LOCK) {
            bail!("{shown} is not empty and holds no replay; --data needs a directory of its own");
        }
        let lock = File::create(path.join(LOCK))
            .with_context(|| format!("cannot create {shown}/{LOCK}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => bail!("another replay is working in {shown}"),
            Err(fs::TryLockError::Error(fault)) => {
                return Err(fault).with_context(|| format!("cannot lock {shown}/{LOCK}"));
            }
        }
        let begun = |name: &String| name.starts_with(COUNTERS) || name.starts_with(CHECKPOINT);
        let is_finished = names.iter().any(|name| name == FINISHED);
        let numbers = names
            .iter()
            .filter_map(|name| name.strip_prefix(CHECKPOINT)?.parse().ok());
        let mut home = Self {
            path: path.to_owned(),
            _lock: lock,
            standing: numbers.max(),
        };
        if held != Held::Resume && (is_finished || names.iter().any(begun)) {
            ensure!(
                is_finished || held == Held::Replace,
                "{shown} holds a replay that is not finished; --resume goes on with it, --fresh \
                 begins anew"
            );
            out::note(format_args!("beginning anew: {shown} held another replay"));
            home.clear(&names)?;
        }
        Ok(home)
    }

    /// Removes the replay that the directory holds. What says that it is finished goes last: a kill
    /// on the way leaves what may be replaced.
    fn clear(&mut self, names: &[String]) -> anyhow::Result<()> {
        let ours = |name: &&String| {
            name.starts_with(CHECKPOINT)
                || name.starts_with(COUNTERS)
                || name.starts_with(TRACE)
                || [TRIAL, PARTS, UNFINISHED, ATTEMPTS].contains(&name.as_str())
        };
        for name in names.iter().filter(ours) {
            remove(&self.path.join(name))?;
        }
        self.standing = None;
        self.set_finished(false)
    }

    /// Notes that the results were told, or that they will be others.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(crate) fn set_finished(&self, is_finished: bool) -> anyhow::Result<()> {
        let path = self.path.join(FINISHED);
        let done = match is_finished {
            true => File::create(&path).map(|_| ()),
            false => match fs::remove_file(&path) {
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done,
            },
        };
        done.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Where the counters of a policy are, by its number.
    pub(crate) fn counters(&self, policy: usize) -> PathBuf {
        self.path.join(numbered(COUNTERS, policy))
    }

    /// Where the trace of a policy is.
    pub(crate) fn trace(&self, policy: usize) -> PathBuf {
        self.path.join(numbered(TRACE, policy))
    }

    /// Where amounts are tried.
    pub(crate) fn trial(&self) -> PathBuf {
        self.path.join(TRIAL)
    }

    /// Where a trace is put in parts.
    pub(crate) fn parts(&self) -> PathBuf {
        self.path.join(PARTS)
    }

    /// Removes the parts of a trace.
    ///
    /// # Errors
    /// If they cannot be removed.
    pub(crate) fn clear_parts(&self) -> anyhow::Result<()> {
        remove(&self.parts())
    }

    /// Where it is kept what trials came to.
    pub(crate) fn attempts(&self) -> PathBuf {
        self.path.join(ATTEMPTS)
    }

    /// The file of counts of a policy that the standing checkpoint was made with.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn counts(&self, policy: usize) -> anyhow::Result<Vec<u8>> {
        let checkpoint = self.checkpoint(self.standing.unwrap_or(0));
        let path = checkpoint.join(format!("{COUNTS}{}", policy + 1));
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The text that the standing checkpoint was made with, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub(crate) fn progress(&self) -> anyhow::Result<Option<String>> {
        let Some(number) = self.standing else {
            return Ok(None);
        };
        let path = self.checkpoint(number).join(PROGRESS);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (head, body) = text.split_once('\n').unwrap_or_default();
        let kind = head.get(..MAGIC.len()).unwrap_or_default();
        ensure!(
            kind == MAGIC,
            "{} was not written by this version of tollgate; finish the replay with the version \
             that began it, or begin again in another directory",
            path.display()
        );
        ensure!(
            head == heading(body),
            "{} is damaged; begin again in another directory",
            path.display()
        );
        Ok(Some(body.to_owned()))
    }

    /// Brings the counters back to the standing checkpoint's, or to none.
    ///
    /// # Errors
    /// If files cannot be removed or copied.
    pub(crate) fn restore(&self) -> anyhow::Result<()> {
        for name in names(&self.path)? {
            let number = name
                .strip_prefix(CHECKPOINT)
                .and_then(|number| number.parse().ok());
            let is_old = number.is_some() && number != self.standing;
            if name == UNFINISHED || is_old || name.starts_with(COUNTERS) {
                remove(&self.path.join(name))?;
            }
        }
        let Some(number) = self.standing else {
            return Ok(());
        };
        let kept = self.checkpoint(number);
        for name in names(&kept)?
            .iter()
            .filter(|name| name.starts_with(COUNTERS))
        {
            copy(&kept.join(name), &self.path.join(name))
                .with_context(|| format!("cannot copy {} back", kept.display()))?;
        }
        Ok(())
    }

    /// Makes a checkpoint in the place of the one that stands: of `progress`, of each policy's
    /// `counts` and of the counters that `backup` writes to the path it is given, for the policy
    /// of a number.
    ///
    /// # Errors
    /// If it cannot be written; then the one that stands stays.
    pub(crate) fn keep(
        &mut self,
        progress: &str,
        counts: &[Vec<u8>],
        mut backup: impl FnMut(usize, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let unfinished = self.path.join(UNFINISHED);
        remove(&unfinished)?;
        fs::create_dir(&unfinished)
            .with_context(|| format!("cannot create {}", unfinished.display()))?;
        for policy in 0..counts.len() {
            backup(policy, &unfinished.join(numbered(COUNTERS, policy)))?;
        }
        let number = self.standing.map_or(1, |number| number + 1);
        let write = || -> io::Result<()> {
            for (bytes, policy) in counts.iter().zip(1..) {
                let mut file = File::create(unfinished.join(format!("{COUNTS}{policy}")))?;
                file.write_all(bytes)?;
                file.sync_all()?;
            }
            let mut file = File::create(unfinished.join(PROGRESS))?;
            writeln!(file, "{}", heading(progress))?;
            file.write_all(progress.as_bytes())?;
            file.sync_all()?;
            File::open(&unfinished)?.sync_all()?;
            fs::rename(&unfinished, self.checkpoint(number))?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", self.checkpoint(number).display()))?;
        if let Some(before) = self.standing.replace(number) {
            remove(&self.checkpoint(before))?;
        }
        Ok(())
    }

    fn checkpoint(&self, number: u64) -> PathBuf {
        self.path.join(format!("{CHECKPOINT}{number}"))
    }
}

/// The name of what each policy has one of: the first one's has no number.
fn numbered(name: &str, policy: usize) -> String {
    match policy {
        0 => name.to_owned(),
        policy => format!("{name}-{}", policy + 1),
    }
}

/// The first line of a progress file: kind, version, and a check of what follows.
fn heading(body: &str) -> String {
    let mut crc = Crc::new();
    crc.update(body.as_bytes());
    format!("{MAGIC} {} {:08x}", body.len(), crc.sum())
}

fn names(path: &Path) -> anyhow::Result<Vec<String>> {
    let list = || -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(path)?.map(name).collect()
    };
    list().with_context(|| format!("cannot list {}", path.display()))
}

/// Removes a file, or a directory and all in it, if it is there.
fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match path.is_file() {
        true => fs::remove_file(path),
        false => fs::remove_dir_all(path),
    };
    match removed {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => {
            Err(fault).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Copies a directory of files and directories; both paths' parents exist.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(home: &Home, value: &str) {
        fs::create_dir_all(home.counters(0).join("deep")).unwrap();
        fs::write(home.counters(0).join("deep/count"), value).unwrap();
    }

    fn counted(home: &Home) -> String {
        fs::read_to_string(home.counters(0).join("deep/count")).unwrap()
    }

    fn keep(home: &mut Home, progress: &str) {
        let counters = home.counters(0);
        home.keep(progress, &[vec![7]], |_, path| Ok(copy(&counters, path)?))
            .unwrap();
    }

    #[test]
    fn counters_and_progress_come_back_together() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let mut home = Home::open(&path, Held::ReplaceFinished).unwrap();
        home.restore().unwrap();
        assert_eq!(home.progress().unwrap(), None);
        for step in ["one", "two", "three"] {
            count(&home, step);
            keep(&mut home, step);
        }
        count(&home, "lost");
        drop(home);

        let home = Home::open(&path, Held::Resume).unwrap();
        assert_eq!(home.progress().unwrap().as_deref(), Some("three"));
        home.restore().unwrap();
        assert_eq!(counted(&home), "three");
        let mut left = names(&path).unwrap();
        left.sort();
        assert_eq!(left, ["checkpoint-3", "counters", "replay.lock"]);
    }

    #[test]
    fn what_a_kill_leaves_behind_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let mut home = Home::open(&path, Held::ReplaceFinished).unwrap();
        count(&home, "one");
        keep(&mut home, "one");
        drop(home);
        // Killed while the next checkpoint was written, and while an older one was removed.
        fs::create_dir_all(path.join(UNFINISHED).join(COUNTERS)).unwrap();
        fs::create_dir_all(path.join("checkpoint-0")).unwrap();
        let mut home = Home::open(&path, Held::Resume).unwrap();
        home.restore().unwrap();
        assert_eq!(counted(&home), "one");
        assert!(!path.join(UNFINISHED).exists() && !path.join("checkpoint-0").exists());
        keep(&mut home, "two");
        assert_eq!(home.progress().unwrap().as_deref(), Some("two"));
    }

    #[test]
    fn a_failed_backup_leaves_the_standing_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let mut home = Home::open(directory.path(), Held::ReplaceFinished).unwrap();
        count(&home, "one");
        keep(&mut home, "one");
        assert!(home.keep("two", &[vec![]], |_, _| bail!("full")).is_err());
        assert_eq!(home.progress().unwrap().as_deref(), Some("one"));
    }

    #[test]
    fn directories_of_others_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        fs::write(path.join("precious"), "x").unwrap();
        let fault = |held| Home::open(&path, held).err().unwrap().to_string();
        for held in [Held::ReplaceFinished, Held::Resume, Held::Replace] {
            assert!(fault(held).contains("not empty"));
        }
        assert_eq!(names(&path).unwrap(), ["precious"]);

        fs::remove_file(path.join("precious")).unwrap();
        let mut home = Home::open(&path, Held::ReplaceFinished).unwrap();
        assert!(fault(Held::Resume).contains("another replay"));
        assert!(fault(Held::Replace).contains("another replay"));
        count(&home, "one");
        keep(&mut home, "one");
        drop(home);
        assert!(fault(Held::ReplaceFinished).contains("--resume"));
    }

    /// Row T10.
    #[test]
    fn t10_a_replay_that_is_finished_is_replaced_and_any_if_it_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        for held in [Held::ReplaceFinished, Held::Replace] {
            let mut home = Home::open(&path, Held::Resume).unwrap();
            count(&home, "one");
            keep(&mut home, "one");
            home.set_finished(held == Held::ReplaceFinished).unwrap();
            // What trials of another replay came to is nothing of the next one.
            fs::write(home.attempts(), "old").unwrap();
            fs::create_dir_all(home.trace(1)).unwrap();
            drop(home);
            let home = Home::open(&path, held).unwrap();
            assert_eq!(home.progress().unwrap(), None);
            assert_eq!(names(&path).unwrap(), [LOCK], "{held:?}");
        }
    }

    #[test]
    fn damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut home = Home::open(directory.path(), Held::ReplaceFinished).unwrap();
        count(&home, "one");
        keep(&mut home, "{\"lines\": 12}");
        let path = directory.path().join("checkpoint-1/progress.json");
        let text = fs::read_to_string(&path).unwrap();
        for (damaged, why) in [
            (text.replace("12", "13"), "damaged"),
            (text.replace("replay 2", "replay 3"), "version"),
            (String::new(), "version"),
            (text.trim_end_matches('}').to_owned(), "damaged"),
        ] {
            assert_ne!(damaged, text);
            fs::write(&path, damaged).unwrap();
            let fault = home.progress().unwrap_err().to_string();
            assert!(fault.contains(why), "{fault}");
        }
    }
}
