//! The sender: one file, or a folder and everything in it, as it is found. Links are followed.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use vault_protocol::message::{
    CopyEntry, CopyFolderEnd, CopyFrom, CopyOptions, CopySent, EntryKind, Message,
};

use crate::error::{CopyError, Problem, shown};
use crate::limits::{CHUNK_BYTES, DEPTH_MAX, ENTRIES_MAX};
use crate::part::digest;
use crate::wire::{Input, Output};
use crate::{Copied, Meter};

/// Something that was opened to be sent.
enum Source {
    File(File, Stat),
    Folder(Dir, Stat),
}

/// One copy that is sent.
pub(crate) struct Sending<'copy> {
    input: &'copy mut Input,
    output: &'copy Output,
    options: CopyOptions,
    meter: &'copy Meter,
    entries: u64,
    skipped: u64,
    first_skipped: Option<String>,
}

impl<'copy> Sending<'copy> {
    pub(crate) fn new(
        input: &'copy mut Input,
        output: &'copy Output,
        options: CopyOptions,
        meter: &'copy Meter,
    ) -> Self {
        Self { input, output, options, meter, entries: 0, skipped: 0, first_skipped: None }
    }

    /// Sends all of it, and waits until the receiver has it.
    pub(crate) fn run(mut self, path: &Path) -> Result<Copied, CopyError> {
        let sent = match self.all(path) {
            // A receiver that takes no more has said why, or is gone.
            Err(CopyError::Cut(None)) => Ok(()),
            sent => sent,
        };
        sent?;
        match self.input.message()? {
            Message::CopyDone(done) => {
                Ok(Copied { done, skipped: self.skipped, first_skipped: self.first_skipped })
            }
            _ => Err(CopyError::Violation("no verdict came")),
        }
    }

    fn all(&mut self, path: &Path) -> Result<(), CopyError> {
        let failed = |error| CopyError::here(path, "cannot be opened")(error);
        match open(CWD, path.as_os_str().as_bytes()).map_err(failed)? {
            None => return Err(CopyError::unfit(path, Problem::Special)),
            Some(Source::Folder(..)) if !self.options.recursive => {
                return Err(CopyError::unfit(path, Problem::Folder));
            }
            Some(source) => self.one(source, b"", path, 0)?,
        }
        let first_skipped = self.first_skipped.as_ref();
        self.output.say(CopySent {
            skipped: self.skipped,
            first_skipped: first_skipped.map(|path| path.clone().into_bytes().into()),
        })
    }

    fn one(
        &mut self,
        source: Source,
        name: &[u8],
        path: &Path,
        depth: usize,
    ) -> Result<(), CopyError> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(CopyError::unfit(path, Problem::Entries));
        }
        match source {
            Source::File(file, stat) => self.file(file, &stat, name, path),
            Source::Folder(..) if depth == DEPTH_MAX => Err(CopyError::unfit(path, Problem::Depth)),
            Source::Folder(entries, stat) => self.folder(entries, &stat, name, path, depth),
        }
    }

    fn folder(
        &mut self,
        mut entries: Dir,
        stat: &Stat,
        name: &[u8],
        path: &Path,
        depth: usize,
    ) -> Result<(), CopyError> {
        self.output.say(entry(EntryKind::Folder, name, stat, 0))?;
        let reading = |path: &Path| CopyError::here(path, "the folder cannot be read");
        while let Some(found) = entries.read() {
            let found = found.map_err(reading(path))?;
            let name: &CStr = found.file_name();
            let name = name.to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let inner = path.join(OsStr::from_bytes(name));
            let source = match open(entries.fd().map_err(reading(path))?, name) {
                // A link that leads nowhere, or a file that was just removed.
                Err(Errno::NOENT | Errno::LOOP) => None,
                source => source.map_err(CopyError::here(&inner, "cannot be opened"))?,
            };
            match source {
                Some(source) => self.one(source, name, &inner, depth + 1)?,
                None => {
                    self.skipped += 1;
                    self.first_skipped.get_or_insert_with(|| shown(&inner));
                }
            }
        }
        self.output.say(CopyFolderEnd {})
    }

    fn file(
        &mut self,
        mut file: File,
        stat: &Stat,
        name: &[u8],
        path: &Path,
    ) -> Result<(), CopyError> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        self.output.say(entry(EntryKind::File, name, stat, size))?;
        self.meter.begin(size);
        let offset = match self.options.resume {
            true => self.agree(&mut file, size, path)?,
            false => 0,
        };
        self.content(&mut file, size - offset, path).map_err(|error| match error {
            CopyError::Cut(_) => error,
            error => CopyError::Midway(Box::new(error)),
        })
    }

    /// So many bytes from where the file stands. What was written behind them since it was opened is
    /// not sent.
    fn content(&mut self, file: &mut File, bytes: u64, path: &Path) -> Result<(), CopyError> {
        let mut rest = bytes;
        while rest > 0 {
            let most = rest.min(CHUNK_BYTES as u64);
            let mut chunk =
                Vec::with_capacity(CHUNK_BYTES.min(usize::try_from(most).unwrap_or(CHUNK_BYTES)));
            file.take(most)
                .read_to_end(&mut chunk)
                .map_err(CopyError::system(path, "cannot be read"))?;
            if chunk.is_empty() {
                return Err(CopyError::unfit(path, Problem::Short));
            }
            let count = chunk.len() as u64;
            self.output.raw(Bytes::from(chunk))?;
            self.meter.add(count);
            rest -= count;
        }
        Ok(())
    }

    /// Learns what the receiver has, and says where the bytes begin.
    fn agree(&mut self, file: &mut File, size: u64, path: &Path) -> Result<u64, CopyError> {
        let Message::CopyPartial(there) = self.input.message()? else {
            return Err(CopyError::Violation("it was not said what is there"));
        };
        let reading = |error| CopyError::system(path, "cannot be read")(error);
        let is_front = there.bytes <= size && {
            let (bytes, sha256) = digest(&mut *file, there.bytes).map_err(reading)?;
            bytes == there.bytes && sha256 == *there.sha256
        };
        let offset = if is_front { there.bytes } else { 0 };
        file.seek(SeekFrom::Start(offset)).map_err(reading)?;
        self.output.say(CopyFrom { offset })?;
        self.meter.add(offset);
        Ok(offset)
    }
}

/// Opens a file or a folder; nothing, if it is neither. It is looked at first, because opening can do
/// something: a tape rewinds, a pipe waits.
fn open(folder: impl AsFd, name: &[u8]) -> Result<Option<Source>, Errno> {
    let folder = folder.as_fd();
    let is_wanted = |stat: &Stat| {
        matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
    };
    if !is_wanted(&statat(folder, name, AtFlags::empty())?) {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let descriptor = openat(folder, name, flags, Mode::empty())?;
    let stat = fstat(&descriptor)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Some(Source::Folder(Dir::new(descriptor)?, stat)),
        FileType::RegularFile => Some(Source::File(File::from(descriptor), stat)),
        _ => None,
    })
}

fn entry(kind: EntryKind, name: &[u8], stat: &Stat, size: u64) -> CopyEntry {
    CopyEntry {
        kind,
        name: name.to_vec().into(),
        mode: stat.st_mode & 0o777,
        modified_seconds: stat.st_mtime,
        modified_nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        size,
    }
}
