//! The rates that the words of each limit name, as the header keeps them.
//!
//! ```text
//! offset | bytes | field of a record
//!      0 |     8 | limit: SipHash-1-3 of its identity, under a key of zeros
//!      8 |     8 | number that words name the rate by
//!     16 |     8 | tokens ...
//!     24 |     8 | ... in so many nanoseconds
//!     32 |     8 | burst
//!     40 |     8 | since when the limit has it no more, ns since 1970; 0 while it has it
//! ```

use std::collections::BTreeMap;

use crate::algorithm::{Bucket, NO_PACE, Named, PACE_MAX, Paces};
use crate::codec::{Reader, checksum};
use crate::time::Timestamp;

const RECORD: usize = 48;
/// The most records that a header holds.
// Bound: 31 for each of more limits than a policy has.
const RECORDS_MAX: usize = 1 << 16;

/// The paces of every limit that has a token bucket, or had one not long ago.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rates(BTreeMap<u64, Paces>);

impl Rates {
    /// The longest that the records can be, in bytes.
    pub(super) const LEN_MAX: usize = RECORD * RECORDS_MAX;

    /// Gives each rate of a limit its number. Returns all rates that words of the limit may name:
    /// these, and former ones whose words may still count.
    pub(crate) fn name(
        &mut self,
        identity: &str,
        rates: &mut [&mut Bucket],
        now: Timestamp,
    ) -> Paces {
        let records: usize = self.0.values().map(|paces| paces.iter().count()).sum();
        // Bound: a limit that gets numbers here gets no more than a word can tell apart.
        let has_room = records + usize::from(PACE_MAX) <= RECORDS_MAX;
        let paces = self.0.entry(limit_number(identity)).or_default();
        let current: Vec<Bucket> = rates.iter().map(|rate| **rate).collect();
        paces.retire(&current, now);
        for rate in &mut *rates {
            **rate = match has_room {
                true => paces.name(rate, now),
                false => rate.with_pace(NO_PACE),
            };
        }
        let most_burst = paces.most_burst();
        for rate in rates {
            **rate = rate.among(most_burst);
        }
        paces.clone()
    }

    /// Ends the rates of all other limits than these, and removes those that no word can name.
    pub(crate) fn keep(&mut self, identities: &[&str], now: Timestamp) {
        let kept: Vec<u64> = identities.iter().map(|name| limit_number(name)).collect();
        for (limit, paces) in &mut self.0 {
            if !kept.contains(limit) {
                paces.retire(&[], now);
                paces.forget(now);
            }
        }
        self.0.retain(|_, paces| !paces.is_empty());
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (limit, paces) in &self.0 {
            for named in paces.iter() {
                let until = named.until.map_or(0, Timestamp::as_nanos);
                let fields = [
                    *limit,
                    u64::from(named.pace),
                    named.count,
                    named.period_nanos,
                    named.burst,
                    until,
                ];
                fields
                    .iter()
                    .for_each(|field| bytes.extend(field.to_le_bytes()));
            }
        }
        bytes
    }

    /// The rates of whole records; `None` if one is no rate, or is there twice.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if !bytes.len().is_multiple_of(RECORD) {
            return None;
        }
        let mut rates = Self::default();
        for record in bytes.chunks_exact(RECORD) {
            let mut fields = Reader::new(record);
            let (limit, pace) = (fields.u64(), fields.u64());
            let named = Named {
                pace: u8::try_from(pace).ok()?,
                count: fields.u64(),
                period_nanos: fields.u64(),
                burst: fields.u64(),
                until: match fields.u64() {
                    0 => None,
                    nanos => Some(Timestamp::from_nanos(nanos)),
                },
            };
            if !rates.0.entry(limit).or_default().add(named) {
                return None;
            }
        }
        Some(rates)
    }
}

fn limit_number(identity: &str) -> u64 {
    checksum(identity.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(count: u64) -> Bucket {
        Bucket::new(count, 60_000_000_000, 2 * count).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (mut rates, now) = (Rates::default(), Timestamp::from_secs(1_000));
        let (mut one, mut two) = (bucket(1), bucket(7));
        rates.name("a", &mut [&mut one, &mut two], now);
        rates.name("b", &mut [&mut two], now);
        rates.name("a", &mut [&mut two], now);
        let bytes = rates.encode();
        assert_eq!(bytes.len(), 3 * RECORD);
        assert_eq!(Rates::decode(&bytes), Some(rates));
        assert_eq!(Rates::decode(&bytes[1..]), None);
        let twice = [&bytes[..], &bytes[..RECORD]].concat();
        assert_eq!(Rates::decode(&twice), None);
        assert_eq!(Rates::decode(&[0; RECORD]), None);
    }

    #[test]
    fn a_limit_that_is_gone_is_kept_while_its_words_may_count() {
        let (mut rates, now) = (Rates::default(), Timestamp::from_secs(1_000));
        rates.name("a", &mut [&mut bucket(1)], now);
        rates.keep(&["b"], now);
        assert_ne!(rates, Rates::default());
        rates.keep(&["b"], now + std::time::Duration::from_secs(3_600));
        assert_eq!(rates, Rates::default());
    }
}
