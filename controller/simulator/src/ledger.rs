//! The ledger: which ranges of seeds were run, on which commit, and what came of it. One line each.
//!
//! ```text
//!   first,end,commit,seeds,failed,date,seconds
//!   0,100000,2fd3a0c5e1b7,100000,0,2026-01-01T00:00:00Z,812
//! ```
//!
//! Seeds that are counted twice would make the sum a lie: a range stands beside those of its commit,
//! and is either one that another commit ran as well, or one of its own.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::path::Path;

use thiserror::Error;

/// The first line.
const HEADER: &str = "first,end,commit,seeds,failed,date,seconds";

/// One range that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The seeds.
    pub seeds: Range<u64>,
    /// What was built: 7 to 40 hexadecimal digits.
    pub commit: String,
    /// How many of them were run: fewer than the range has if it was given up.
    pub run: u64,
    /// How many of those violated something.
    pub failed: u64,
    /// When it ended, in RFC 3339.
    pub date: String,
    /// How long it took, in seconds.
    pub seconds: u64,
}

/// Why a line is not taken.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("the ledger could not be used")]
    File(#[from] io::Error),
    /// A line of the file is none.
    #[error("line {line} of the ledger is no line of a ledger: {text:?}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// No commit.
    #[error("{0:?} is no commit: 7 to 40 hexadecimal digits")]
    Commit(String),
    /// Some of its seeds stand there already.
    #[error("seeds {}..{} overlap {}..{}, which commit {commit} ran", .new.start, .new.end, .old.start, .old.end)]
    Overlap {
        /// The range that was to be run.
        new: Range<u64>,
        /// The range that was.
        old: Range<u64>,
        /// On which commit.
        commit: String,
    },
}

/// Whether a range may be run on a commit, given the ledger in that file; an absent file is empty.
///
/// # Errors
/// If some of its seeds were run on that commit, or it overlaps a range of another commit without
/// being the same; if the commit is none, or the file cannot be read.
pub fn check(path: &Path, seeds: &Range<u64>, commit: &str) -> Result<(), LedgerError> {
    match File::open(path) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            admits(&read(&text)?, seeds, commit)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => admits(&[], seeds, commit),
        Err(error) => Err(error.into()),
    }
}

/// Adds a line, if it may stand there: under a lock and in one write, so that those who run other
/// ranges at the same time lose nothing.
///
/// # Errors
/// As [`check`].
pub fn append(path: &Path, line: &Line) -> Result<(), LedgerError> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    admits(&read(&text)?, &line.seeds, &line.commit)?;
    let header = if text.is_empty() { format!("{HEADER}\n") } else { String::new() };
    file.write_all(format!("{header}{line}\n").as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// The lines of a ledger.
fn read(text: &str) -> Result<Vec<Line>, LedgerError> {
    let mut lines = Vec::new();
    for (place, text) in text.lines().enumerate() {
        if place == 0 && text == HEADER {
            continue;
        }
        let wrong = || LedgerError::Line { line: place + 1, text: text.to_owned() };
        lines.push(line_of(text).ok_or_else(wrong)?);
    }
    Ok(lines)
}

fn admits(lines: &[Line], seeds: &Range<u64>, commit: &str) -> Result<(), LedgerError> {
    let digits = commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits || !(7..=40).contains(&commit.len()) {
        return Err(LedgerError::Commit(commit.to_owned()));
    }
    for line in lines {
        let overlaps = line.seeds.start < seeds.end && seeds.start < line.seeds.end;
        // One may be written shorter than the other.
        let is_same_commit = line.commit.starts_with(commit) || commit.starts_with(&line.commit);
        if overlaps && (is_same_commit || line.seeds != *seeds) {
            let (new, old, commit) = (seeds.clone(), line.seeds.clone(), line.commit.clone());
            return Err(LedgerError::Overlap { new, old, commit });
        }
    }
    Ok(())
}

fn line_of(text: &str) -> Option<Line> {
    let parts: Vec<&str> = text.split(',').collect();
    let [first, end, commit, run, failed, date, seconds] = <[&str; 7]>::try_from(parts).ok()?;
    Some(Line {
        seeds: first.parse().ok()?..end.parse().ok()?,
        commit: commit.to_owned(),
        run: run.parse().ok()?,
        failed: failed.parse().ok()?,
        date: date.to_owned(),
        seconds: seconds.parse().ok()?,
    })
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, commit, run, failed, date, seconds } = self;
        let Range { start, end } = seeds;
        write!(formatter, "{start},{end},{commit},{run},{failed},{date},{seconds}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "46c1392aa";

    fn line(seeds: Range<u64>, commit: &str) -> Line {
        let run = seeds.end - seeds.start;
        let date = "2026-01-01T00:00:00Z".to_owned();
        Line { seeds, commit: commit.to_owned(), run, failed: 0, date, seconds: 7 }
    }

    #[test]
    fn lines_stand_below_each_other_and_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.csv");
        let lines = [line(0..10, COMMIT), line(20..30, COMMIT), line(0..10, "0123456")];
        for line in &lines {
            check(&path, &line.seeds, &line.commit).unwrap();
            append(&path, line).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.starts_with("first,end,commit,seeds,failed,date,seconds\n0,10,46c1392aa,10,0,")
        );
        assert_eq!(read(&text).unwrap(), lines);
    }

    #[test]
    fn no_seed_is_counted_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.csv");
        append(&path, &line(10..20, COMMIT)).unwrap();
        let before = std::fs::read_to_string(&path).unwrap();
        let full = format!("{COMMIT}0000");
        let refused = [
            (10..20, COMMIT),
            (10..20, full.as_str()),
            (19..30, COMMIT),
            (0..11, "0123456"),
            (12..13, "0123456"),
            (0..5, "not hex"),
            (0..5, "abc"),
        ];
        for (seeds, commit) in refused {
            assert!(check(&path, &seeds, commit).is_err(), "{seeds:?} of {commit}");
            assert!(append(&path, &line(seeds, commit)).is_err());
        }
        for (seeds, commit) in [(0..10, COMMIT), (20..21, COMMIT), (10..20, "0123456")] {
            check(&path, &seeds, commit).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        std::fs::write(&path, "what is this\n").unwrap();
        let error = check(&path, &(0..1), COMMIT).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
