//! Limits out of an OpenAPI document, and back into it.
//!
//! An operation says how it is throttled in the extension `x-throttle`: a list of
//! `{ limit, interval, strategy, for }`, so many requests in so many seconds, counted by `ip`,
//! `user`, `route` or `ip_user` (the user; without one, the address), for `default` (everyone) or
//! `authenticated` callers. [`import`] makes a policy of what all operations say; [`export`] writes
//! what a policy says into the document, with the responses to what it refuses: status, headers,
//! body.
//!
//! The document is YAML or JSON. It is edited where something changes and nowhere else: order,
//! comments, anchors and line ends stay, but for comments inside an `x-throttle` that is replaced.
//! Aliases and references (`$ref: '#/components/...'`) are followed, never unfolded: what several
//! operations share is edited once, where it stands, if they all have the same limits. Merge keys
//! (`<<`) and references to other documents are not followed. Whatever is not taken over is told,
//! with its place.

mod edit;
mod export;
mod import;
mod notes;
mod operations;
mod reference;
mod render;
mod response;
mod said;
mod throttle;
mod tree;
mod verify;
mod wishes;

use std::error::Error;
use std::fmt;

pub use export::{Exported, export};
pub use import::{Imported, import};

/// Something in a document that was not taken over, and why.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LeftOut {
    line: usize,
    column: usize,
    place: String,
    why: String,
}

impl LeftOut {
    /// The line in the document, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What it is of, such as `POST /users`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Why it was left out.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line, column, why, ..
        } = self;
        write!(f, "{line}:{column}: {}: {why}", self.place)
    }
}

/// A document that cannot be read, or not be written.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenApiError {
    line: usize,
    column: usize,
    problem: String,
}

impl OpenApiError {
    fn at((line, column): (usize, usize), problem: impl Into<String>) -> Self {
        Self {
            line,
            column,
            problem: problem.into(),
        }
    }

    /// The line in the document, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for OpenApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.problem)
    }
}

/// As `Display` shows it: what a `main` ends with is shown so.
impl fmt::Debug for OpenApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for OpenApiError {}
