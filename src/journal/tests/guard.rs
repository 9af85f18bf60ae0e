//! A store that panics, hangs or fails is an error, and is not asked again.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::*;
use crate::journal::guarded::Guarded;

const PATIENCE: Patience = Patience {
    open: Duration::from_secs(3),
    step: Duration::from_secs(3),
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Panics,
    Hangs,
    Fails,
    PanicsWhenDropped,
}

/// A store with a mood, and a count of what it was asked.
struct Moody {
    mood: Mood,
    asked: Sender<()>,
}

impl Moody {
    fn act(&self) -> Result<(), StoreError> {
        self.asked.send(()).unwrap();
        match self.mood {
            Mood::Panics => panic!("as it is {}", "wont"),
            Mood::Hangs => {
                std::thread::sleep(Duration::from_secs(40));
                Ok(())
            }
            Mood::Fails => Err(StoreError::damaged(Path::new("moody"), "a bad day")),
            Mood::PanicsWhenDropped => Ok(()),
        }
    }
}

impl Store for Moody {
    fn commit(&mut self, _: u64, _: Batch<'_>) -> Result<(), StoreError> {
        self.act()
    }

    fn scan(&mut self, see: &mut dyn FnMut(Tag, Word)) -> Result<Scan, StoreError> {
        words(2345, 1)
            .into_iter()
            .for_each(|(tag, word)| see(tag, word));
        self.act().map(|()| Scan::default())
    }

    fn sequence(&self) -> u64 {
        7
    }

    fn size_bytes(&self) -> u64 {
        8
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        assert_ne!(self.mood, Mood::PanicsWhenDropped);
    }
}

fn guarded(mood: Mood) -> (Guarded, Receiver<()>) {
    let (asked, asks) = channel();
    let open = move || Ok(Moody { mood, asked });
    let guarded = Guarded::open(Path::new("moody"), PATIENCE, open).unwrap();
    assert_eq!((guarded.sequence(), guarded.size_bytes()), (7, 8));
    (guarded, asks)
}

#[test]
fn a_store_that_broke_is_not_asked_again() {
    for (mood, why) in [
        (Mood::Panics, "panicked: as it is wont"),
        (Mood::Hangs, "gave no answer"),
        (Mood::Fails, "a bad day"),
    ] {
        for scans in [false, true] {
            let (mut store, asks) = guarded(mood);
            let mut seen = 0;
            let error = if scans {
                store.scan(&mut |_, _| seen += 1).unwrap_err()
            } else {
                store.commit(1, Batch::EMPTY).unwrap_err()
            };
            assert!(error.to_string().contains(why), "{mood:?}: {error}");
            assert_eq!(error.is_damage(), mood != Mood::Hangs);
            if scans && mood == Mood::Fails {
                assert_eq!(seen, 2345, "what was shown before counts");
            }
            let again = store.commit(2, Batch::EMPTY).unwrap_err();
            assert!(matches!(again, StoreError::Broken { .. }), "{again}");
            assert_eq!(asks.try_iter().count(), 1);
            let started = Instant::now();
            drop(store);
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{mood:?} holds nobody up"
            );
        }
    }
}

#[test]
fn a_store_that_cannot_be_opened_or_closed_takes_nobody_along() {
    let path = Path::new("moody");
    let error = |open: fn() -> Result<Moody, StoreError>| {
        Guarded::open(path, PATIENCE, open)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(error(|| panic!("at once")).contains("panicked: at once"));
    assert!(error(|| Err(StoreError::damaged(Path::new("x"), "gone"))).contains("gone"));
    let hangs = || -> Result<Moody, StoreError> {
        std::thread::sleep(Duration::from_secs(40));
        Err(StoreError::damaged(Path::new("x"), "late"))
    };
    assert!(error(hangs).contains("gave no answer"));
    let (mut store, _asks) = guarded(Mood::PanicsWhenDropped);
    store.commit(1, Batch::EMPTY).unwrap();
    drop(store);
}
