//! What is broken is noticed: an error, or a rebuild from the journal that says so.

use std::fs;
use std::time::Duration;

use tollgate::Opened;

use super::common::flip;
use super::{World, noon, used, why_set_aside};

super::wherever_the_table_lies!(
    every_flipped_byte_of_a_shards_header_is_noticed,
    shards_cut_stretched_swapped_or_gone_are_rebuilt,
    edge_31_a_rebuild_does_not_depend_on_when_it_happens,
    a_rebuild_that_did_not_happen_is_made_good,
    marks_that_cannot_be_read_are_not_a_new_directory,
);

/// Opens a directory whose table is damaged: it is set aside, and rebuilt from the journal.
fn rebuilt(world: &World, what: &str) {
    let limiter = world.open();
    why_set_aside(&limiter);
    assert_eq!(limiter.health().recovery.counters, 4, "{what}");
    assert_eq!(used(&limiter, "alice"), [7; 4], "{what}");
}

#[test]
fn every_flipped_byte_of_the_header_is_an_error() {
    let world = World::in_data();
    world.close_one();
    let path = world.data().join("header");
    for at in 0..72 {
        flip(&path, at);
        let error = world.try_open().unwrap_err();
        assert!(error.is_damaged() || error.is_version(), "{at}: {error}");
        assert_eq!(error.path(), Some(path.as_path()), "{error}");
        flip(&path, at);
    }
    assert_eq!(world.open().health().opened, Opened::Clean);
}

fn every_flipped_byte_of_a_shards_header_is_noticed(world: &World) {
    world.close_one();
    for shard in ["03", "16"] {
        for at in (0..56).chain(64..72) {
            flip(&world.table().join(shard), at);
            if (8..12).contains(&at) {
                let error = world.try_open().unwrap_err();
                assert!(error.is_version(), "{at}: {error}");
                flip(&world.table().join(shard), at);
            } else {
                rebuilt(world, &format!("{shard}, byte {at}"));
            }
        }
    }
}

fn shards_cut_stretched_swapped_or_gone_are_rebuilt(world: &World) {
    world.close_one();
    let path = || world.table().join("05");
    let len = fs::metadata(path()).unwrap().len();
    for to in [0, 1, 55, 4095, 4096, len - 64, len - 1, len + 64] {
        fs::OpenOptions::new()
            .write(true)
            .open(path())
            .unwrap()
            .set_len(to)
            .unwrap();
        rebuilt(world, &format!("{to} bytes long"));
    }
    fs::copy(world.table().join("06"), path()).unwrap();
    rebuilt(world, "swapped");
    fs::remove_file(path()).unwrap();
    rebuilt(world, "gone");
    fs::remove_dir_all(world.table()).unwrap();
    rebuilt(world, "all gone");
}

/// The journal holds words, and no word depends on when it is read back: rebuilt half a day later
/// the counters are those of the table as it was found then.
fn edge_31_a_rebuild_does_not_depend_on_when_it_happens(world: &World) {
    world.close_one();
    let later = || {
        let clock = noon();
        clock.advance(Duration::from_secs(3_600));
        let limiter = world.open_at(&world.data(), clock).unwrap();
        (used(&limiter, "alice"), limiter.health().opened)
    };
    let (kept, opened) = later();
    assert_eq!(opened, Opened::Clean);
    fs::remove_dir_all(world.table()).unwrap();
    let (rebuilt, opened) = later();
    assert!(matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    assert_eq!(rebuilt, kept);
    assert!(kept.contains(&7) && kept.contains(&0), "{kept:?}");
}

fn a_rebuild_that_did_not_happen_is_made_good(world: &World) {
    world.close_one();
    fs::remove_file(world.table().join("05")).unwrap();
    // The table is set aside, and then the opening fails before anything is rebuilt.
    let overrides = world.data().join("overrides");
    fs::write(&overrides, "not overrides").unwrap();
    assert!(world.try_open().unwrap_err().is_damaged());
    fs::remove_file(overrides).unwrap();
    let limiter = world.open();
    assert_eq!(used(&limiter, "alice"), [7; 4], "{:?}", limiter.health());
}

fn marks_that_cannot_be_read_are_not_a_new_directory(world: &World) {
    world.close_one();
    let path = world.data().join("marks");
    let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    fs::write(&path, vec![0; len]).unwrap();
    rebuilt(world, "no mark");
    fs::remove_file(&path).unwrap();
    rebuilt(world, "no file of marks");
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let world = World::in_data();
    drop(world.open());
    let path = world.data().join("header");
    let mut bytes = fs::read(&path).unwrap();
    let supported = bytes[8];
    for (version, word) in [(supported + 1, "newer"), (supported - 1, "older")] {
        bytes[8] = version;
        fs::write(&path, &bytes).unwrap();
        let error = world.try_open().unwrap_err();
        assert!(
            error.is_version() && error.to_string().contains(word),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_lost_header_is_an_error_not_a_fresh_start() {
    let world = World::in_data();
    drop(world.open());
    fs::remove_file(world.data().join("header")).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(
        error.is_damaged() && error.to_string().contains("header"),
        "{error}"
    );
}
