//! What the doctor finds in a directory, what it mends, and that it changes nothing unasked.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::flip;
use tollgate::doctor::{self, Finding, Remedy, Report};
use tollgate::{Limiter, ManualClock, Mapping, Opened, Policy, Request, Timestamp};

const POLICY: &str = r#"
    [limits.day]
    rate = "1000/day"
    algorithm = "fixed window"
    key = "user"

    [limits.paid]
    rate = "1000/day"
    algorithm = "fixed window"
    durability = "strict"
    key = "user"
"#;
const HEADER_LEN: u64 = 4096;
const USERS: u64 = 40;

fn open(data: &Path) -> Result<Limiter, tollgate::Error> {
    Limiter::builder(Policy::from_toml(POLICY).unwrap())
        .counters(1000)
        .mapping(Mapping::DataDirectory)
        .clock(ManualClock::new(Timestamp::from_secs(1_760_009_400)))
        // Written when it is flushed or closed.
        .interval(std::time::Duration::from_secs(3600))
        .open(data)
}

fn used(limiter: &Limiter, user: u64) -> u64 {
    let user = format!("user {user}");
    limiter.limit("day").unwrap().usage(user.as_str()).used()
}

/// A directory that was used and closed.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: common::scratch(),
        };
        let limiter = open(&world.data()).unwrap();
        for user in 0..USERS {
            let name = format!("user {user}");
            let request = Request::new().attribute("user", &name).cost(user + 1);
            assert!(limiter.check(&request).is_allowed());
        }
        limiter.set_override("day", &["user 3"], "5/day").unwrap();
        limiter.close().unwrap();
        world
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    /// The journal's generation that counts.
    fn generation(&self) -> PathBuf {
        let entries = fs::read_dir(self.at("journal")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths
            .find(|path| path.extension().is_none() && path.is_dir())
            .unwrap()
    }

    /// Examines; nothing must have changed.
    fn examine(&self) -> Report {
        let before = tree(&self.data());
        let report = doctor::examine(self.data()).unwrap();
        assert_eq!(tree(&self.data()), before, "{report}");
        report
    }

    /// Examines what has one thing wrong with it.
    fn finding(&self) -> Finding {
        let report = self.examine();
        assert_eq!(report.findings.len(), 1, "{report}");
        assert!(!report.is_healthy());
        report.findings.into_iter().next().unwrap()
    }

    /// Repairs what has one thing wrong with it; then nothing is.
    fn repair(&self) {
        let Finding { remedy, what, .. } = self.finding();
        assert!(matches!(remedy, Remedy::Repair(_)), "{what}: {remedy:?}");
        let report = doctor::repair(self.data()).unwrap();
        assert!(report.is_healthy(), "{report}");
        assert!(report.to_string().contains("repaired"), "{report}");
    }

    /// Opens, and every counter is as it was.
    fn kept(&self) -> Limiter {
        let limiter = open(&self.data()).unwrap();
        for user in 0..USERS {
            assert_eq!(used(&limiter, user), user + 1, "{:?}", limiter.health());
        }
        limiter
    }
}

/// Everything that can be told of the files below a folder, but for when they were last read.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(at) = left.pop() {
        let meta = fs::symlink_metadata(&at).unwrap();
        let mut bytes = Vec::new();
        if meta.is_dir() {
            let entries = fs::read_dir(&at).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            bytes = fs::read(&at).unwrap();
        }
        let (mode, ino) = (meta.mode(), meta.ino());
        found.insert(at, (mode, ino, meta.mtime(), meta.mtime_nsec(), bytes));
    }
    found
}

