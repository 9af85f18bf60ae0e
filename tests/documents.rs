//! What documents, commands and features say of each other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of Rust below a folder, and their text.
fn sources(below: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// Every test program has its row in `tests/README.md`, which says truly if it needs shared data.
#[test]
fn every_test_program_says_what_it_shows() {
    let table = fs::read_to_string(root().join("tests/README.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter_map(|row| {
        let mut cells = row.split('|').skip(2).map(str::trim);
        let program = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((program.to_owned(), cells.next()? == "`../shared`"))
    });
    let rows: Vec<_> = rows.collect();
    let mut programs = BTreeMap::new();
    for (path, text) in sources("tests") {
        let name = path.strip_prefix(root().join("tests")).unwrap();
        let program = name.with_extension("");
        let program = program.iter().next().unwrap().to_str().unwrap();
        let reads = text.contains("skipped::shared") && program != "documents";
        *programs.entry(program.to_owned()).or_insert(false) |= reads;
    }
    programs.remove("common");
    let shown: BTreeMap<_, _> = rows.iter().cloned().collect();
    assert_eq!(shown.len(), rows.len(), "a program stands there twice");
    assert_eq!(shown, programs);
}

/// Row T6: the command reads every policy that a service can: what the language asks a feature for,
/// `cli` has.
#[test]
fn t6_the_command_has_every_feature_that_a_policy_can_ask_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\ncli = [").unwrap();
    let (cli, _) = rest.split_once("\n]").unwrap();
    let mut asked = BTreeSet::new();
    for (_, text) in sources("src/policy") {
        // A policy is refused at run time only where the code asks at run time.
        for rest in text.split("cfg!(").skip(1) {
            let (_, rest) = rest.split_once("feature = \"").unwrap();
            asked.insert(rest.split_once('"').unwrap().0.to_owned());
        }
    }
    assert_eq!(asked, BTreeSet::from(["sfv".to_owned()]));
    for feature in asked {
        assert!(
            cli.contains(&format!("\"{feature}\"")),
            "cli lacks {feature}"
        );
    }
}

/// Row T11: a first build takes minutes, and shows them.
#[test]
fn t11_the_first_command_shows_that_it_compiles() {
    let config = fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    let alias = config
        .lines()
        .find(|line| line.starts_with("tollgate = "))
        .unwrap();
    assert!(!alias.contains("quiet"), "{alias}");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let first = readme
        .lines()
        .find(|line| line.starts_with("cargo "))
        .unwrap();
    assert!(
        first.starts_with("cargo tollgate replay ") && !first.contains("quiet"),
        "{first}"
    );
}
