//! The files of the audit log.
//!
//! ```text
//!   DATA/audit/00000000000000000001.jsonl      named by the first record in it
//!   DATA/audit/00000000000000040211.jsonl      the newest: lines are appended to it
//! ```
//!
//! The number of a record is that of its file plus its line, so that nothing has to be understood to go
//! on behind it. A line without an end was being written when the agent was killed: it is taken out.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use vault_protocol::audit::{Event, LineHash, Record};

use crate::limits::{AUDIT_FILE_BYTES, AUDIT_FILES_MAX};

/// No machine writes as many records; a file of such a name is not ours.
const SEQUENCE_MAX: u64 = 1 << 60;

/// How the name of a file ends.
const ENDING: &str = ".jsonl";

/// One file, as far as it went when it was asked for.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

/// The files, the newest open.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    file: File,
    /// In the newest.
    bytes: u64,
    /// Of the newest record; 0 if there is none.
    sequence: u64,
    previous: LineHash,
}

impl Files {
    /// Opens what there is in a folder of the volume; also how many bytes of an unfinished line were
    /// taken out.
    ///
    /// # Errors
    /// The volume is not there, or cannot be written.
    pub(super) fn open(data_dir: &Path) -> io::Result<(Self, u64)> {
        let folder = data_dir.join("audit");
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => File::open(data_dir)?.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let files = list(&folder)?;
        let Some(&newest) = files.last() else {
            let file = create(&folder, 1)?;
            return Ok((Self { folder, file, bytes: 0, sequence: 0, previous: LineHash::NONE }, 0));
        };
        let there = fs::read(path(&folder, newest))?;
        let whole = there.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let file = OpenOptions::new().append(true).open(path(&folder, newest))?;
        if whole < there.len() {
            file.set_len(whole as u64)?;
        }
        let lines: Vec<&[u8]> = there[..whole].split_inclusive(|byte| *byte == b'\n').collect();
        let last = match lines.last() {
            Some(last) => Some(without_end(last).to_vec()),
            // The agent was killed right after it had begun a new file.
            None => last_of_earlier(&folder, &files)?,
        };
        let opened = Self {
            folder,
            file,
            bytes: whole as u64,
            sequence: newest - 1 + lines.len() as u64,
            previous: last.map_or(LineHash::NONE, |line| LineHash::of(&line)),
        };
        Ok((opened, (there.len() - whole) as u64))
    }

    /// Writes records behind all others, and brings them to the disk.
    ///
    /// # Errors
    /// The disk refuses; then none of them is there.
    pub(super) fn append(
        &mut self,
        records: impl IntoIterator<Item = (Timestamp, Event)>,
    ) -> io::Result<()> {
        if self.bytes >= AUDIT_FILE_BYTES {
            self.begin_anew()?;
        }
        let mut lines = Vec::new();
        let (mut sequence, mut previous) = (self.sequence, self.previous);
        for (at, event) in records {
            sequence += 1;
            let record = Record { sequence, at: format!("{at:.3}"), event, previous };
            let line = serde_json::to_vec(&record)?;
            previous = LineHash::of(&line);
            lines.extend(line);
            lines.push(b'\n');
        }
        if let Err(error) = self.file.write_all(&lines).and_then(|()| self.file.sync_data()) {
            // Perhaps some of it was written; the next record must not stand behind half of one.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        (self.sequence, self.previous) = (sequence, previous);
        Ok(())
    }

    /// The files with records from a number on, the oldest first.
    ///
    /// # Errors
    /// One cannot be opened.
    pub(super) fn since(&self, from: Option<u64>) -> io::Result<Vec<Kept>> {
        let files = list(&self.folder)?;
        let from = from.unwrap_or(0);
        let needed = files.iter().enumerate().filter(|(index, _)| {
            // The first record behind this file, if there is one.
            files.get(index + 1).is_none_or(|next| *next > from)
        });
        let kept = needed.map(|(_, first)| {
            let file = File::open(path(&self.folder, *first))?;
            let bytes = file.metadata()?.len();
            Ok(Kept { file, bytes })
        });
        kept.collect()
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file = create(&self.folder, self.sequence + 1)?;
        self.bytes = 0;
        let files = list(&self.folder)?;
        for first in &files[..files.len().saturating_sub(AUDIT_FILES_MAX)] {
            fs::remove_file(path(&self.folder, *first))?;
        }
        Ok(())
    }
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{ENDING}"))
}

fn create(folder: &Path, first: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create_new(true).mode(0o600).open(path(folder, first))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// The numbers of the files' first records, in order. What has another name is not ours.
fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        let first = first.and_then(|first| first.parse::<u64>().ok());
        files.extend(first.filter(|first| (1..SEQUENCE_MAX).contains(first)));
    }
    files.sort_unstable();
    Ok(files)
}

