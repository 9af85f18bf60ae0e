//! Ceilings over a medium that fails, tears and is damaged.

mod outdated;
mod room;

use std::sync::Arc;
use std::time::Duration;

use super::desk::AGAIN;
use super::file::{self, Found};
use super::medium::{Content, Twin};
use super::*;
use crate::sync::lock;
use crate::table::Region;

const NOW: Timestamp = Timestamp::from_secs(1_000);
const ID: [u8; 16] = [3; 16];

impl Ceilings {
    /// For one who has just begun to wait.
    fn raise_now(&self, demand: Demand) -> Result<(), Unraised> {
        self.raise(demand, Patience::begin())
    }
}

fn table() -> Arc<Table> {
    Arc::new(Table::new(vec![Region::heap(64)]))
}

fn tag(number: u64) -> Tag {
    // Spread over the lines, as hashes are.
    Tag::from_bits((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & !3)
}

fn word(count: u32) -> Word {
    Word::window(2_000, count)
}

fn demand(number: u64, count: u32) -> Demand {
    Demand {
        from: Word::ABSENT,
        tag: tag(number),
        least: word(count),
        target: word(count),
        now: NOW,
        is_awaited: true,
    }
}

fn open(twin: &Twin, worth: Worth) -> (Ceilings, Option<String>) {
    open_beside(twin, worth, table())
}

fn open_beside(twin: &Twin, worth: Worth, counters: Arc<Table>) -> (Ceilings, Option<String>) {
    let tables = vec![counters];
    let counters = Counters { tables, worth };
    let medium = Box::new(twin.clone());
    match Ceilings::on(medium, ID, table(), counters, NOW) {
        Ok(opened) => opened,
        Err(Refusal::Io(error)) => panic!("{error}"),
        Err(Refusal::Version { found }) => panic!("version {found}"),
    }
}

fn lost() -> Counters {
    Counters {
        tables: Vec::new(),
        worth: Worth::Lost,
    }
}

fn new() -> (Twin, Ceilings) {
    let twin = Twin::new(Content::default());
    let (ceilings, trouble) = open(&twin, Worth::New);
    assert_eq!(trouble, None);
    (twin, ceilings)
}

/// What a power cut would leave, opened: counts by number.
fn after_cut(twin: &Twin, numbers: u64) -> Vec<u32> {
    let copy = Twin::new(Content {
        good_for: None,
        ..twin.content()
    });
    let (ceilings, trouble) = open(&copy, Worth::Lost);
    assert_eq!(trouble, None);
    let count = |number| ceilings.shared.table.read(tag(number)).count();
    (0..numbers).map(count).collect()
}

/// Waits for what must come; it never takes so long.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_was_raised_outlives_the_power() {
    let (twin, ceilings) = new();
    for round in 1..=3 {
        for number in 0..100 {
            ceilings.raise_now(demand(number, round * 10)).unwrap();
        }
    }
    assert_eq!(after_cut(&twin, 100), [30; 100]);
    assert!(ceilings.covers(tag(5), word(30)) && !ceilings.covers(tag(5), word(31)));
    // Over and over again on what the last life left.
    drop(ceilings);
    for round in 4..=6 {
        let (ceilings, trouble) = open(&twin, Worth::Lost);
        assert_eq!(trouble, None);
        ceilings.raise_now(demand(7, round * 10)).unwrap();
        ceilings.stop();
        assert_eq!(after_cut(&twin, 100)[7], round * 10);
        assert_eq!(after_cut(&twin, 100)[8], 30);
    }
}

#[test]
fn those_who_wait_together_share_one_write() {
    let (_twin, ceilings) = new();
    let ceilings = Arc::new(ceilings);
    // The pen is held, so that the first round hangs while all the others ask.
    let pen = lock(&ceilings.shared.pen);
    let has = |wanted: fn(&Desk) -> bool| {
        until("the desk", || wanted(&lock(&ceilings.shared.desk)));
    };
    std::thread::scope(|scope| {
        let raise = |number| {
            let ceilings = ceilings.clone();
            scope.spawn(move || ceilings.raise_now(demand(number, 1)).unwrap());
        };
        raise(0);
        has(|desk| desk.begun == 1);
        (1..=20).for_each(raise);
        has(|desk| desk.demands.len() == 20);
        drop(pen);
    });
    assert_eq!(ceilings.standing().writes, 2);
}

