//! A damaged journal is an error or a limiter that still limits: what is lost with it is told, and
//! what could not be read is kept.
//!
//! The first byte: 1 closes, loses the table and opens again, 2 asks the doctor, 4 keeps the
//! table. The rest is damage to the journal's files.

use std::fs;

use crate::damage::{self, Damage, RESERVE, Sound, USERS, all_used, known, used};
use tollgate::Limiter;

pub(crate) fn run(bytes: &[u8]) {
    let Some((flags, bytes)) = bytes.split_first() else {
        return;
    };
    damage::let_the_engine_panic();
    let sound = Sound::get();
    let mut files = sound.files.clone();
    let done = Damage::apply(&mut files, &sound.names(&["journal/"]), bytes);
    let keeps_table = flags & 4 != 0;
    if !keeps_table {
        files.retain(|name, _| !name.starts_with("table/"));
    }
    let (_dir, data) = damage::lay(&files);
    if flags & 2 != 0 {
        damage::examine(&data, &files);
    }
    let Some(limiter) = damage::opened(&data, &done) else {
        let current = fs::read(data.join("journal/current")).ok();
        assert_eq!(current.as_ref(), files.get("journal/current"));
        return;
    };
    if keeps_table {
        (0..USERS).for_each(|user| assert_eq!(used(&limiter, user), known(user)));
    } else if !done.is_forged {
        recovered(&limiter);
    }
    for trouble in &limiter.health().recovery.troubles {
        if let Some((_, kept)) = trouble.split_once("; see ") {
            assert!(fs::exists(kept).is_ok_and(|is_there| is_there), "{trouble}");
        }
    }
    damage::still_limits(&limiter, "newcomer");
    if flags & 1 != 0 {
        made_good(limiter, &data);
    }
}

/// Nothing came back that was not there, and what did not come back is told.
fn recovered(limiter: &Limiter) {
    let is_told = damage::is_told(&limiter.health());
    for user in 0..USERS {
        let (now, before) = (used(limiter, user), known(user));
        for limit in 0..2 {
            assert!(now[limit] <= before[limit], "{now:?} of {before:?}");
            assert!(
                is_told || now[limit] == before[limit],
                "a silent loss: {now:?} of {before:?}"
            );
        }
        let most = before[2] + RESERVE;
        assert!(
            (before[2]..=most).contains(&now[2]),
            "{now:?} of {before:?}"
        );
    }
}

/// A journal that was damaged holds everything again once it has been written.
fn made_good(limiter: Limiter, data: &std::path::Path) {
    let before = all_used(&limiter);
    limiter.flush().expect("it can be written");
    limiter.close().expect("it can be closed");
    drop(limiter);
    fs::remove_dir_all(data.join("table")).expect("a table");
    let limiter = damage::open(data).expect("what was made good opens");
    for (now, before) in all_used(&limiter).iter().zip(&before) {
        let [each, window, paid] = *before;
        assert_eq!(now[..2], [each, window], "{:?}", limiter.health().recovery);
        assert!(
            (paid..=paid + RESERVE).contains(&now[2]),
            "{now:?} of {before:?}"
        );
    }
}
