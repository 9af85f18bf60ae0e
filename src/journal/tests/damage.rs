//! Every file of the storage engine damaged in every way: never a panic, and whatever is gone is
//! said to be gone.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::journal::folder::remove;

/// A journal with 3,000 words that was opened twice, so that it has a snapshot; and a place for
/// copies of it.
struct Pattern {
    folder: tempfile::TempDir,
    expected: HashMap<Tag, Word>,
}

/// What became of a damaged copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// All words are there.
    Whole,
    /// Some are not, and the report or the scan says so.
    Told,
}

impl Pattern {
    fn new() -> Self {
        let folder = crate::directory::scratch();
        let path = folder.path().join("pattern");
        let (mut journal, _) = open(&path);
        let mut expected = HashMap::new();
        for count in 1..=3 {
            let words = words(1000 * u64::from(count), count);
            journal.commit(&words).unwrap();
            expected.extend(words);
        }
        drop(journal);
        drop(open(&path));
        Self { folder, expected }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("pattern/000001")
    }

    /// Damages a copy, opens it, and checks that nothing is gone in silence and nothing is wrong.
    fn suffer(&self, place: &str, damage: impl FnOnce(&Path)) -> Fate {
        let path = self.folder.path().join("copy");
        let _ = fs::remove_dir_all(&path);
        copy(&self.folder.path().join("pattern"), &path);
        damage(&path.join("000001"));
        let (mut journal, report) = open(&path);
        let mut held = HashMap::new();
        let recovered = journal.scan(&mut |tag, word| {
            held.insert(tag, word);
        });
        let recovered = recovered.unwrap();
        for (tag, word) in &held {
            let most = self
                .expected
                .get(tag)
                .unwrap_or_else(|| panic!("{place}: {tag:?}"));
            assert!(
                word.bits() <= most.bits(),
                "{place}: {word:?}, not {most:?}"
            );
        }
        let aside = report.set_aside.or(recovered.set_aside);
        let is_told = aside.is_some() || report.loss.is_some() || recovered.scan.damaged > 0;
        if let Some(aside) = &aside {
            assert!(aside.path.exists(), "{place}: {aside:?}");
        }
        let fate = if held == self.expected {
            Fate::Whole
        } else {
            Fate::Told
        };
        assert!(
            fate == Fate::Whole || is_told,
            "{place}: {} words, in silence",
            held.len()
        );
        assert!(!is_told || journal.should_renew(3000), "{place}");
        if is_told {
            // Whatever happened, the table's words make it good.
            journal.renew(self.expected.clone()).unwrap();
            drop(journal);
            assert_eq!(&super::held(&mut open(&path).0), &self.expected, "{place}");
        }
        fate
    }
}

/// A sequence of numbers that looks random and is the same each time.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        crate::codec::checksum(&state.to_le_bytes())
    }
}

