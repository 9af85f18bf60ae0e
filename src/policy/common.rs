//! What limits of both kinds say: a name, a key, what a request costs.

use super::bounds::{NAME_BYTES_MAX, PHRASE_BYTES_MAX};
use super::fault::{Faults, Place, fix};
use super::key::{Attributes, KeySpec, parse_one};
use super::terms::{Cost, WhenKeyMissing};
use super::tree::{Fields, Like, Spot, Value, check_name};

/// What limits of both kinds say.
pub(super) struct Common {
    pub(super) name: String,
    pub(super) key: KeySpec,
    pub(super) cost: Cost,
    pub(super) max_cost: Option<u64>,
    pub(super) when_key_missing: WhenKeyMissing,
    pub(super) shadow: bool,
    /// What it was called when its counts began, and where that is said.
    pub(super) renamed_from: Option<(String, Place)>,
    /// It applies to every request, whatever routes say.
    pub(super) everywhere: bool,
}

/// Reads what limits of both kinds say.
pub(super) fn read_common(
    name: &str,
    fields: &Fields<'_>,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> Common {
    let key = fields
        .get("key")
        .and_then(|spot| read_key(spot, attributes, faults));
    let (cost, max_cost) = read_cost(fields, attributes, faults);
    let flag = |name: &str, faults: &mut Faults| fields.get(name)?.flag(faults);
    let shadow = flag("shadow", faults);
    let everywhere = flag("everywhere", faults);
    let renamed_from = fields.get("renamed_from").and_then(|spot| {
        let former = spot.text(NAME_BYTES_MAX, Like::NameOf("a limit"), faults)?;
        check_name(former, &spot.place, faults);
        Some((former.to_owned(), spot.place.clone()))
    });
    Common {
        name: name.to_owned(),
        key: key.unwrap_or(KeySpec::global()),
        cost,
        max_cost,
        when_key_missing: read_when_key_missing(fields, faults),
        shadow: shadow.unwrap_or(false),
        renamed_from,
        everywhere: everywhere.unwrap_or(false),
    }
}

/// Reads a key.
pub(super) fn read_key(
    spot: &Spot<'_>,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> Option<KeySpec> {
    attributes.here = spot.place.clone();
    let parse = |text: &str| {
        let key = KeySpec::parse(text, attributes)?;
        match key.is_global() {
            true => Err(fix(
                "this key is empty",
                "leave it out for one counter that all share",
            )),
            false => Ok(key),
        }
    };
    spot.parsed(PHRASE_BYTES_MAX, "api_key | ip", parse, faults)
}

fn read_when_key_missing(fields: &Fields<'_>, faults: &mut Faults) -> WhenKeyMissing {
    let options = [
        ("share", WhenKeyMissing::Share),
        ("skip", WhenKeyMissing::Skip),
        ("refuse", WhenKeyMissing::Refuse),
    ];
    let said = fields.get("when_key_missing");
    let said = said.and_then(|spot| spot.choice(&options, faults));
    // Sharing one counter would let one client shut out all others that lack the key. They lack it
    // all if the service does not say where it is: a connection's address, say.
    said.unwrap_or(WhenKeyMissing::Refuse)
}

fn read_cost(
    fields: &Fields<'_>,
    attributes: &mut Attributes,
    faults: &mut Faults,
) -> (Cost, Option<u64>) {
    let max_cost = fields
        .get("max_cost")
        .and_then(|spot| spot.whole(1..=u64::MAX, faults));
    let unsaid_spot = fields.get("cost_unsaid");
    let unsaid = unsaid_spot.and_then(|spot| spot.whole(1..=u64::MAX, faults));
    let cost_spot = fields.get("cost");
    let cost = match cost_spot.map(|spot| (spot, spot.value)) {
        None => Cost::Request,
        Some((spot, Value::Text(_))) => {
            attributes.here = spot.place.clone();
            let parse = |text: &str| parse_one(text, attributes);
            match spot.parsed(PHRASE_BYTES_MAX, "page_size", parse, faults) {
                Some(attribute) => Cost::Attribute {
                    attribute,
                    unsaid: unsaid.unwrap_or(1),
                },
                None => Cost::Request,
            }
        }
        Some((spot, _)) => match spot.whole(1..=u64::MAX, faults) {
            Some(fixed) => Cost::Fixed(fixed),
            None => Cost::Request,
        },
    };
    let names_attribute = cost_spot.is_some_and(|spot| matches!(spot.value, Value::Text(_)));
    let is_fault = cost_spot.is_some_and(|spot| faults.is_at(&spot.place.path));
    if let Some(spot) = unsaid_spot
        && !names_attribute
        && !is_fault
    {
        let advice = "add cost = \"page_size\", the attribute that tells the cost";
        faults.push(&spot.place, fix("cost_unsaid means nothing here", advice));
    }
    let own = match cost {
        Cost::Fixed(fixed) => Some((cost_spot, fixed)),
        Cost::Attribute { unsaid, .. } => Some((unsaid_spot.or(cost_spot), unsaid)),
        Cost::Request => None,
    };
    if let (Some((Some(spot), own)), Some(most)) = (own, max_cost)
        && own > most
    {
        let problem = format!("a cost of {own} is above the max_cost of {most}");
        faults.push(&spot.place, fix(problem, "no request would ever pass"));
    }
    (cost, max_cost)
}
