//! The fields of the IETF's draft on rate limits, as structured fields.
//!
//! `RateLimit` and `RateLimit-Policy` as of revision 08 to 10 (lists of named policies), and before
//! that as of 07 (`RateLimit: limit=100, remaining=50, reset=5` and `RateLimit-Policy: 100;w=10`).

use std::time::Duration;

use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parameters, Parser};

use super::limit::LimitNotice;

/// What one field says, or why it cannot be read.
pub(super) type Read = Result<Vec<LimitNotice>, &'static str>;

const NOT_A_LIST: &str = "is not a structured field as the draft has it";

/// `RateLimit`: what is left of which policy.
pub(super) fn state(text: &str) -> Read {
    match Parser::new(text).parse::<List>() {
        Ok(list) => list.iter().map(state_of).collect(),
        Err(_) => state_of_revision_07(text),
    }
}

/// `RateLimit-Policy`: how much in what time.
pub(super) fn policy(text: &str) -> Read {
    let list: List = Parser::new(text).parse().map_err(|_| NOT_A_LIST)?;
    list.iter().map(policy_of).collect()
}

fn state_of(entry: &ListEntry) -> Result<LimitNotice, &'static str> {
    let item = item(entry)?;
    let left = count(&item.params, "r")?;
    Ok(LimitNotice {
        name: Some(name(item)?),
        // Not in the grammar, but in one of the draft's own examples.
        limit: count(&item.params, "q")?,
        remaining: Some(left.ok_or("names a policy without what remains of it")?),
        reset_after: count(&item.params, "t")?.map(Duration::from_secs),
        ..LimitNotice::default()
    })
}

fn policy_of(entry: &ListEntry) -> Result<LimitNotice, &'static str> {
    let item = item(entry)?;
    let window = count(&item.params, "w")?.map(Duration::from_secs);
    // Up to revision 07 the item was the quota itself.
    if let BareItem::Integer(_) = item.bare_item {
        return Ok(LimitNotice {
            limit: Some(whole(&item.bare_item)?),
            window,
            ..LimitNotice::default()
        });
    }
    let quota = count(&item.params, "q")?;
    Ok(LimitNotice {
        name: Some(name(item)?),
        limit: Some(quota.ok_or("names a policy without its quota")?),
        window,
        ..LimitNotice::default()
    })
}

fn state_of_revision_07(text: &str) -> Read {
    let members: Dictionary = Parser::new(text).parse().map_err(|_| NOT_A_LIST)?;
    let member = |name: &str| match members.get(name) {
        Some(entry) => whole(&item(entry)?.bare_item).map(Some),
        None => Ok(None),
    };
    Ok(vec![LimitNotice {
        limit: member("limit")?,
        remaining: Some(member("remaining")?.ok_or("does not say what remains")?),
        reset_after: member("reset")?.map(Duration::from_secs),
        ..LimitNotice::default()
    }])
}

fn item(entry: &ListEntry) -> Result<&Item, &'static str> {
    match entry {
        ListEntry::Item(item) => Ok(item),
        ListEntry::InnerList(_) => Err("has a list where a policy's name should be"),
    }
}

/// The name of a policy: a string; a token too, for earlier drafts had it so.
fn name(item: &Item) -> Result<String, &'static str> {
    match &item.bare_item {
        BareItem::String(name) => Ok(name.as_str().to_owned()),
        BareItem::Token(name) => Ok(name.as_str().to_owned()),
        _ => Err("has something else where a policy's name should be"),
    }
}

fn count(parameters: &Parameters, name: &str) -> Result<Option<u64>, &'static str> {
    parameters.get(name).map(whole).transpose()
}

fn whole(value: &BareItem) -> Result<u64, &'static str> {
    let number = value.as_integer().map(i64::from);
    let number = number.and_then(|number| u64::try_from(number).ok());
    number.ok_or("has something else where a whole number should be")
}
