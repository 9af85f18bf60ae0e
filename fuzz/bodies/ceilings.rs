//! A damaged file of ceilings never gives a strict limit's key a fresh quota, and what is closed
//! for that is told.
//!
//! One damage cannot be told from a write that the power cut short: to both copies of the block
//! that was written last, if one of them is all zeros. It is passed over here.
//!
//! The first byte: 1 closes and opens again, 2 asks the doctor, 4 keeps the table, 8 keeps the
//! journal. The rest is damage to the file.

use crate::damage::{self, Damage, RESERVE, Sound, USERS, known, used};

pub(crate) fn run(bytes: &[u8]) {
    let Some((flags, bytes)) = bytes.split_first() else {
        return;
    };
    let sound = Sound::get();
    let mut files = sound.files.clone();
    let done = Damage::apply(&mut files, &["ceilings"], bytes);
    let (keeps_table, keeps_journal) = (flags & 4 != 0, flags & 8 != 0);
    let ceilings = files.get("ceilings").cloned();
    files.retain(|name, _| {
        (keeps_table || !name.starts_with("table/"))
            && (keeps_journal || !name.starts_with("journal/"))
    });
    let (_dir, data) = damage::lay(&files);
    if flags & 2 != 0 {
        damage::examine(&data, &files);
    }
    let Some(limiter) = damage::opened(&data, &done) else {
        return;
    };
    let health = limiter.health();
    let is_closed = health.reservations.closed_since.is_some();
    let is_told = is_closed || damage::is_told(&health);
    let is_excused =
        done.is_forged || ceilings.is_some_and(|now| looks_torn(&sound.files["ceilings"], &now));
    for user in (0..USERS).filter(|_| keeps_table || !is_excused) {
        let (now, before) = (used(&limiter, user)[2], known(user)[2]);
        assert!(now >= before, "a fresh quota: {now} of {before}");
        let most = if before == 0 { 0 } else { before + RESERVE };
        assert!(is_told || now <= most, "silently closed: {now} of {before}");
        // A forged file can say that an earlier one was lost.
        let may_be_closed = done.is_forged && is_closed;
        assert!(
            !keeps_table || now == before || may_be_closed,
            "{now} of {before}"
        );
    }
    damage::still_limits(&limiter, "newcomer");
    if flags & 1 != 0 {
        damage::reopened(limiter, &data);
    }
}

/// True if the last block is not what it was in both of its copies, and one of them is empty.
fn looks_torn(sound: &[u8], now: &[u8]) -> bool {
    const BLOCK: usize = 512;
    let last = sound
        .chunks(2 * BLOCK)
        .rposition(|block| block.iter().any(|byte| *byte != 0));
    let at = last.expect("there are blocks") * 2 * BLOCK;
    let copies = [at, at + BLOCK].map(|at| (now.get(at..at + BLOCK), sound.get(at..at + BLOCK)));
    let is_empty =
        |copy: Option<&[u8]>| copy.is_some_and(|copy| copy.iter().all(|byte| *byte == 0));
    copies.iter().all(|(now, sound)| now != sound) && copies.iter().any(|(now, _)| is_empty(*now))
}
