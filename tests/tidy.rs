//! The house rules, held by a test: who imports whom, where `unsafe` and packages may stand, how
//! long things get. The rooms are read from the table in ARCHITECTURE.md, so the map stays true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
/// How far above an atomic access its argument may stand.
const ORDERING_NOTE_LINES: usize = 9;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

struct Source {
    /// Path below the project, with slashes.
    name: String,
    text: String,
}

impl Source {
    /// The room of a library file: the first name below `src`.
    fn room(&self) -> Option<&str> {
        let below = self.name.strip_prefix("src/")?;
        let room = below.split(['/', '.']).next()?;
        (room != "lib" && room != "bin").then_some(room)
    }

    /// Lines of code: comments and what is quoted taken out, with their numbers from 1.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.text.lines().enumerate().map(|(number, line)| {
            let mut code = String::new();
            let mut quoted = false;
            let mut last = ' ';
            for (at, now) in line.char_indices() {
                if now == '"' && last != '\\' && last != '\'' {
                    quoted = !quoted;
                }
                if !quoted && line[at..].starts_with("//") {
                    break;
                }
                if !quoted {
                    code.push(now);
                }
                last = now;
            }
            (number + 1, code)
        })
    }
}

fn sources(below: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.push(Source {
                    name,
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    assert!(!found.is_empty(), "{below} has no sources");
    found
}

#[derive(Debug, Default)]
struct Room {
    may_import: BTreeSet<String>,
    packages: BTreeSet<String>,
    unsafe_in: BTreeSet<String>,
}

/// The names in backticks in a cell.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The table of rooms, in its order.
fn rooms() -> Vec<(String, Room)> {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = map
        .split("| Room |")
        .nth(1)
        .expect("ARCHITECTURE.md has a table of rooms");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 4, "{row}");
        let name = names(cells[0]).into_iter().next().expect("a room's name");
        let [may_import, packages, unsafe_in] = [1, 2, 3].map(|cell| names(cells[cell]));
        (
            name,
            Room {
                may_import,
                packages,
                unsafe_in,
            },
        )
    })
    .collect()
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The names that follow `before` as a whole word.
fn following<'a>(code: &'a str, before: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(before) {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let rest = &code[at + before.len()..];
        let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
        found.push(&rest[..end]);
    }
    found
}

#[test]
fn imports_run_one_way() {
    let rooms = rooms();
    let by_name: BTreeMap<_, _> = rooms
        .iter()
        .map(|(name, room)| (name.as_str(), room))
        .collect();
    for (row, (name, room)) in rooms.iter().enumerate() {
        for door in &room.may_import {
            let above = rooms[..row].iter().any(|(other, _)| other == door);
            assert!(
                above,
                "{name} may import {door}, which does not stand above it"
            );
        }
    }
    let mut seen = BTreeSet::new();
    let mut used: BTreeSet<(String, String)> = BTreeSet::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        seen.insert(room.to_owned());
        let Some(rules) = by_name.get(room) else {
            panic!("{}: the room {room} is not in ARCHITECTURE.md", source.name)
        };
        for (line, code) in source.code() {
            for other in following(&code, "crate::") {
                if other.is_empty() || other == room || other.starts_with(char::is_uppercase) {
                    continue;
                }
                used.insert((room.to_owned(), other.to_owned()));
                let allowed = rules.may_import.contains(other);
                assert!(
                    allowed,
                    "{}:{line}: {room} may not import {other}",
                    source.name
                );
            }
        }
    }
    let listed: BTreeSet<_> = rooms.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(listed, seen, "the rooms of ARCHITECTURE.md and of src");
    for (name, room) in &rooms {
        for door in &room.may_import {
            let pair = (name.clone(), door.clone());
            assert!(
                used.contains(&pair),
                "{name} no longer imports {door}: shut that door"
            );
        }
    }
}

/// The modules beside its own that a file takes something from, its tests aside.
fn taken_from_beside(source: &Source) -> BTreeSet<String> {
    let lines = source.code().map(|(_, code)| code);
    let lines: Vec<_> = lines
        .take_while(|code| !code.starts_with("mod tests"))
        .collect();
    let code = lines.join(" ");
    let groups = code.split("super::{").skip(1);
    let grouped = groups.flat_map(|rest| rest.split('}').next().unwrap_or(rest).split(','));
    let grouped = grouped.filter_map(|one| one.trim().split(|letter| !is_name(letter)).next());
    let names = following(&code, "super::").into_iter().chain(grouped);
    names.map(str::to_owned).collect()
}

/// The file that a folder is named after holds it together, and is no part of this.
#[test]
fn files_of_a_folder_make_no_circle() {
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in sources("src") {
        let (folder, file) = source.name.rsplit_once('/').unwrap();
        let module = file.trim_end_matches(".rs").to_owned();
        if folder != "src" && !matches!(&*module, "mod" | "main" | "tests" | "loom") {
            let files = folders.entry(folder.to_owned()).or_default();
            files.insert(module, taken_from_beside(&source));
        }
    }
    let mut arrows = 0;
    for (folder, mut left) in folders {
        let beside: BTreeSet<_> = left.keys().cloned().collect();
        for (module, taken) in &mut left {
            taken.retain(|name| beside.contains(name) && name != module);
            arrows += taken.len();
        }
        // Who takes from none that is left, or whom none takes from, is in no circle.
        let is_apart = |left: &BTreeMap<String, BTreeSet<String>>, module: &String| {
            let mut others = left.values();
            !left[module].iter().any(|name| left.contains_key(name))
                || !others.any(|taken| taken.contains(module))
        };
        while let Some(done) = left.keys().find(|name| is_apart(&left, name)).cloned() {
            left.remove(&done);
        }
        assert!(left.is_empty(), "{folder}: a circle among {left:#?}");
    }
    assert!(
        arrows > 100,
        "{arrows} imports were found: they are no longer read"
    );
}

