//! Something is given back while a ceiling is raised: it saw the ceiling as it was before, and
//! asked for nothing.

use super::*;

/// Puts a counter's word in its place.
fn put(counters: &Table, number: u64, count: u32) {
    counters.update(tag(number), NOW, |_| Some(word(count)));
}

fn from(number: u64, counted: u32, target: u32) -> Demand {
    Demand {
        from: word(counted),
        target: word(target),
        ..demand(number, counted + 1)
    }
}

/// Two counters at 50, and ceilings of 60.
fn two(twin: &Twin) -> (Arc<Table>, Ceilings) {
    let counters = table();
    let (ceilings, _) = open_beside(twin, Worth::New, counters.clone());
    for number in 0..2 {
        put(&counters, number, 50);
        ceilings.raise_now(from(number, 50, 60)).unwrap();
    }
    (counters, ceilings)
}

/// [`two`] of them; the disk hangs while somebody asks for `demands`, and
/// `meanwhile` the counters change. Then what a power cut leaves after a flush.
fn raised_while(
    demands: &[Demand],
    is_begun: bool,
    meanwhile: impl FnOnce(&Ceilings, &Table),
) -> Vec<u32> {
    let twin = Twin::new(Content::default());
    let (counters, ceilings) = two(&twin);
    let pen = lock(&ceilings.shared.pen);
    std::thread::scope(|scope| {
        let raise = |demand: Demand| {
            let ceilings = &ceilings;
            scope.spawn(move || ceilings.raise_now(demand))
        };
        if !is_begun {
            raise(from(1, 50, 70));
            until("a round", || lock(&ceilings.shared.desk).began.is_some());
        }
        let asked: Vec<_> = demands.iter().map(|demand| raise(*demand)).collect();
        until("asked", || {
            let desk = lock(&ceilings.shared.desk);
            match is_begun {
                true => desk.began.is_some(),
                false => desk.demands.len() == demands.len(),
            }
        });
        // The pen is waited for once all has been looked at.
        if is_begun {
            std::thread::sleep(Duration::from_millis(50));
        }
        meanwhile(&ceilings, &counters);
        drop(pen);
        // Whoever waits looks for himself whether it is enough.
        for thread in asked {
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
    });
    ceilings.settle().unwrap();
    after_cut(&twin, 2)
}

#[test]
fn what_was_asked_for_before_something_was_given_back_is_not_written() {
    let refund = |_: &Ceilings, counters: &Table| put(counters, 0, 10);
    assert_eq!(raised_while(&[from(0, 50, 90)], false, refund), [60, 70]);
}

#[test]
fn what_is_written_while_something_is_given_back_comes_down_again() {
    let refund = |_: &Ceilings, counters: &Table| put(counters, 0, 10);
    assert_eq!(raised_while(&[from(0, 50, 90)], true, refund), [10, 60]);
    // Nothing was given back: it stays.
    let take = |_: &Ceilings, counters: &Table| put(counters, 0, 55);
    assert_eq!(raised_while(&[from(0, 50, 90)], true, take), [90, 60]);
}

/// A process was killed: nobody knows whether what it wrote last is on the disk, nor what was to
/// come down.
#[test]
fn after_a_kill_nothing_is_covered_but_what_was_counted() {
    let (twin, ceilings) = new();
    (0..3).for_each(|number| ceilings.raise_now(demand(number, 60)).unwrap());
    ceilings.stop();
    let left = || {
        let counters = table();
        put(&counters, 0, 55);
        put(&counters, 1, 7);
        open_beside(&twin, Worth::Left, counters)
    };
    // A disk that refuses keeps nobody out.
    lock(&twin.0).good_for = Some(0);
    let (ceilings, trouble) = left();
    assert_eq!(trouble, None);
    assert!(ceilings.covers(tag(0), word(55)) && !ceilings.covers(tag(0), word(56)));
    assert!(ceilings.settle().is_err());
    drop(ceilings);
    assert_eq!(after_cut(&twin, 3), [60, 60, 60]);
    lock(&twin.0).good_for = None;
    let (ceilings, trouble) = left();
    assert_eq!(trouble, None);
    ceilings.settle().unwrap();
    assert_eq!(after_cut(&twin, 3), [55, 7, 0]);
}

#[test]
fn what_nobody_waits_for_any_more_is_not_raised_or_comes_down() {
    let twin = Twin::new(Content::default());
    let (_, ceilings) = two(&twin);
    let pen = lock(&ceilings.shared.pen);
    std::thread::scope(|scope| {
        for number in 0..2 {
            let ceilings = &ceilings;
            scope.spawn(move || {
                let refused = ceilings.raise_now(from(number, 50, 90));
                assert_eq!(refused, Err(Unraised::Unwritable));
            });
            until("a round", || lock(&ceilings.shared.desk).began.is_some());
        }
    });
    drop(pen);
    ceilings.settle().unwrap();
    let after = after_cut(&twin, 2);
    assert!(after.iter().all(|count| *count <= 60), "{after:?}");
}
