//! The trust rule, part by part: each test changes one thing that the rule compares, and nothing
//! else.

use std::fs;
use std::path::{Path, PathBuf};

use super::mapping::{Mapping, Wanted};
use super::store::{Opened, Store};
use crate::directory::{Mark, Marks, State};
use crate::error::Error;
use crate::time::Timestamp;

/// A directory whose table lies in it or outside.
struct Bench {
    dir: tempfile::TempDir,
    is_outside: bool,
}

impl Bench {
    fn each() -> [Self; 2] {
        [false, true].map(|is_outside| Self {
            dir: crate::directory::scratch(),
            is_outside,
        })
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn marks(&self) -> Marks {
        Marks::open(self.data().join("marks")).unwrap()
    }

    fn try_open(&self) -> Result<Store, Error> {
        let mapping = if self.is_outside {
            Mapping::Under(self.dir.path().to_owned())
        } else {
            Mapping::DataDirectory
        };
        Store::open(
            &self.data(),
            std::time::Duration::ZERO,
            1,
            &Wanted::new(mapping),
        )
    }

    /// Opened and begun; dropped, it is as a killed process leaves it.
    fn open(&self) -> Store {
        let mut store = self.try_open().unwrap();
        store.begin(Timestamp::EPOCH).unwrap();
        store
    }

    fn change(&self, change: impl FnOnce(&mut Mark)) {
        let mut marks = self.marks();
        let mut mark = marks.last().unwrap();
        change(&mut mark);
        marks.write(&mark, true).unwrap();
    }

    /// Why the table is not believed, if it is not.
    fn why(&self) -> Option<String> {
        match self.open().opened {
            Opened::SetAside { why, .. } => Some(why),
            _ => None,
        }
    }

    fn shard(&self, number: u32) -> PathBuf {
        self.try_open().unwrap().shard_path(number)
    }
}

/// Changes one thing about a table that was not closed: it is set aside, and says why.
fn not_believed(why: &str, change: impl Fn(&Bench)) {
    for bench in Bench::each() {
        drop(bench.open());
        assert_eq!(bench.why(), None, "nothing was changed yet");
        change(&bench);
        assert_eq!(bench.why().as_deref(), Some(why), "{}", bench.is_outside);
    }
}

#[test]
fn another_boot() {
    not_believed("another boot", |bench| {
        bench.change(|mark| mark.place.boot[15] ^= 1);
    });
}

#[test]
fn another_mount() {
    not_believed("another mount", |bench| {
        bench.change(|mark| mark.place.mount ^= 1);
    });
}

#[test]
fn another_file_in_the_place_of_each_shard() {
    for number in [0, 7, 16] {
        not_believed("other files", |bench| {
            let shard = bench.shard(number);
            let copy = shard.with_extension("copy");
            fs::write(&copy, fs::read(&shard).unwrap()).unwrap();
            private(&copy);
            fs::rename(copy, shard).unwrap();
        });
    }
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn another_stamp() {
    not_believed("another time's table", |bench| {
        bench.change(|mark| mark.stamps = mark.stamps.map(|stamp| stamp ^ 1));
    });
}

#[test]
fn another_instance_in_the_marks_is_an_error() {
    for bench in Bench::each() {
        drop(bench.open());
        bench.change(|mark| mark.instance[0] ^= 1);
        let error = bench.try_open().unwrap_err();
        assert!(error.is_damaged(), "{error}");
        assert_eq!(error.path(), Some(bench.data().join("marks").as_path()));
    }
}

#[test]
fn another_instance_in_a_shard() {
    for (bench, other) in Bench::each().into_iter().zip(Bench::each()) {
        drop((bench.open(), other.open()));
        let (shard, foreign) = (bench.shard(3), other.shard(3));
        // The same file, so that nothing differs but what it says of itself, and its stamp.
        fs::write(&shard, fs::read(foreign).unwrap()).unwrap();
        let why = bench.why().unwrap();
        assert!(why.contains("belongs to another directory"), "{why}");
    }
}

#[test]
fn closed_clean_only_the_stamp_counts() {
    for bench in Bench::each() {
        bench.open().close(Default::default()).unwrap();
        bench.change(|mark| {
            mark.place.boot = [0; 16];
            mark.place.mount ^= 1;
        });
        assert_eq!(bench.try_open().unwrap().opened, Opened::Clean);
        bench.change(|mark| mark.stamps = [1, 2]);
        assert_eq!(bench.why().as_deref(), Some("another time's table"));
    }
}

#[test]
fn a_shard_put_back_from_an_earlier_time_is_noticed_even_when_closed_clean() {
    for bench in Bench::each() {
        bench.open().close(Default::default()).unwrap();
        let shard = bench.shard(5);
        let earlier = fs::read(&shard).unwrap();
        bench.open().close(Default::default()).unwrap();
        fs::write(&shard, earlier).unwrap();
        assert_eq!(bench.why().as_deref(), Some("another time's table"));
    }
}

#[test]
fn a_kill_while_the_shards_are_stamped_leaves_them_believed() {
    for state in [State::Open, State::Clean] {
        for bench in Bench::each() {
            let store = bench.open();
            if state == State::Clean {
                store.close(Default::default()).unwrap();
            }
            drop(store);
            // As far as the mark that says which stamp comes, and one of two tables stamped.
            let store = bench.try_open().unwrap();
            store.shared.stamp(77);
            drop(store);
            bench.change(|mark| mark.stamps[1] = 77);
            let opened = bench.open().opened;
            let expected = if state == State::Clean {
                Opened::Clean
            } else {
                Opened::Kept
            };
            assert_eq!(opened, expected, "{}", bench.is_outside);
        }
    }
}

#[test]
fn a_kill_after_the_shards_were_stamped_leaves_them_believed() {
    for bench in Bench::each() {
        for is_closed in [false, true] {
            let store = bench.open();
            if is_closed {
                store.close(Default::default()).unwrap();
            }
            drop(store);
            bench.try_open().unwrap().stamp_alone();
            let expected = if is_closed {
                Opened::Clean
            } else {
                Opened::Kept
            };
            assert_eq!(bench.open().opened, expected, "{}", bench.is_outside);
        }
    }
}

#[test]
fn a_mark_that_cannot_be_written_leaves_the_shards_as_they_were() {
    for bench in Bench::each() {
        let store = bench.open();
        let path = bench.data().join("marks");
        let marks = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(store.close(Default::default()).is_err());
        drop(store);
        fs::write(&path, marks).unwrap();
        private(&path);
        assert_eq!(bench.open().opened, Opened::Kept);
    }
}

#[test]
fn memory_that_has_no_room_is_passed_over_or_an_error() {
    let dir = crate::directory::scratch();
    let open = |mapping: Mapping, name: &str, counters: u64| {
        let mut wanted = Wanted::new(mapping);
        wanted.roots = vec![dir.path().join("missing"), PathBuf::from("/proc")];
        Store::open(
            &dir.path().join(name),
            std::time::Duration::ZERO,
            counters,
            &wanted,
        )
    };
    if crate::directory::is_memory(dir.path()).unwrap() {
        // A data directory in memory is where its table lies, whatever other places there are.
        assert!(open(Mapping::Memory, "memory", 1).is_ok());
        return;
    }
    let error = open(Mapping::Memory, "memory", 1).unwrap_err();
    let text = error.to_string();
    assert!(
        error.is_no_place() && text.contains("missing") && text.contains("/proc"),
        "{text}"
    );
    let store = open(Mapping::Automatic, "automatic", 1).unwrap();
    assert_eq!(store.placement.notes.len(), 2, "{}", store.placement);
}
