//! The table on the heap: finding, reusing, filling up.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn heap(shards: usize, lines: usize) -> Table {
    Table::new((0..shards).map(|_| Region::heap(lines)).collect())
}

/// A tag that is spread over the table as a hash would be.
fn tag(number: u64) -> Tag {
    Tag::from_bits(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn put(table: &Table, tag: Tag, now: Timestamp, word: Word) -> Update {
    table.update(tag, now, |_| Some(word))
}

#[test]
fn a_tag_keeps_its_word() {
    let table = heap(4, 64);
    for number in 0..500 {
        let word = Word::window(1000, u32::try_from(number).unwrap());
        assert_eq!(
            put(&table, tag(number), at(1), word),
            Update::Done {
                before: Word::ABSENT,
                after: word
            }
        );
    }
    for number in 0..500 {
        assert_eq!(
            table.read(tag(number)).count(),
            u32::try_from(number).unwrap()
        );
    }
    assert_eq!(table.read(tag(500)), Word::ABSENT);
}

#[test]
fn a_step_that_keeps_inserts_nothing() {
    let table = heap(1, 16);
    let update = table.update(tag(1), at(1), |word| {
        assert!(word.is_absent());
        None
    });
    assert_eq!(
        update,
        Update::Done {
            before: Word::ABSENT,
            after: Word::ABSENT
        }
    );
    table.amend(tag(1), |_| Word::window(9, 9));
    let mut seen = 0;
    table.for_each(|_, _| seen += 1);
    assert_eq!(seen, 0, "neither looking nor giving back makes a counter");
}

#[test]
fn live_counters_are_never_thrown_out_and_dead_ones_make_room() {
    let table = heap(1, 16);
    let word = |dies| Word::window(dies, 1);
    let mut placed = Vec::new();
    let mut number = 0;
    while placed.len() < 64 {
        number += 1;
        if put(&table, tag(number), at(1), word(100)) != Update::Full {
            placed.push(number);
        }
        assert!(
            number < 10_000,
            "so few lines are all in reach of each other"
        );
    }
    assert_eq!(put(&table, tag(20_000), at(99), word(300)), Update::Full);
    for number in &placed {
        assert_eq!(table.read(tag(*number)), word(100));
    }
    // At 100 they are all dead: a newcomer finds room, and takes nobody's place but a dead one's.
    assert_ne!(put(&table, tag(20_000), at(100), word(300)), Update::Full);
    let left = placed
        .iter()
        .filter(|number| table.read(tag(**number)) == word(100))
        .count();
    assert_eq!((left, table.read(tag(20_000))), (63, word(300)));
}

/// Of a counter that was reset only the table knows it, until that is written.
#[test]
fn a_dead_word_that_is_still_to_be_written_makes_room_last() {
    let table = heap(1, 1);
    let reset = Word::window(10, 3).dirty();
    put(&table, tag(0), at(5), reset);
    put(&table, tag(1), at(5), Word::window(10, 3));
    let has = |newcomer| {
        put(&table, tag(newcomer), at(20), Word::window(30, 1));
        [0, 1].map(|number| !table.read(tag(number)).is_absent())
    };
    assert_eq!(has(2), [true, false]);
    assert_eq!(has(3), [true, false]);
    assert_eq!(has(4), [true, false]);
    assert_eq!(has(5), [false, false], "nothing else was free");
}

#[test]
fn a_dead_word_that_is_still_to_be_written_moves_with_the_others() {
    let table = Table::growing(vec![(Region::heap(1), None)], 2);
    let words = [Word::window(10, 3).dirty(), Word::window(10, 3)];
    for (number, word) in (0..).zip(words) {
        put(&table, tag(number), at(5), word);
    }
    let mut carried = table.begin(0, Region::heap(2)).expect("it may grow");
    while !table.carry(&mut carried, at(20)) {}
    table.end(0);
    assert_eq!(
        [0, 1].map(|number| table.read(tag(number))),
        [words[0], Word::ABSENT]
    );
}

/// Newcomers who took the room of what is to move would be in its way for good.
#[test]
fn newcomers_leave_room_for_what_moves() {
    let table = Table::growing(vec![(Region::heap(64), None)], 1 << 20);
    let words = |numbers: std::ops::Range<u64>| {
        let word = |number| Word::window(1_000, u32::try_from(number).unwrap());
        numbers.map(move |number| (tag(number), word(number)))
    };
    for (tag, word) in words(0..200) {
        assert_ne!(put(&table, tag, at(1), word), Update::Full);
    }
    let mut carried = table.begin(0, Region::heap(128)).unwrap();
    let newcomers = words(200..1_000);
    let found_room =
        newcomers.take_while(|(tag, word)| put(&table, *tag, at(1), *word) != Update::Full);
    let number = 200 + found_room.count() as u64;
    // Three quarters of 512 slots.
    assert_eq!(number, 384);
    // Who is there already is not in anybody's way.
    assert_ne!(
        put(&table, tag(300), at(1), Word::window(1_000, 300)),
        Update::Full
    );
    while !table.carry(&mut carried, at(1)) {
        assert!(!carried.is_anew(), "something found no room");
    }
    table.end(0);
    for (tag, word) in words(0..number) {
        assert_eq!(table.read(tag), word);
    }
    assert_ne!(
        put(&table, tag(1_000), at(1), Word::window(1_000, 1)),
        Update::Full
    );
}

#[test]
fn what_has_moved_takes_no_more_room_than_its_slot() {
    let table = Table::growing(vec![(Region::heap(64), None)], 1 << 20);
    let word = Word::window(1_000, 1);
    (0..200).for_each(|number| assert_ne!(put(&table, tag(number), at(1), word), Update::Full));
    let mut carried = table.begin(0, Region::heap(128)).unwrap();
    assert!(table.carry(&mut carried, at(1)), "64 lines go at once");
    let full = (200..1_000).find(|number| put(&table, tag(*number), at(1), word) == Update::Full);
    assert_eq!(full, Some(384));
}

/// Who was told that a tag has no slot finds out when he inserts it; before a growth, while it goes
/// on, and after it.
#[test]
fn a_tag_with_a_slot_is_never_given_another() {
    let table = heap(1, 64);
    let tags: Vec<_> = (0..160).map(tag).collect();
    let word = Word::window(1000, 7);
    let check = |known: &[Tag]| {
        for tag in known {
            let again = table.put(*tag, at(1), Found::NOWHERE, Word::window(1000, 1));
            assert_eq!(again, Put::Raced, "{tag:?}");
            assert_eq!(table.read(*tag), word, "{tag:?}");
        }
    };
    let insert = |new: &[Tag]| {
        for tag in new {
            let put = table.put(*tag, at(1), Found::NOWHERE, word);
            assert_eq!(put, Put::Done, "{tag:?}");
        }
    };
    // So many that some have their slots in the second line.
    insert(&tags[..130]);
    check(&tags[..130]);
    let mut carried = table.begin(0, Region::heap(128)).unwrap();
    insert(&tags[130..]);
    check(&tags);
    while !table.carry(&mut carried, at(1)) {}
    check(&tags);
    table.end(0);
    check(&tags);
    table.retire(0).unwrap();
    check(&tags);
}

#[test]
fn a_killed_claim_is_finished_by_the_next() {
    for half in [false, true] {
        let table = heap(1, 16);
        put(&table, tag(1), at(1), Word::window(50, 7));
        // What a process leaves that is killed between the steps of a claim.
        let line = table.region(0).unwrap().lines();
        let slot = line
            .iter()
            .flat_map(|line| &line.slots)
            .find(|slot| slot.tag.load(crate::sync::Ordering::Acquire) == tag(1).bits());
        let slot = slot.unwrap();
        slot.word
            .store(Word::CLAIMED.bits(), crate::sync::Ordering::Release);
        if half {
            slot.tag
                .store(tag(2).bits(), crate::sync::Ordering::Release);
        }
        for number in [1, 2] {
            assert_eq!(table.read(tag(number)), Word::ABSENT);
            assert_ne!(
                put(&table, tag(number), at(1), Word::window(60, 1)),
                Update::Full
            );
            assert_eq!(table.read(tag(number)).count(), 1);
        }
    }
}

#[test]
fn ten_keys_or_many_fill_to_the_load_without_a_full() {
    let counters = 100_000;
    let lines = usize::try_from(lines_per_shard(counters, SHARDS)).unwrap();
    let table = heap(usize::try_from(SHARDS).unwrap(), lines);
    assert!(
        table.slots() * 16 <= counters * 26,
        "26 bytes a counter at most"
    );
    for number in 0..counters {
        assert_ne!(
            put(&table, tag(number), at(1), Word::window(100, 1)),
            Update::Full
        );
    }
}

proptest! {
    /// Against a map: random puts, reads and deaths.
    #[test]
    fn behaves_as_a_map_that_forgets_the_dead(
        steps in prop::collection::vec((0_u64..40, 0_u64..30, 1_u32..20), 1..300)
    ) {
        let table = heap(2, 32);
        let mut map: HashMap<u64, Word> = HashMap::new();
        let mut now = 1;
        for (number, pause, life) in steps {
            now += pause / 25;
            let seen = table.read(tag(number));
            let known = map.get(&number).copied().unwrap_or(Word::ABSENT);
            if known.is_live(at(now)) {
                prop_assert_eq!(seen, known);
            } else {
                prop_assert!(!seen.is_live(at(now)));
            }
            let word = Word::window(u32::try_from(now).unwrap() + life, life);
            prop_assert_ne!(put(&table, tag(number), at(now), word), Update::Full);
            map.insert(number, word);
        }
    }
}
