//! The power goes, or the disk fails, before every single step.

use std::time::Duration;

use super::*;

/// Three commits, a renewal and one more commit. What was acknowledged, and what was under way.
struct Run {
    acknowledged: HashMap<Tag, Word>,
    under_way: HashMap<Tag, Word>,
    sequence: u64,
}

impl Run {
    fn of(journal: &mut Generations) -> Self {
        let mut run = Self {
            acknowledged: HashMap::new(),
            under_way: HashMap::new(),
            sequence: 0,
        };
        for (count, number) in [(1, 3), (2, 4), (3, 2), (0, 0), (4, 3)] {
            if number == 0 {
                // What the table holds: all that was ever admitted, acknowledged or not.
                let mut living = run.acknowledged.clone();
                living.extend(run.under_way.clone());
                let _ = journal.renew(living);
                continue;
            }
            run.under_way.extend(words(number, count));
            if let Ok(sequence) = journal.commit(&words(number, count)) {
                run.acknowledged.extend(words(number, count));
                run.sequence = sequence;
            }
        }
        run
    }

    /// Later is larger: every word held is one acknowledged or a later one.
    fn check(&self, held: &HashMap<Tag, Word>, place: &str) {
        for (tag, word) in &self.acknowledged {
            let found = held
                .get(tag)
                .unwrap_or_else(|| panic!("{place}: {tag:?} is lost"));
            assert!(
                found.bits() >= word.bits(),
                "{place}: {found:?} for {word:?}"
            );
        }
        for (tag, word) in held {
            let most = self
                .under_way
                .get(tag)
                .unwrap_or_else(|| panic!("{place}: {tag:?}"));
            assert!(
                word.bits() <= most.bits(),
                "{place}: {word:?} was never admitted"
            );
        }
    }
}

fn open_on(disk: &Disk, path: &Path) -> Result<(Generations, Report), StoreError> {
    Generations::with(path, INSTANCE, Growth::default(), disk.opener())
}

/// How many steps the whole run has, with its opening.
fn steps() -> u64 {
    let folder = crate::directory::scratch();
    let disk = Disk::default();
    let mut journal = open_on(&disk, &folder.path().join("journal")).unwrap().0;
    Run::of(&mut journal);
    disk.steps()
}

#[test]
fn a_power_cut_before_every_step_keeps_what_was_acknowledged() {
    let steps = steps();
    assert!(steps > 30, "{steps}");
    // What had reached the disk of what was not flushed: nothing, all, the first, every other.
    let survivals: [fn(usize) -> bool; 5] = [
        |_| false,
        |_| true,
        |place| place < 1,
        |place| place % 2 == 1,
        |place| place > 1,
    ];
    for cut in 0..=steps {
        for (kind, survives) in survivals.iter().enumerate() {
            let folder = crate::directory::scratch();
            let path = folder.path().join("journal");
            let disk = Disk::default();
            disk.plan(Some(Fault::Cut(cut)));
            let opened = open_on(&disk, &path);
            let run = opened.map(|(mut journal, _)| Run::of(&mut journal)).ok();
            disk.power_on(survives);
            let (mut journal, report) = open_on(&disk, &path).unwrap();
            let place = format!("cut {cut}, survival {kind}");
            assert!(
                report.loss.is_none() && report.set_aside.is_none(),
                "{place}: {report:?}"
            );
            let held = held(&mut journal);
            let Some(run) = run else {
                assert!(held.is_empty(), "{place}");
                continue;
            };
            run.check(&held, &place);
            assert!(journal.sequence() >= run.sequence, "{place}");
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_step_is_an_error_and_a_renewal_makes_it_good() {
    let steps = steps();
    for step in 0..steps {
        let folder = crate::directory::scratch();
        let path = folder.path().join("journal");
        let disk = Disk::default();
        for fault in [Fault::Once(step), Fault::From(step)] {
            disk.plan(Some(fault));
            let Ok((mut journal, _)) = open_on(&disk, &path) else {
                disk.plan(None);
                open_on(&disk, &path).unwrap();
                continue;
            };
            let run = Run::of(&mut journal);
            let place = format!("{fault:?}");
            if fault == Fault::From(step) && journal.should_renew(4) {
                let again = journal.commit(&words(1, 9));
                assert!(again.is_err(), "{place}: acknowledged by a disk that fails");
                journal.renew(run.under_way.clone()).unwrap_err();
            }
            disk.plan(None);
            if journal.should_renew(4) {
                journal.renew(run.under_way.clone()).unwrap();
            }
            journal.commit(&words(4, 5)).unwrap();
            drop(journal);
            let (mut journal, report) = open_on(&disk, &path).unwrap();
            assert!(report.loss.is_none(), "{place}: {report:?}");
            same(&held(&mut journal), &words(4, 5));
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
}

#[test]
fn after_a_failed_flush_nothing_is_acknowledged_on_the_strength_of_a_later_one() {
    let folder = crate::directory::scratch();
    let disk = Disk::default();
    let (mut journal, _) = open_on(&disk, &folder.path().join("journal")).unwrap();
    // Two records and the head are written, then the flush fails, once.
    disk.plan(Some(Fault::Once(disk.steps() + 3)));
    journal.commit(&words(2, 1)).unwrap_err();
    for _ in 0..3 {
        let error = journal.commit(&words(2, 1)).unwrap_err();
        assert!(matches!(error, StoreError::Broken { .. }), "{error}");
        assert!(journal.should_renew(2));
    }
    journal.renew(words(2, 1)).unwrap();
    journal.commit(&words(2, 2)).unwrap();
}

#[test]
fn a_store_that_comes_back_empty_is_a_loss() {
    let folder = crate::directory::scratch();
    let path = folder.path().join("journal");
    let disk = Disk::default();
    let (mut journal, _) = open_on(&disk, &path).unwrap();
    let acknowledged = journal.commit(&words(2, 1)).unwrap();
    drop(journal);
    disk.lose("000001");
    let (journal, report) = open_on(&disk, &path).unwrap();
    let found = 0;
    assert_eq!(
        report.loss,
        Some(Loss {
            acknowledged,
            found
        })
    );
    assert!(journal.should_renew(2));
}

#[test]
fn a_slow_disk_is_waited_for() {
    let folder = crate::directory::scratch();
    let disk = Disk::default();
    let (mut journal, _) = open_on(&disk, &folder.path().join("journal")).unwrap();
    disk.slow_down(Duration::from_millis(50));
    let started = std::time::Instant::now();
    journal.commit(&words(2, 1)).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(50));
}
