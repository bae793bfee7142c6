//! The world on disk: one file of JSON lines, `world.jsonl`.
//!
//! ```text
//!  {"format":"vault-emulator world","version":1}   header
//!  [record, …]                                     the world when the file was written
//!  [record, …]                                     one line per change since
//! ```
//!
//! It holds the values of secrets, so its mode is 0600 whatever it was before.
//!
//! A line is written before its change is answered, so that a killed emulator forgets nothing that
//! it has acknowledged. When the changes outweigh the world, the file is written anew beside the
//! old one and renamed over it. A line that the end of the process cut short was never
//! acknowledged and is dropped; everything else that does not parse is an error.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::world::Record;

/// The file is not rewritten before this many bytes of changes: small worlds stay cheap.
const LEAST_BYTES_OF_CHANGES: u64 = 4 * 1024 * 1024;
/// Records on one line of the written-out world.
const RECORDS_PER_LINE: usize = 100;
/// What the first line says.
const FORMAT: &str = "vault-emulator world";
/// The version that this code reads and writes.
const VERSION: u32 = 1;

/// Why the world could not be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another emulator uses the folder.
    #[error("{} is in use by another emulator", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A line that is neither torn nor readable.
    #[error("{}:{line}: corrupt; restore the file or remove it to begin with an empty world", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The first line is not ours.
    #[error("{} is not a world of format {VERSION}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// The open file. Holds the folder's lock until it is dropped.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    lock: File,
    base_bytes: u64,
    change_bytes: u64,
}

impl Journal {
    /// Opens the folder's journal, or begins one, and returns what it holds.
    ///
    /// # Errors
    /// A folder that is in use, a file that is corrupt, or the file system's refusal.
    pub fn open(directory: &Path) -> Result<(Self, Vec<Record>), JournalError> {
        let lock = lock(&directory.join("lock"))?;
        let path = directory.join("world.jsonl");
        let (records, whole_bytes) = match File::open(&path) {
            Ok(file) => read(&path, file)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_anew(&path, std::iter::empty())?;
                let written =
                    std::fs::metadata(&path).map_err(|source| io("reading", &path, source))?;
                (Vec::new(), written.len())
            }
            Err(source) => return Err(io("opening", &path, source)),
        };
        let file = open_to_append(&path)?;
        // What a torn last line left must not be glued to the next one.
        file.set_len(whole_bytes).map_err(|source| io("truncating", &path, source))?;
        let journal = Self { path, file, lock, base_bytes: 0, change_bytes: whole_bytes };
        Ok((journal, records))
    }

    /// Writes one change. When it returns, the change outlives this process.
    ///
    /// # Errors
    /// The file system's refusal; the file may then end in a torn line.
    pub fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let line = line(records).map_err(|source| io("encoding for", &self.path, source))?;
        self.file.write_all(&line).map_err(|source| io("appending to", &self.path, source))?;
        self.change_bytes += line.len() as u64;
        Ok(())
    }

    /// Whether the changes outweigh the world.
    pub fn wants_rewriting(&self) -> bool {
        self.change_bytes > LEAST_BYTES_OF_CHANGES.max(self.base_bytes)
    }

    /// Writes the whole world anew, without its history.
    ///
    /// # Errors
    /// The file system's refusal; the old file then stands.
    pub fn rewrite(&mut self, world: impl Iterator<Item = Record>) -> Result<(), JournalError> {
        write_anew(&self.path, world)?;
        self.file = open_to_append(&self.path)?;
        let written = self.file.metadata().map_err(|source| io("reading", &self.path, source))?;
        (self.base_bytes, self.change_bytes) = (written.len(), 0);
        Ok(())
    }
}

/// Unlocks and does not only close: a process that is being forked this moment, by another thread
/// for its own purposes, has the file open until it has become its program.
impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the lock of the emulator's folder goes with this process only");
        }
    }
}

fn lock(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|source| io("opening", path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io("locking", path, source)),
    }
}

fn open_to_append(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new().append(true).open(path);
    let file = file.map_err(|source| io("opening", path, source))?;
    make_private(&file).map_err(|source| io("protecting", path, source))?;
    Ok(file)
}

/// The records of a file and the length of its whole lines.
fn read(path: &Path, file: File) -> Result<(Vec<Record>, u64), JournalError> {
    let mut reader = BufReader::new(file);
    let (mut records, mut whole_bytes, mut bytes) = (Vec::new(), 0, Vec::new());
    for number in 1.. {
        bytes.clear();
        let length =
            reader.read_until(b'\n', &mut bytes).map_err(|source| io("reading", path, source))?;
        // The end, or a last line that was cut short.
        if bytes.last() != Some(&b'\n') {
            break;
        }
        if number == 1 {
            let header: Option<Header> = serde_json::from_slice(&bytes).ok();
            if header.is_none_or(|header| header.format != FORMAT || header.version != VERSION) {
                return Err(JournalError::Foreign { path: path.to_owned() });
            }
        } else {
            let line: Vec<Record> = serde_json::from_slice(&bytes).map_err(|source| {
                JournalError::Corrupt { path: path.to_owned(), line: number, source }
            })?;
            records.extend(line);
        }
        whole_bytes += length as u64;
    }
    if whole_bytes == 0 {
        return Err(JournalError::Foreign { path: path.to_owned() });
    }
    Ok((records, whole_bytes))
}

