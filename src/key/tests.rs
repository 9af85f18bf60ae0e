//! What a tag must be: never another key's, spread evenly, the same for ever.

use std::collections::HashSet;

use super::hash::INLINE_BYTES_MAX;
use super::*;

const SECRET: Secret = Secret([1, 2]);

fn two(a: &str, b: &str) -> KeyHash {
    let keys = HashKeys::new(SECRET);
    let mut hasher = KeyHasher::new(&keys);
    hasher.text(NameHash::new(SECRET, "user"), a.as_bytes());
    hasher.text(NameHash::new(SECRET, "ip"), b.as_bytes());
    hasher.finish()
}

#[test]
fn edge_39_parts_never_run_into_each_other() {
    let long = "x".repeat(65_536);
    let pairs = [
        ("a:b", "c"),
        ("a", "b:c"),
        ("", "ab:c"),
        ("a:b:c", ""),
        ("a\0", "b"),
        ("a", "\0b"),
        ("", ""),
        (long.as_str(), ""),
        ("", long.as_str()),
    ];
    let hashes: HashSet<_> = pairs.iter().map(|(a, b)| two(a, b)).collect();
    assert_eq!(hashes.len(), pairs.len());
}

#[test]
fn the_kind_and_the_name_of_a_part_count() {
    let keys = HashKeys::new(SECRET);
    let name = NameHash::new(SECRET, "ip");
    let hash = |part: &dyn Fn(&mut KeyHasher)| {
        let mut hasher = KeyHasher::new(&keys);
        part(&mut hasher);
        hasher.finish()
    };
    let all: HashSet<_> = [
        hash(&|h| h.text(name, &[1, 2, 3, 4])),
        hash(&|h| h.v4(name, [1, 2, 3, 4])),
        hash(&|h| h.text(NameHash::new(SECRET, "user"), &[1, 2, 3, 4])),
        hash(&|h| h.text(name, &[])),
        hash(&|_| ()),
    ]
    .into();
    assert_eq!(all.len(), 5);
}

#[test]
fn the_hash_is_stable_and_the_secret_matters() {
    // Golden: a directory's counters are found by these numbers for ever.
    assert_eq!(two("alice", "10.0.0.1"), KeyHash(GOLDEN));
    let (keys, others) = (HashKeys::new(SECRET), HashKeys::new(Secret([1, 3])));
    let mut other = KeyHasher::new(&others);
    other.text(NameHash::new(SECRET, "user"), b"alice");
    let mut same = KeyHasher::new(&keys);
    same.text(NameHash::new(SECRET, "user"), b"alice");
    assert_ne!(other.finish(), same.finish());
}

const GOLDEN: u64 = 11_043_876_576_361_686_058;

#[test]
fn one_keys_counters_share_a_home_line() {
    let key = two("alice", "10.0.0.1");
    let day = Tag::new(key, LimitBits::new(SECRET, "per day"));
    let minute = Tag::new(key, LimitBits::new(SECRET, "per minute"));
    assert_ne!(day, minute);
    assert_eq!(day.home(), minute.home());
    assert_ne!(day, day.sibling(1));
    assert_eq!(day.home(), day.sibling(1).home());
    assert_ne!(Tag::from_bits(0).bits(), 0);
}

/// The hash of one text, as a limit with a key of one part has it.
fn one(keys: &HashKeys, text: &[u8]) -> u64 {
    let mut hasher = KeyHasher::new(keys);
    hasher.text(NameHash(77), text);
    hasher.finish().bits()
}

#[test]
fn a_texts_hash_is_the_same_in_every_release() {
    let keys = HashKeys::new(SECRET);
    let text = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmn";
    // Worked out by another program, from the definition alone.
    let golden = [
        (0, 3_289_392_829_591_564_225_u64),
        (1, 11_888_927_538_543_918_280),
        (4, 15_606_582_056_695_218_708),
        (8, 5_355_888_564_475_573_235),
        (15, 10_332_690_360_073_554_394),
        (16, 15_707_180_954_376_100_954),
        // By the code as it was before such lengths had a way of their own.
        (17, 12_897_820_520_453_361_723),
        (20, 2_603_672_054_285_714_652),
        (23, 10_071_885_715_161_426_576),
        (24, 16_913_028_966_096_405_081),
        (33, 12_405_345_223_678_944_950),
        (64, 12_517_890_804_711_836_695),
        (65, 9_466_286_232_369_235_428),
    ];
    let found = golden.map(|(length, _)| (length, one(&keys, &text.as_bytes()[..length])));
    assert_eq!(found, golden);
}

#[test]
fn every_byte_of_every_length_counts() {
    let keys = HashKeys::new(SECRET);
    let mut seen = HashSet::new();
    let mut number = 0;
    for length in 0..=INLINE_BYTES_MAX + 40 {
        let mut text = vec![b'x'; length];
        number += 1;
        seen.insert(one(&keys, &text));
        for place in 0..length {
            for byte in [0, b'y', 0xff] {
                text[place] = byte;
                number += 1;
                seen.insert(one(&keys, &text));
            }
            text[place] = b'x';
        }
    }
    assert_eq!(seen.len(), number);
}

