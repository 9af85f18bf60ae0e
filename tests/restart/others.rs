//! Tables in memory beside those of others: other users, other containers, other directories.

use std::fs;
use std::path::Path;
use std::process::Command;

use tollgate::{Mapping, Opened};

use super::placement::can;
use super::{Life, World, builder, make_private, take, used, why_set_aside};

/// Row P5.
#[test]
fn p5_a_name_that_another_user_has_taken_is_not_entered_and_another_one_used() {
    let world = World::outside();
    world.close_one();
    let own = world.table().parent().unwrap().to_owned();
    if std::os::unix::fs::chown(&own, Some(12_345), None).is_err() {
        crate::skipped::say("only root can give a directory away");
        return;
    }
    let limiter = world.open();
    why_set_aside(&limiter);
    assert_eq!(used(&limiter, "alice"), [7; 4]);
    let placement = limiter.health().placement;
    assert!(!placement.path.starts_with(&own) && placement.path.starts_with(world.memory()));
    assert!(
        placement.to_string().contains("belongs to user 12345"),
        "{placement}"
    );
    take(&limiter, "alice", 1);
    drop(limiter);
    assert_eq!(world.open().health().opened, Opened::Clean);
    // Its name is free again: what is not there is not looked for there.
    fs::remove_dir_all(&own).unwrap();
    let limiter = world.open();
    assert_eq!(limiter.health().opened, Opened::Clean);
    assert_eq!(limiter.health().placement.path, placement.path);
    assert_eq!(used(&limiter, "alice"), [8; 4]);
    drop(limiter);
    // Nor is the other name entered, if that is taken.
    let other = placement.path.parent().unwrap();
    std::os::unix::fs::chown(other, Some(12_345), None).unwrap();
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(12_345), None).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(error.to_string().contains("private"), "{error}");
    // Asked for nothing in particular, it lies in the data directory then.
    let limiter = builder(Mapping::Automatic).open(world.data()).unwrap();
    assert!(why_set_aside(&limiter).contains("private"));
    assert_eq!(used(&limiter, "alice"), [8; 4]);
}

/// Row P2: kill, move the data directory, let another limiter open, open where it is now.
#[test]
fn p2_a_directory_that_was_moved_after_a_kill_keeps_its_table() {
    let world = World::outside();
    world.kill_one();
    let path = |name: &str| world.dir.path().join(name);
    fs::rename(world.data(), path("data2")).unwrap();
    let other = world.open_at(&path("other"), super::noon()).unwrap();
    let placement = other.health().placement;
    let told = placement.notes.iter().any(|note| {
        note.contains("nobody has open") && note.contains(world.data().to_str().unwrap())
    });
    assert!(told, "{placement}");
    drop(other);
    let report = tollgate::doctor::examine(path("other")).unwrap();
    assert!(report.is_healthy(), "{report}");
    assert!(report.to_string().contains("nobody has open"), "{report}");
    let limiter = world.open_at(&path("data2"), super::noon()).unwrap();
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}

/// Row P1: two services, each in a mount namespace of its own in which its data directory has the
/// same path, share a memory file system. The kernel gives the second the first one's namespace
/// number as soon as that is dead.
#[test]
fn p1_a_killed_service_keeps_its_table_while_another_container_opens() {
    let world = World::outside();
    let places = ["a", "b"].map(|name| world.dir.path().join(name));
    let mount = world.dir.path().join("mount");
    for path in places.iter().chain([&mount]) {
        make_private(path);
    }
    if !can("unshare", &["-m", "true"]) {
        crate::skipped::say("needs the right to mount");
        return;
    }
    let start = |place: &Path| {
        let mut command = Command::new("unshare");
        command
            .args([
                "-m",
                "sh",
                "-c",
                "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"",
            ])
            .args([place, &mount])
            .arg(std::env::current_exe().unwrap())
            .env("TOLLGATE_CHILD", mount.join("data"))
            .env("TOLLGATE_CHILD_UNDER", world.memory());
        Life::start(command)
    };
    start(&places[0]).kill();
    start(&places[1]).close();
    // The path of both is empty where we are.
    assert!(!mount.join("data").exists());
    let [data, _] = places.map(|place| place.join("data"));
    let limiter = world.open_at(&data, super::noon()).unwrap();
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter, "alice"), [37; 4]);
}

/// Gives everything below `path` to a user.
fn give(path: &Path, user: u32) -> bool {
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    below.into_iter().all(|entry| give(&entry.path(), user))
        && std::os::unix::fs::chown(path, Some(user), None).is_ok()
}

/// Row P6: a service's directory, opened and looked at by root.
#[test]
fn p6_another_users_directory_is_said_to_be_his_and_looked_at_as_his() {
    let world = World::outside();
    world.kill_one();
    if !give(&world.data(), 12_345) || !give(&world.memory(), 12_345) {
        crate::skipped::say("only root can give a directory away");
        return;
    }
    let own = world.table().parent().unwrap().to_owned();
    fs::rename(&own, own.with_file_name("tollgate-12345")).unwrap();
    let error = world.try_open().unwrap_err().to_string();
    assert!(error.contains("belongs to user 12345"), "{error}");
    assert!(!error.contains("written by others"), "{error}");
    let report = tollgate::doctor::examine(world.data()).unwrap();
    let text = report.to_string();
    assert!(report.is_healthy(), "{text}");
    assert!(text.contains("belong to user 12345"), "{text}");
    assert!(text.contains("it will be kept"), "{text}");
}