fn last_of_earlier(folder: &Path, files: &[u64]) -> io::Result<Option<Vec<u8>>> {
    let Some(&earlier) = files.len().checked_sub(2).and_then(|index| files.get(index)) else {
        return Ok(None);
    };
    let there = fs::read(path(folder, earlier))?;
    let last = there.split_inclusive(|byte| *byte == b'\n').next_back();
    Ok(last.map(|line| without_end(line).to_vec()))
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tempfile::TempDir;
    use vault_protocol::audit::{Chain, Head};

    use super::*;

    fn records(count: usize) -> Vec<(Timestamp, Event)> {
        let event = || Event::ProofAccepted { source: "[2001:db8::1]:40000".to_owned() };
        std::iter::repeat_with(|| (Timestamp::UNIX_EPOCH, event())).take(count).collect()
    }

    /// All that is kept, followed from line to line.
    fn follow(files: &Files, from: Option<u64>) -> (u64, Head) {
        let mut chain = Chain::default();
        let mut first = None;
        for mut kept in files.since(from).expect("readable") {
            let mut bytes = Vec::new();
            kept.file.read_to_end(&mut bytes).expect("readable");
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                let record = chain.follow(without_end(line)).expect("whole");
                first.get_or_insert(record.sequence);
            }
        }
        (first.expect("a record"), chain.head().expect("a record"))
    }

    #[test]
    fn records_go_on_where_the_last_agent_ended() {
        let data = TempDir::new().expect("a folder");
        for round in 1..=3 {
            let (mut files, torn) = Files::open(data.path()).expect("opens");
            assert_eq!(torn, 0);
            files.append(records(2)).expect("writable");
            let (first, head) = follow(&files, None);
            assert_eq!((first, head.sequence), (1, 2 * round));
        }
    }

    #[test]
    fn half_a_record_is_taken_out() {
        let data = TempDir::new().expect("a folder");
        let (mut files, _) = Files::open(data.path()).expect("opens");
        files.append(records(3)).expect("writable");
        let newest = path(&data.path().join("audit"), 1);
        let whole = fs::read(&newest).expect("readable");
        for cut in 1..whole.len() / 3 {
            fs::write(&newest, &whole[..whole.len() - cut]).expect("writable");
            let (mut files, torn) = Files::open(data.path()).expect("opens");
            assert_eq!(torn, (whole.len() / 3 - cut) as u64, "of the third record");
            files.append(records(1)).expect("writable");
            assert_eq!(follow(&files, None).1.sequence, 3);
        }
    }

    #[test]
    fn the_oldest_files_go_and_the_chain_goes_on() {
        let data = TempDir::new().expect("a folder");
        let (mut files, _) = Files::open(data.path()).expect("opens");
        let line = 200;
        let per_append = usize::try_from(AUDIT_FILE_BYTES).expect("small") / line;
        for _ in 0..2 * AUDIT_FILES_MAX + 2 {
            files.append(records(per_append)).expect("writable");
        }
        let folder = data.path().join("audit");
        let there = list(&folder).expect("readable");
        assert_eq!(there.len(), AUDIT_FILES_MAX);
        let (first, head) = follow(&files, None);
        assert_eq!((first, head.sequence), (there[0], files.sequence));
        assert!(first > 1);
        let (first, _) = follow(&files, Some(there[3]));
        assert_eq!(first, there[3]);
        // Killed right after a new file was begun.
        create(&folder, files.sequence + 1).expect("writable");
        let (mut files, _) = Files::open(data.path()).expect("opens");
        files.append(records(1)).expect("writable");
        assert_eq!(follow(&files, None).1.sequence, head.sequence + 1);
    }

    #[test]
    fn without_a_volume_there_is_none() {
        let data = TempDir::new().expect("a folder");
        Files::open(&data.path().join("absent")).expect_err("no volume");
    }
}