#[test]
fn packages_have_their_doors() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("\n[dependencies]").nth(1).unwrap();
    let mut packages: BTreeSet<String> = section
        .split("\n[")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect();
    packages.insert("loom".into());
    let rooms: BTreeMap<_, _> = rooms().into_iter().collect();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        for (line, code) in source.code() {
            for package in &packages {
                let uses = !following(&code, &format!("{package}::")).is_empty();
                let is_model = source.name.ends_with("/loom.rs") && package == "loom";
                let allowed = rooms[room].packages.contains(package) || is_model;
                assert!(
                    !uses || allowed,
                    "{}:{line}: {room} may not use {package}",
                    source.name
                );
            }
        }
    }
}

#[test]
fn unsafe_stands_in_its_files() {
    let rooms: BTreeMap<_, _> = rooms().into_iter().collect();
    for source in sources("src") {
        let allowed = source.room().is_some_and(|room| {
            rooms[room]
                .unsafe_in
                .iter()
                .any(|file| source.name == format!("src/{file}"))
        });
        let mut note = false;
        for (line, code) in source.code() {
            let raw = source.text.lines().nth(line - 1).unwrap_or_default();
            note |= raw.contains("// Safety:");
            if following(&code, "unsafe").contains(&"") && !code.contains("#[") {
                assert!(allowed, "{}:{line}: unsafe", source.name);
                assert!(
                    note,
                    "{}:{line}: unsafe without an argument above",
                    source.name
                );
            }
        }
    }
}

#[test]
fn every_ordering_is_argued() {
    for source in sources("src") {
        let lines: Vec<_> = source.text.lines().collect();
        for (number, code) in source.code() {
            let kinds = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
            let ordering = following(&code, "Ordering::")
                .iter()
                .any(|kind| kinds.contains(kind));
            if !ordering || source.name.ends_with("loom.rs") || source.name.ends_with("tests.rs") {
                continue;
            }
            let from = number.saturating_sub(ORDERING_NOTE_LINES + 1);
            let argued = lines[from..number]
                .iter()
                .any(|line| line.contains("// Ordering:"));
            assert!(
                argued,
                "{}:{number}: an ordering without its argument",
                source.name
            );
        }
    }
}

#[test]
fn files_and_functions_can_be_read() {
    for below in ["src", "tests", "benches", "examples", "fuzz"] {
        if !root().join(below).exists() {
            continue;
        }
        for source in sources(below) {
            if source.name.contains("/target/") {
                continue;
            }
            let name = &source.name;
            assert!(
                source.text.starts_with("//!"),
                "{name} does not say what it is"
            );
            let lines: Vec<_> = source.text.lines().collect();
            assert!(lines.len() <= LINES_MAX, "{name} has {} lines", lines.len());
            for (number, line) in lines.iter().enumerate() {
                let columns = line.chars().count();
                assert!(
                    columns <= COLUMNS_MAX,
                    "{name}:{}: {columns} columns",
                    number + 1
                );
                let bare = line.trim_start().starts_with("matches!(") && line.ends_with(';');
                assert!(!bare, "{name}:{}: asserts nothing", number + 1);
            }
            for (number, length) in functions(&lines) {
                assert!(
                    length <= FUNCTION_LINES_MAX,
                    "{name}:{number}: {length} lines long"
                );
            }
        }
    }
}

/// Where functions start, and how many lines they have: to the brace at their own indentation.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let mut words = line.split_whitespace().take(6);
        let is_function = words.any(|word| word == "fn") && !line.trim_start().starts_with("//");
        if !is_function || line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        if let Some(end) = lines[number..].iter().position(|line| *line == close) {
            found.push((number + 1, end + 1));
        }
    }
    found
}

#[test]
fn narrowing_is_spelled_out() {
    // The packed words, and hashes cut to pieces, are where bits are dropped on purpose.
    let exempt = ["src/algorithm/word.rs", "src/key.rs", "src/key/hash.rs"];
    for source in sources("src") {
        if exempt.contains(&source.name.as_str()) {
            continue;
        }
        for (line, code) in source.code() {
            for kind in [
                "u8", "u16", "u32", "i8", "i16", "i32", "i64", "usize", "isize",
            ] {
                let narrows = following(&code, "as ").contains(&kind);
                assert!(!narrows, "{}:{line}: `as {kind}`", source.name);
            }
        }
    }
}

#[test]
fn the_files_people_look_for_are_there() {
    for name in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "ARCHITECTURE.md",
        "Cargo.toml",
        "Cargo.lock",
        ".ci/run",
    ] {
        assert!(Path::new(&root().join(name)).exists(), "{name}");
    }
}

/// What `.ci/mutate` is to break stands where it says, once: else it would break nothing, and only
/// the next run of the whole list would tell.
#[test]
fn every_mutation_has_its_place() {
    let text = fs::read_to_string("tests/mutations.toml").expect("it can be read");
    let list: toml::Table = text.parse().expect("it is sound");
    let all = list["mutation"].as_array().expect("a list");
    assert!(all.len() > 100);
    for one in all {
        let said = |key: &str| one[key].as_str().expect("a text");
        let source = fs::read_to_string(said("file")).expect("it can be read");
        let times = source.matches(said("find")).count();
        assert_eq!(times, 1, "{}: in {}", said("name"), said("file"));
    }
}
