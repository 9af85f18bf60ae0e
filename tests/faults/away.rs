//! Directories that cannot be written, or are not there any more.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use tollgate::Opened;

use crate::mount::Mount;
use crate::shim::{Faults, Plan, errno, kind, this_test};
use crate::world::{flush_at_last, open, open_every, take, used, wait_for};

const PATH: &str = "TOLLGATE_FAULTS_PATH";

#[test]
fn fault_37_a_directory_that_cannot_be_is_an_error_that_names_it() {
    let scratch = crate::common::scratch();
    let missing = scratch.path().join("no/such/data");
    let error = open(&missing).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    assert_eq!(error.path(), Some(missing.as_path()));
    let file = scratch.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = open(&file).unwrap_err();
    assert!(
        error.is_damaged() && error.to_string().contains("is a file"),
        "{error}"
    );
    assert_eq!(fs::read(&file).unwrap(), b"x");
    let error = open(&file.join("data")).unwrap_err();
    assert!(error.to_string().contains("Not a directory"), "{error}");
}

#[test]
fn fault_37_a_read_only_file_system_is_an_error_and_changes_nothing() {
    let Some(mount) = Mount::new("size=16m") else {
        return;
    };
    let limiter = open(&mount.data()).unwrap();
    assert!(take(&limiter, 0));
    limiter.close().unwrap();
    drop(limiter);
    mount.change("ro");
    for path in [mount.data(), mount.path().join("other")] {
        let error = open(&path).unwrap_err();
        assert!(
            error.to_string().contains("Read-only file system"),
            "{error}"
        );
        assert!(
            error.path().is_some_and(|at| at.starts_with(&path)),
            "{error}"
        );
    }
    // Looking needs no writing.
    let report = tollgate::doctor::examine(mount.data()).unwrap();
    assert!(report.is_healthy(), "{report}");
    mount.change("rw");
    let limiter = open(&mount.data()).unwrap();
    assert_eq!(
        (used(&limiter, 0), limiter.health().opened),
        (1, Opened::Clean)
    );
}

/// Opens what another user owns.
#[test]
#[ignore = "is started by the test below, as another user"]
fn as_another_user() {
    let Some(path) = std::env::var_os(PATH) else {
        return;
    };
    let error = open(path.as_ref()).unwrap_err();
    println!("refused: {error}");
}

/// What opening says to another user; none if this process cannot be one.
fn as_another(data: &Path) -> Option<String> {
    let mut command = this_test("away::as_another_user");
    command.env(PATH, data).uid(65_534).gid(65_534);
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{text}");
            Some(text)
        }
        Err(error) => {
            crate::skipped::say(format!(
                "opening as another user, which only root can try: {error}"
            ));
            None
        }
    }
}

#[test]
fn fault_37_what_another_user_owns_is_refused() {
    let scratch = crate::common::scratch();
    let data = scratch.path().join("data");
    open(&data).unwrap().close().unwrap();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o700)).unwrap();
    let Some(text) = as_another(&data) else {
        return;
    };
    assert!(
        text.contains("refused: ") && text.contains("Permission denied"),
        "{text}"
    );
    // The way there is open, the directory is not.
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    let text = as_another(&data).unwrap();
    assert!(
        text.contains("refused: ") && text.contains("private"),
        "{text}"
    );
    assert_eq!(open(&data).unwrap().health().opened, Opened::Clean);
}

#[test]
fn fault_39_a_file_system_made_read_only_is_told_of_and_nothing_is_lost() {
    let name = "away::fault_39_a_file_system_made_read_only_is_told_of_and_nothing_is_lost";
    let Some(faults) = Faults::here(name) else {
        return;
    };
    let data = faults.path("data");
    let limiter = open_every(&data, Duration::from_millis(5)).unwrap();
    assert!(take(&limiter, 0));
    limiter.flush().unwrap();
    let changing = kind::WRITE | kind::SIZE | kind::RENAME | kind::REMOVE | kind::MAKE | kind::SYNC;
    faults.plan(Plan::all(changing, errno::EROFS));
    assert!(take(&limiter, 0));
    wait_for("it is told of", || {
        limiter.health().writing.trouble.is_some()
    });
    let why = limiter.health().writing.trouble.unwrap().why;
    assert!(why.contains("Read-only file system"), "{why}");
    wait_for("so is the time", || limiter.health().trouble.is_some());
    faults.heal();
    flush_at_last(&limiter);
    wait_for("the time is written", || limiter.health().trouble.is_none());
    limiter.close().unwrap();
    drop(limiter);
    assert_eq!(used(&open(&data).unwrap(), 0), 2);
}

