//! A table looked at from outside: its files are read, never mapped and never written.

use std::path::PathBuf;

use super::shards::{Shards, shard_error};
use crate::algorithm::Word;
use crate::directory::{Directory, Mark, Place, State, shard_name};
use crate::error::Error;
use crate::key::Tag;
use crate::table::survey::{Position, Survey, Times, survey};

/// What stands in a table.
#[derive(Debug)]
pub(crate) struct TableSurvey {
    /// The folder that it lies in.
    pub(crate) folder: PathBuf,
    /// What stands in the slots of the shards that could be read.
    pub(crate) slots: Survey,
    /// What is wrong with the others.
    pub(crate) errors: Vec<Error>,
    /// Why it is not what the mark speaks of, if it is not.
    pub(crate) differs: Option<String>,
}

/// Looks at every slot of the table that `mark` speaks of, and shows the live words that can be
/// found.
pub(crate) fn survey_table(
    directory: &Directory,
    mark: &Mark,
    times: Times,
    see: &mut dyn FnMut(Tag, Word),
) -> TableSurvey {
    let header = directory.header();
    let folder = directory.folder_path(&mark.site);
    let mut all = TableSurvey {
        folder: folder.clone(),
        slots: Survey::default(),
        errors: Vec::new(),
        differs: None,
    };
    let mut identities = Vec::new();
    let mut is_stamped = true;
    for number in 0..=header.shards {
        let path = folder.join(shard_name(number));
        let shard = Shards::header(header, number);
        // What newcomers share is a table of one shard.
        let position = if number == header.shards {
            Position {
                number: 0,
                shard_bits: 0,
            }
        } else {
            Position {
                number,
                shard_bits: header.shards.trailing_zeros(),
            }
        };
        match survey(&path, &shard, position, times, see) {
            Ok(one) => {
                all.slots = all.slots.and(one.survey);
                identities.push(one.identity);
                if !mark.stamps.contains(&one.stamp) {
                    is_stamped = false;
                }
            }
            Err(error) => all.errors.push(shard_error(&path, error)),
        }
    }
    // As `Shards::differ_from`: a directory that was closed may be moved or copied.
    if mark.state == State::Open && all.errors.is_empty() {
        match Place::here(&folder, &identities) {
            Ok(place) => all.differs = place.differs_from(&mark.place).map(str::to_owned),
            Err(error) => all.differs = Some(error.to_string()),
        }
    }
    if !is_stamped && all.differs.is_none() {
        all.differs = Some("another time's table".into());
    }
    all
}
