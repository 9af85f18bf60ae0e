//! What is told of a document.

use super::tree::Node;
use super::{LeftOut, OpenApiError};

/// What was not taken over.
#[derive(Default)]
pub(super) struct Notes {
    list: Vec<LeftOut>,
    more: bool,
}

impl Notes {
    // Bound: a document of which more is to be told is refused.
    const MAX: usize = 10_000;

    pub(super) fn push(&mut self, one: LeftOut) {
        if self.list.len() < Self::MAX {
            self.list.push(one);
        } else {
            self.more = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them in the order of the document, each once.
    pub(super) fn sorted(mut self) -> Result<Vec<LeftOut>, OpenApiError> {
        if self.more {
            let most = Self::MAX;
            let problem = format!("more than {most} parts of it cannot be taken over");
            return Err(OpenApiError::at((1, 1), problem));
        }
        self.list.sort();
        self.list.dedup();
        Ok(self.list)
    }
}

pub(super) fn left_out(node: &Node, place: String, why: impl Into<String>) -> LeftOut {
    let (line, column) = node.place;
    LeftOut {
        line,
        column,
        place,
        why: why.into(),
    }
}
