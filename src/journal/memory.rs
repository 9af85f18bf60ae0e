//! A store in memory that keeps what was flushed apart from what was only written, so that a test
//! can cut the power, or let the disk fail, before any single step.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Batch, OpenStore, Scan, Store, StoreError};
use crate::algorithm::Word;
use crate::directory::make_private;
use crate::key::Tag;
use crate::sync::lock;

/// What befalls the disk. Steps are counted from 0 over all stores: each record written, each
/// head, each flush and each return from one is a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// This step fails; the ones after it work.
    Once(u64),
    /// This step and all after it fail.
    From(u64),
    /// The power goes before this step.
    Cut(u64),
    /// The process ends before this step: it panics.
    Kill(u64),
}

/// Stores by their names, and what befalls them. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stores: BTreeMap<String, Image>,
    steps: u64,
    fault: Option<Fault>,
    flush_takes: Duration,
}

/// One write that no flush has reached.
#[derive(Clone, Copy)]
enum Write {
    Word(u64, Word),
    Sequence(u64),
}

#[derive(Default)]
struct Image {
    kept: BTreeMap<u64, Word>,
    sequence: u64,
    written: Vec<Write>,
}

impl Image {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Word(tag, word) => {
                self.kept.insert(tag, word);
            }
            Write::Sequence(sequence) => self.sequence = sequence,
        }
    }
}

impl Disk {
    /// Opens stores on this disk, by the numbers of their generations.
    pub(crate) fn opener(&self) -> OpenStore {
        let disk = self.clone();
        Box::new(move |path| Ok(Box::new(disk.store(path)?)))
    }

    fn store(&self, path: &Path) -> Result<Memory, StoreError> {
        make_private(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut state = lock(&self.0);
        let image = state.stores.entry(name.clone().into_owned()).or_default();
        let sequence = image.sequence;
        Ok(Memory {
            disk: self.clone(),
            name: name.into_owned(),
            sequence,
        })
    }

    pub(crate) fn plan(&self, fault: Option<Fault>) {
        lock(&self.0).fault = fault;
    }

    pub(crate) fn slow_down(&self, flush_takes: Duration) {
        lock(&self.0).flush_takes = flush_takes;
    }

    /// How many steps were taken.
    pub(crate) fn steps(&self) -> u64 {
        lock(&self.0).steps
    }

    /// Brings the power back. Of what was written since the last flush, `survives` says by its
    /// place, from 0, what had reached the disk all the same.
    pub(crate) fn power_on(&self, mut survives: impl FnMut(usize) -> bool) {
        let mut state = lock(&self.0);
        state.fault = None;
        for image in state.stores.values_mut() {
            for (place, write) in std::mem::take(&mut image.written).into_iter().enumerate() {
                if survives(place) {
                    image.apply(write);
                }
            }
        }
    }

    /// Forgets what a store holds, as sled may.
    pub(crate) fn lose(&self, name: &str) {
        lock(&self.0).stores.remove(name);
    }

    /// A step of something else that lies on the same disk.
    pub(crate) fn pass(&self) -> io::Result<()> {
        self.step("", |_| ())
    }

    /// Takes a step on a store, if the disk lets it.
    fn step(&self, name: &str, change: impl FnOnce(&mut Image)) -> io::Result<()> {
        let mut state = lock(&self.0);
        let step = state.steps;
        state.steps += 1;
        let fails = match state.fault {
            Some(Fault::Once(at)) => step == at,
            Some(Fault::From(at) | Fault::Cut(at)) => step >= at,
            Some(Fault::Kill(at)) => {
                assert!(step < at, "killed at step {step}");
                false
            }
            None => false,
        };
        if fails {
            return Err(io::Error::other(format!("planned to fail at step {step}")));
        }
        change(state.stores.entry(name.to_owned()).or_default());
        Ok(())
    }
}

/// A store on such a disk.
pub(crate) struct Memory {
    disk: Disk,
    name: String,
    sequence: u64,
}

impl Memory {
    fn write_all(&self, sequence: u64, batch: Batch<'_>) -> io::Result<()> {
        let write = |write| {
            self.disk
                .step(&self.name, |image| image.written.push(write))
        };
        for (tag, word) in batch.words() {
            write(Write::Word(tag.bits(), word.clean()))?;
        }
        write(Write::Sequence(sequence))?;
        std::thread::sleep(lock(&self.disk.0).flush_takes);
        self.disk.step(&self.name, |image| {
            for write in std::mem::take(&mut image.written) {
                image.apply(write);
            }
        })?;
        // The power may go when all is on the disk, and before anybody is told.
        self.disk.step(&self.name, |_| ())
    }
}

impl Store for Memory {
    fn commit(&mut self, sequence: u64, batch: Batch<'_>) -> Result<(), StoreError> {
        let written = self.write_all(sequence, batch);
        written.map_err(StoreError::io("write", Path::new(&self.name)))?;
        self.sequence = sequence;
        Ok(())
    }

    fn scan(&mut self, see: &mut dyn FnMut(Tag, Word)) -> Result<Scan, StoreError> {
        let state = lock(&self.disk.0);
        let kept = state.stores.get(&self.name).map(|image| image.kept.clone());
        drop(state);
        let mut scan = Scan::default();
        for (tag, word) in kept.unwrap_or_default() {
            scan.words += 1;
            see(Tag::from_bits(tag), word);
        }
        Ok(scan)
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn size_bytes(&self) -> u64 {
        let state = lock(&self.disk.0);
        let image = state.stores.get(&self.name);
        super::record::bytes_of(image.map_or(0, |image| image.kept.len())) as u64
    }
}