#[test]
fn a_failed_write_is_made_good_in_a_new_file_or_told() {
    let (twin, ceilings) = new();
    ceilings.raise_now(demand(0, 1)).unwrap();
    for torn_at in [0, 100, 512, 700, 1024] {
        // One failure: another file takes the place of the one that cannot be believed.
        let count = ceilings.shared.table.read(tag(0)).count() + 1;
        {
            let mut content = lock(&twin.0);
            content.good_for = Some(0);
            content.torn_at = torn_at;
        }
        let refused = ceilings.raise_now(demand(0, count));
        assert_eq!(refused, Err(Unraised::Unwritable));
        assert!(
            !ceilings.covers(tag(0), word(count)),
            "nothing was promised"
        );
        assert!(ceilings.standing().failing.is_some());
        // At once nobody waits for a disk that has just failed.
        assert_eq!(
            ceilings.raise_now(demand(0, count)),
            Err(Unraised::Unwritable)
        );
        lock(&twin.0).good_for = None;
        std::thread::sleep(AGAIN);
        until("well again", || {
            ceilings.raise_now(demand(0, count)).is_ok()
        });
        assert_eq!(after_cut(&twin, 1), [count]);
        assert!(ceilings.standing().failing.is_none());
    }
}

#[test]
fn that_the_disk_is_well_again_is_noticed_by_nobody_asking() {
    let (twin, ceilings) = new();
    ceilings.raise_now(demand(0, 1)).unwrap();
    lock(&twin.0).good_for = Some(0);
    assert_eq!(ceilings.raise_now(demand(0, 2)), Err(Unraised::Unwritable));
    lock(&twin.0).good_for = None;
    until("noticed", || ceilings.standing().failing.is_none());
}

#[test]
fn a_disk_that_hangs_is_not_waited_for_for_ever() {
    let (_twin, ceilings) = new();
    let pen = lock(&ceilings.shared.pen);
    assert_eq!(ceilings.raise_now(demand(0, 1)), Err(Unraised::Unwritable));
    // The round that hangs has been under way for longer than anybody waits.
    let before = Instant::now();
    assert_eq!(ceilings.raise_now(demand(0, 1)), Err(Unraised::Unwritable));
    assert!(before.elapsed() < PATIENCE);
    drop(pen);
    until("well again", || ceilings.raise_now(demand(0, 1)).is_ok());
}

#[test]
fn asked_ahead_it_comes_without_anybody_waiting() {
    let (twin, ceilings) = new();
    ceilings.raise_now(demand(0, 1)).unwrap();
    ceilings.ask(demand(0, 9));
    until("asked for", || ceilings.covers(tag(0), word(9)));
    assert_eq!(after_cut(&twin, 1), [9]);
    // Nobody has asked for this one before, so nothing is known of it.
    ceilings.ask(demand(1, 9));
    assert!(!ceilings.covers(tag(1), word(1)));
}

#[test]
fn who_asked_ahead_in_vain_may_ask_again() {
    let (_twin, ceilings) = new();
    ceilings.raise_now(demand(0, 1)).unwrap();
    let desk = lock(&ceilings.shared.desk);
    ceilings.ask(demand(0, 9));
    drop(desk);
    assert!(
        !ceilings.covers(tag(0), word(9)),
        "nobody waits for the desk"
    );
    // There is one as late as that already.
    ceilings.ask(demand(0, 1));
    ceilings.ask(demand(0, 9));
    until("asked for", || ceilings.covers(tag(0), word(9)));
}

