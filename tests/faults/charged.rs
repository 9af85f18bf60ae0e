//! Row W12: what a settlement charges to a strict limit while the disk refuses is counted, or told.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tollgate::{Limiter, Mapping, Opened, Policy, Verdict};

use crate::mount::Mount;
use crate::shim::{finish, this_test};
use crate::world::{flush_at_last, noon};

const DATA: &str = "TOLLGATE_FAULTS_CHARGED";
const SIGKILL: i32 = 9;
const CHARGED: u64 = 500;

fn open(data: &Path) -> Limiter {
    let policy = "[limits.strict]\nrate = \"1000/day\"\nalgorithm = \"fixed window\"\n\
                  durability = \"strict\"\nreserve = 1\nkey = \"user\"\n";
    Limiter::builder(Policy::from_toml(policy).unwrap())
        .counters(1000)
        .mapping(Mapping::DataDirectory)
        .clock(noon())
        .interval(Duration::from_secs(3600))
        .open(data)
        .unwrap()
}

fn used(limiter: &Limiter) -> u64 {
    limiter.limit("strict").unwrap().usage("alice").used()
}

/// Settles for much more than it took, on a full disk, and kills itself.
#[test]
#[ignore = "is started by the tests below, in a process to be killed"]
fn charges() {
    let Ok(data) = std::env::var(DATA) else {
        return;
    };
    let limiter = open(Path::new(&data));
    let strict = limiter.limit("strict").unwrap();
    let taken = strict.check("alice");
    assert!(taken.is_allowed());
    limiter.flush().unwrap();
    let root = Path::new(&data).parent().unwrap();
    // Both places for a mark have been used once.
    std::thread::sleep(Duration::from_millis(1500));
    crate::mount::fill(root);
    // What the file has room for is used up.
    let bob = || strict.check("bob").verdict() == Verdict::Unwritable;
    assert!((0..1000).any(|_| bob()));
    assert_eq!(strict.settle("alice", taken, CHARGED).used(), CHARGED);
    let reservations = limiter.health().reservations;
    assert_eq!(reservations.admitted_without, 1);
    assert!(reservations.trouble.is_some());
    // Nor does the journal know of it: it is written when somebody asks. The keeper notes it soon.
    std::thread::sleep(Duration::from_secs(2));
    let mut kill = Command::new("kill");
    kill.args(["-9", &std::process::id().to_string()]);
    kill.status().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// A directory whose process was killed after such a charge; the disk is well again.
fn left() -> Option<Mount> {
    let mount = Mount::new("size=4m")?;
    let mut command = this_test("charged::charges");
    let ended = finish(command.env(DATA, mount.data()));
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(SIGKILL), "{text}");
    fs::remove_file(mount.path().join("ballast")).unwrap();
    Some(mount)
}

#[test]
fn w12_what_is_charged_on_a_failing_disk_is_counted_after_a_kill() {
    let Some(mount) = left() else { return };
    let limiter = open(&mount.data());
    assert_eq!(limiter.health().opened, Opened::Kept);
    assert_eq!(used(&limiter), CHARGED);
    flush_at_last(&limiter);
    // From now on it outlives the table, and there is nothing to tell.
    std::thread::sleep(Duration::from_secs(2));
    let copy = mount.path().join("copy");
    crate::common::copy(&mount.data(), &copy);
    fs::remove_dir_all(copy.join("table")).unwrap();
    let rebuilt = open(&copy);
    assert!(used(&rebuilt) >= CHARGED, "{}", used(&rebuilt));
    assert_eq!(rebuilt.health().recovery.troubles, [""; 0]);
}

#[test]
fn w12_what_is_charged_on_a_failing_disk_and_lost_with_the_table_is_told() {
    let Some(mount) = left() else { return };
    fs::remove_dir_all(mount.data().join("table")).unwrap();
    let limiter = open(&mount.data());
    assert!(used(&limiter) < CHARGED, "{}", used(&limiter));
    let troubles = limiter.health().recovery.troubles;
    assert!(
        troubles
            .iter()
            .any(|why| why.contains("while the disk failed")),
        "{troubles:?}"
    );
    // Told once.
    drop(limiter);
    let limiter = open(&mount.data());
    assert_eq!(limiter.health().recovery.troubles, [""; 0]);
}
