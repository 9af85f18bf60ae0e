//! Where the table lies: chosen, moved, wiped, stolen, and never mixed with what it is not of.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tollgate::{Lasts, Mapping, Opened};

use super::{Life, World, builder, folders, make_private, take, used, why_set_aside};

/// A directory on a disk, or none, said so, where everything is in memory.
fn disk() -> Option<tempfile::TempDir> {
    let beside = std::env::current_exe().unwrap();
    let dir = tempfile::tempdir_in(beside.parent().unwrap()).unwrap();
    let limiter = builder(Mapping::DataDirectory)
        .open(dir.path().join("probe"))
        .unwrap();
    if limiter.health().placement.lasts == Lasts::Disk && Path::new("/dev/shm").is_dir() {
        return Some(dir);
    }
    crate::skipped::say("needs a directory on a disk, and /dev/shm");
    None
}

/// Removes what a test leaves in the machine's own memory.
struct Cleared(PathBuf);

impl Drop for Cleared {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn by_default_it_lies_in_memory() {
    let Some(dir) = disk() else { return };
    let data = dir.path().join("data");
    let limiter = builder(Mapping::Automatic).open(&data).unwrap();
    let placement = limiter.health().placement;
    let _cleared = Cleared(placement.path.clone());
    assert!(placement.path.starts_with("/dev/shm"), "{placement}");
    assert_ne!(placement.lasts, Lasts::Disk);
    assert!(placement.path.join("00").exists());
    assert!(!data.join("table").exists());
    take(&limiter, "alice", 7);
    drop(limiter);
    assert!(!placement.path.exists(), "a small one goes home");
    assert!(data.join("table/00").exists());
    let limiter = builder(Mapping::Memory).open(&data).unwrap();
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert_eq!(limiter.health().placement.path, placement.path);
    assert_eq!(used(&limiter, "alice"), [7; 4]);
    assert!(!data.join("table").exists());
    limiter.close().unwrap();
    // Closed, it is complete: nothing of it is in memory any more.
    let elsewhere = dir.path().join("elsewhere");
    copy_files(&data, &elsewhere);
    fs::remove_dir_all(data).unwrap();
    let limiter = builder(Mapping::DataDirectory).open(elsewhere).unwrap();
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert_eq!(used(&limiter, "alice"), [7; 4]);
}

#[test]
fn a_table_that_finds_no_way_home_stays_in_memory() {
    let Some(dir) = disk() else { return };
    let data = dir.path().join("data");
    let limiter = builder(Mapping::Automatic).open(&data).unwrap();
    let placement = limiter.health().placement;
    let _cleared = Cleared(placement.path.clone());
    take(&limiter, "alice", 7);
    // What stands there is in the way.
    let table = data.join("table");
    fs::create_dir(&table).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"])
        .arg(&table)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        crate::skipped::say("needs the right to mount");
        return;
    }
    let closed = limiter.close();
    let unmounted = Command::new("umount").arg(&table).status().unwrap();
    assert!(unmounted.success());
    closed.unwrap();
    assert!(placement.path.join("00").exists());
    drop(limiter);
    let limiter = builder(Mapping::Automatic).open(&data).unwrap();
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert_eq!(limiter.health().placement.path, placement.path);
    assert_eq!(used(&limiter, "alice"), [7; 4]);
}

#[test]
fn a_data_directory_in_memory_keeps_its_table() {
    let world = World::in_data();
    for mapping in [Mapping::Automatic, Mapping::Memory] {
        let limiter = builder(mapping).open(world.data()).unwrap();
        let placement = limiter.health().placement;
        if placement.lasts == Lasts::Disk {
            crate::skipped::say("there is no memory file system here");
            return;
        }
        assert_eq!(placement.path, world.data().join("table"), "{placement}");
    }
}

#[test]
fn it_moves_with_every_counter_after_a_close_and_after_a_kill() {
    let world = World::in_data();
    let other = world.dir.path().join("other");
    make_private(&other);
    let moves = [
        Mapping::Under(world.memory()),
        Mapping::Under(other.clone()),
        Mapping::DataDirectory,
    ];
    world.kill_one();
    let mut from = world.data().join("table");
    for (round, mapping) in (0..6).zip(moves.iter().cycle()) {
        let limiter = builder(mapping.clone()).open(world.data()).unwrap();
        let health = limiter.health();
        let opened = if round % 2 == 0 {
            Opened::Kept
        } else {
            Opened::Clean
        };
        assert_eq!(health.opened, opened);
        assert_eq!(health.placement.moved_from.as_ref(), Some(&from));
        assert!(!from.exists() && health.placement.path.join("16").exists());
        assert_eq!(used(&limiter, "alice"), [37 + round; 4]);
        take(&limiter, "alice", 1);
        from = health.placement.path;
        if round % 2 == 0 {
            drop(limiter);
        } else {
            // As after a kill: closed, but the mark says that it was not.
            drop(limiter);
            let marks = world.data().join("marks");
            reopen_mark(&marks);
        }
    }
    assert_eq!(folders(&world.memory()).len() + folders(&other).len(), 0);
}