/// Every place at which a file of several appends can be cut, as a crash leaves it: what was
/// acknowledged is there, and nothing is called damaged.
#[test]
fn an_append_torn_anywhere_costs_nothing_acknowledged() {
    let (twin, ceilings) = new();
    for number in 0..40 {
        ceilings.raise_now(demand(number, 1)).unwrap();
    }
    let acknowledged = twin.content();
    // The next append is of several blocks.
    let records: Vec<_> = (0..100).map(|number| (tag(number), word(2))).collect();
    let Ok(Found::Whole { sheet, .. }) = file::read(&mut twin.clone(), ID, &mut |_, _| {}) else {
        panic!()
    };
    let bytes = sheet.more(&records);
    assert_eq!(bytes.len(), 4 * 1024);
    let end = usize::try_from(sheet.end()).unwrap();
    let mut cuts = 0;
    // Any of its eight sectors may have been written, or not.
    for kept in 0_u32..1 << 8 {
        let mut content = acknowledged.clone();
        let durable = content.durable.as_mut().unwrap();
        for sector in (0..8).filter(|sector| kept >> sector & 1 == 1) {
            let at = sector * 512;
            durable[end + at..end + at + 512].copy_from_slice(&bytes[at..at + 512]);
        }
        let counts = after_cut(&Twin::new(content), 40);
        assert!(
            counts.iter().all(|count| *count >= 1),
            "{kept:#b}: {counts:?}"
        );
        cuts += 1;
    }
    // And a sector may be torn itself.
    for at in 0..bytes.len() {
        let mut content = acknowledged.clone();
        let durable = content.durable.as_mut().unwrap();
        durable[end..end + at].copy_from_slice(&bytes[..at]);
        assert!(
            after_cut(&Twin::new(content), 40)
                .iter()
                .all(|count| *count >= 1)
        );
        cuts += 1;
    }
    assert_eq!(cuts, 256 + 4096);
}

/// A file with two appends after its first block, as bytes.
fn file_of_three_blocks() -> Vec<u8> {
    let (twin, ceilings) = new();
    ceilings.raise_now(demand(0, 5)).unwrap();
    ceilings.raise_now(demand(1, 6)).unwrap();
    ceilings.stop();
    twin.content().durable.unwrap()
}

#[test]
fn no_single_damaged_place_is_even_noticed() {
    let whole = file_of_three_blocks();
    for at in 0..3 * 1024 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        let twin = Twin::new(Content {
            durable: Some(bytes),
            ..Content::default()
        });
        assert_eq!(after_cut(&twin, 2), [5, 6], "byte {at}");
    }
}

#[test]
fn a_block_damaged_twice_or_a_file_cut_short_closes_what_is_not_known() {
    let whole = file_of_three_blocks();
    let damaged = |bytes: Vec<u8>, what: &str| {
        let twin = Twin::new(Content {
            durable: Some(bytes),
            ..Content::default()
        });
        let (ceilings, trouble) = open(&twin, Worth::Lost);
        assert!(trouble.is_some(), "{what}");
        assert_eq!(ceilings.closed(), Some(NOW), "{what}");
        drop(ceilings);
        // It is so in the next life, too.
        let (ceilings, trouble) = open(&twin, Worth::Kept);
        assert_eq!((ceilings.closed(), trouble), (Some(NOW), None), "{what}");
    };
    // The last one, too: no cut leaves something in both copies of a block and neither whole.
    for block in 0..3 {
        let mut bytes = whole.clone();
        bytes[block * 1024 + 9] ^= 1;
        bytes[block * 1024 + 512 + 9] ^= 1;
        damaged(bytes, &format!("block {block}"));
    }
    for length in [
        0,
        1,
        511,
        1023,
        1024,
        1025,
        2048,
        3000,
        3072,
        4096,
        whole.len() - 1,
    ] {
        damaged(whole[..length].to_vec(), &format!("{length} bytes"));
    }
    damaged(vec![0; whole.len()], "zeros");
    damaged(vec![0xa5; whole.len()], "garbage");
    let missing = Twin::new(Content::default());
    let (ceilings, trouble) = open(&missing, Worth::Lost);
    assert!(trouble.is_some() && ceilings.closed() == Some(NOW));
}

#[test]
fn damage_beside_counters_that_are_true_closes_nothing() {
    let counters = table();
    counters.update(tag(0), NOW, |_| Some(word(4).dirty()));
    let missing = Twin::new(Content::default());
    let (ceilings, trouble) = open_beside(&missing, Worth::Kept, counters);
    assert!(trouble.is_some());
    assert_eq!(ceilings.closed(), None);
    drop(ceilings);
    assert_eq!(after_cut(&missing, 1), [4]);
}

