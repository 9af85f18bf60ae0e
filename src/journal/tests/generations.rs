//! Generations: what is kept, when they are renewed, and a crash at each step of that.

use std::sync::{Arc, Mutex};

use super::*;
use crate::directory::DirectoryError;
use crate::journal::current::Current;
use crate::journal::generation::ledgers;
use crate::journal::renewal::Step;
use crate::sync::lock;

/// A journal that is renewed early.
fn small(path: &Path) -> Generations {
    let growth = Growth {
        floor_bytes: 1 << 20,
        word_bytes: 512,
    };
    let stores = ledgers(INSTANCE, Patience::default());
    Generations::with(path, INSTANCE, growth, stores).unwrap().0
}

#[test]
fn what_was_committed_is_there_again() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let (mut journal, report) = open(&path);
    assert!(report.is_new && report.set_aside.is_none() && report.loss.is_none());
    assert!(!journal.should_renew(0));
    let mut expected = words(2500, 1);
    let first = journal.commit(&expected).unwrap();
    for (_, held) in &mut expected[..100] {
        *held = word(2);
    }
    let second = journal.commit(&expected[..100]).unwrap();
    assert!(second > first);
    assert_eq!(journal.commit(&[]).unwrap(), second);
    same(&held(&mut journal), &expected);
    drop(journal);

    let (mut journal, report) = open(&path);
    assert!(!report.is_new && report.loss.is_none() && !report.is_unmarked);
    assert!(report.set_aside.is_none() && report.not_removed.is_none());
    assert_eq!((journal.number(), journal.sequence()), (1, second));
    same(&held(&mut journal), &expected);
    assert!(!journal.should_renew(2500));
    assert_eq!(names(&path), ["000001", "current"]);
}

#[test]
fn a_renewal_carries_the_living_and_forgets_the_rest() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    journal.commit(&words(3000, 1)).unwrap();
    let living = words(1200, 1);
    journal.renew(living.iter().copied()).unwrap();
    assert_eq!(names(&path), ["000002", "current"]);
    same(&held(&mut journal), &living);
    let sequence = journal.commit(&words(1300, 2)).unwrap();
    drop(journal);
    let (mut journal, report) = open(&path);
    assert!(report.loss.is_none());
    assert_eq!((journal.number(), journal.sequence()), (2, sequence));
    same(&held(&mut journal), &words(1300, 2));
}

#[test]
fn commits_during_a_renewal_go_into_both() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    journal.commit(&words(30, 1)).unwrap();
    journal.begin_renewal().unwrap();
    journal.carry(&words(20, 1)).unwrap();
    journal.commit(&words(10, 2)).unwrap();
    let copied = folder.path().join("copy");
    copy(&path, &copied);
    journal.carry(&words(30, 1)[20..]).unwrap();
    journal.finish_renewal().unwrap();
    let expected = [&words(10, 2)[..], &words(30, 1)[10..]].concat();
    same(&held(&mut journal), &expected);
    drop(journal);
    same(&held(&mut open(&path).0), &expected);
    same(&held(&mut open(&copied).0), &expected);
    // There is nothing to carry into, or to finish, without a beginning.
    let (mut journal, _) = open(&path);
    assert!(matches!(
        journal.carry(&words(1, 1)),
        Err(StoreError::Broken { .. })
    ));
    assert!(matches!(
        journal.finish_renewal(),
        Err(StoreError::Broken { .. })
    ));
    journal.commit(&words(1, 3)).unwrap();
}

/// Copies the journal at each step of `work`, and returns the copies with their steps.
fn copies(
    folder: &Path,
    journal: &mut Generations,
    work: impl FnOnce(&mut Generations),
) -> Vec<(Step, std::path::PathBuf)> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (into, folder) = (taken.clone(), folder.to_owned());
    journal.at_step = Some(Box::new(move |step| {
        let mut taken = lock(&into);
        let to = folder.join(format!("copy{}", taken.len()));
        copy(&folder.join("journal"), &to);
        taken.push((step, to));
    }));
    work(journal);
    journal.at_step = None;
    lock(&taken).clone()
}

