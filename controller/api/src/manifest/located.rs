//! Places in files, and what stands there.

use std::fmt;
use std::sync::Arc;

use super::source::Source;
use super::tree::Node;
use crate::check::Document;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Location {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// A checked document and where each of its values stands.
#[derive(Clone, Debug)]
pub struct LocatedDocument {
    /// The document.
    pub document: Document,
    source: Source,
    root: Node,
}

impl LocatedDocument {
    pub(super) fn new(source: Source, document: Document, root: Node) -> Self {
        Self { document, source, root }
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn file(&self) -> Arc<str> {
        self.source.file()
    }

    /// Where the document begins.
    #[must_use]
    pub fn start(&self) -> Location {
        self.root.location
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }
}

/// Something that is wrong in a file.
///
/// Prints as `FILE:LINE:COLUMN: message`, and then a picture of the place, without a line break at
/// the end.
#[derive(Clone, Debug)]
pub struct LocatedProblem {
    /// The file's name, as it was given.
    pub file: Arc<str>,
    /// Where in it.
    pub location: Location,
    /// One sentence for people.
    pub message: String,
    source: Source,
}

impl LocatedProblem {
    pub(super) fn new(source: Source, location: Location, message: String) -> Self {
        Self { file: source.file(), location, message, source }
    }

    /// The first line alone: `FILE:LINE:COLUMN: message`.
    #[must_use]
    pub fn headline(&self) -> String {
        let Location { line, column } = self.location;
        format!("{}:{line}:{column}: {}", self.file, self.message)
    }

    /// The source line with a caret under the place, as three lines; empty if there is nothing on
    /// that line.
    #[must_use]
    pub fn picture(&self) -> String {
        self.source.picture(self.location)
    }
}

impl PartialEq for LocatedProblem {
    /// The texts of the files are not compared.
    fn eq(&self, other: &Self) -> bool {
        (&self.file, self.location, &self.message) == (&other.file, other.location, &other.message)
    }
}

impl Eq for LocatedProblem {}

impl fmt::Display for LocatedProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.headline())?;
        let picture = self.picture();
        if picture.is_empty() { Ok(()) } else { write!(formatter, "\n{picture}") }
    }
}

impl std::error::Error for LocatedProblem {}
