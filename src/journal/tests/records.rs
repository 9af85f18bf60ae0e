//! Pages, byte for byte.

use super::*;
use crate::codec::checksum;
use crate::journal::record::{Flaw, PAGE_WORDS, Page, Place};

const PLACE: Place = Place {
    sequence: 0x0102_0304_0506_0708,
    part: 0x090A,
};

fn page(number: u64) -> (Vec<u8>, Vec<u8>) {
    let key = PLACE.encode().to_vec();
    let page = Page::new(INSTANCE, 7, 3, &words(number, 1));
    (key.clone(), page.encode(&key).unwrap())
}

fn damaged(key: &[u8], bytes: &[u8]) {
    assert_eq!(
        Page::decode(INSTANCE, key, bytes),
        Err(Flaw::Damaged),
        "{key:x?} {bytes:x?}"
    );
}

/// The record with a checksum that is right.
fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    let sum = checksum(&[key, body].concat()).to_le_bytes();
    [body, &sum[..4]].concat()
}

#[test]
fn golden_bytes() {
    let word = Word::from_bits(0x2122_2324_2526_2728);
    let tag = Tag::from_bits(0x1112_1314_1516_1718);
    let page = Page::new(
        *b"0123456789abcdef",
        0x3132_3334_3536_3738,
        2,
        &[(tag, word.dirty())],
    );
    let key = PLACE.encode();
    assert_eq!(key, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let golden = [
        &[1][..],
        b"0123456789abcdef",
        &[0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31],
        &[2, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11],
        &[0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21],
        &[0xe7, 0xe1, 0x8d, 0xbc],
    ];
    assert_eq!(page.encode(&key).unwrap(), golden.concat());
    let (place, read) = Page::decode(*b"0123456789abcdef", &key, &golden.concat()).unwrap();
    assert_eq!((place, &read), (PLACE, &page));
    assert_eq!(read.words().collect::<Vec<_>>(), [(tag, word)]);
}

#[test]
fn every_change_of_a_page_is_an_error() {
    let (key, whole) = page(3);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        damaged(&key, &bytes);
    }
    for length in 0..whole.len() {
        damaged(&key, &whole[..length]);
    }
    for more in [1, 4, 16, 1000] {
        damaged(&key, &[&whole[..], &vec![0; more]].concat());
    }
    for bit in 0..key.len() * 8 {
        let mut other = key.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        damaged(&other, &whole);
    }
    damaged(&[], &whole);
    damaged(&[0; 1000], &whole);
}

#[test]
fn a_page_that_lies_with_a_right_checksum_is_an_error_too() {
    let (key, whole) = page(3);
    let body = &whole[..whole.len() - 4];
    assert!(Page::decode(INSTANCE, &key, &seal(&key, body)).is_ok());
    for (length, body_at) in [(u64::MAX, 27), (1 << 40, 27), (4, 27), (2, 27), (129, 27)] {
        let mut lies = body.to_vec();
        lies[body_at..body_at + 8].copy_from_slice(&length.to_le_bytes());
        damaged(&key, &seal(&key, &lies));
    }
    for length in 1..body.len() {
        damaged(&key, &seal(&key, &body[..length]));
    }
    damaged(&key, &seal(&key, &[]));
    damaged(&key, &seal(&key, &[body, &[0]].concat()));
    for key in [&key[..9], &[&key[..], &[0]].concat()] {
        damaged(key, &seal(key, body));
    }
    let mut newer = body.to_vec();
    newer[0] = 2;
    let read = Page::decode(INSTANCE, &key, &seal(&key, &newer));
    assert_eq!(read, Err(Flaw::Version(2)));
    assert_eq!(Page::decode([0; 16], &key, &whole), Err(Flaw::Foreign));
}

#[test]
fn a_page_has_its_most() {
    let (key, most) = page(PAGE_WORDS as u64);
    let (_, read) = Page::decode(INSTANCE, &key, &most).unwrap();
    assert_eq!(read.words().count(), PAGE_WORDS);
    let more = Page::new(INSTANCE, 7, 3, &words(PAGE_WORDS as u64 + 1, 1));
    assert_eq!(more.encode(&key), None);
}