#[test]
fn another_directorys_file_is_not_believed_and_a_newer_one_is_left_alone() {
    let whole = file_of_three_blocks();
    let twin = Twin::new(Content {
        durable: Some(whole.clone()),
        ..Content::default()
    });
    let other = Ceilings::on(Box::new(twin), [4; 16], table(), lost(), NOW);
    let (ceilings, trouble) = other.unwrap_or_else(|_| panic!());
    assert!(trouble.unwrap().contains("another limiter's"));
    assert_eq!(ceilings.living(NOW), []);
    let mut newer = whole;
    newer[8] += 1;
    for copy in [0, 512] {
        newer.copy_within(0..512, copy);
        crate::codec::seal(&mut newer[copy..copy + 512]);
    }
    let twin = Twin::new(Content {
        durable: Some(newer.clone()),
        ..Content::default()
    });
    let refused = Ceilings::on(Box::new(twin.clone()), ID, table(), lost(), NOW);
    assert!(matches!(refused, Err(Refusal::Version { found: 2 })));
    assert_eq!(twin.content().durable, Some(newer));
}

#[test]
fn the_file_does_not_grow_without_bound() {
    let (twin, ceilings) = new();
    let mut longest = 0;
    for round in 1..=20_000 {
        ceilings
            .raise_now(demand(round % 50, u32::try_from(round).unwrap()))
            .unwrap();
        longest = longest.max(ceilings.standing().bytes);
    }
    // Twenty thousand blocks would be five times as long.
    assert!((3 << 20..=4 << 20).contains(&longest), "{longest}");
    let counts = after_cut(&twin, 50);
    assert!(counts.iter().all(|count| *count > 19_900), "{counts:?}");
}

#[test]
fn a_ceiling_comes_down_only_as_far_as_nothing_counts_above() {
    let twin = Twin::new(Content::default());
    let counters = table();
    counters.update(tag(0), NOW, |_| Some(word(5)));
    let (ceilings, _) = open_beside(&twin, Worth::New, counters);
    ceilings.raise_now(demand(0, 20)).unwrap();
    ceilings.lower(tag(0), word(4));
    ceilings.raise_now(demand(1, 1)).unwrap();
    assert!(ceilings.covers(tag(0), word(5)), "five are counted");
    assert!(!ceilings.covers(tag(0), word(6)));
    assert_eq!(after_cut(&twin, 1), [5]);
    ceilings.raise_now(demand(0, 20)).unwrap();
    ceilings.lower(tag(0), word(8));
    ceilings.raise_now(demand(2, 1)).unwrap();
    assert!(!ceilings.covers(tag(0), word(9)));
    assert_eq!(after_cut(&twin, 1), [8]);
    // Down and up in one round: up is what counts.
    let pen = lock(&ceilings.shared.pen);
    std::thread::scope(|scope| {
        let raise = |number, count| {
            let ceilings = &ceilings;
            scope.spawn(move || ceilings.raise_now(demand(number, count)).unwrap());
        };
        raise(3, 1);
        until("a round", || lock(&ceilings.shared.desk).began.is_some());
        ceilings.lower(tag(0), word(6));
        raise(0, 30);
        until("asked", || !lock(&ceilings.shared.desk).demands.is_empty());
        drop(pen);
    });
    assert!(ceilings.covers(tag(0), word(30)));
    assert_eq!(after_cut(&twin, 1), [30]);
}

#[test]
fn what_is_given_back_while_another_waits_is_no_refusal() {
    let twin = Twin::new(Content::default());
    let (ceilings, _) = open_beside(&twin, Worth::New, table());
    ceilings.raise_now(demand(0, 30)).unwrap();
    let pen = lock(&ceilings.shared.pen);
    let has = |wanted: fn(&Desk) -> bool| {
        until("the desk", || wanted(&lock(&ceilings.shared.desk)));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| ceilings.raise_now(demand(3, 1)).unwrap());
        has(|desk| desk.began.is_some());
        // In one round: somebody asks ahead, the ceiling is to come down, and another waits for
        // what was within it before.
        ceilings.ask(demand(0, 40));
        ceilings.lower(tag(0), word(6));
        scope.spawn(|| ceilings.raise_now(demand(0, 10)).unwrap());
        has(|desk| desk.demands.iter().any(|demand| demand.is_awaited));
        drop(pen);
    });
    assert_eq!(ceilings.shared.table.read(tag(0)).clean(), word(10));
    assert_eq!(after_cut(&twin, 1), [10]);
}
