//! The store on sled by itself: gaps in its log, its lock, its files.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::*;
use crate::journal::ledger::Ledger;
use crate::journal::record::{Page, Place};

/// A store with commits of 3, 1, 0 and 300 words, so of 1, 1, 1 and 3 pages.
fn filled(path: &Path) {
    let mut ledger = Ledger::open(path, INSTANCE).unwrap();
    for (sequence, number) in [(4, 3), (5, 1), (9, 0), (10, 300)] {
        let words = words(number, 1);
        let batch = Batch::cut(&words).next().unwrap_or(Batch::EMPTY);
        ledger.commit(sequence, batch).unwrap();
    }
    assert_eq!(ledger.sequence(), 10);
}

#[test]
fn an_unfinished_snapshot_is_removed_and_a_cut_one_kept_out_of_sight() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("store");
    filled(&path);
    drop(Ledger::open(&path, INSTANCE).unwrap());
    let snapshot = names(&path)
        .into_iter()
        .find(|name| name.starts_with("snap."));
    let snapshot = snapshot.unwrap();
    let unfinished = "snap.7FFFFFFFFFFFFFFF.generating";
    fs::copy(path.join(&snapshot), path.join(unfinished)).unwrap();
    drop(Ledger::open(&path, INSTANCE).unwrap());
    assert!(names(&path).contains(&snapshot));
    assert!(!names(&path).iter().any(|name| name.contains("generating")));
    fs::write(path.join(&snapshot), "cut").unwrap();
    assert_eq!(scan(&path).0.words, 304);
    assert!(names(&path).contains(&format!("unreadable.{snapshot}")));
}

fn scan(path: &Path) -> (Scan, u64) {
    let mut ledger = Ledger::open(path, INSTANCE).unwrap();
    let mut shown = 0;
    let scan = ledger.scan(&mut |_, _| shown += 1).unwrap();
    assert_eq!(scan.words, shown);
    (scan, ledger.sequence())
}

/// The engine itself, once it has let go of its lock, which it does a little late.
fn opened(path: &Path) -> sled::Db {
    for _ in 0..200 {
        match sled::open(path) {
            Ok(db) => return db,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    sled::open(path).unwrap()
}

#[test]
fn every_gap_in_the_log_is_seen() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("whole");
    filled(&path);
    let whole = Scan {
        words: 304,
        damaged: 0,
    };
    assert_eq!(scan(&path), (whole, 10));
    let pages = [(4, 0), (5, 0), (9, 0), (10, 0), (10, 1), (10, 2)];
    for (sequence, part) in pages {
        let path = folder.path().join(format!("without {sequence} {part}"));
        copy(&folder.path().join("whole"), &path);
        let db = opened(&path);
        let key = Place { sequence, part }.encode();
        assert!(db.remove(key).unwrap().is_some());
        drop(db);
        let (found, last) = scan(&path);
        assert_eq!(found.damaged, 1, "{sequence} {part}");
        assert_eq!(last, 10);
    }
    // The end of the log gone by whole commits does not show here, but in the sequence.
    let path = folder.path().join("short");
    copy(&folder.path().join("whole"), &path);
    let db = opened(&path);
    for part in 0..3 {
        let sequence = 10;
        db.remove(Place { sequence, part }.encode()).unwrap();
    }
    drop(db);
    let (found, last) = scan(&path);
    assert_eq!((found.damaged, last), (0, 9));
}

#[test]
fn a_page_from_elsewhere_is_damage_and_the_last_of_all_forbids_opening() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("store");
    filled(&path);
    let put = |sequence, instance| {
        let db = opened(&path);
        let key = Place { sequence, part: 0 }.encode();
        let page = Page::new(instance, 10, 1, &words(1, 1));
        db.insert(key, page.encode(&key).unwrap()).unwrap();
    };
    put(5, [9; 16]);
    // The foreign page itself, and the gap where the own one was.
    assert_eq!(scan(&path).0.damaged, 2);
    put(11, [9; 16]);
    let error = Ledger::open(&path, INSTANCE).unwrap_err();
    assert!(
        error.is_damage() && error.to_string().contains("another limiter"),
        "{error}"
    );
    put(11, INSTANCE);
    assert_eq!(scan(&path).1, 11);
}

#[test]
fn a_file_removed_underneath_is_an_error() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    journal.commit(&words(3, 1)).unwrap();
    fs::remove_file(path.join("000001/db")).unwrap();
    let error = journal.commit(&words(3, 2)).unwrap_err().to_string();
    assert!(
        error.contains("removed while in use") && error.contains("000001"),
        "{error}"
    );
    journal.renew(words(3, 2)).unwrap();
    journal.commit(&words(3, 3)).unwrap();
    fs::remove_dir_all(&path).unwrap();
    journal.commit(&words(3, 4)).unwrap_err();
    let error = journal.renew(words(3, 4)).unwrap_err().to_string();
    assert!(error.contains("journal"), "{error}");
}

#[test]
fn a_lock_that_is_let_go_late_is_waited_for_and_one_that_is_kept_is_an_error() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    drop(open(&path));
    let hold = || {
        let file = fs::File::open(path.join("000001/db")).unwrap();
        file.lock().unwrap();
        file
    };
    let held_file = hold();
    let waiter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(held_file);
    });
    let started = Instant::now();
    let (journal, report) = open(&path);
    assert!(report.set_aside.is_none());
    assert!(started.elapsed() >= Duration::from_millis(250));
    waiter.join().unwrap();
    drop(journal);
    let held_file = hold();
    let error = Generations::open(&path, INSTANCE).err().unwrap();
    assert!(
        !error.is_damage() && error.to_string().contains("lock"),
        "{error}"
    );
    assert_eq!(names(&path), ["000001", "current"]);
    drop(held_file);
    assert!(open(&path).1.set_aside.is_none());
}

#[test]
fn its_files_are_their_owners_own() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    journal.commit(&words(3, 1)).unwrap();
    let mode = |at: &Path| fs::metadata(at).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("current")), 0o600);
    assert_eq!(mode(&path.join("000001")), 0o700);
    for name in ["db", "conf"] {
        assert_eq!(mode(&path.join("000001").join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_journal_is_only_set_aside_when_another_can_take_its_place() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    journal.commit(&words(3, 1)).unwrap();
    drop(journal);
    // As on a full disk: the engine fails in a way that looks like damage, and nothing new can
    // be made either.
    let full = Box::new(|path: &Path| -> Result<Box<dyn Store>, StoreError> {
        Err(if path.ends_with("000001") {
            StoreError::damaged(path, "looks like damage")
        } else {
            StoreError::io("write", path)(std::io::ErrorKind::StorageFull.into())
        })
    });
    let error = Generations::with(&path, INSTANCE, Growth::default(), full);
    assert!(!error.err().unwrap().is_damage());
    assert_eq!(names(&path), ["000001", "current"]);
    let (mut journal, report) = open(&path);
    assert!(report.loss.is_none() && report.set_aside.is_none());
    same(&held(&mut journal), &words(3, 1));
}
