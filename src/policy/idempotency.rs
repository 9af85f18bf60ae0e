//! How requests with an id of their own are recognised when they come again: `[idempotency]`.
//!
//! An id is a counter under a limit of its own that no request meets: a window that begins with
//! the first hit. It holds the first request and as many repeats as are let in without a charge.
//! So it is kept, journaled and forgotten as counters are.

use super::amounts::RateText;
use super::bounds::{NAME_BYTES_MAX, PHRASE_BYTES_MAX};
use super::common::Common;
use super::fault::{Faults, Fix, Place, fix};
use super::key::{Attributes, KeySpec};
use super::limit::LimitText;
use super::rate::{Quota, Rate, Span, Unit};
use super::shape::Algorithm;
use super::terms::{Cost, Strict, WhenFull, WhenKeyMissing, WhenUnwritable};
use super::tree::{Fields, Spot};
use crate::algorithm::FineWindow;
use crate::time::NANOS_PER_SEC;

/// The limit's name, which none in a policy can have.
const NAME: &str = "[idempotency]";
/// How many repeats of one request are let in uncharged, unless it is said otherwise.
const REPEATS: u64 = 10;
/// As many as may be said.
// Bound: a client may send them all for nothing.
const REPEATS_MAX: u64 = 1_000;
/// How long an id is known, unless it is said otherwise.
const REMEMBERED: Span = Span {
    count: 1,
    unit: Unit::Day,
};

/// Reads `[idempotency]` as the limit that its ids are counted by.
pub(super) fn read(
    spot: &Spot<'_>,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> Option<LimitText> {
    let fields = spot.fields(&["key", "remember", "repeats", "max_repeats"], faults);
    let repeats = read_repeats(&fields, faults);
    let remember = fields.get("remember");
    let place = remember.map_or(&fields.place, |spot| &spot.place).clone();
    let span = match remember {
        None => REMEMBERED,
        Some(spot) => read_span(spot, faults)?,
    };
    let key = fields.require("key", "key = \"user + request_id\"", faults)?;
    attributes.here = key.place.clone();
    let parse = |text: &str| check(KeySpec::parse(text, attributes)?);
    let ids = key.parsed(PHRASE_BYTES_MAX, "user + request_id", parse, faults)?;
    Some(limit(ids, repeats, span, place))
}

/// The key, if what it leaves out cannot make one request pass for another.
fn check(key: KeySpec) -> Result<KeySpec, Fix> {
    if key.is_global() {
        return Err(fix("this tells no request from another", ""));
    }
    if key.has_optional() {
        let problem = "without its optional part all requests of a caller would be one";
        return Err(fix(
            problem,
            "leave the ? out: a request without an id is charged each time",
        ));
    }
    Ok(key)
}

/// How many repeats of one request are let in without a charge.
fn read_repeats(fields: &Fields<'_>, faults: &mut Faults) -> u64 {
    let options = [("charge", false), ("answered by the service", true)];
    let said = fields.get("repeats");
    let are_answered = said.and_then(|spot| spot.choice(&options, faults));
    let most = fields.get("max_repeats");
    match (are_answered, most) {
        (Some(true), None) => REPEATS,
        (Some(true), Some(spot)) => spot.whole(1..=REPEATS_MAX, faults).unwrap_or(REPEATS),
        // A choice that cannot be read is a fault already.
        (None, _) if said.is_some() => 0,
        (_, None) => 0,
        (_, Some(spot)) => {
            let problem = "max_repeats means nothing where every repeat is charged";
            let advice = "leave it out, or add repeats = \"answered by the service\"";
            faults.push(&spot.place, fix(problem, advice));
            0
        }
    }
}

fn read_span(spot: &Spot<'_>, faults: &mut Faults) -> Option<Span> {
    spot.parsed(NAME_BYTES_MAX, "24h", parse_span, faults)
}

fn parse_span(text: &str) -> Result<Span, Fix> {
    let span = Span::parse(text)?;
    let nanos = match span.nanos() {
        _ if span.count == 0 => return Err(fix("what is remembered for no time is not", "")),
        Some(nanos) => nanos,
        None if span.unit == Unit::Month => {
            let advice = "write days, as in \"30d\"";
            return Err(fix("months differ in length", advice));
        }
        None => return Err(fix("nothing is remembered so long", "")),
    };
    if !nanos.is_multiple_of(NANOS_PER_SEC) {
        return Err(fix("ids are remembered for whole seconds", ""));
    }
    FineWindow::new(1, nanos, true).map_err(|wrong| fix(wrong.to_string(), ""))?;
    Ok(span)
}

fn limit(key: KeySpec, repeats: u64, span: Span, place: Place) -> LimitText {
    let rate = Rate::Quota(Quota {
        amount: 1 + repeats,
        denominator: 1,
        span,
        burst: None,
    });
    LimitText {
        place: place.clone(),
        rate: Some(RateText {
            rate: Some(rate),
            place,
        }),
        algorithm: Algorithm::FirstHit,
        zone: "UTC".to_owned(),
        week_from_sunday: false,
        durability: None,
        strict: Strict {
            reserve: None,
            when_unwritable: WhenUnwritable::Refuse,
        },
        // An id that finds no room is not remembered.
        when_full: WhenFull::Admit,
        charged: None,
        override_key: None,
        new_keys: None,
        common: Common {
            name: NAME.to_owned(),
            key,
            cost: Cost::Fixed(1),
            max_cost: None,
            // A request without an id is charged each time.
            when_key_missing: WhenKeyMissing::Skip,
            shadow: false,
            renamed_from: None,
            everywhere: false,
        },
    }
}
