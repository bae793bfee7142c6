//! The text of a file: bounded, UTF-8, with its lines at hand for pictures.

use std::ops::Range;
use std::sync::Arc;

use super::MANIFEST_BYTES_MAX;
use super::located::{LocatedProblem, Location};

/// Widest piece of a source line in a picture, in characters.
const PICTURE_WIDTH_MAX: usize = 120;

/// A file's name and text; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Arc<str>,
    text: String,
    line_starts: Vec<usize>,
    /// What was wrong with the bytes already.
    faults: Vec<(Location, String)>,
}

impl Source {
    /// Takes the bytes of a file. Of a file that is too large nothing is taken; of a document with
    /// bytes that are not UTF-8, only its line breaks, so that the others keep their lines.
    pub(super) fn new(file: &str, bytes: &[u8]) -> Self {
        let mut faults = Vec::new();
        let mut owned;
        let mut bytes = bytes;
        if bytes.len() > MANIFEST_BYTES_MAX {
            let message = format!(
                "the file has {} bytes, at most {MANIFEST_BYTES_MAX} are read: split it",
                bytes.len()
            );
            faults.push((Location::START, message));
            bytes = b"";
        }
        if std::str::from_utf8(bytes).is_err() {
            owned = bytes.to_vec();
            blank_documents_that_are_not_utf8(&mut owned, &mut faults);
            bytes = &owned;
        }
        let text = String::from_utf8_lossy(bytes);
        // Editors of some systems begin a file with a byte order mark; it is no character of it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(position, _)| position + 1))
            .collect();
        Self(Arc::new(Inner { file: file.into(), text, line_starts, faults }))
    }

    pub(super) fn file(&self) -> Arc<str> {
        Arc::clone(&self.0.file)
    }

    /// The text from the beginning of a line on, counted from 1.
    pub(super) fn text_from(&self, line: usize) -> &str {
        let start = line.checked_sub(1).and_then(|index| self.0.line_starts.get(index));
        start.and_then(|start| self.0.text.get(*start..)).unwrap_or_default()
    }

    /// The first line from `line` on that separates documents: `---`, alone or before a space.
    pub(super) fn separator_from(&self, line: usize) -> Option<usize> {
        (line..=self.0.line_starts.len()).find(|line| {
            self.line(*line)
                .strip_prefix("---")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        })
    }

    /// What is wrong with the bytes.
    pub(super) fn problems(&self) -> impl Iterator<Item = LocatedProblem> {
        self.0.faults.iter().map(|(location, message)| self.problem(*location, message.clone()))
    }

    /// A problem at a place of this file.
    pub(super) fn problem(&self, location: Location, message: String) -> LocatedProblem {
        LocatedProblem::new(self.clone(), location, message)
    }

    /// The line of a place with a caret under the place; empty if nothing stands on that line.
    pub(super) fn picture(&self, location: Location) -> String {
        let line = self.line(location.line);
        if line.trim().is_empty() {
            return String::new();
        }
        let column = location.column.saturating_sub(1);
        let skipped = column.saturating_sub(PICTURE_WIDTH_MAX / 2);
        let shown: String = line.chars().skip(skipped).take(PICTURE_WIDTH_MAX).map(plain).collect();
        let indent = " ".repeat(column - skipped);
        let number = location.line.to_string();
        let margin = " ".repeat(number.len());
        format!("{margin} |\n{number} | {}\n{margin} | {indent}^", shown.trim_end())
    }

    fn line(&self, number: usize) -> &str {
        let starts = &self.0.line_starts;
        let start = number.checked_sub(1).and_then(|index| starts.get(index));
        let Some(start) = start.copied() else {
            return "";
        };
        let end = starts.get(number).copied().unwrap_or(self.0.text.len());
        self.0.text.get(start..end).unwrap_or_default()
    }
}

/// A control character in a picture could steer the terminal that shows it; a tab would shift it.
fn plain(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => ' ',
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

/// Leaves of each document that is not UTF-8 only its line breaks, and tells where it is not.
fn blank_documents_that_are_not_utf8(bytes: &mut [u8], faults: &mut Vec<(Location, String)>) {
    for (first_line, range) in document_ranges(bytes) {
        let document = &mut bytes[range];
        let Err(error) = std::str::from_utf8(document) else {
            continue;
        };
        let valid = &document[..error.valid_up_to()];
        let line = first_line + valid.iter().filter(|byte| **byte == b'\n').count();
        let before = valid.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(before).chars().count() + 1;
        let found = document.get(error.valid_up_to()).copied().unwrap_or_default();
        let message = format!("not UTF-8 text: the byte 0x{found:02x} is no part of a character");
        faults.push((Location { line, column }, message));
        document.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
}

/// The stretches between lines that are `---`, each with the number of its first line.
fn document_ranges(bytes: &[u8]) -> Vec<(usize, Range<usize>)> {
    let mut ranges = Vec::new();
    let (mut start, mut first_line, mut position) = (0, 1, 0);
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let next = position + line.len();
        if line.trim_ascii_end() == b"---" {
            ranges.push((first_line, start..position));
            (start, first_line) = (next, index + 2);
        }
        position = next;
    }
    ranges.push((first_line, start..bytes.len()));
    ranges
}
