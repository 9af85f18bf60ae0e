//! How a table grows: the steps that the thread makes which tends it. What they mean to those who
//! check meanwhile stands in `shard.rs`.

#[cfg(all(test, tollgate_loom))]
mod loom;

#[cfg(not(tollgate_loom))]
use super::shard::{Shard, Want};
use super::{Region, Table};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Lines moved in one step.
const CARRIED_AT_ONCE: usize = 256;

/// Words that have been dead for so long are left behind.
// Bound: no thread's reading of the clock is older, so nobody still counts in such a word.
const GRACE_NANOS: u64 = 10 * NANOS_PER_SEC;

/// How far the words of a shard have moved to its next generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    shard: usize,
    lines: usize,
    /// Something found no room.
    is_short: bool,
}

/// Which shards should grow, and who sees to it.
#[cfg(not(tollgate_loom))]
impl Table {
    /// Shards that are growing, from their beginning: whoever goes on with what another process
    /// began looks at all of their words.
    pub(crate) fn growing_shards(&self) -> Vec<Carried> {
        let numbers = 0..self.shards.len();
        let growing = numbers.filter(|number| self.shards[*number].is_growing());
        growing.map(Carried::none).collect()
    }

    /// The shard that wants most to be larger, and how many lines it should have.
    pub(crate) fn pressed(&self, now: Timestamp) -> Option<(usize, usize)> {
        let wants = self
            .shards
            .iter()
            .enumerate()
            .filter_map(|(number, shard)| {
                let want = shard.take_want(now);
                let lines = self.room.next_lines(shard.last_lines())?;
                (want != Want::Nothing).then_some((want, number, lines))
            });
        let wants: Vec<_> = wants.collect();
        let most = wants.iter().max_by_key(|(want, ..)| *want).copied()?;
        for (want, number, _) in wants {
            if number != most.1 {
                self.shards[number].note_want(want);
            }
        }
        Some((most.1, most.2))
    }

    /// True if one shard or another should be larger, or may find out that it should.
    pub(crate) fn is_called(&self) -> bool {
        self.shards.iter().any(|shard| shard.has_want())
    }

    /// True if somebody has found no slot in one shard or another, and waits for room.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.shards.iter().any(Shard::is_waited_for)
    }

    /// The same of the shard whose words move.
    pub(crate) fn is_carry_waited_for(&self, carried: &Carried) -> bool {
        self.shards[carried.shard].is_waited_for()
    }

    /// The generation of a shard that counts: where words stand that have not moved.
    pub(crate) fn region(&self, shard: usize) -> Option<&Region> {
        self.shards.get(shard)?.regions().next()
    }

    /// Names the thread that makes room: it is woken when a shard wants to be larger.
    pub(crate) fn set_maker(&self, maker: std::thread::Thread) {
        self.room.set_maker(maker);
    }

    /// Notes whether room cannot be made: a newcomer without a slot does not wait for it then.
    pub(crate) fn set_failing(&self, is_failing: bool) {
        self.room.set_failing(is_failing);
    }

    /// True if every shard is as large as it may get.
    pub(crate) fn is_at_most(&self) -> bool {
        let mut lines = self.shards.iter().map(|shard| shard.last_lines());
        lines.all(|lines| self.room.next_lines(lines).is_none())
    }
}

/// The steps.
impl Table {
    /// Lets a shard grow into `next`, which is empty.
    pub(crate) fn begin(&self, shard: usize, next: Region) -> Option<Carried> {
        let begun = self.shards.get(shard)?.begin(next);
        begun.then(|| Carried::none(shard))
    }

    /// Moves some words more; true when all have moved. What found no room is tried once more
    /// from the beginning.
    pub(crate) fn carry(&self, carried: &mut Carried, now: Timestamp) -> bool {
        let shard = &self.shards[carried.shard];
        let long_ago = now.minus_nanos(GRACE_NANOS);
        let (from, some) = (carried.lines, CARRIED_AT_ONCE);
        carried.is_short |= !shard.carry(from, some, self.shard_bits, long_ago);
        carried.lines += some;
        if carried.lines < shard.first_lines() {
            return false;
        }
        if carried.is_short {
            *carried = Carried::none(carried.shard);
            return false;
        }
        true
    }

    /// Ends the growth of a shard whose words have all moved: the larger generation alone counts.
    pub(crate) fn end(&self, shard: usize) {
        self.shards[shard].end();
    }

    /// Gives the memory of a shard's generation before this one back.
    ///
    /// # Errors
    /// If the system says no. It goes with the table then.
    pub(crate) fn retire(&self, shard: usize) -> std::io::Result<()> {
        self.shards[shard].retire()
    }
}

#[cfg(not(tollgate_loom))]
impl Carried {
    pub(crate) fn shard(&self) -> usize {
        self.shard
    }

    /// True if nothing has moved, or not everything could and it begins anew.
    pub(crate) fn is_anew(&self) -> bool {
        self.lines == 0
    }
}

impl Carried {
    fn none(shard: usize) -> Self {
        Self {
            shard,
            lines: 0,
            is_short: false,
        }
    }
}
