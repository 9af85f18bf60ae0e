//! The journal, broken in every way that a test can break it.

mod damage;
mod engine;
mod generations;
mod guard;
mod kill;
mod measure;
mod power;
mod records;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::algorithm::Word;
use crate::key::Tag;

const INSTANCE: [u8; 16] = *b"a limiter's own!";

fn tag(number: u64) -> Tag {
    Tag::from_bits(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Word number `count` of a counter.
fn word(count: u32) -> Word {
    Word::window(2_000_000_000, count)
}

/// `number` words under different tags, all with this count.
fn words(number: u64, count: u32) -> Vec<(Tag, Word)> {
    (0..number).map(|at| (tag(at), word(count))).collect()
}

fn open(path: &Path) -> (Generations, Report) {
    Generations::open(path, INSTANCE).unwrap()
}

/// What a journal holds.
fn held(journal: &mut Generations) -> HashMap<Tag, Word> {
    let mut held = HashMap::new();
    let recovered = journal.scan(&mut |tag, word| {
        held.insert(tag, word);
    });
    assert!(recovered.unwrap().set_aside.is_none());
    held
}

fn same(held: &HashMap<Tag, Word>, expected: &[(Tag, Word)]) {
    assert_eq!(held, &expected.iter().copied().collect());
}

/// The names in a folder, in order.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// Copies a folder as it stands, as a kill would leave it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(to, private).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}