#[test]
fn a_directory_closed_clean_is_healthy_and_told_of() {
    let world = World::new();
    let report = world.examine();
    assert!(report.is_healthy(), "{report}");
    let text = report.to_string();
    for part in [
        "80 counters alive, 0 of them not yet in the journal, 0 half claimed",
        "closed clean",
        "it will be kept",
        "80 of them of counters alive",
        "40 of counters alive",
        "1 keys have rates of their own",
        "nothing is wrong",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let repaired = doctor::repair(world.data()).unwrap();
    assert_eq!(repaired.to_string(), text);
    world.kept();
}

#[test]
fn what_is_no_directory_of_a_limiter_or_in_use_is_an_error() {
    let world = World::new();
    let limiter = open(&world.data()).unwrap();
    let error = doctor::examine(world.data()).unwrap_err();
    assert!(
        error.is_in_use() && error.holder() == Some(std::process::id()),
        "{error}"
    );
    drop(limiter);
    assert!(doctor::examine(world.data()).unwrap().is_healthy());
    let other = world.dir.path().join("other");
    assert!(doctor::examine(&other).is_err());
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter"), "dear").unwrap();
    let error = doctor::examine(&other).unwrap_err();
    assert!(
        error.to_string().contains("no directory of a limiter"),
        "{error}"
    );
}

#[test]
fn files_open_to_others_are_made_private() {
    for (name, mode) in [
        ("marks", 0o644),
        ("table/03", 0o660),
        ("journal", 0o755),
        ("", 0o750),
    ] {
        let world = World::new();
        fs::set_permissions(world.at(name), Permissions::from_mode(mode)).unwrap();
        let finding = world.finding();
        assert!(finding.what.contains("open to others"), "{finding}");
        world.repair();
        let now = fs::metadata(world.at(name)).unwrap().mode() & 0o777;
        assert_eq!(now, mode & 0o700, "{name}");
        world.kept();
    }
}

/// Row W10: what a kill leaves is nothing wrong, and the next opening removes it.
#[test]
fn w10_what_a_killed_process_left_half_made_is_told_and_removed_by_the_next_opening() {
    let world = World::new();
    let halves = [
        "overrides.next",
        "ceilings.next",
        "journal/000009.making",
        "journal/000000.old",
    ];
    for name in halves {
        fs::write(world.at(name), "half").unwrap();
        fs::set_permissions(world.at(name), Permissions::from_mode(0o600)).unwrap();
    }
    let report = world.examine();
    let text = report.to_string();
    assert!(report.is_healthy(), "{text}");
    assert_eq!(text.matches("the next opening removes it").count(), 4);
    let limiter = world.kept();
    limiter.flush().unwrap();
    drop(limiter);
    assert!(!halves.iter().any(|name| world.at(name).exists()));
}

/// Without marks nobody was ever admitted, unless there is a journal.
#[test]
fn a_table_without_marks_is_half_a_creation_or_has_lost_them() {
    let world = World::new();
    fs::remove_file(world.at("marks")).unwrap();
    let finding = world.finding();
    assert_eq!(finding.path, world.at("marks"));
    assert!(finding.what.contains("believed"), "{finding}");
    assert!(matches!(finding.remedy, Remedy::Opening(_)), "{finding}");
    let journal = world.at("journal");
    let elsewhere = world.dir.path().join("elsewhere");
    fs::rename(&journal, &elsewhere).unwrap();
    assert!(world.examine().is_healthy());
    fs::rename(&elsewhere, &journal).unwrap();
    let limiter = world.kept();
    assert!(matches!(limiter.health().opened, Opened::SetAside { .. }));
}

#[test]
fn what_is_not_the_limiters_is_left_alone() {
    let world = World::new();
    for name in ["notes.txt", "journal/notes.txt"] {
        fs::write(world.at(name), "mine").unwrap();
        fs::set_permissions(world.at(name), Permissions::from_mode(0o600)).unwrap();
        let finding = world.finding();
        assert!(finding.what.contains("none of"), "{finding}");
        assert!(matches!(finding.remedy, Remedy::Person(_)), "{finding}");
        assert!(!doctor::repair(world.data()).unwrap().is_healthy());
        assert_eq!(fs::read(world.at(name)).unwrap(), b"mine");
        fs::remove_file(world.at(name)).unwrap();
    }
    let _ = fs::remove_file(world.at("overrides"));
    std::os::unix::fs::symlink("/etc/passwd", world.at("overrides")).unwrap();
    let report = world.examine();
    assert!(
        report.to_string().contains("not the kind of file"),
        "{report}"
    );
}

#[test]
fn damage_of_the_small_files_is_found_and_named() {
    let world = World::new();
    for name in ["header", "overrides"] {
        flip(&world.at(name), 40);
        let finding = world.finding();
        assert_eq!(finding.path, world.at(name));
        assert!(
            finding.what.contains("does not match its checksum"),
            "{finding}"
        );
        flip(&world.at(name), 40);
    }
    assert!(world.examine().is_healthy());
    let header = fs::read(world.at("header")).unwrap();
    fs::remove_file(world.at("header")).unwrap();
    assert!(world.finding().what.contains("is missing"));
    fs::write(world.at("header"), header).unwrap();
    fs::set_permissions(world.at("header"), Permissions::from_mode(0o600)).unwrap();
    // Both copies of the first block.
    flip(&world.at("ceilings"), 20);
    flip(&world.at("ceilings"), 532);
    let finding = world.finding();
    assert_eq!(finding.path, world.at("ceilings"));
    assert!(matches!(finding.remedy, Remedy::Opening(_)), "{finding}");
}

#[test]
fn a_damaged_or_missing_shard_is_found_and_mended_by_opening() {
    let world = World::new();
    let at = world.at("table/05");
    flip(&at, 20);
    let finding = world.finding();
    assert_eq!(finding.path, at);
    assert!(matches!(finding.remedy, Remedy::Opening(_)), "{finding}");
    fs::remove_file(&at).unwrap();
    assert_eq!(world.finding().path, at);
    let limiter = world.kept();
    assert!(matches!(limiter.health().opened, Opened::SetAside { .. }));
    drop(limiter);
    let report = world.examine();
    assert!(
        report.is_healthy() && report.to_string().contains("kept to be looked at"),
        "{report}"
    );
}

/// The first slot in use of a shard: its place in the file, its tag and word.
fn first_slot(path: &Path) -> Option<(u64, [u8; 16])> {
    let bytes = fs::read(path).unwrap();
    let lines = &bytes[HEADER_LEN as usize..];
    let (slots, _) = lines.as_chunks::<16>();
    let place = slots.iter().position(|slot| slot[..8] != [0; 8])?;
    Some((HEADER_LEN + 16 * place as u64, slots[place]))
}

/// A shard with a slot in use.
fn used_shard(world: &World) -> (PathBuf, u64, [u8; 16]) {
    let shards = (0..16).map(|number| world.at(&format!("table/{number:02}")));
    let mut slots = shards.filter_map(|at| first_slot(&at).map(|(place, slot)| (at, place, slot)));
    slots.next().unwrap()
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// A repair does not give the table up: what only that knows would be forgotten, resets among it.
#[test]
fn slots_that_contradict_each_other_are_found_and_left_to_a_person() {
    // A counter moved out of its reach, one behind an empty slot, and one with two slots.
    for (kind, what) in [
        (0, "no search finds"),
        (1, "no search finds"),
        (2, "1 have two slots"),
    ] {
        let world = World::new();
        let (at, place, slot) = used_shard(&world);
        let next = HEADER_LEN + (place - HEADER_LEN) / 64 * 64 + 64;
        match kind {
            0 => {
                let mut turned = slot;
                // The upper half of the tag chooses the shard.
                turned[7] ^= 0x80;
                write(&at, place, &turned);
            }
            1 => {
                write(&at, place, &[0; 16]);
                write(&at, next, &slot);
            }
            _ => {
                let line = fs::read(&at).unwrap()[place as usize..next as usize].to_vec();
                let (slots, _) = line.as_chunks::<16>();
                let free = slots.iter().position(|slot| slot[..8] == [0; 8]).unwrap();
                write(&at, place + 16 * free as u64, &slot);
            }
        }
        let report = world.examine();
        let found = report
            .findings
            .iter()
            .any(|finding| finding.what.contains(what));
        assert!(found, "{kind}: {report}");
        let report = doctor::repair(world.data()).unwrap();
        assert!(!report.is_healthy(), "{report}");
        // As the report says.
        fs::remove_dir_all(world.at("table")).unwrap();
        let limiter = world.kept();
        assert!(
            matches!(limiter.health().opened, Opened::SetAside { .. }),
            "{kind}"
        );
        drop(limiter);
        assert!(world.examine().is_healthy());
    }
}

/// A counter that is behind the journal may have been lowered since: told, and not called wrong.
#[test]
fn w10_counters_that_the_journal_has_further_are_told_and_kept() {
    let world = World::new();
    let (at, place, slot) = used_shard(&world);
    let mut less = slot;
    // One less in the count, which begins at the third bit of the word.
    let word = u64::from_le_bytes(slot[8..].try_into().unwrap());
    less[8..].copy_from_slice(&(word - 4).to_le_bytes());
    write(&at, place, &less);
    let report = doctor::repair(world.data()).unwrap();
    assert!(report.is_healthy(), "{report}");
    let text = report.to_string();
    assert!(
        text.contains("1 counters are further in the journal"),
        "{text}"
    );
    assert_eq!(open(&world.data()).unwrap().health().opened, Opened::Clean);
}

#[test]
fn counters_from_the_future_and_above_their_ceiling_are_found() {
    let world = World::new();
    let (at, place, slot) = used_shard(&world);
    let mut future = slot;
    future[12..].copy_from_slice(&u32::MAX.to_le_bytes());
    write(&at, place, &future);
    let report = world.examine();
    assert!(
        report.to_string().contains("1 counters live longer"),
        "{report}"
    );
    write(&at, place, &slot);
    assert!(world.examine().is_healthy());
    let ceilings = fs::read(world.at("ceilings")).unwrap();
    let limiter = open(&world.data()).unwrap();
    let request = Request::new().attribute("user", "user 1").cost(900);
    assert!(limiter.check(&request).is_allowed());
    drop(limiter);
    assert!(world.examine().is_healthy());
    // Ceilings from before: told, though they may be above for other reasons.
    fs::write(world.at("ceilings"), ceilings).unwrap();
    let report = world.examine();
    let text = report.to_string();
    assert!(report.is_healthy(), "{text}");
    assert!(text.contains("1 counters are above"), "{text}");
    fs::remove_file(world.at("ceilings")).unwrap();
    let finding = world.finding();
    assert_eq!(finding.path, world.at("ceilings"));
    assert!(finding.what.contains("is gone"), "{finding}");
}

#[test]
fn the_journals_damage_is_found_and_what_cannot_be_read_put_aside() {
    let world = World::new();
    let generation = world.generation();
    let db = generation.join("db");
    let whole = fs::read(&db).unwrap();
    // Lost, but for what is left of nothing.
    fs::write(&db, []).unwrap();
    let finding = world.finding();
    assert!(finding.what.contains("has lost commits: 0 of"), "{finding}");
    fs::write(&db, whole).unwrap();
    assert!(world.examine().is_healthy());
    fs::remove_file(&db).unwrap();
    fs::create_dir(&db).unwrap();
    fs::set_permissions(&db, Permissions::from_mode(0o700)).unwrap();
    let finding = world.finding();
    assert!(finding.what.contains("cannot be read"), "{finding}");
    doctor::repair(world.data()).unwrap();
    assert!(generation.with_extension("unreadable").exists());
    drop(world.kept());
    assert!(world.examine().is_healthy());
    fs::remove_dir_all(world.at("journal")).unwrap();
    assert!(world.finding().what.contains("there is no journal"));
    let limiter = world.kept();
    limiter.flush().unwrap();
    drop(limiter);
    assert!(world.examine().is_healthy());
}

#[test]
fn a_copy_of_a_directory_in_use_will_be_rebuilt() {
    let world = World::new();
    let limiter = open(&world.data()).unwrap();
    // Until the renewal of the journal, of which a copy would hold a half, is done.
    for _ in 0..3 {
        limiter.flush().unwrap();
    }
    let copy = world.dir.path().join("copy");
    let cp = std::process::Command::new("cp")
        .arg("-a")
        .args([&world.data(), &copy])
        .status();
    assert!(cp.unwrap().success());
    let report = doctor::examine(&copy).unwrap();
    let text = report.to_string();
    assert!(report.is_healthy(), "{text}");
    assert!(
        text.contains("not closed") && text.contains("other files"),
        "{text}"
    );
    assert!(text.contains("rebuilt from the journal"), "{text}");
}
