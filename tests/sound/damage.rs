//! Kinds of damage, each planted in a directory that was sound. False: not in this one.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::common::flip;

type Plant = fn(&Path) -> bool;

pub(crate) const KINDS: [(&str, Plant); 24] = [
    ("header flipped", |data| flipped(data, "header", &[20])),
    ("header cut", |data| cut(data, "header", 40)),
    ("header gone", |data| gone(data, "header")),
    ("marks flipped", |data| {
        data.join("journal").exists() && flipped(data, "marks", &[30, 4096 + 30])
    }),
    ("marks gone", |data| {
        data.join("journal").exists() && gone(data, "marks")
    }),
    ("lock gone", |data| gone(data, "lock")),
    ("shard's header flipped", |data| {
        flipped(data, "table/03", &[20])
    }),
    ("shard cut", |data| cut(data, "table/07", 5000)),
    ("shard gone", |data| gone(data, "table/11")),
    ("shared counters gone", |data| gone(data, "table/16")),
    ("list in flight flipped", |data| {
        flipped(data, "table/17", &[20])
    }),
    ("list in flight gone", |data| gone(data, "table/17")),
    ("table gone", |data| {
        data.join("table").exists() && fs::remove_dir_all(data.join("table")).is_ok()
    }),
    ("shard of another time", |data| {
        flipped(data, "table/02", &[64])
    }),
    ("slot astray", |data| slot(data, Slot::Astray)),
    ("slot twice", |data| slot(data, Slot::Twice)),
    ("slot from the future", |data| slot(data, Slot::Future)),
    ("ceilings gone", |data| gone(data, "ceilings")),
    ("ceilings flipped twice", |data| {
        flipped(data, "ceilings", &[20, 532])
    }),
    ("ceilings cut", |data| cut(data, "ceilings", 700)),
    ("overrides flipped", |data| {
        flipped(data, "overrides", &[10])
    }),
    ("journal emptied", |data| match generation(data) {
        Some(at) if committed(data) => fs::write(at.join("db"), []).is_ok(),
        _ => false,
    }),
    ("journal gone", |data| {
        committed(data)
            && data.join("table").exists()
            && fs::remove_dir_all(data.join("journal")).is_ok()
    }),
    ("open to others", |data| {
        let all = Permissions::from_mode(0o666);
        fs::set_permissions(data.join("header"), all).is_ok()
    }),
];

fn flipped(data: &Path, name: &str, places: &[u64]) -> bool {
    let at = data.join(name);
    let Ok(meta) = fs::metadata(&at) else {
        return false;
    };
    let is_long = places.iter().all(|place| *place < meta.len());
    if is_long {
        places.iter().for_each(|place| flip(&at, *place));
    }
    is_long
}

fn cut(data: &Path, name: &str, length: u64) -> bool {
    let file = OpenOptions::new().write(true).open(data.join(name));
    file.is_ok_and(|file| file.metadata().unwrap().len() > length && file.set_len(length).is_ok())
}

fn gone(data: &Path, name: &str) -> bool {
    fs::remove_file(data.join(name)).is_ok()
}

/// The journal's generation, if there is one.
fn generation(data: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(data.join("journal")).ok()?;
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_none() && path.is_dir())
}

/// True if something was acknowledged: the doctor counts commits.
fn committed(data: &Path) -> bool {
    let report = tollgate::doctor::examine(data).unwrap().to_string();
    let commits = report.split(" commits").next().unwrap_or_default();
    let commits = commits.rsplit(' ').next().unwrap_or_default();
    // The first of them says that nothing was.
    commits.parse::<u64>().is_ok_and(|commits| commits > 2)
}

enum Slot {
    Astray,
    Twice,
    Future,
}

/// Changes a live slot of a shard that does not grow.
fn slot(data: &Path, how: Slot) -> bool {
    for number in 0..16 {
        let at = data.join(format!("table/{number:02}"));
        if at.with_extension("next").exists() {
            continue;
        }
        let Ok(bytes) = fs::read(&at) else {
            return false;
        };
        let (slots, _) = bytes[4096..].as_chunks::<16>();
        let is_full =
            |slot: &&[u8; 16]| slot[..8] != [0; 8] && slot[8] & 2 != 0 && slot[12..] != [0; 4];
        let Some(place) = slots.iter().position(|slot| is_full(&slot)) else {
            continue;
        };
        let write = |slot: usize, bytes: &[u8]| {
            let file = OpenOptions::new().write(true).open(&at).unwrap();
            file.write_all_at(bytes, 4096 + 16 * slot as u64).unwrap();
        };
        let mut changed = slots[place];
        match how {
            Slot::Astray => {
                // The upper half of the tag chooses the shard.
                changed[7] ^= 0x80;
                write(place, &changed);
            }
            Slot::Future => {
                changed[12..].copy_from_slice(&u32::MAX.to_le_bytes());
                write(place, &changed);
            }
            Slot::Twice => {
                let line = place / 4 * 4;
                let free = (place + 1..line + 4).find(|slot| slots[*slot][..8] == [0; 8]);
                let Some(free) = free else { continue };
                write(free, &changed);
            }
        }
        return true;
    }
    false
}
