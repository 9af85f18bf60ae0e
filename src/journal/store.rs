//! What the journal asks of a place that keeps words: three verbs and two figures.

use super::StoreError;
use super::record::bytes_of;
use crate::algorithm::Word;
use crate::key::Tag;

/// The most words between two waits for the disk.
// Bound: with much more than this the engine's recovery was seen to come back empty after a power
// cut, without an error. A longer list is cut into batches.
pub(crate) const BATCH_WORDS: usize = 1000;
/// The most bytes between two waits for the disk.
const BATCH_BYTES: usize = 128 << 10;
const _: () = assert!(bytes_of(BATCH_WORDS) <= BATCH_BYTES);

/// At most [`BATCH_WORDS`] words under their tags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a>(&'a [(Tag, Word)]);

impl<'a> Batch<'a> {
    /// A batch of no words: it only moves the sequence on.
    pub(crate) const EMPTY: Batch<'static> = Batch(&[]);

    /// The words, in batches.
    pub(crate) fn cut(words: &'a [(Tag, Word)]) -> impl Iterator<Item = Batch<'a>> {
        words.chunks(BATCH_WORDS).map(Batch)
    }

    /// Bytes that it takes in a store.
    pub(crate) fn bytes(self) -> u64 {
        bytes_of(self.0.len()) as u64
    }

    pub(crate) fn words(self) -> &'a [(Tag, Word)] {
        self.0
    }
}

/// What a scan found.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Scan {
    /// Words that were whole and shown.
    pub(crate) words: u64,
    /// Places where something was damaged or missing. How many words stood there is not known.
    pub(crate) damaged: u64,
}

/// A place that keeps words under their tags.
pub(crate) trait Store: Send {
    /// Keeps the words of `batch` in the place of those under the same tags. When it returns
    /// `Ok`, the batch and everything committed before is durable. `sequence` is larger than in
    /// every commit before.
    ///
    /// # Errors
    /// If that cannot be said. The store is then not to be used any more: what a later call says
    /// proves nothing.
    fn commit(&mut self, sequence: u64, batch: Batch<'_>) -> Result<(), StoreError>;

    /// Shows every word kept. It may show more than one under a tag: the last counts.
    ///
    /// # Errors
    /// If not all could be read. What was shown until then was whole.
    fn scan(&mut self, see: &mut dyn FnMut(Tag, Word)) -> Result<Scan, StoreError>;

    /// The sequence of the last commit that it holds.
    fn sequence(&self) -> u64;

    /// How much of the disk it takes, in bytes.
    fn size_bytes(&self) -> u64;
}
