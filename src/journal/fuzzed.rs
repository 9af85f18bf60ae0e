//! Any bytes as a record of the journal: the body of the fuzz target `journal_page`.

use super::record::{Flaw, PAGE_WORDS, Page, Place, short_checksum};
use crate::algorithm::Word;
use crate::key::Tag;

const INSTANCE: [u8; 16] = [7; 16];

/// Reads `bytes` as a key of ten bytes and a record under it, as they are and with a checksum made
/// good; and writes a page of the words that they are.
pub(crate) fn page(bytes: &[u8]) {
    let Some((key, record)) = bytes.split_at_checked(10) else {
        return;
    };
    read(key, record);
    let sealed = [record, &short_checksum(key, record)].concat();
    if read(key, &sealed) {
        let turned = usize::from(bytes[0]) % (8 * sealed.len());
        let mut damaged = sealed.clone();
        damaged[turned / 8] ^= 1 << (turned % 8);
        assert_eq!(Page::decode(INSTANCE, key, &damaged), Err(Flaw::Damaged));
        let other = Place {
            sequence: 1 << 60,
            part: 9,
        };
        let elsewhere = Page::decode(INSTANCE, &other.encode(), &sealed);
        assert!(other.encode() == *key || elsewhere == Err(Flaw::Damaged));
    }
    write(key, record);
}

/// True if the record is read; then it is the one record that says so.
fn read(key: &[u8], record: &[u8]) -> bool {
    match Page::decode(INSTANCE, key, record) {
        Ok((place, page)) => {
            assert_eq!(place.encode(), *key);
            assert!(page.words().count() <= PAGE_WORDS);
            assert_eq!(page.encode(key).as_deref(), Some(record));
            true
        }
        Err(Flaw::Version(version)) => {
            assert_eq!(record.first(), Some(&version));
            false
        }
        Err(Flaw::Foreign) => {
            assert_ne!(record.get(1..17), Some(&INSTANCE[..]));
            false
        }
        Err(Flaw::Damaged) => false,
    }
}

fn write(key: &[u8], bytes: &[u8]) {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let words = bytes.chunks_exact(16).map(|pair| {
        let (tag, word) = pair.split_at(8);
        (Tag::from_bits(number(tag)), Word::from_bits(number(word)))
    });
    let words: Vec<_> = words.collect();
    let page = Page::new(INSTANCE, number(&key[..8]), 1, &words);
    let record = page.encode(key);
    assert_eq!(record.is_some(), words.len() <= PAGE_WORDS);
    let Some(record) = record else { return };
    let (_, again) = Page::decode(INSTANCE, key, &record).expect("what was written can be read");
    let clean = words.into_iter().map(|(tag, word)| (tag, word.clean()));
    assert!(again.words().eq(clean));
    assert_eq!(again, page);
}

#[cfg(test)]
#[test]
fn every_record_of_the_corpus() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/journal_page");
    let records = std::fs::read_dir(corpus).unwrap();
    let replayed = records.map(|record| page(&std::fs::read(record.unwrap().path()).unwrap()));
    assert!(replayed.count() > 0, "the target has a corpus");
}