/// One in how many of the ways to damage a file is tried: all with `TOLLGATE_THOROUGH` set.
fn stride(of: usize) -> usize {
    if std::env::var_os("TOLLGATE_THOROUGH").is_some() {
        1
    } else {
        of
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn snapshot(path: &Path) -> String {
    let names = names(path);
    let snapshot = names.iter().find(|name| name.starts_with("snap."));
    snapshot.unwrap_or_else(|| panic!("{names:?}")).clone()
}

/// How much of `db` is in use: it ends in zeros.
fn used(path: &Path) -> usize {
    let bytes = fs::read(path.join("db")).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1
}

#[test]
fn what_the_engine_leaves_behind_does_no_harm() {
    let pattern = Pattern::new();
    assert_eq!(pattern.suffer("untouched", |_| ()), Fate::Whole);
    let snapshot = snapshot(&pattern.path());
    let length = fs::read(pattern.path().join(&snapshot)).unwrap().len();
    for cut in [0, 1, 12, 13, length / 2, length - 1] {
        let place = format!("snapshot cut to {cut}");
        let fate = pattern.suffer(&place, |path| {
            change(&path.join(&snapshot), |bytes| bytes.truncate(cut));
        });
        assert_eq!(fate, Fate::Whole, "{place}: it is only a cache");
        let place = format!("unfinished snapshot of {cut} bytes");
        let fate = pattern.suffer(&place, |path| {
            let whole = fs::read(path.join(&snapshot)).unwrap();
            let unfinished = path.join("snap.7FFFFFFFFFFFFFFF.generating");
            fs::write(unfinished, &whole[..cut]).unwrap();
        });
        assert_eq!(fate, Fate::Whole, "{place}");
    }
    for bit in (0..length * 8).step_by(stride(16) * 97) {
        let place = format!("snapshot, bit {bit}");
        let fate = pattern.suffer(&place, |path| {
            change(&path.join(&snapshot), |bytes| {
                bytes[bit / 8] ^= 1 << (bit % 8)
            });
        });
        assert_eq!(fate, Fate::Whole, "{place}");
    }
    let fate = pattern.suffer("no snapshot", |path| {
        fs::remove_file(path.join(&snapshot)).unwrap();
    });
    assert_eq!(fate, Fate::Whole);
    for name in ["conf", "blobs"] {
        let fate = pattern.suffer(name, |path| remove(&path.join(name)).unwrap());
        assert_eq!(fate, Fate::Whole, "without {name}");
    }
    assert_eq!(
        pattern.suffer("empty conf", |path| fs::write(path.join("conf"), "")
            .unwrap()),
        Fate::Whole
    );
}

#[test]
fn the_file_of_settings_damaged() {
    let pattern = Pattern::new();
    let length = fs::read(pattern.path().join("conf")).unwrap().len();
    for bit in (0..length * 8).step_by(stride(29)) {
        pattern.suffer(&format!("conf, bit {bit}"), |path| {
            change(&path.join("conf"), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        });
    }
    for cut in (0..length).step_by(stride(7)) {
        pattern.suffer(&format!("conf cut to {cut}"), |path| {
            change(&path.join("conf"), |bytes| bytes.truncate(cut));
        });
    }
    let mut next = random(1);
    for round in (0..20).step_by(stride(5)) {
        pattern.suffer(&format!("random conf {round}"), |path| {
            let bytes: Vec<_> = (0..4).flat_map(|_| next().to_le_bytes()).collect();
            fs::write(path.join("conf"), bytes).unwrap();
        });
    }
}

#[test]
fn the_log_cut_short_anywhere() {
    let pattern = Pattern::new();
    let used = used(&pattern.path());
    let mut told = 0;
    for cut in (0..used)
        .step_by(stride(8) * 4096)
        .chain([1, 19, 20, 21, used - 1])
    {
        let fate = pattern.suffer(&format!("db cut to {cut} of {used}"), |path| {
            change(&path.join("db"), |bytes| bytes.truncate(cut));
        });
        told += u32::from(fate == Fate::Told);
        let fate = pattern.suffer(&format!("db zero from {cut} of {used}"), |path| {
            change(&path.join("db"), |bytes| bytes[cut..].fill(0));
        });
        told += u32::from(fate == Fate::Told);
    }
    assert!(told > 5, "most of these lose something");
    pattern.suffer("no db", |path| fs::remove_file(path.join("db")).unwrap());
}

#[test]
fn the_log_with_bits_flipped_or_filled_with_noise() {
    let pattern = Pattern::new();
    let used = used(&pattern.path());
    let mut next = random(2);
    let mut below = |most: usize| usize::try_from(next() % most as u64).unwrap();
    for round in (0..150).step_by(stride(10)) {
        let (at, bit) = (below(used), below(8));
        pattern.suffer(&format!("db, byte {at} bit {bit}, round {round}"), |path| {
            change(&path.join("db"), |bytes| bytes[at] ^= 1 << bit);
        });
    }
    for round in (0..60).step_by(stride(10)) {
        let (at, length) = (below(used), 1 + below(5000));
        pattern.suffer(
            &format!("db, {length} bytes of noise at {at}, {round}"),
            |path| {
                let noise: Vec<u8> = (0..length)
                    .map(|_| u8::try_from(below(256)).unwrap())
                    .collect();
                change(&path.join("db"), |bytes| {
                    let end = bytes.len().min(at + length);
                    bytes[at..end].copy_from_slice(&noise[..end - at]);
                });
            },
        );
    }
    for size in [1, 4096, 524_288, 600_000] {
        let noise: Vec<u8> = (0..size)
            .map(|_| u8::try_from(below(256)).unwrap())
            .collect();
        let fate = pattern.suffer(&format!("db of {size} bytes of noise"), |path| {
            fs::write(path.join("db"), &noise).unwrap();
        });
        assert_eq!(fate, Fate::Told);
    }
}

#[test]
fn what_is_not_a_file_or_absurdly_large_is_never_read() {
    let pattern = Pattern::new();
    let snapshot = snapshot(&pattern.path());
    let elsewhere = pattern.folder.path().join("elsewhere");
    fs::write(&elsewhere, "somebody's").unwrap();
    for name in ["db", "conf", "blobs", &snapshot] {
        let link = |path: &Path| {
            remove(&path.join(name)).unwrap();
            symlink(&elsewhere, path.join(name)).unwrap();
        };
        assert_eq!(
            pattern.suffer(&format!("{name} is a link"), link),
            Fate::Told
        );
        let pipe = |path: &Path| {
            let at = path.join(name);
            remove(&at).unwrap();
            let made = std::process::Command::new("mkfifo")
                .arg(&at)
                .status()
                .unwrap();
            assert!(made.success());
        };
        assert_eq!(
            pattern.suffer(&format!("{name} is a pipe"), pipe),
            Fate::Told
        );
    }
    for (name, length) in [
        ("db", 1 << 42),
        (snapshot.as_str(), 1 << 42),
        ("conf", 1 << 42),
    ] {
        let fate = pattern.suffer(&format!("{name} of {length} bytes"), |path| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(path.join(name))
                .unwrap();
            file.set_len(length).unwrap();
        });
        assert_eq!(fate, Fate::Told);
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), b"somebody's");
    let fate = pattern.suffer("a file for a folder", |path| {
        fs::remove_dir_all(path).unwrap();
        fs::write(path, "not a folder").unwrap();
    });
    assert_eq!(fate, Fate::Told);
}
