//! Ceilings that find no room in memory.

use super::*;

#[test]
fn the_disk_hears_of_no_ceiling_that_memory_has_no_room_for() {
    let slots = u32::try_from(table().slots()).unwrap();
    let bucket = |count: u32| Word::bucket(Timestamp::from_secs(1_500 + u64::from(count)));
    for word in [word, bucket] {
        let (twin, ceilings) = new();
        let raise = |number: u32| {
            ceilings.raise_now(Demand {
                least: word(number),
                target: word(number),
                ..demand(number.into(), 1)
            })
        };
        assert!((1..=slots).all(|number| raise(number).is_ok()));
        let before = twin.content();
        for number in slots + 1..slots + 50 {
            assert_eq!(raise(number), Err(Unraised::Full));
        }
        assert_eq!(twin.content().writes, before.writes);
        // What is there finds room again, and can still be raised.
        raise(1).unwrap();
        drop(ceilings);
        let (ceilings, trouble) = open(&twin, Worth::Lost);
        assert_eq!((ceilings.closed(), trouble), (None, None));
        let mut all = 1..=slots;
        assert!(all.all(|number| ceilings.covers(tag(number.into()), word(number))));
    }
}

#[test]
fn of_newcomers_that_wait_together_those_without_room_are_left_out() {
    let slots = table().slots();
    let (twin, ceilings) = new();
    for number in 0..slots - 1 {
        ceilings.raise_now(demand(number, 1)).unwrap();
    }
    let pen = lock(&ceilings.shared.pen);
    let has = |wanted: fn(&Desk) -> bool| {
        until("the desk", || wanted(&lock(&ceilings.shared.desk)));
    };
    let raised = std::thread::scope(|scope| {
        let raise = |number| {
            let ceilings = &ceilings;
            scope.spawn(move || ceilings.raise_now(demand(number, 2)))
        };
        let first = raise(0);
        has(|desk| desk.begun > 0 && desk.began.is_some());
        let waiting: Vec<_> = (slots..slots + 10).map(raise).collect();
        has(|desk| desk.demands.len() == 10);
        drop(pen);
        first.join().unwrap().unwrap();
        let raised = waiting.into_iter().map(|thread| thread.join().unwrap());
        raised.filter(Result::is_ok).count()
    });
    assert_eq!(raised, 1);
    drop(ceilings);
    let (ceilings, trouble) = open(&twin, Worth::Lost);
    assert_eq!((ceilings.closed(), trouble), (None, None));
}
