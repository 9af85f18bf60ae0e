//! Records, byte for byte.

use super::*;
use crate::journal::record::{Flaw, HEAD_KEY, Head, decode_word, encode_word, key};

const TAG: u64 = 0x0102_0304_0506_0708;
const WORD: u64 = 0x1112_1314_1516_1714;

#[test]
fn golden_bytes() {
    let tag = Tag::from_bits(TAG);
    assert_eq!(key(tag), [1, 2, 3, 4, 5, 6, 7, 8]);
    let word = Word::from_bits(WORD);
    let golden = [
        0x01, 0x14, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x6c, 0x3d, 0x4e, 0x3b,
    ];
    assert_eq!(encode_word(tag, word), golden);
    assert_eq!(encode_word(tag, word.dirty()), golden);
    assert_eq!(decode_word(&key(tag), &golden), Ok((tag, word)));

    let head = Head::new(*b"0123456789abcdef", 0x2122_2324_2526_2728);
    let golden = [
        0x01, b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9', b'a', b'b', b'c', b'd',
        b'e', b'f', 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x15, 0xae, 0xc8, 0x4f,
    ];
    assert_eq!(head.encode(), golden);
    assert_eq!(Head::decode(&golden), Ok(head));
}

#[test]
fn every_change_of_a_record_is_an_error() {
    let tag = Tag::from_bits(TAG);
    let whole = encode_word(tag, Word::from_bits(WORD));
    let head = Head::new(INSTANCE, 7).encode();
    let broken = |key: &[u8], bytes: &[u8]| {
        assert_eq!(decode_word(key, bytes), Err(Flaw::Damaged), "{bytes:x?}");
        assert_eq!(Head::decode(bytes), Err(Flaw::Damaged), "{bytes:x?}");
    };
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole;
        bytes[bit / 8] ^= 1 << (bit % 8);
        broken(&key(tag), &bytes);
    }
    for bit in 0..head.len() * 8 {
        let mut bytes = head;
        bytes[bit / 8] ^= 1 << (bit % 8);
        broken(HEAD_KEY, &bytes);
    }
    for length in 0..whole.len() {
        broken(&key(tag), &whole[..length]);
    }
    for length in 0..head.len() {
        broken(HEAD_KEY, &head[..length]);
    }
    for more in [1, 4, 1000] {
        broken(&key(tag), &[&whole[..], &vec![0; more]].concat());
        broken(HEAD_KEY, &[&head[..], &vec![0; more]].concat());
    }
    // A whole record under another's key, and under what is no key of ours.
    for bit in 0..64 {
        broken(&key(Tag::from_bits(TAG ^ 1 << bit)), &whole);
    }
    broken(&[], &whole);
    broken(&[0; 1000], &whole);
    assert_eq!(decode_word(HEAD_KEY, &head), Err(Flaw::Damaged));
}

#[test]
fn a_whole_record_of_another_version_says_so() {
    let mut bytes = Head::new(INSTANCE, 7).encode();
    bytes[0] = 2;
    let (body, sum) = bytes.split_last_chunk_mut::<4>().unwrap();
    let full = crate::codec::checksum(&[HEAD_KEY, &*body].concat());
    sum.copy_from_slice(&full.to_le_bytes()[..4]);
    assert_eq!(Head::decode(&bytes), Err(Flaw::Version(2)));
}
