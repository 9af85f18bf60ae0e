//! What a life is made of, read from bytes: limits, and what happens.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::model::Kind;

pub(crate) const USERS: [&str; 3] = ["alice", "bob", "carol"];
pub(crate) const LIMITS_MAX: usize = 4;
pub(crate) const EVENTS_MAX: usize = 60;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// What of a counter outlives a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Arbitrary)]
pub(crate) enum Durability {
    Memory,
    Logged,
    Strict,
}

/// A limit: its rule, whether each user has a counter, whether it is in shadow.
#[derive(Clone, Debug)]
pub(crate) struct LimitPlan {
    pub(crate) kind: Kind,
    pub(crate) durability: Durability,
    pub(crate) is_keyed: bool,
    pub(crate) is_shadow: bool,
}

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Check {
        user: usize,
        cost: u64,
    },
    Pass {
        nanos: u64,
    },
    /// Waits for as long as a refused cost is told to, and looks just before and at that instant.
    Wait {
        user: usize,
        cost: u64,
    },
    Refund {
        which: usize,
    },
    Settle {
        which: usize,
        actual: u64,
    },
    Reset {
        user: usize,
        limit: usize,
    },
    /// Another policy, in which one limit has another amount.
    Amend {
        limit: usize,
        amount: u64,
    },
    Override {
        limit: usize,
        user: usize,
        amount: u64,
    },
    RemoveOverride {
        limit: usize,
        user: usize,
    },
    /// Closes and opens again, with a clock that was set back meanwhile.
    Restart {
        back_secs: u64,
    },
    /// The power goes: only what was synced is there, and the table is gone.
    PowerCut {
        flushes: bool,
    },
    /// More newcomers than a small table has slots.
    Flood {
        limit: usize,
    },
}

impl LimitPlan {
    pub(crate) fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let secs = *bytes.choose(&[1_u64, 7, 10, 60, 3_600])?;
        let amount = bytes.int_in_range(1..=11)?;
        let kind = match bytes.int_in_range(0..=4)? {
            0 => Kind::Bucket {
                count: bytes.int_in_range(1..=19)?,
                token_ms: *bytes.choose(&[1, 7, 250, 1_000, 60_000])?,
                burst: amount,
            },
            1 => Kind::Fixed { amount, secs },
            2 => Kind::FirstHit { amount, secs },
            3 => Kind::Sliding { amount, secs },
            _ => Kind::KathmanduDay { amount },
        };
        Ok(Self {
            kind,
            durability: bytes.arbitrary()?,
            is_keyed: bytes.ratio(3, 4)?,
            is_shadow: bytes.ratio(1, 5)?,
        })
    }
}

fn cost(bytes: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match bytes.int_in_range(0..=10)? {
        0..=7 => bytes.int_in_range(1..=4)?,
        8 | 9 => bytes.int_in_range(0..=14)?,
        _ => u64::MAX,
    })
}

fn span(bytes: &mut Unstructured<'_>) -> Result<u64> {
    match bytes.int_in_range(0..=3)? {
        0 => bytes.int_in_range(0..=2),
        1 => bytes.int_in_range(0..=2 * SECOND),
        2 => Ok(bytes.int_in_range(0..=119)? * SECOND),
        _ => bytes.int_in_range(0..=100_000 * SECOND),
    }
}

impl Event {
    pub(crate) fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let limit = |bytes: &mut Unstructured<'_>| bytes.int_in_range(0..=LIMITS_MAX - 1);
        let user = |bytes: &mut Unstructured<'_>| bytes.int_in_range(0..=USERS.len() - 1);
        let which = |bytes: &mut Unstructured<'_>| bytes.int_in_range(0..=EVENTS_MAX);
        Ok(match bytes.int_in_range(0..=31)? {
            0..=11 => Self::Check {
                user: user(bytes)?,
                cost: cost(bytes)?,
            },
            12..=15 => Self::Pass {
                nanos: span(bytes)?,
            },
            16 | 17 => Self::Wait {
                user: user(bytes)?,
                cost: bytes.int_in_range(1..=4)?,
            },
            18 | 19 => Self::Refund {
                which: which(bytes)?,
            },
            20 | 21 => Self::Settle {
                which: which(bytes)?,
                actual: bytes.int_in_range(0..=19)?,
            },
            22 => Self::Reset {
                user: user(bytes)?,
                limit: limit(bytes)?,
            },
            23 | 24 => Self::Amend {
                limit: limit(bytes)?,
                amount: bytes.int_in_range(1..=15)?,
            },
            25 | 26 => Self::Override {
                limit: limit(bytes)?,
                user: user(bytes)?,
                amount: bytes.int_in_range(1..=15)?,
            },
            27 => Self::RemoveOverride {
                limit: limit(bytes)?,
                user: user(bytes)?,
            },
            28 => Self::Restart {
                back_secs: bytes.int_in_range(0..=32 * 86_400)?,
            },
            29 | 30 => Self::PowerCut {
                flushes: bytes.arbitrary()?,
            },
            _ => Self::Flood {
                limit: limit(bytes)?,
            },
        })
    }
}