#[test]
fn a_crash_at_any_step_of_a_renewal_leaves_the_old_or_the_new() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    let old = words(2000, 1);
    let new = words(1500, 1);
    let acknowledged = journal.commit(&old).unwrap();
    let copies = copies(folder.path(), &mut journal, |journal| {
        journal.renew(new.iter().copied()).unwrap();
    });
    let steps: Vec<_> = copies.iter().map(|(step, _)| *step).collect();
    use Step::{Carried, Made, Marked, Named, Removed, Written};
    assert_eq!(
        steps,
        [Made, Carried, Carried, Written, Named, Marked, Removed]
    );
    for (step, copy) in copies {
        let (mut journal, report) = open(&copy);
        assert!(
            report.loss.is_none() && report.set_aside.is_none(),
            "{step:?}"
        );
        assert!(!report.is_new && !report.is_unmarked && report.not_removed.is_none());
        let is_new = matches!(step, Marked | Removed);
        assert_eq!(journal.number(), if is_new { 2 } else { 1 }, "{step:?}");
        same(&held(&mut journal), if is_new { &new } else { &old });
        assert!(journal.sequence() >= acknowledged);
        assert_eq!(
            names(&copy).len(),
            2,
            "one generation and current: {step:?}"
        );
        journal.renew(old.iter().copied()).unwrap();
        same(&held(&mut journal), &old);

        // The same without the file that says which: still one of the two, whole.
        drop(journal);
        std::fs::remove_file(copy.join("current")).unwrap();
        let (mut journal, report) = open(&copy);
        assert!(report.is_unmarked && journal.should_renew(2000));
        same(&held(&mut journal), &old);
    }
}

#[test]
fn that_a_mark_is_gone_is_told_however_little_the_generation_holds() {
    for is_emptied in [false, true] {
        let folder = crate::directory::scratch();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path);
        if is_emptied {
            journal.commit(&words(10, 1)).unwrap();
        }
        drop(journal);
        std::fs::remove_file(path.join("current")).unwrap();
        if is_emptied {
            std::fs::remove_dir_all(path.join("000001")).unwrap();
            std::fs::create_dir(path.join("000001")).unwrap();
        }
        let (mut journal, report) = open(&path);
        assert!(!report.is_new && report.is_unmarked && journal.should_renew(10));
        assert!(held(&mut journal).is_empty());
    }
}

/// The mark that counts is torn, and the one before says no more than what is there: without what
/// came after that one a commit may have been lost with the mark.
#[test]
fn a_torn_mark_is_told_unless_what_it_told_of_is_there() {
    for is_commit_lost in [false, true] {
        let folder = crate::directory::scratch();
        let path = folder.path().join("journal");
        let (mut journal, _) = open(&path);
        journal.commit(&words(10, 1)).unwrap();
        let store = folder.path().join("store");
        copy(&path.join("000001"), &store);
        journal.commit(&words(10, 2)).unwrap();
        drop(journal);
        let current = path.join("current");
        let mut torn = std::fs::read(&current).unwrap();
        let sequence = |at: usize| u64::from_le_bytes(*torn[at + 8..].first_chunk().unwrap());
        let last = if sequence(0) > sequence(4096) {
            0
        } else {
            4096
        };
        torn[last + 50] ^= 1;
        std::fs::write(&current, torn).unwrap();
        if is_commit_lost {
            std::fs::remove_dir_all(path.join("000001")).unwrap();
            std::fs::rename(store, path.join("000001")).unwrap();
        }
        let (journal, report) = open(&path);
        assert!(report.loss.is_none(), "nobody can say so");
        assert_eq!(report.is_unmarked, is_commit_lost);
        assert_eq!(journal.should_renew(10), is_commit_lost);
    }
}

