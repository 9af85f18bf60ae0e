//! A table looked at from outside: its files are read, never mapped and never written.

use std::path::PathBuf;

use super::shards::{shard_error, shard_header, size_of};
use crate::algorithm::Word;
use crate::directory::{Directory, Mark, Place, State, next_name, shard_name};
use crate::error::Error;
use crate::key::Tag;
use crate::table::survey::{Files, Position, Survey, Times, survey};

/// What stands in a table.
#[derive(Debug)]
pub(crate) struct TableSurvey {
    /// The folder that it lies in.
    pub(crate) folder: PathBuf,
    /// What stands in the slots of the shards that could be read.
    pub(crate) slots: Survey,
    /// What is wrong with the others.
    pub(crate) errors: Vec<Error>,
    /// Shards whose words were on the way to larger ones.
    pub(crate) growing: u64,
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
        growing: 0,
        errors: Vec::new(),
        differs: None,
    };
    let (mut is_itself, mut is_stamped) = (true, true);
    for number in 0..=header.shards {
        let shard = Files {
            path: folder.join(shard_name(number)),
            next: folder.join(next_name(number)),
            header: shard_header(header, number, header.lines),
            size: size_of(header, number),
        };
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
        match survey(&shard, position, times, see) {
            Ok(one) => {
                all.slots = all.slots.and(one.survey);
                all.growing += u64::from(one.is_growing);
                is_itself &= one.is_itself;
                is_stamped &= one.stamps.iter().all(|stamp| mark.stamps.contains(stamp));
            }
            Err((path, error)) => all.errors.push(shard_error(&path, error)),
        }
    }
    // As `Shards::differ_from`: a directory that was closed may be moved or copied.
    if mark.state == State::Open && all.errors.is_empty() {
        match Place::here(&folder) {
            Ok(place) => {
                let other = (!is_itself).then_some("other files");
                all.differs = place.differs_from(&mark.place).or(other).map(str::to_owned);
            }
            Err(error) => all.differs = Some(error.to_string()),
        }
    }
    if !is_stamped && all.differs.is_none() {
        all.differs = Some("another time's table".into());
    }
    all
}