/// Tears the mark that says *clean*, so that the one before it, *open*, counts.
fn reopen_mark(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let sequence = |at: usize| u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
    let last = if sequence(0) > sequence(4096) {
        0
    } else {
        4096
    };
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn memory_that_was_wiped_is_rebuilt_and_said() {
    let world = World::outside();
    for is_all in [false, true] {
        world.close_one();
        let root = if is_all {
            world.memory()
        } else {
            world.table()
        };
        fs::remove_dir_all(root).unwrap();
        if is_all {
            make_private(&world.memory());
        }
        let limiter = world.open();
        let why = why_set_aside(&limiter);
        assert!(why.contains("memory"), "{why}");
        assert_eq!(limiter.health().recovery.counters, 4);
        assert_eq!(used(&limiter, "alice"), [7; 4]);
        drop(limiter);
        fs::remove_dir_all(world.data()).unwrap();
    }
}

#[test]
fn what_others_can_enter_is_not_believed() {
    let world = World::outside();
    world.close_one();
    let table = world.table();
    fs::set_permissions(&table, fs::Permissions::from_mode(0o750)).unwrap();
    let limiter = world.open();
    assert!(why_set_aside(&limiter).contains("private"));
    assert_eq!(used(&limiter, "alice"), [7; 4]);
    drop(limiter);

    let own = table.parent().unwrap().to_owned();
    for mode in [0o755, 0o770] {
        fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
        let error = world.try_open().unwrap_err();
        assert!(error.to_string().contains("private"), "{mode:o}: {error}");
        assert_eq!(error.path(), Some(own.as_path()));
    }
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(world.memory(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::remove_dir_all(&own).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(error.to_string().contains("private"), "{error}");
    fs::set_permissions(world.memory(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(used(&world.open(), "alice"), [7; 4]);
}

#[test]
fn links_are_not_followed() {
    let world = World::outside();
    world.close_one();
    let table = world.table();
    let own = table.parent().unwrap().to_owned();
    for link in [table, own] {
        let aside = world.dir.path().join("aside");
        fs::rename(&link, &aside).unwrap();
        symlink(&aside, &link).unwrap();
        match world.try_open() {
            Ok(limiter) => {
                assert!(why_set_aside(&limiter).contains("private"));
                assert_eq!(used(&limiter, "alice"), [7; 4]);
            }
            Err(error) => {
                assert!(error.to_string().contains("private"), "{error}");
                fs::remove_file(&link).unwrap();
            }
        }
        assert!(aside.exists(), "what the link leads to is left alone");
        fs::remove_dir_all(aside).unwrap();
    }
}

/// Puts the files of `copy` in the place of those in `data`, which stays the directory it is.
fn restore(copy: &Path, data: &Path) {
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    copy_files(copy, data);
}

fn copy_files(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .args(["-a", "-T"])
        .args([from, to])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_directory_restored_from_an_earlier_life_does_not_get_the_later_table() {
    let world = World::outside();
    world.close_one();
    let copy = world.dir.path().join("copy");
    copy_files(&world.data(), &copy);
    let limiter = world.open();
    take(&limiter, "alice", 11);
    take(&limiter, "bob", 1);
    drop(limiter);
    restore(&copy, &world.data());
    let limiter = world.open();
    assert_eq!(why_set_aside(&limiter), "another time's table");
    assert_eq!(used(&limiter, "alice"), [7; 4]);
    assert_eq!(used(&limiter, "bob"), [0; 4]);
}

/// With the table in the data directory only the journal is restored: the table's files would be
/// others, and not believed.
fn an_older_journal_is_told_every_counter_again(world: &World) {
    let mut child = world.child();
    let copy = world.dir.path().join("copy");
    copy_files(&world.data(), &copy);
    child.go_on();
    child.kill();
    if world.is_outside {
        restore(&copy, &world.data());
    } else {
        restore(&copy.join("journal"), &world.data().join("journal"));
    }
    let limiter = world.open();
    let opened = limiter.health().opened;
    assert_eq!(opened, Opened::Kept);
    assert_eq!(used(&limiter, "alice"), [42; 4]);
    // One round writes, the next ones carry.
    for _ in 0..4 {
        limiter.flush().unwrap();
    }
    let troubles = limiter.health().recovery.troubles;
    assert!(
        troubles.iter().any(|why| why.contains("older")),
        "{troubles:?}"
    );
    drop(limiter);
    // As a power cut leaves it: what the journal was not told is gone.
    fs::remove_dir_all(world.table()).unwrap();
    let limiter = world.open();
    why_set_aside(&limiter);
    assert_eq!(used(&limiter, "alice"), [42; 4]);
}

super::wherever_the_table_lies!(an_older_journal_is_told_every_counter_again);

/// True if the command can be run here.
pub(crate) fn can(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs the child of these tests where `/dev/shm` is a memory file system of `size` of its own.
fn in_small_memory(data: &Path, size: &str) -> Option<Life> {
    let script =
        format!("mount -t tmpfs -o mode=1777,size={size} tmpfs /dev/shm && exec \"$0\" \"$@\"");
    if !can("unshare", &["-m", "sh", "-c", &script, "true"]) {
        crate::skipped::say("needs the right to mount");
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env("TOLLGATE_CHILD", data);
    Some(Life::start(command))
}

#[test]
fn with_no_room_in_memory_it_lies_in_the_data_directory_and_says_why() {
    let Some(dir) = disk() else { return };
    let data = dir.path().join("data");
    let Some(life) = in_small_memory(&data, "400k") else {
        return;
    };
    assert!(
        life.placement
            .starts_with(data.join("table").to_str().unwrap())
    );
    assert!(
        life.placement.contains("more than half"),
        "{}",
        life.placement
    );
    life.close();
    // Here there is room: it moves.
    let limiter = builder(Mapping::Automatic).open(&data).unwrap();
    let placement = limiter.health().placement;
    let _cleared = Cleared(placement.path.clone());
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert_eq!(placement.moved_from, Some(data.join("table")));
    assert!(placement.path.starts_with("/dev/shm"), "{placement}");
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}

#[test]
fn a_restart_in_a_container_with_memory_of_its_own_is_a_reboot() {
    let Some(dir) = disk() else { return };
    let data = dir.path().join("data");
    let Some(life) = in_small_memory(&data, "8m") else {
        return;
    };
    assert!(life.placement.starts_with("/dev/shm"), "{}", life.placement);
    life.kill();
    let limiter = builder(Mapping::Automatic).open(&data).unwrap();
    let _cleared = Cleared(limiter.health().placement.path);
    assert!(why_set_aside(&limiter).contains("/dev/shm"));
    assert_eq!(limiter.health().recovery.counters, 4);
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}

#[test]
fn a_table_that_another_place_has_succeeded_is_stale_and_removed() {
    let world = World::in_data();
    world.close_one();
    let (table, stale) = (world.data().join("table"), world.dir.path().join("stale"));
    copy_files(&table, &stale);
    let open = |mapping| builder(mapping).open(world.data()).unwrap();
    let outside = || Mapping::Under(world.memory());
    take(&open(outside()), "alice", 1);
    // As a kill leaves it between the mark that names the new place and the removal.
    for mapping in [outside(), Mapping::DataDirectory] {
        copy_files(&stale, &table);
        let limiter = open(mapping.clone());
        assert_eq!(limiter.health().opened, Opened::Clean);
        assert_eq!(used(&limiter, "alice"), [8; 4]);
        assert_eq!(table.exists(), mapping == Mapping::DataDirectory);
    }
}

#[test]
fn a_memory_file_system_that_is_mounted_anew_keeps_its_table() {
    let world = World::outside();
    let mut command = Command::new("unshare");
    // A mount namespace has mounts of its own, as a container that is started again has.
    command
        .arg("-m")
        .arg(std::env::current_exe().unwrap())
        .env("TOLLGATE_CHILD", world.data())
        .env("TOLLGATE_CHILD_UNDER", world.memory());
    if !can("unshare", &["-m", "true"]) || world.open().health().placement.lasts == Lasts::Disk {
        crate::skipped::say("needs a memory file system, and the right to mount");
        return;
    }
    Life::start(command).kill();
    let limiter = world.open();
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}
