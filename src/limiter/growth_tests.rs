//! Growth step by step: what a kill between two steps leaves, what is believed of it, and what
//! happens when there is no room.

use std::fs;
use std::path::{Path, PathBuf};

use super::grower::{Grower, Source};
use super::mapping::{Mapping, Wanted};
use super::store::{Opened, Store};
use crate::algorithm::Word;
use crate::directory::DirectoryError;
use crate::error::Error;
use crate::key::Tag;
use crate::sync::{Arc, Mutex, lock};
use crate::table::{Region, Update};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(100);
/// So many fill the smallest table to six tenths and more.
const WORDS: u64 = 2_800;

fn tag(number: u64) -> Tag {
    Tag::from_bits((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn word(number: u64) -> Option<Word> {
    Some(Word::window(200, u32::try_from(number).unwrap()))
}

fn wanted() -> Wanted {
    Wanted::new(Mapping::DataDirectory).growing(1 << 20)
}

struct Bench(tempfile::TempDir);

impl Bench {
    /// A directory whose first shards are growing; some of the words have moved.
    fn half_grown() -> Self {
        let bench = Self(crate::directory::scratch());
        let mut store = bench.open();
        store.begin(Timestamp::EPOCH).unwrap();
        for number in 0..WORDS {
            let update = store.table.update(tag(number), NOW, |_| word(number));
            assert_ne!(update, Update::Full);
        }
        let mut grower = store.grower(&wanted());
        let growing = |store: &Store| store.table.growing_shards().len();
        while growing(&store) < 8 {
            assert!(grower.step(NOW, true));
        }
        bench
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn open(&self) -> Store {
        Store::open(&self.data(), std::time::Duration::ZERO, 1, &wanted()).unwrap()
    }

    fn next(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.data().join("table")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let mut next: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
        next.sort();
        next
    }

    /// Why the table is not believed.
    fn why(&self) -> String {
        match self.open().opened {
            Opened::SetAside { why, .. } => why,
            opened => panic!("{opened}"),
        }
    }
}

fn all_there(store: &Store) {
    for number in 0..WORDS {
        assert_eq!(
            Some(store.table.read(tag(number))),
            word(number),
            "{number}"
        );
    }
    let mut seen = 0;
    store.table.for_each(|_, _| seen += 1);
    assert_eq!(seen, WORDS);
}

#[test]
fn a_kill_between_any_two_steps_leaves_every_word() {
    let bench = Bench::half_grown();
    let first = bench.next();
    assert!(first.len() >= 8);
    let mut opened = 0;
    loop {
        // Each life makes one step, and is killed.
        let store = bench.open();
        assert_eq!(store.opened, Opened::Kept);
        all_there(&store);
        let mut grower = store.grower(&wanted());
        let has_stepped = grower.step(NOW, true);
        all_there(&store);
        if !has_stepped {
            break;
        }
        opened += 1;
    }
    println!("{opened} lives");
    assert!(opened > 16, "{opened} lives");
    assert_eq!(bench.next(), Vec::<PathBuf>::new());
    let store = bench.open();
    assert!(store.table.growing_shards().is_empty() && store.table.slots() > 3 * WORDS);
}

#[test]
fn a_table_that_is_growing_is_moved_whole() {
    let bench = Bench::half_grown();
    let place = bench.0.path().join("place");
    fs::create_dir(&place).unwrap();
    let wanted = Wanted::new(Mapping::Under(place)).growing(1 << 20);
    let mut store = Store::open(&bench.data(), std::time::Duration::ZERO, 1, &wanted).unwrap();
    store.begin(Timestamp::EPOCH).unwrap();
    all_there(&store);
    assert!(store.placement.moved_from.is_some());
    assert!(store.table.growing_shards().is_empty());
}

/// What is done to the files that shards are growing into.
type Change<'a> = &'a dyn Fn(&[PathBuf]);

#[test]
fn half_of_a_growing_shard_is_not_believed() {
    let private = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let gone = |next: &[PathBuf]| fs::remove_file(&next[0]).unwrap();
    let flipped = |next: &[PathBuf]| flip(&next[0], 40);
    let swapped = |next: &[PathBuf]| {
        let aside = next[0].with_extension("aside");
        fs::rename(&next[0], &aside).unwrap();
        fs::rename(&next[1], &next[0]).unwrap();
        fs::rename(&aside, &next[1]).unwrap();
    };
    let copied = |next: &[PathBuf]| {
        let copy = next[0].with_extension("copy");
        fs::write(&copy, fs::read(&next[0]).unwrap()).unwrap();
        private(&copy);
        fs::rename(copy, &next[0]).unwrap();
    };
    let stamped = |next: &[PathBuf]| flip(&next[0], 64);
    let cases: [(&str, Change<'_>); 5] = [
        ("No such file", &gone),
        ("does not match its checksum", &flipped),
        ("belongs to another directory, place or size", &swapped),
        ("other files", &copied),
        ("another time's table", &stamped),
    ];
    for (why, change) in cases {
        let bench = Bench::half_grown();
        change(&bench.next());
        let said = bench.why();
        assert!(said.contains(why), "{said} instead of {why}");
    }
}

fn flip(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    let (file, mut byte) = (file.unwrap(), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn what_was_made_and_not_begun_is_removed() {
    let bench = Bench(crate::directory::scratch());
    let mut store = bench.open();
    store.begin(Timestamp::EPOCH).unwrap();
    drop(store);
    for name in ["03.next", "05.making"] {
        fs::write(bench.data().join("table").join(name), "half").unwrap();
    }
    assert_eq!(bench.open().opened, Opened::Kept);
    assert_eq!(bench.next(), Vec::<PathBuf>::new());
}

#[test]
fn what_stands_in_the_place_of_a_folder_that_was_moved_is_left_alone() {
    let bench = Bench::half_grown();
    let store = bench.open();
    let mut grower = store.grower(&wanted());
    let table = bench.data().join("table");
    fs::rename(&table, bench.data().join("moved")).unwrap();
    fs::create_dir(&table).unwrap();
    fs::write(table.join("00"), "another's").unwrap();
    while grower.step(NOW, true) {}
    let told = grower.told();
    assert!(lock(&told).trouble.is_some(), "{told:?}");
    let left = fs::read_dir(&table).unwrap().count();
    assert_eq!(
        (left, fs::read(table.join("00")).unwrap()),
        (1, b"another's".to_vec())
    );
    all_there(&store);
}

/// KiB of a mapped file, and how many of them are at hand.
fn at_hand(path: &Path) -> (u64, u64) {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let path = path.canonicalize().unwrap();
    let mut lines = maps
        .lines()
        .skip_while(|line| !line.ends_with(path.to_str().unwrap()));
    let mut figure = |name| {
        let line = lines.find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (figure("Size:"), figure("Rss:"))
}

#[test]
fn what_a_shard_grows_into_is_at_hand_before_it_is_shown() {
    let bench = Bench(crate::directory::scratch());
    let mut store = bench.open();
    store.begin(Timestamp::EPOCH).unwrap();
    let mut grower = store.grower(&wanted());
    let made = (0..WORDS).find_map(|number| {
        store.table.update(tag(number), NOW, |_| word(number));
        grower.step(NOW, false);
        bench.next().pop()
    });
    // None of its words has moved: nobody but the grower can have asked for the pages.
    let (size, resident) = at_hand(&made.unwrap());
    assert!(size >= 32 && resident == size, "{resident} of {size} KiB");
}

/// A source that has no room as long as it is told so.
struct Full(Arc<Mutex<bool>>);

impl Source for Full {
    fn make(&mut self, _: usize, lines: u64, _: &Region) -> Result<Region, Error> {
        if *lock(&self.0) {
            let (path, why) = ("here".into(), "no room".into());
            return Err(DirectoryError::NoPlace { path, why }.into());
        }
        Ok(Region::heap(usize::try_from(lines).unwrap()))
    }

    fn place(&mut self, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn without_room_it_says_so_and_tries_again_with_patience() {
    let table = || (Region::heap(64), None);
    let table = crate::table::Table::growing(vec![table(), table()], 1 << 20);
    let table = Arc::new(table);
    let is_full = Arc::new(Mutex::new(true));
    let mut grower = Grower::new(table.clone(), Box::new(Full(is_full.clone())));
    let told = grower.told();
    let put = |grower: &mut Grower, number| grower.update(tag(number), NOW, |_| word(number));
    // As full as it gets; nobody waits for room that does not come.
    let placed: Vec<_> = (0..2_000)
        .filter(|number| put(&mut grower, *number) != Update::Full)
        .collect();
    assert!((300..=512).contains(&placed.len()), "{}", placed.len());
    let trouble = lock(&told).trouble.clone().expect("it says so");
    assert!(trouble.why.contains("no room"), "{}", trouble.why);
    *lock(&is_full) = false;
    // Not at once: what has just failed fails again.
    assert!(!grower.step(NOW, true));
    grower.retry_now();
    while grower.step(NOW, true) {}
    assert!(lock(&told).trouble.is_none() && lock(&told).grown >= 2);
    for number in placed {
        assert_eq!(Some(table.read(tag(number))), word(number));
    }
    assert_ne!(put(&mut grower, 5_000), Update::Full);
}

#[test]
fn where_somebody_waits_for_words_to_move_they_go_before_other_files() {
    let table = || (Region::heap(64), None);
    let table = Arc::new(crate::table::Table::growing(
        vec![table(), table()],
        1 << 20,
    ));
    let mut grower = Grower::new(table.clone(), Box::new(Full(Arc::default())));
    let told = grower.told();
    // The topmost bit is the shard.
    let put = |shard: u64, number| {
        let tag = Tag::from_bits(tag(number).bits() >> 1 | shard << 63);
        table.update(tag, NOW, |_| word(number))
    };
    // Six tenths of 256 slots.
    (0..160).for_each(|number| assert_ne!(put(0, number), Update::Full));
    assert!(grower.step(NOW, false));
    let newcomers = (160..5_000).position(|number| put(0, number) == Update::Full);
    assert!(
        newcomers.is_some_and(|number| number > 1_000),
        "{newcomers:?}"
    );
    (0..160).for_each(|number| assert_ne!(put(1, number), Update::Full));
    while lock(&told).grown == 0 {
        assert_eq!(lock(&told).growing, 1, "the other shard's file can wait");
        assert!(grower.step(NOW, false));
    }
    while grower.step(NOW, false) {}
    assert!(lock(&told).grown >= 3 && lock(&told).growing == 0);
    assert_ne!(put(0, 5_000), Update::Full);
}
