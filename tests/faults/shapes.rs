//! Files that are not what they should be: pipes, links, folders, noise.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tollgate::Opened;

use crate::world::{USERS, open, take, used};

const HEADER_LEN: u64 = 4096;

fn closed(scratch: &tempfile::TempDir) -> PathBuf {
    let data = scratch.path().join("data");
    let limiter = open(&data).unwrap();
    assert!((0..USERS).all(|user| take(&limiter, user)));
    limiter.set_override("other", &["x"], "5/day").unwrap();
    limiter.close().unwrap();
    data
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Puts something else into the place of each file in turn. Each is an error that names it, or is
/// mended; nothing hangs, and nothing outside is touched.
fn each_is(put: impl Fn(&Path, &Path)) {
    for name in [
        "lock",
        "header",
        "marks",
        "overrides",
        "ceilings",
        "table",
        "table/03",
        "table/16",
        "journal",
        "journal/current",
        "journal/000001/db",
        "journal/000001/conf",
    ] {
        let scratch = crate::common::scratch();
        let data = closed(&scratch);
        let at = data.join(name);
        if !at.exists() {
            let generation = fs::read_dir(data.join("journal")).unwrap();
            let paths: Vec<_> = generation.map(|entry| entry.unwrap().path()).collect();
            assert!(name.contains("000001"), "{name}: {paths:?}");
            continue;
        }
        let elsewhere = scratch.path().join("elsewhere");
        fs::write(&elsewhere, "not yours").unwrap();
        remove(&at);
        put(&at, &elsewhere);
        match open(&data) {
            Ok(limiter) => {
                assert!(take(&limiter, 0), "{name}");
                for user in 1..USERS {
                    assert_eq!(used(&limiter, user), 1, "{name}: {:?}", limiter.health());
                }
            }
            Err(error) => {
                let path = error.path().unwrap_or_else(|| panic!("{name}: {error}"));
                assert!(path.starts_with(&at), "{name}: {error}");
            }
        }
        assert_eq!(fs::read(&elsewhere).unwrap(), b"not yours", "{name}");
    }
}

#[test]
fn fault_28_a_folder_in_the_place_of_each_file() {
    each_is(|at, _| fs::DirBuilder::new().mode(0o700).create(at).unwrap());
}

#[test]
fn fault_28_a_pipe_in_the_place_of_each_file() {
    each_is(|at, _| assert!(Command::new("mkfifo").arg(at).status().unwrap().success()));
}

#[test]
fn fault_28_a_link_in_the_place_of_each_file() {
    each_is(|at, elsewhere| std::os::unix::fs::symlink(elsewhere, at).unwrap());
}

#[test]
fn fault_28_names_that_are_no_text_and_files_that_are_strange_are_left_alone() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = crate::common::scratch();
    let data = closed(&scratch);
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    for folder in ["", "table", "journal"] {
        fs::write(data.join(folder).join(name), "mine").unwrap();
    }
    let limiter = open(&data).unwrap();
    assert_eq!(limiter.health().opened, Opened::Clean);
    limiter.flush().unwrap();
    limiter.close().unwrap();
    drop(limiter);
    for folder in ["", "table", "journal"] {
        assert_eq!(fs::read(data.join(folder).join(name)).unwrap(), b"mine");
    }
    assert!(!tollgate::doctor::examine(&data).unwrap().is_healthy());
}

#[test]
fn fault_27_slots_of_noise_end_every_search() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Noise; no empty slot anywhere; words at their largest, and far in the future; markers.
    for kind in 0..4 {
        let scratch = crate::common::scratch();
        let data = closed(&scratch);
        for shard in 0..=16 {
            let at = data.join(format!("table/{shard:02}"));
            let file = fs::OpenOptions::new().write(true).open(&at).unwrap();
            let slots = (file.metadata().unwrap().len() - HEADER_LEN) / 16;
            let mut bytes = Vec::new();
            for _ in 0..slots {
                let word = match kind {
                    0 => noise(),
                    1 => u64::MAX - 4,
                    2 => u64::MAX << 32 | 2,
                    _ => u64::MAX,
                };
                // Noise in whatever order of bytes.
                bytes.extend_from_slice(&(noise() | 1).to_le_bytes());
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            file.write_all_at(&bytes, HEADER_LEN).unwrap();
        }
        let limiter = open(&data).unwrap();
        // What is answered is worth nothing; that it is answered is what counts.
        for user in 0..200 {
            take(&limiter, user);
            assert!(used(&limiter, user) <= 1_000_000);
        }
        limiter.flush().unwrap();
        limiter.close().unwrap();
        drop(limiter);
        let report = tollgate::doctor::examine(&data).unwrap();
        assert!(kind == 3 || !report.is_healthy(), "{kind}: {report}");
    }
}