/// Texts of one or more words each.
fn texts(words: impl Iterator<Item = Vec<u64>>) -> Vec<Vec<u8>> {
    let bytes = |words: Vec<u64>| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    words.map(bytes).collect()
}

/// What somebody would send who wants many keys in few lines, and knows all but the secret.
fn families() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    // The constants that wyhash and XXH3 are published with: without a secret of one's own, a word
    // that is equal to one makes a product zero, and its partner is forgotten.
    const KNOWN: [u64; 8] = [
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
        0x8ebc_6af0_9c88_c6e3,
        0x5899_65cc_7537_4cc3,
        0xbe4b_a423_396c_feb8,
        0x1cad_21f7_2c81_017c,
        0x2d35_8dcc_aa6c_78a5,
        0x8bb8_4b93_962e_acc9,
    ];
    let many = 0..20_000_u64;
    let step = |by: u64| move |number: u64| number.wrapping_mul(by);
    let pairs = many.clone().map(|number| (number % 150, number / 150));
    let mut all = vec![
        (
            "numbers",
            many.clone()
                .map(|number| format!("user-{number}").into_bytes())
                .collect(),
        ),
        ("one word", texts(many.clone().map(|n| vec![n]))),
        ("its upper half", texts(many.clone().map(|n| vec![n << 32]))),
        (
            "its highest bits",
            texts(many.clone().map(|n| vec![0, n << 49])),
        ),
        ("second word", texts(many.clone().map(|n| vec![7, n]))),
        ("third word", texts(many.clone().map(|n| vec![7, 7, n]))),
        (
            "one up, one down",
            texts(many.clone().map(|n| vec![7, n, n.wrapping_neg()])),
        ),
        ("two alike", texts(many.clone().map(|n| vec![7, n, n]))),
        (
            "swapped",
            texts(pairs.clone().map(|(a, b)| vec![0, a, b, b, a])),
        ),
        ("both", texts(pairs.map(|(a, b)| vec![a << 40, b << 40]))),
        (
            "golden steps",
            texts(
                many.clone()
                    .map(step(0x9e37_79b9_7f4a_7c15))
                    .map(|n| vec![n]),
            ),
        ),
        (
            "steps of 2^44",
            texts(many.clone().map(step(1 << 44)).map(|n| vec![1, n, 1])),
        ),
        ("zeros", (1..300).map(|length| vec![0; length]).collect()),
    ];
    for known in KNOWN {
        let beside = many.clone();
        all.push((
            "beside a known word",
            texts(beside.map(|n| vec![known, n, known, n])),
        ));
        let after = many.clone();
        all.push((
            "after a known word",
            texts(after.map(|n| vec![n, known, n, known, 0])),
        ));
    }
    all
}

/// The most keys in one of 4,096 lines, and whether any two have one hash.
fn crowd(hashes: &[u64]) -> (usize, bool) {
    let mut lines = vec![0; 4_096];
    for hash in hashes {
        lines[usize::try_from(hash >> 52).unwrap_or(0)] += 1;
    }
    let different: HashSet<_> = hashes.iter().collect();
    let most = lines.into_iter().max().unwrap_or(0);
    (most, different.len() < hashes.len())
}

/// Four or five keys a line are the average; by chance one line in 10^12 has 25 and more.
const CROWDED: usize = 25;

#[test]
fn chosen_keys_neither_collide_nor_crowd() {
    for secret in 0..6 {
        let keys = HashKeys::new(Secret([secret, 0x0123_4567_89ab_cdef]));
        for (family, texts) in families() {
            let hashes: Vec<_> = texts.iter().map(|text| one(&keys, text)).collect();
            let (most, collide) = crowd(&hashes);
            assert!(!collide, "{family} under secret {secret}");
            assert!(
                most < CROWDED,
                "{family} under secret {secret}: {most} in a line"
            );
        }
    }
}

/// The same keys break hashes that are in use elsewhere, so the attempts above are worth something.
#[test]
fn what_is_tried_breaks_others() {
    let word = |text: &[u8], at: usize| {
        text.get(at..at + 8).map_or(0, |eight| {
            u64::from_le_bytes(eight.try_into().expect("eight bytes"))
        })
    };
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        (wide as u64) ^ (wide >> 64) as u64
    };
    // As wyhash takes 16 bytes a step, under the constants that everybody knows; any seed.
    let wyhash = |text: &[u8]| {
        let step = |seed, at| {
            fold(
                word(text, at) ^ 0xa076_1d64_78bd_642f,
                word(text, at + 8) ^ seed,
            )
        };
        step(step(0x1234_5678_9abc_def0, 0), 16)
    };
    // A multiplication alone: steps stay steps.
    let multiplied = |text: &[u8]| word(text, 8).wrapping_mul(0xd6e8_feb8_6659_fd93) << 4;
    let breaks = |hash: &dyn Fn(&[u8]) -> u64| {
        families().iter().any(|(_, texts)| {
            let hashes: Vec<_> = texts
                .iter()
                .filter(|text| text.len() >= 32)
                .map(|t| hash(t))
                .collect();
            let (most, collide) = crowd(&hashes);
            collide && most >= CROWDED
        })
    };
    assert!(breaks(&wyhash));
    assert!(breaks(&multiplied));
}