/// Writes a whole file beside the old one, makes it durable, and renames it over.
fn write_anew(path: &Path, world: impl Iterator<Item = Record>) -> Result<(), JournalError> {
    let temporary = path.with_extension("jsonl.new");
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(create_private(&temporary)?);
        serde_json::to_writer(&mut file, &Header { format: FORMAT.to_owned(), version: VERSION })?;
        file.write_all(b"\n")?;
        let mut records = Vec::with_capacity(RECORDS_PER_LINE);
        for record in world {
            records.push(record);
            if records.len() == RECORDS_PER_LINE {
                file.write_all(&line(&records)?)?;
                records.clear();
            }
        }
        if !records.is_empty() {
            file.write_all(&line(&records)?)?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    write().map_err(|source| io("writing", path, source))
}

fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
    // The mode above is for a new file only.
    make_private(&file)?;
    Ok(file)
}

/// The world holds tenants' secrets and environments, so its file is its owner's alone.
fn make_private(file: &File) -> std::io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

fn line(records: &[Record]) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(records)?;
    line.push(b'\n');
    Ok(line)
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> JournalError {
    JournalError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use crate::world::testing::{at, machine, settings, volume, world};

    fn reopen(directory: &Path) -> World {
        let (_, records) = Journal::open(directory).expect("opens");
        World::restore(settings(false), records)
    }

    fn rows(world: &World) -> Vec<Record> {
        world.snapshot().collect()
    }

    #[test]
    fn changes_and_rewrites_come_back_and_a_torn_line_does_not() {
        let directory = tempfile::tempdir().expect("a folder");
        let (mut journal, records) = Journal::open(directory.path()).expect("opens");
        assert!(records.is_empty());
        let mut world = world(false);
        machine(&mut world, "one", &serde_json::json!({}));
        journal.append(&world.take_changes()).expect("appends");
        world.advance(at(5));
        journal.append(&world.take_changes()).expect("appends");
        drop(journal);
        assert_eq!(rows(&reopen(directory.path())), rows(&world));

        let (mut journal, _) = Journal::open(directory.path()).expect("opens");
        journal.rewrite(world.snapshot()).expect("rewrites");
        volume(&mut world);
        journal.append(&world.take_changes()).expect("appends");
        drop(journal);
        let path = directory.path().join("world.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).expect("opens");
        file.write_all(b"[{\"app_gone\":\"ap").expect("writes");
        assert_eq!(rows(&reopen(directory.path())), rows(&world));

        // What follows a dropped line begins on a line of its own.
        let (mut journal, _) = Journal::open(directory.path()).expect("opens");
        world.advance(at(6));
        journal.append(&world.take_changes()).expect("appends");
        drop(journal);
        assert_eq!(rows(&reopen(directory.path())), rows(&world));
    }

    #[test]
    fn corruption_is_an_error_with_its_line() {
        let directory = tempfile::tempdir().expect("a folder");
        let (mut journal, _) = Journal::open(directory.path()).expect("opens");
        journal.append(&world(false).take_changes()).expect("appends");
        drop(journal);
        let path = directory.path().join("world.jsonl");
        let text = std::fs::read_to_string(&path).expect("reads");
        std::fs::write(&path, text.replacen("[{", "[?", 1)).expect("writes");
        let error = Journal::open(directory.path()).expect_err("corrupt");
        assert!(matches!(error, JournalError::Corrupt { line: 2, .. }), "{error}");
        std::fs::write(&path, "something else\n").expect("writes");
        let error = Journal::open(directory.path()).expect_err("foreign");
        assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    }

    #[test]
    fn the_world_is_its_owners_alone_whatever_was_there_before() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("world.jsonl");
        let open_to_all = Permissions::from_mode(0o644);
        std::fs::write(path.with_extension("jsonl.new"), "left over").expect("written");
        std::fs::set_permissions(path.with_extension("jsonl.new"), open_to_all.clone())
            .expect("opened to all");
        for _ in 0..2 {
            drop(Journal::open(directory.path()).expect("opens"));
            let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::set_permissions(&path, open_to_all.clone()).expect("opened to all");
        }
    }

    #[test]
    fn a_folder_has_one_emulator() {
        let directory = tempfile::tempdir().expect("a folder");
        let first = Journal::open(directory.path()).expect("opens");
        let error = Journal::open(directory.path()).expect_err("locked");
        assert!(matches!(error, JournalError::Locked { .. }), "{error}");
        drop(first);
        Journal::open(directory.path()).expect("opens again");
    }
}
