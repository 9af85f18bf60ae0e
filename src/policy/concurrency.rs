//! Limits on how many requests run at a time: `max_concurrent`, and how the others wait.

use std::time::Duration;

use super::amounts::{MostText, UNLIMITED, read_most};
use super::bounds::{NAME_BYTES_MAX, PERMIT_KEYS_MAX, PERMIT_QUEUE_MAX, PERMIT_WAIT_MAX};
use super::common::{Common, read_common};
use super::fault::{Faults, Fix, fix, quoted};
use super::key::{Attributes, KeySpec, intern};
use super::rate::Span;
use super::terms::{Cost, KeyIndex, TierIndex, WhenKeyMissing};
use super::tier::TierText;
use super::tree::{Fields, Spot};

/// How many keys may have something running at one time, unless it is said otherwise.
const KEYS: u32 = 4_096;
/// How long a request waits for others to end, unless it is said otherwise.
const WAIT: Duration = Duration::from_secs(4);

/// A limit on how many run at a time.
#[derive(Debug)]
pub(crate) struct ConcurrencySpec {
    pub(crate) name: Box<str>,
    pub(crate) key: KeyIndex,
    /// Without a tier first, then the tiers' in order.
    pub(super) most: Vec<u32>,
    /// How many may wait for one key, and how long.
    pub(crate) queue_max: u32,
    pub(crate) wait_max: Duration,
    pub(crate) keys_max: u32,
    /// How many permits a request takes.
    pub(crate) cost: Cost,
    pub(crate) max_cost: Option<u64>,
    pub(crate) when_key_missing: WhenKeyMissing,
    /// Counted and reported, never refusing.
    pub(crate) shadow: bool,
    /// What it was called before, if it was called otherwise.
    pub(crate) former: Option<Box<str>>,
}

impl ConcurrencySpec {
    /// True if it is the limit of this name, or was called so.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        &*self.name == name || self.former.as_deref() == Some(name)
    }

    /// How many may run at a time for callers of `tier`.
    pub(crate) fn most(&self, tier: Option<TierIndex>) -> u32 {
        let most = self.most.get(tier.map_or(0, |tier| tier.0 + 1));
        most.copied().unwrap_or(0)
    }

    /// As in `10 at a time, 20 more may wait up to 4 s`.
    pub(crate) fn words(&self, most: u32) -> String {
        let mut words = match most {
            UNLIMITED => "unlimited".to_owned(),
            most => format!("{most} at a time"),
        };
        if self.queue_max != 0 {
            let (queue, wait) = (self.queue_max, self.wait_max.as_secs_f64());
            words.push_str(&format!(", {queue} more may wait up to {wait} s"));
        }
        words
    }
}

/// A limit as read.
pub(super) struct ConcurrencyText {
    pub(super) most: MostText,
    queue_max: u32,
    wait_max: Duration,
    keys_max: u32,
    pub(super) common: Common,
}

/// Reads a limit that says `max_concurrent`.
pub(super) fn read(
    name: &str,
    fields: &Fields<'_>,
    most: &Spot<'_>,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> ConcurrencyText {
    let number = |name: &str, most: u32, faults: &mut Faults| {
        let number = fields.get(name)?.whole(1..=u64::from(most), faults)?;
        u32::try_from(number).ok()
    };
    let queue_max = number("queue", PERMIT_QUEUE_MAX, faults);
    let keys_max = number("max_keys", PERMIT_KEYS_MAX, faults);
    let wait = fields.get("wait");
    if let (Some(wait), None) = (wait, fields.get("queue")) {
        let advice = "add queue = 10, how many may wait, or leave it out";
        faults.push(
            &wait.place,
            fix("wait means nothing without a queue", advice),
        );
    }
    let mut common = read_common(name, fields, attributes, faults);
    if common.cost == Cost::Request {
        // What a request costs a rate is no number of permits: it runs once.
        common.cost = Cost::Fixed(1);
    }
    ConcurrencyText {
        most: read_most(most, faults),
        queue_max: queue_max.unwrap_or(0),
        wait_max: wait
            .and_then(|wait| read_wait(wait, faults))
            .unwrap_or(WAIT),
        keys_max: keys_max.unwrap_or(KEYS),
        common,
    }
}

fn read_wait(spot: &Spot<'_>, faults: &mut Faults) -> Option<Duration> {
    spot.parsed(NAME_BYTES_MAX, "4s", parse_wait, faults)
}

fn parse_wait(text: &str) -> Result<Duration, Fix> {
    let wait = Span::parse(text)?.nanos().map(Duration::from_nanos);
    let fits = wait.filter(|wait| !wait.is_zero() && *wait <= PERMIT_WAIT_MAX);
    fits.ok_or_else(|| {
        let most = PERMIT_WAIT_MAX.as_secs() / 60;
        let problem = format!("nobody can wait {}", quoted(text));
        fix(problem, format!("write from \"1 ms\" to \"{most} min\""))
    })
}

/// The limits, ready. A number that is missing is a fault, and the plan is not used.
pub(super) fn compile(
    texts: &[ConcurrencyText],
    tiers: &[TierText],
    keys: &mut Vec<KeySpec>,
) -> Vec<ConcurrencySpec> {
    let specs = texts.iter().map(|text| {
        let common = &text.common;
        let base = text.most.most.unwrap_or(0);
        let in_tier = |tier: &TierText| {
            let mut own = tier.most.iter();
            let own = own.find(|(name, _)| *name == common.name);
            own.and_then(|(_, text)| text.most).unwrap_or(base)
        };
        let tiers = tiers.iter().map(in_tier);
        ConcurrencySpec {
            name: common.name.as_str().into(),
            key: intern(keys, &common.key),
            most: std::iter::once(base).chain(tiers).collect(),
            queue_max: text.queue_max,
            wait_max: text.wait_max,
            keys_max: text.keys_max,
            cost: common.cost,
            max_cost: common.max_cost,
            when_key_missing: common.when_key_missing,
            shadow: common.shadow,
            former: common
                .renamed_from
                .as_ref()
                .map(|(name, _)| name.as_str().into()),
        }
    });
    specs.collect()
}
