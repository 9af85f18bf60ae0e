//! Faults of the disk and of the world around a limiter, by their numbers.

mod away;
mod charged;
#[path = "../common/mod.rs"]
mod common;
mod cut;
mod each;
mod full;
mod killed;
mod lives;
mod mount;
mod shapes;
mod shim;
#[path = "../common/skipped.rs"]
mod skipped;
mod slow;
mod survival;
#[cfg(feature = "watch")]
mod told;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names of all functions below a folder.
fn functions(below: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let starts = text.split("fn ").skip(1);
            let names = starts.filter_map(|rest| rest.split('(').next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_fault_has_its_row_and_every_test_in_it_is_there() {
    let table = fs::read_to_string(root().join("tests/faults/README.md")).unwrap();
    let mut known = BTreeSet::new();
    for below in ["src", "tests"] {
        functions(&root().join(below), &mut known);
    }
    let mut missing: BTreeSet<_> = known
        .iter()
        .filter(|name| name.starts_with("fault_"))
        .collect();
    let mut numbers = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<_> = row.trim_matches('|').splitn(3, '|').collect();
        let number: u32 = cells[0].trim().parse().unwrap_or_else(|_| panic!("{row}"));
        numbers.push(number);
        let names: Vec<_> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{number} is shown by nothing");
        for name in names {
            let is_there = known.contains(name) || root().join(name).is_file();
            assert!(is_there, "{number}: there is no {name}");
            let own = format!("fault_{number:02}_");
            let is_own = name.starts_with(&own) || number == 12 || !name.starts_with("fault_");
            assert!(is_own, "{number}: {name}");
            if name.starts_with(&own) {
                missing.retain(|other| *other != name);
            }
        }
    }
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}
