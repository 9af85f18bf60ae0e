//! A model of the sweep flag. The marks themselves are modelled with the counters that make them.

use loom::sync::Arc;
use loom::thread;

use super::Inbox;
use crate::key::Tag;
use crate::sync::{AtomicU64, Ordering};

/// The inbox is full: who sees the sweep flag sees the mark that it was raised for.
#[test]
fn loom_inbox_flag_shows_the_mark() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new(1));
        let word = Arc::new(AtomicU64::new(0));
        inbox.mark(Tag::from_bits(8));
        let marker = {
            let (inbox, word) = (inbox.clone(), word.clone());
            thread::spawn(move || {
                // Ordering: relaxed, so that the flag alone can show it.
                word.store(1, Ordering::Relaxed);
                inbox.mark(Tag::from_bits(4));
            })
        };
        if inbox.take_missed() {
            // Ordering: relaxed, as above.
            assert_eq!(word.load(Ordering::Relaxed), 1);
        }
        marker.join().unwrap();
    });
}
