//! The writer over a table on the heap and a journal in memory, killed at every step.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use super::round::{Keeping, position};
use super::{OpenJournal, Source, Writer};
use crate::algorithm::Word;
use crate::clock::{Clock, ManualClock};
use crate::inbox::Inbox;
use crate::journal::{Disk, Fault, Generations, Growth};
use crate::key::Tag;
use crate::sync::Arc;
use crate::table::{InFlight, Region, Table, Update};
use crate::time::Timestamp;

const INSTANCE: [u8; 16] = *b"a limiter's own!";
const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const DIES: u32 = 2_000_000;

/// A table, an inbox and a journal's disk: all that outlives a process, and the inbox.
struct World {
    source: Source,
    disk: Disk,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(64, 3)
    }

    /// A world with so many lines in its table, and so many for words in flight.
    fn with(lines: usize, in_flight: usize) -> Self {
        let source = Source {
            clock: Clock::Manual(ManualClock::new(NOW)),
            table: Arc::new(Table::new(vec![Region::heap(lines)])),
            shared: Arc::new(Table::new(vec![Region::heap(64)])),
            inbox: Arc::new(Inbox::new(8)),
            in_flight: Arc::new(InFlight::new(Region::heap(in_flight))),
        };
        Self {
            source,
            disk: Disk::default(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// What starts when a process does: an empty inbox that asks for a sweep, and a writer.
    fn start(&mut self) -> Keeping {
        self.source.inbox = Arc::new(Inbox::new(8));
        self.source.inbox.ask_for_sweep();
        Keeping::new(self.opener())
    }

    fn opener(&self) -> OpenJournal {
        let (path, disk) = (self.folder.path().join("journal"), self.disk.clone());
        let in_flight = self.source.in_flight.clone();
        Box::new(move || {
            let journal = open(&path, &disk);
            let is_known = in_flight.position() == Some(position(&journal));
            let is_whole = is_known && journal.is_whole();
            Ok((journal, is_whole))
        })
    }

    /// Counts one more for each of these keys, and tells of it.
    fn take(&self, keys: std::ops::Range<u64>) {
        for tag in keys.map(tag) {
            let update = self.source.table.update(tag, NOW, |word| {
                Some(Word::window(DIES, word.count() + 1).dirty())
            });
            let Update::Done { before, .. } = update else {
                panic!("{update:?}")
            };
            if !before.is_dirty() {
                self.source.inbox.mark(tag);
            }
        }
    }

    /// What the table holds.
    fn counted(&self) -> HashMap<Tag, u32> {
        let mut counted = HashMap::new();
        self.source.table.for_each(|tag, word| {
            counted.insert(tag, word.count());
        });
        counted
    }

    /// What the journal holds, read by itself.
    fn written(&self) -> HashMap<Tag, u32> {
        let mut journal = open(&self.folder.path().join("journal"), &self.disk);
        let mut written = HashMap::new();
        let see = &mut |tag, word: Word| {
            written.insert(tag, word.count());
        };
        journal.scan(see).unwrap();
        written
    }
}

fn open(path: &Path, disk: &Disk) -> Generations {
    // So small that a journal of a dozen words is renewed.
    let growth = Growth {
        floor_bytes: 400,
        word_bytes: 1,
    };
    Generations::with(path, INSTANCE, growth, disk.opener())
        .unwrap()
        .0
}

fn tag(key: u64) -> Tag {
    Tag::from_bits((key + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// A life of three rounds, each with changes of its own.
fn live(world: &World, keeping: &mut Keeping) {
    for round in 0..3 {
        world.take(0..4 + 4 * round);
        keeping.round(&world.source).unwrap();
    }
}

/// Killed at any step of the journal, and started again on the same table: after one round the
/// journal holds every word, though none was changed since.
#[test]
fn a_kill_at_any_step_leaves_no_word_that_only_looks_written() {
    let mut kills = 0;
    for step in 0..1_000 {
        let mut world = World::new();
        let mut keeping = world.start();
        world.disk.plan(Some(Fault::Kill(step)));
        let life = catch_unwind(AssertUnwindSafe(|| live(&world, &mut keeping)));
        drop(keeping);
        world.disk.power_on(|_| true);
        let mut keeping = world.start();
        keeping.round(&world.source).unwrap();
        assert_eq!(world.written(), world.counted(), "killed at step {step}");
        assert_eq!(world.source.in_flight.tags(), []);
        if life.is_ok() {
            break;
        }
        kills += 1;
    }
    assert!((40..1_000).contains(&kills), "{kills} steps");
}

/// What the health tells of the writing, with a disk that fails and comes back.
#[test]
fn the_figures_tell_of_a_failing_disk_and_of_its_end() {
    let mut world = World::new();
    world.start();
    let open = world.opener();
    let writer = Writer::start(world.source.clone(), open, Duration::from_millis(1)).unwrap();
    writer.flush().unwrap();
    let writing = writer.writing();
    assert_eq!(
        (writing.backlog, writing.written, writing.bytes_written),
        (0, 0, 0)
    );
    assert!(writing.oldest_unwritten.is_none() && writing.last_trouble.is_none());

    world.take(0..4);
    writer.flush().unwrap();
    let writing = writer.writing();
    assert_eq!((writing.backlog, writing.written), (0, 4));
    assert!(writing.bytes_written >= 4 * 16, "{writing:?}");

    world.disk.plan(Some(Fault::From(0)));
    let failing_since = Instant::now();
    // More than the queue holds, so that some are not in it.
    world.take(0..20);
    let why = writer.flush().unwrap_err();
    let waited = failing_since.elapsed();
    let writing = writer.writing();
    assert_eq!(writing.backlog, 20);
    assert!(writing.oldest_unwritten.unwrap() >= waited);
    assert!(writing.durable_at <= failing_since);
    let trouble = writing.trouble.unwrap();
    assert!(trouble.since >= failing_since);
    assert!(why.contains("planned to fail") && trouble.why.contains("planned to fail"));
    // Later failures do not move the beginning.
    writer.flush().unwrap_err();
    assert_eq!(writer.writing().trouble.unwrap().since, trouble.since);

    world.disk.plan(None);
    while writer.flush().is_err() {}
    let writing = writer.writing();
    assert!(writing.trouble.is_none() && writing.oldest_unwritten.is_none());
    assert_eq!(writing.last_trouble.unwrap().since, trouble.since);
    assert_eq!(writing.backlog, 0);
    assert!(writing.durable_at > failing_since);
    assert!(writing.bytes_written >= 20 * 16 && writing.journal_bytes >= 20 * 16);
    writer.stop().unwrap();
    assert_eq!(world.written(), world.counted());
}

/// After a failed write the store's files may read well and not be on the disk. Killed before the
/// next generation counts, the process leaves word of that, and the next one carries everything.
#[test]
fn a_journal_that_failed_is_made_anew_by_the_next_process() {
    let mut world = World::new();
    let mut keeping = world.start();
    world.take(0..4);
    for _ in 0..3 {
        keeping.round(&world.source).unwrap();
    }
    let before = world.source.in_flight.position().unwrap();
    world.disk.plan(Some(Fault::From(world.disk.steps())));
    world.take(0..1);
    keeping.round(&world.source).unwrap_err();
    assert_eq!(world.source.in_flight.position(), None);
    drop(keeping);
    world.disk.plan(None);
    let mut keeping = world.start();
    for _ in 0..3 {
        keeping.round(&world.source).unwrap();
    }
    let after = world.source.in_flight.position().unwrap();
    assert!(
        after.generation > before.generation,
        "{before:?}, then {after:?}"
    );
    assert_eq!(world.written(), world.counted());
}

/// Figures on this machine's disk: a hundred thousand words, a thousand in flight and as many as
/// there are in use. Run with `--ignored --nocapture`.
#[test]
#[ignore = "measures; takes seconds"]
fn rounds() {
    const WORDS: u64 = 100_000;
    for in_flight in [1_000, 16_000, 1_000, 16_000] {
        let mut world = World::with(60_000, 1 + in_flight / 8);
        world.source.inbox = Arc::new(Inbox::new(1 << 17));
        let path = world.folder.path().join("journal");
        let mut keeping = Keeping::new(Box::new(move || {
            let (journal, _) = Generations::open(&path, INSTANCE)?;
            Ok((journal, true))
        }));
        keeping.round(&world.source).unwrap();
        for _ in 0..3 {
            world.take(0..WORDS);
            let started = Instant::now();
            assert_eq!(keeping.round(&world.source).unwrap(), WORDS);
            println!("{in_flight:6} in flight: {:?}", started.elapsed());
        }
    }
}
