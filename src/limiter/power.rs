//! The power goes before every single step of a limiter at work: the real checks, writer, journal
//! and ceilings, over a disk that keeps only what was flushed; after it the table is garbage.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::media::Media;
use super::{Limiter, Opened, Outcome, Verdict};
use crate::ceiling::{Medium, read_from};
use crate::clock::ManualClock;
use crate::directory::{Mark, Marks, Place, State};
use crate::error::Error;
use crate::journal::{Disk, Fault, Generations, Growth};
use crate::policy::{Policy, Request};
use crate::sync::{Arc, Mutex, lock};
use crate::time::Timestamp;

const USERS: [&str; 2] = ["alice", "bob"];
/// Limits that lose what was not flushed, and no more.
const LOGGED: [&str; 3] = ["window", "sliding", "bucket"];
/// What the strict limit admits in all lives, and what it reserves.
const STRICT: u64 = 12;
const RESERVE: u64 = 4;
/// Rounds of checks in a life.
const ROUNDS: u64 = 4;

const POLICY: &str = r#"
    [limits.window]
    rate = "100/day"
    algorithm = "fixed window"
    key = "user"

    [limits.sliding]
    rate = "100/day"
    algorithm = "sliding window"
    key = "user"

    [limits.bucket]
    rate = "100/day"
    key = "user"

    [limits.memory]
    rate = "100/day"
    durability = "memory"
    key = "user"

    [limits.strict]
    rate = "12/day"
    algorithm = "fixed window"
    durability = "strict"
    reserve = 4
    key = "account"
    when_key_missing = "skip"
"#;

/// What a write in flight leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Survival {
    Nothing,
    All,
    /// The first of it.
    Half,
    /// Every other part of it.
    Holes,
}

const SURVIVALS: [Survival; 4] = [
    Survival::Nothing,
    Survival::All,
    Survival::Half,
    Survival::Holes,
];

/// The file of ceilings, on the same disk as the journal.
#[derive(Clone, Default)]
struct Sheet {
    disk: Disk,
    content: Arc<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    durable: Option<Vec<u8>>,
    /// What was written and not flushed: where, or in the place of everything.
    pending: Option<(Option<u64>, Vec<u8>)>,
}

impl Content {
    fn settle(&mut self, survival: Survival) {
        let Some((offset, bytes)) = self.pending.take() else {
            return;
        };
        let Some(offset) = offset else {
            // A file that was given its name has it, or has not.
            if survival != Survival::Nothing {
                self.durable = Some(bytes);
            }
            return;
        };
        let durable = self.durable.get_or_insert_default();
        let from = usize::try_from(offset).unwrap();
        durable.resize(durable.len().max(from + bytes.len()), 0);
        for (place, sector) in bytes.chunks(512).enumerate() {
            let survives = match survival {
                Survival::Nothing => false,
                Survival::All => true,
                Survival::Half => place * 1024 < bytes.len(),
                Survival::Holes => place % 2 == 1,
            };
            if survives {
                let from = from + 512 * place;
                durable[from..from + sector.len()].copy_from_slice(sector);
            }
        }
    }
}

impl Sheet {
    fn write(&self, offset: Option<u64>, bytes: &[u8]) -> io::Result<()> {
        self.disk.pass()?;
        lock(&self.content).pending = Some((offset, bytes.to_vec()));
        self.disk.pass()?;
        lock(&self.content).settle(Survival::All);
        // The power may go when all is on the disk, and before anybody is told.
        self.disk.pass()
    }
}

impl Medium for Sheet {
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        let content = lock(&self.content);
        Ok(read_from(content.durable.as_deref(), offset, bytes))
    }

    fn append(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(Some(offset), bytes)
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(None, bytes)
    }

    fn keep_aside(&mut self) -> io::Result<PathBuf> {
        panic!("what a power cut leaves is never damaged");
    }
}

/// A machine whose power can be cut.
struct Machine {
    folder: tempfile::TempDir,
    disk: Disk,
    sheet: Sheet,
    boots: u8,
}

/// What is known of a life, whatever becomes of the machine.
#[derive(Clone, Copy, Default, Debug)]
struct Known {
    /// Takes of each user that were asked for, that were admitted, and that were flushed.
    begun: u64,
    done: u64,
    flushed: u64,
    /// The strict limit: how often it was asked, and how often it admitted.
    asked: u64,
    strict: u64,
}