#[test]
fn a_crash_at_any_step_of_the_first_creation_is_no_loss_and_no_error() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    // Creation takes the same steps as putting an empty one in the place of one that is gone, but
    // for the mark that nothing was acknowledged yet.
    let (mut journal, _) = open(&path);
    (journal.number, journal.sequence) = (0, 0);
    let mark = journal.as_mark();
    journal.current.write(mark).unwrap();
    let copies = copies(folder.path(), &mut journal, |journal| {
        journal.start_over(None).unwrap();
    });
    assert!(copies.len() >= 5);
    for (step, copy) in copies {
        let first = copy.join("000001");
        let _ = std::fs::remove_dir_all(first);
        let (mut journal, report) = open(&copy);
        assert!(
            report.loss.is_none() && report.set_aside.is_none(),
            "{step:?}"
        );
        assert!(!report.is_unmarked, "{step:?}");
        assert!(held(&mut journal).is_empty());
        journal.commit(&words(10, 1)).unwrap();
        assert_eq!(held(&mut open_again(journal, &copy)).len(), 10);
    }
}

#[test]
fn that_nothing_was_acknowledged_is_noted_before_the_first_generation_is_made() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let none: OpenStore = Box::new(|path| {
        let path = path.to_owned();
        Err(StoreError::Broken { path })
    });
    assert!(Generations::with(&path, INSTANCE, Growth::default(), none).is_err());
    let mark = Current::peek(&path.join("current")).unwrap();
    let noted = mark.map(|mark| (mark.instance, mark.sequence));
    assert_eq!(noted, Some((INSTANCE, 0)));
}

fn open_again(journal: Generations, path: &Path) -> Generations {
    drop(journal);
    open(path).0
}

#[test]
fn a_renewal_that_fails_leaves_the_old_and_no_remains() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let disk = Disk::default();
    let opened = Generations::with(&path, INSTANCE, Growth::default(), disk.opener());
    let (mut journal, _) = opened.unwrap();
    journal.commit(&words(5, 1)).unwrap();
    let before = disk.steps();
    journal.renew(words(5, 1)).unwrap();
    let steps = disk.steps() - before;
    for step in 0..steps {
        disk.plan(Some(Fault::Once(disk.steps() + step)));
        journal.renew(words(5, 2)).unwrap_err();
        assert_eq!(names(&path), ["000002", "current"], "step {step}");
        assert!(!journal.should_renew(5));
        same(&held(&mut journal), &words(5, 1));
        journal.commit(&words(5, 1)).unwrap();
    }
}

#[test]
fn many_overwrites_stay_small_with_renewals() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let mut journal = small(&path);
    let mut renewals = 0;
    let mut largest = 0;
    for count in 1..=150 {
        journal.commit(&words(2000, count)).unwrap();
        largest = largest.max(journal.size_bytes());
        if journal.should_renew(2000) {
            journal.renew(words(2000, count)).unwrap();
            renewals += 1;
            assert!(!journal.should_renew(2000), "a renewal that did not help");
        }
    }
    assert!((1..100).contains(&renewals), "{renewals} renewals");
    assert!(largest < 4 << 20, "{largest} bytes");
    same(&held(&mut open_again(journal, &path)), &words(2000, 150));
    assert_eq!(names(&path).len(), 2);
}

#[test]
fn another_limiters_journal_is_not_believed() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let (mut theirs, _) = Generations::open(&path, [9; 16]).unwrap();
    theirs.commit(&words(10, 1)).unwrap();
    drop(theirs);
    let only_store = folder.path().join("mixed");
    drop(open(&only_store));
    std::fs::remove_dir_all(only_store.join("000001")).unwrap();
    copy(&path.join("000001"), &only_store.join("000001"));
    for path in [path, only_store] {
        let (mut journal, report) = open(&path);
        let set_aside = report.set_aside.unwrap();
        assert!(set_aside.why.to_string().contains("another limiter"));
        assert!(set_aside.path.ends_with("000001.unreadable"));
        assert!(held(&mut journal).is_empty() && journal.should_renew(0));
        assert_eq!(names(&path), ["000001.unreadable", "000002", "current"]);
    }
}

