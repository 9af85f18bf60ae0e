//! A process that commits is killed at random; what it had acknowledged is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

const FOLDER: &str = "TOLLGATE_TEST_KILL";
const CHILD: &str = "journal::tests::kill::child";
const KEYS: u64 = 150;
const ROUNDS: u32 = 25;

/// Commits for ever, from the count that it finds on, with renewals now and then, and says each
/// count that was acknowledged.
#[test]
#[ignore = "is started by the test below, in a process to be killed"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let (mut journal, report) = open(Path::new(&folder));
    assert!(
        report.loss.is_none() && report.set_aside.is_none(),
        "{report:?}"
    );
    let found = held(&mut journal).values().map(|word| word.count()).max();
    let mut out = std::io::stdout().lock();
    for count in found.unwrap_or(0) + 1.. {
        journal.commit(&words(KEYS, count)).unwrap();
        writeln!(out, "acknowledged {count}").unwrap();
        if count % 16 == 0 {
            journal.renew(words(KEYS, count)).unwrap();
        }
    }
}

/// Lets a process run for a while and kills it; the last count that it acknowledged.
fn life(folder: &Path, length: Duration) -> Option<u32> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let lines = out.lines().map_while(Result::ok);
        let counts = lines.filter_map(|line| {
            let (_, count) = line.split_once("acknowledged ")?;
            count.parse().ok()
        });
        counts.last()
    });
    std::thread::sleep(length);
    let early = child.try_wait().unwrap();
    assert!(early.is_none(), "ended by itself: {early:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn what_a_killed_process_had_acknowledged_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut acknowledged = 0;
    let mut committed = 0;
    // On a busy machine a life commits little before it ends: then there are more of them.
    for round in 0..10 * ROUNDS {
        if round >= ROUNDS && acknowledged > 20 {
            break;
        }
        let length = Duration::from_millis(u64::from(round * 37 % 120));
        acknowledged = life(&path, length).unwrap_or(acknowledged);
        if !path.exists() {
            continue;
        }
        let copied = folder.path().join("copy");
        let _ = fs::remove_dir_all(&copied);
        copy(&path, &copied);
        let (mut journal, report) = open(&copied);
        assert!(
            report.loss.is_none() && report.set_aside.is_none(),
            "{report:?}"
        );
        let held = held(&mut journal);
        let counts: Vec<_> = held.values().map(|word| word.count()).collect();
        let least = counts.iter().min().copied().unwrap_or(0);
        let most = counts.iter().max().copied().unwrap_or(0);
        assert!(
            least >= acknowledged,
            "round {round}: {least} of {acknowledged}"
        );
        // A life may end between a commit and its line; the next one goes on from there.
        assert!(
            most <= acknowledged.max(committed) + 1,
            "round {round}: {most}, not yet asked for"
        );
        committed = most;
    }
    assert!(
        acknowledged > 20,
        "only {acknowledged} commits in all lives"
    );
}