impl Machine {
    fn new() -> Self {
        let disk = Disk::default();
        let sheet = Sheet {
            disk: disk.clone(),
            ..Sheet::default()
        };
        Self {
            folder: crate::directory::scratch(),
            disk,
            sheet,
            boots: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn open(&self) -> Result<Limiter, Error> {
        let (disk, sheet) = (self.disk.clone(), self.sheet.clone());
        // Renewed as soon as it may be, so that the cuts fall into a renewal as well.
        let growth = Growth {
            floor_bytes: 0,
            word_bytes: 0,
        };
        let media = Media {
            journal: Box::new(move |path, instance| {
                Generations::with(path, instance, growth, disk.opener())
            }),
            ceilings: Box::new(move |_| Box::new(sheet)),
        };
        let noon = Timestamp::from_secs(1_760_009_400);
        Limiter::builder(Policy::from_toml(POLICY).unwrap())
            .counters(1)
            .clock(ManualClock::new(noon))
            // Written when it is flushed, so that every run takes the same steps.
            .interval(Duration::from_secs(3_600))
            .open_on(&self.path(), media)
    }

    /// Brings the power back: another kernel, the disk as it survived, garbage in the table.
    fn boot(&mut self, survival: Survival) {
        self.boots += 1;
        self.disk.power_on(|place| match survival {
            Survival::Nothing => false,
            Survival::All => true,
            Survival::Half => place < 2,
            Survival::Holes => place % 2 == 1,
        });
        lock(&self.sheet.content).settle(survival);
        let path = self.path();
        let mut marks = Marks::open(path.join("marks")).unwrap();
        let Some(mark) = marks.last() else { return };
        let place = Place {
            boot: [self.boots; 16],
            ..mark.place
        };
        if mark.state == State::Open {
            marks.write(&Mark { place, ..mark }, true).unwrap();
            spoil(&path.join("table"), survival == Survival::Holes);
        }
    }
}

/// Fills the table's files with numbers, with or without their headers.
fn spoil(table: &Path, with_headers: bool) {
    let Ok(entries) = fs::read_dir(table) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let from = if with_headers {
            0
        } else {
            bytes.len().min(4096)
        };
        let mut number = 0x9E37_79B9_7F4A_7C15_u64;
        for eight in bytes[from..].chunks_mut(8) {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            eight.copy_from_slice(&number.to_le_bytes()[..eight.len()]);
        }
        fs::write(&path, bytes).unwrap();
    }
}

fn used(limiter: &Limiter, limit: &str, key: &str) -> u64 {
    limiter.limit(limit).unwrap().usage(key).used()
}

fn take_strict(limiter: &Limiter) -> Outcome {
    limiter.limit("strict").unwrap().check("everybody")
}

/// Works until the power goes, or the life is over; false if it went.
fn live(limiter: &Limiter, known: &mut Known) -> bool {
    for round in 0..ROUNDS {
        known.begun += 1;
        for user in USERS {
            let decision = limiter.check(&Request::new().attribute("user", user));
            assert!(decision.is_allowed(), "{decision}");
        }
        known.done += 1;
        known.asked += 1;
        let outcome = take_strict(limiter);
        match outcome.verdict() {
            Verdict::Unwritable => return false,
            _ => known.strict += u64::from(outcome.is_allowed()),
        }
        // The last round's takes are left to the close.
        if round + 1 < ROUNDS {
            if limiter.flush().is_err() {
                return false;
            }
            known.flushed = known.done;
        }
    }
    if limiter.close().is_err() {
        return false;
    }
    known.flushed = known.done;
    true
}

/// Holds what is counted after a cut against what is known.
fn check(limiter: &Limiter, known: Known, was_new: bool, place: &str) {
    let opened = limiter.health().opened;
    let is_rebuilt = matches!(opened, Opened::SetAside { .. });
    assert!(
        is_rebuilt || was_new && opened == Opened::New,
        "{place}: {opened}"
    );
    for user in USERS {
        for limit in LOGGED {
            let found = used(limiter, limit, user);
            let bounds = known.flushed..=known.begun;
            assert!(
                bounds.contains(&found),
                "{place}: {limit} of {user}: {found} in {known:?}"
            );
        }
        assert!(
            used(limiter, "memory", user) <= known.begun,
            "{place}: {known:?}"
        );
    }
    let found = used(limiter, "strict", "everybody");
    let bounds = known.strict..=(known.asked + RESERVE).min(STRICT);
    assert!(
        bounds.contains(&found),
        "{place}: strict: {found} in {known:?}"
    );
}

/// A life that ends before step `cut` of the disk, and one after it; the steps there were, if the
/// first life was over before.
fn lives(cut: u64, survival: Survival) -> Option<u64> {
    let place = format!("cut {cut}, {survival:?}");
    let mut machine = Machine::new();
    machine.disk.plan(Some(Fault::Cut(cut)));
    let mut known = Known::default();
    let opened = machine.open();
    if let Ok(limiter) = &opened
        && live(limiter, &mut known)
    {
        let steps = machine.disk.steps();
        // Nothing was lost: all that can have failed is what was asked for ahead, and it is told.
        let is_told = limiter.health().reservations.trouble.is_some();
        assert!(steps <= cut || is_told, "{place}: nobody noticed");
        let first = machine.path().join("journal/000001");
        assert!(!first.exists(), "{place}: the journal was not renewed");
        return (steps <= cut).then_some(steps);
    }
    // What a limiter still writes into its marks without power is not there.
    let was_new = opened.is_err();
    let marks = machine.path().join("marks");
    let before = fs::read(&marks).unwrap_or_default();
    drop(opened);
    fs::write(&marks, before).unwrap();
    machine.boot(survival);
    let limiter = machine
        .open()
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    check(&limiter, known, was_new, &place);
    // Before the first round there is no journal, and it says so.
    let troubles = limiter.health().recovery.troubles;
    let is_early = known.flushed == 0;
    assert!(is_early || troubles.is_empty(), "{place}: {troubles:?}");
    // What one life had left, the next ones share.
    while take_strict(&limiter).is_allowed() {
        known.strict += 1;
    }
    assert!(known.strict <= STRICT, "{place}: {} admitted", known.strict);
    // And once more, with all of it durable.
    limiter.flush().unwrap();
    let found = LOGGED.map(|limit| used(&limiter, limit, USERS[0]));
    drop(limiter);
    machine.boot(survival);
    let limiter = machine.open().unwrap();
    assert_eq!(
        LOGGED.map(|limit| used(&limiter, limit, USERS[0])),
        found,
        "{place}"
    );
    assert!(!take_strict(&limiter).is_allowed(), "{place}");
    None
}

#[test]
fn a_power_cut_before_every_step_loses_what_was_not_flushed_and_no_more() {
    for survival in SURVIVALS {
        let steps = (0..).find_map(|cut| lives(cut, survival));
        let steps = steps.unwrap();
        println!("{survival:?}: {steps} steps, a cut before each");
        assert!(steps > 60, "{steps}");
    }
}
