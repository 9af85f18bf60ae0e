//! The uses of one limit in parts that can be held in memory.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::counts::ByCounter;
use super::trace::{Use, Uses, write_use};

/// Uses that are tried at a time, about: a fraction of a second's work, which is what a kill
/// costs, and what is held in memory. A key's counter is its own, so the keys of a limit can be
/// tried in parts.
pub(super) const PART_USES: u64 = 1 << 18;

/// Keys that are left out to see what a limit would be without the loudest.
pub(super) const LOUDEST: usize = 10;

/// The uses of one limit, in parts by their keys.
pub(crate) struct Parts {
    /// Files of the parts, and how many uses each has; none if all are held.
    pub(super) files: Vec<(PathBuf, u64)>,
    pub(super) held: Vec<Use>,
    pub(super) requests: u64,
    /// How many uses each key has.
    pub(super) keys: ByCounter<u64>,
    /// The same of the loudest keys.
    pub(super) loudest: ByCounter<u64>,
}

impl Parts {
    /// Puts uses into parts; those that are too many to be held go to files in `directory`.
    ///
    /// # Errors
    /// If they cannot be read, or the files not be written.
    pub(crate) fn split(uses: Uses, directory: &Path) -> anyhow::Result<Self> {
        let requests = uses.left();
        let mut counts: ByCounter<u64> = ByCounter::default();
        let (mut files, mut held) = (Vec::new(), Vec::new());
        let count = requests.div_ceil(PART_USES);
        if count <= 1 {
            for one in uses {
                let one = one?;
                *counts.entry(one.key).or_default() += 1;
                held.push(one);
            }
        } else {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
            let write = || format!("cannot write to {}", directory.display());
            let mut writers = Vec::new();
            for number in 0..count {
                let path = directory.join(format!("{number}.part"));
                let file = File::create(&path).with_context(write)?;
                files.push((path, 0));
                // Bound: all buffers together hold as much as a few parts at the most.
                writers.push((BufWriter::with_capacity(1 << 14, file), 0_u64));
            }
            for one in uses {
                let one = one?;
                *counts.entry(one.key).or_default() += 1;
                let part = usize::try_from(one.key % count).unwrap_or(0);
                let (Some((writer, last)), Some((_, uses))) =
                    (writers.get_mut(part), files.get_mut(part))
                else {
                    continue;
                };
                let now = one.time.as_nanos();
                let mut bytes = [0; _];
                let bytes = write_use(&mut bytes, one.key, now.saturating_sub(*last), one.cost);
                writer.write_all(bytes).with_context(write)?;
                (*last, *uses) = (now, *uses + 1);
            }
            for (mut writer, _) in writers {
                writer.flush().with_context(write)?;
            }
        }
        Ok(Self {
            files,
            held,
            requests,
            loudest: loudest(&counts),
            keys: counts,
        })
    }

    /// In how many parts the uses of some keys, or of all, are tried.
    pub(super) fn count(&self, of: Option<&ByCounter<()>>) -> usize {
        let uses =
            |of: &ByCounter<()>| -> u64 { of.keys().filter_map(|key| self.keys.get(key)).sum() };
        match of.map(uses) {
            // Few enough to be held at once.
            Some(..=PART_USES) => 1,
            _ => self.files.len().max(1),
        }
    }

    /// The uses of one part by some keys, or by all; of the only one all of them.
    pub(super) fn of(&self, part: usize, of: Option<&ByCounter<()>>) -> anyhow::Result<Vec<Use>> {
        let is_of = |one: &Use| of.is_none_or(|of| of.contains_key(&one.key));
        if self.files.is_empty() {
            return Ok(self.held.iter().filter(|one| is_of(one)).copied().collect());
        }
        let is_only = self.count(of) == 1;
        let files = self.files.iter().enumerate();
        let mut found = Vec::new();
        for (_, (path, uses)) in files.filter(|(number, _)| is_only || *number == part) {
            for one in Uses::open(path, *uses)? {
                let one = one?;
                if is_of(&one) {
                    found.push(one);
                }
            }
        }
        if is_only {
            // The limiter's time never goes back.
            found.sort_by_key(|one| one.time);
        }
        Ok(found)
    }
}

/// The keys that have the most uses.
pub(super) fn loudest(counts: &ByCounter<u64>) -> ByCounter<u64> {
    let mut counts: Vec<_> = counts.iter().map(|(key, uses)| (*key, *uses)).collect();
    let most = LOUDEST.min(counts.len());
    if most > 0 {
        counts.select_nth_unstable_by_key(most - 1, |(key, uses)| (std::cmp::Reverse(*uses), *key));
    }
    counts.into_iter().take(most).collect()
}