#[test]
fn a_loss_inside_the_store_is_reported_until_something_is_written() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let early = folder.path().join("early");
    let (mut journal, _) = open(&path);
    let found = journal.commit(&words(10, 1)).unwrap();
    copy(&path, &early);
    let acknowledged = journal.commit(&words(10, 2)).unwrap();
    drop(journal);
    std::fs::remove_dir_all(path.join("000001")).unwrap();
    copy(&early.join("000001"), &path.join("000001"));
    let loss = Some(Loss {
        acknowledged,
        found,
    });
    for _ in 0..2 {
        let (mut journal, report) = open(&path);
        assert_eq!(report.loss, loss);
        assert!(journal.should_renew(10));
        same(&held(&mut journal), &words(10, 1));
    }
    // The whole generation gone is a loss too.
    std::fs::remove_dir_all(path.join("000001")).unwrap();
    let (mut journal, report) = open(&path);
    let found = 0;
    assert_eq!(
        report.loss,
        Some(Loss {
            acknowledged,
            found
        })
    );
    assert!(!report.is_new && journal.should_renew(10));
    assert!(journal.commit(&words(1, 1)).unwrap() > acknowledged);
    // One commit too many in the store is none: the process ended before the mark was written. Or
    // the commit's sync failed, and what is read of it stands in memory only: it is written anew.
    let ahead = folder.path().join("ahead");
    let (mut journal, _) = open(&ahead);
    journal.commit(&words(10, 1)).unwrap();
    let behind = std::fs::read(ahead.join("current")).unwrap();
    let sequence = journal.commit(&words(10, 2)).unwrap();
    drop(journal);
    std::fs::write(ahead.join("current"), behind).unwrap();
    let (mut journal, report) = open(&ahead);
    assert!(report.loss.is_none() && journal.sequence() > sequence);
    assert_eq!(journal.number(), 2);
    same(&held(&mut journal), &words(10, 2));
}

#[test]
fn a_newer_version_is_an_error_and_left_as_it_is() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    // The marks stand in two places in turn: the third is in the second of them.
    open(&path).0.commit(&words(1, 1)).unwrap();
    let at = path.join("current");
    let bytes = std::fs::read(&at).unwrap();
    let slot = bytes.len() - 60;
    let mut newer = bytes.clone();
    newer[slot + 16] = 2;
    crate::codec::seal(&mut newer[slot..]);
    std::fs::write(&at, &newer).unwrap();
    let error = Generations::open(&path, INSTANCE).err().unwrap();
    let StoreError::Files(DirectoryError::Version { found: 2, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(std::fs::read(&at).unwrap(), newer);
    std::fs::write(&at, bytes).unwrap();
    assert!(open(&path).1.set_aside.is_none());
}

#[test]
fn only_so_many_are_kept_aside_and_strangers_are_left_alone() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    drop(open(&path));
    let strange = ["7", "000007.", "0000008.making", "abc.old", "000009.mine"];
    for name in strange {
        std::fs::create_dir(path.join(name)).unwrap();
    }
    for _ in 0..10 {
        let last = open(&path).0.number();
        std::fs::write(path.join(format!("{last:06}/db")), "not sled's").unwrap();
        std::fs::write(path.join(format!("{last:06}/conf")), "not sled's either").unwrap();
    }
    drop(open(&path));
    let names = names(&path);
    let aside = names.iter().filter(|name| name.ends_with(".unreadable"));
    assert_eq!(aside.count(), 8, "{names:?}");
    assert!(
        !names.contains(&"000001.unreadable".to_owned()),
        "the eldest goes"
    );
    for name in strange {
        assert!(names.contains(&name.to_owned()), "{name}");
    }
}
