//! Any bytes in the place of a directory's own files are an error or a limiter that still limits,
//! and what was lost with the table comes back from the journal.
//!
//! The first byte: 1 closes and opens again, 2 asks the doctor. The rest is damage to the header,
//! the marks, the overrides and the table.

use crate::damage::{self, Damage, Sound, USERS, known, used};

pub(crate) fn run(bytes: &[u8]) {
    let Some((flags, bytes)) = bytes.split_first() else {
        return;
    };
    let sound = Sound::get();
    let mut files = sound.files.clone();
    let names = sound.names(&["header", "marks", "overrides", "table/"]);
    let done = Damage::apply(&mut files, &names, bytes);
    let (_dir, data) = damage::lay(&files);
    if flags & 2 != 0 {
        damage::examine(&data, &files);
    }
    let Some(limiter) = damage::opened(&data, &done) else {
        return;
    };
    let says_other_words = done.altered.iter().any(|name| name.starts_with("table/"));
    if !done.is_forged && !says_other_words {
        for user in 0..USERS {
            let (now, before) = (used(&limiter, user), known(user));
            assert_eq!(now[..2], before[..2], "of user {user}");
            assert!(now[2] >= before[2], "{now:?} of {before:?}");
        }
    }
    damage::still_limits(&limiter, "newcomer");
    if flags & 1 != 0 {
        let limiter = damage::reopened(limiter, &data);
        damage::still_limits(&limiter, "another");
    }
}
