//! What a machine prints, line by line with the time of each: what the platform's log shows. Kept
//! within bounds, like the console: the newest file and the one before it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use super::console::Console;
use crate::clock::{Clock, SystemClock};
use crate::runner::LogLine;

/// The file that is being written.
pub(super) const NEWEST: &str = "lines.log";
/// The file before it.
pub(super) const OLDER: &str = "lines.log.1";

/// The size of one file in bytes; two are kept.
const FILE_BYTES_MAX: u64 = 512 << 10;
/// The longest line; what is longer goes on in the next one.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Times that grow from line to line over all machines, so that one of them says how far a reader
/// is.
#[derive(Debug, Default)]
pub(super) struct Stamps(AtomicI64);

impl Stamps {
    /// Nanoseconds since 1970, and more than ever before.
    fn next(&self) -> i64 {
        let now = i64::try_from(SystemClock.now().as_nanosecond()).unwrap_or(i64::MAX);
        let last = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
            Some(now.max(last.saturating_add(1)))
        });
        // The closure never declines.
        now.max(last.unwrap_or(now).saturating_add(1))
    }
}

/// A machine's lines, open for one run.
pub(super) struct Lines<'run> {
    files: Console,
    unfinished: Vec<u8>,
    stamps: &'run Stamps,
}

impl<'run> Lines<'run> {
    pub(super) fn open(directory: &Path, stamps: &'run Stamps) -> io::Result<Self> {
        let files = Console::of_files(directory, (NEWEST, OLDER), FILE_BYTES_MAX)?;
        Ok(Self { files, unfinished: Vec::new(), stamps })
    }

    /// Takes what was printed; whole lines are kept at once.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.unfinished.len() >= LINE_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Keeps a last line that has no end.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.unfinished);
        for part in bytes.chunks(LINE_BYTES_MAX) {
            let text = String::from_utf8_lossy(part);
            let text = text.trim_end_matches(['\n', '\r']).replace('\r', "");
            if !text.is_empty() {
                self.files.write(format!("{} {text}\n", self.stamps.next()).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// All lines that are kept of a machine, oldest first; none if it never ran.
pub(super) fn read(directory: &Path) -> io::Result<Vec<LogLine>> {
    let mut lines = Vec::new();
    for name in [OLDER, NEWEST] {
        let bytes = match fs::read(directory.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // The first line of a file may be the rest of one, and the last one be cut.
        lines.extend(bytes.split(|byte| *byte == b'\n').filter_map(parse));
    }
    Ok(lines)
}

fn parse(line: &[u8]) -> Option<LogLine> {
    let line = String::from_utf8_lossy(line);
    let (stamp, message) = line.split_once(' ')?;
    Some(LogLine { stamp: stamp.parse().ok()?, message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_growing_times_and_survive_the_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let stamps = Stamps::default();
        let mut lines = Lines::open(folder.path(), &stamps).expect("open");
        for chunk in ["one\ntw", "o\r\n\nthree", "\nno end"] {
            lines.write(chunk.as_bytes()).expect("written");
        }
        lines.flush().expect("written");
        drop(lines);
        let mut again = Lines::open(folder.path(), &stamps).expect("open");
        again.write(&[b'x'; LINE_BYTES_MAX + 3]).expect("written");
        again.write(b"\n").expect("written");
        let read = read(folder.path()).expect("read");
        let texts: Vec<_> = read.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(texts[..4], ["one", "two", "three", "no end"]);
        assert_eq!(texts[4..].concat(), "x".repeat(LINE_BYTES_MAX + 3));
        assert!(read.windows(2).all(|pair| pair[0].stamp < pair[1].stamp));
    }

    #[test]
    fn a_machine_that_prints_for_ever_keeps_the_newest() {
        let folder = tempfile::tempdir().expect("a folder");
        let stamps = Stamps::default();
        let mut lines = Lines::open(folder.path(), &stamps).expect("open");
        for number in 0..40_000 {
            lines.write(format!("line {number} of many\n").as_bytes()).expect("written");
        }
        let read = read(folder.path()).expect("read");
        assert_eq!(read.last().expect("a line").message, "line 39999 of many");
        assert!(read.len() < 40_000);
        let bytes = |name| fs::metadata(folder.path().join(name)).expect("a file").len();
        assert!(bytes(NEWEST) + bytes(OLDER) <= 2 * FILE_BYTES_MAX);
    }
}