/// Takes a limiter's directory from under it, puts another limiter's in its place, and then,
/// perhaps, its own back.
fn taken_away(take_away: impl Fn(&Path), put_back: Option<&dyn Fn(&Path)>) {
    let scratch = crate::common::scratch();
    let data = scratch.path().join("data");
    let limiter = open_every(&data, Duration::from_millis(5)).unwrap();
    assert!(take(&limiter, 0));
    limiter.flush().unwrap();
    take_away(&data);
    let other = open(&data).unwrap();
    (0..7).for_each(|_| assert!(take(&other, 0)));
    other.flush().unwrap();
    assert!(take(&limiter, 0), "checks go on");
    wait_for("it is told of", || {
        limiter.health().writing.trouble.is_some()
    });
    wait_for("so is the time", || limiter.health().trouble.is_some());
    let why = limiter.health().trouble.unwrap();
    assert!(why.contains("moved, removed or replaced"), "{why}");
    assert!(limiter.flush().is_err());
    assert!(limiter.set_override("day", &["x"], "5/day").is_err());
    assert_eq!(used(&limiter, 0), 2);
    assert!(
        other.health().writing.trouble.is_none(),
        "{:?}",
        other.health()
    );
    other.close().unwrap();
    drop(other);
    let report = tollgate::doctor::examine(&data).unwrap();
    assert!(report.is_healthy(), "{report}");
    assert_eq!(
        used(&open(&data).unwrap(), 0),
        7,
        "nothing was written into it"
    );
    let Some(put_back) = put_back else {
        assert!(limiter.close().is_err());
        drop(limiter);
        assert_eq!(used(&open(&data).unwrap(), 0), 7);
        return;
    };
    fs::remove_dir_all(&data).unwrap();
    put_back(&data);
    flush_at_last(&limiter);
    wait_for("the time is written", || limiter.health().trouble.is_none());
    limiter.close().unwrap();
    drop(limiter);
    assert_eq!(used(&open(&data).unwrap(), 0), 2);
}

#[test]
fn fault_39_a_directory_moved_away_is_told_of_and_its_successor_left_alone() {
    let aside = |data: &Path| data.with_extension("aside");
    let back = move |data: &Path| fs::rename(aside(data), data).unwrap();
    taken_away(
        move |data| fs::rename(data, aside(data)).unwrap(),
        Some(&back),
    );
}

#[test]
fn fault_39_a_directory_removed_is_told_of_and_its_successor_left_alone() {
    taken_away(|data| fs::remove_dir_all(data).unwrap(), None);
}

#[test]
fn fault_39_a_file_removed_is_told_of_or_made_again() {
    for name in ["marks", "lock", "journal/current", "journal"] {
        let scratch = crate::common::scratch();
        let data = scratch.path().join("data");
        let limiter = open_every(&data, Duration::from_millis(5)).unwrap();
        assert!(take(&limiter, 0));
        limiter.flush().unwrap();
        let at = data.join(name);
        if at.is_dir() {
            fs::remove_dir_all(&at).unwrap();
        } else {
            fs::remove_file(&at).unwrap();
        }
        wait_for(name, || {
            assert!(take(&limiter, 0));
            let health = limiter.health();
            health.writing.trouble.is_some() || health.trouble.is_some() || at.exists()
        });
        let taken = used(&limiter, 0);
        let _ = limiter.close();
        drop(limiter);
        let limiter = open(&data).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(used(&limiter, 0), taken, "{name}: {:?}", limiter.health());
        flush_at_last(&limiter);
    }
}
