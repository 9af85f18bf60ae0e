//! That a document which was edited says what was wanted, and else what it said before.

use std::collections::BTreeSet;

use super::OpenApiError;
use super::notes::Notes;
use super::operations::operations;
use super::response::ADDED;
use super::said::Said;
use super::throttle::{self, EXTENSION};
use super::tree::{Document, Kind, Node};

/// # Errors
/// If `text` says anything else than `before` but for what `all` wanted.
pub(super) fn verify(before: &Document<'_>, text: &str, all: &[Said]) -> Result<(), OpenApiError> {
    let after = Document::read(text).map_err(|why| {
        let problem = format!("cannot be edited: what comes of it is no document ({why})");
        OpenApiError::at(before.root.place, problem)
    })?;
    let refusals = || all.iter().flat_map(|said| &said.refusals);
    let headers = refusals().flat_map(|refusal| &refusal.headers);
    let headers = headers.map(|header| header.name.clone());
    let statuses = refusals().map(|refusal| refusal.status.to_string());
    let added: BTreeSet<String> = headers
        .chain(statuses)
        .chain(ADDED.map(str::to_owned))
        .collect();
    if let Err(place) = kept(&before.root, &after.root, &added) {
        let problem = "cannot be edited without a change of something else";
        return Err(OpenApiError::at(place, problem));
    }
    let mut unread = Notes::default();
    let operations = operations(&after, &mut unread);
    for (operation, said) in operations.iter().zip(all).filter(|(_, said)| !said.is_open) {
        let says = throttle::throttles(&after, operation, &mut unread);
        if BTreeSet::from_iter(says) != said.throttles {
            let problem = "shares what is edited with another operation that has other limits";
            return Err(OpenApiError::at(operation.key.place, problem));
        }
    }
    Ok(())
}

/// That all of `old` is still in `new`, in its order, but for what an export replaces, and that
/// what is added is there once; if not, where it is not.
fn kept(old: &Node, new: &Node, added: &BTreeSet<String>) -> Result<(), (usize, usize)> {
    let wrong = Err(old.place);
    match (&old.kind, &new.kind) {
        _ if old.is_null() => Ok(()),
        (Kind::Scalar { text, .. }, Kind::Scalar { text: other, .. }) if text == other => Ok(()),
        (Kind::Alias(one), Kind::Alias(other)) if one == other => Ok(()),
        (Kind::List(old), Kind::List(new)) if old.len() == new.len() => old
            .iter()
            .zip(new)
            .try_for_each(|(old, new)| kept(old, new, added)),
        (Kind::Map(before), Kind::Map(new)) => {
            let is_own = |(old, _): &&(Node, Node)| old.text() == Some(EXTENSION);
            let mut old = before.entries.iter().peekable();
            for (key, value) in &new.entries {
                while old.next_if(is_own).is_some() {}
                match old.next_if(|(old, _)| old.text() == key.text()) {
                    Some((_, old)) => kept(old, value, added)?,
                    None => match key.text() {
                        Some(key) if key == EXTENSION || added.contains(key) => {
                            let same = |(own, _): &&(Node, Node)| own.text() == Some(key);
                            let [before, after] = [&before.entries, &new.entries]
                                .map(|entries| entries.iter().filter(same).count());
                            if after > before.max(1) {
                                return wrong;
                            }
                        }
                        _ => return wrong,
                    },
                }
            }
            let mut lost = old.filter(|entry| !is_own(entry));
            lost.next().map_or(Ok(()), |(key, _)| Err(key.place))
        }
        _ => wrong,
    }
}
