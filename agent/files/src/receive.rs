//! The receiver: what comes is written beneath the destination, whatever it says.
//!
//! ```text
//!   the destination is a folder   ─▶ the entry goes into it, by the name that it was asked for
//!   it is not there, or a file    ─▶ the entry takes this name
//! ```

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod, futimens, syncfs};
use vault_protocol::message::{CopyDone, CopyEntry, CopyOptions, CopyPartial, EntryKind, Message};

use crate::error::{CopyError, Problem, printable, shown};
use crate::folder::{Folder, is_component, permissions};
use crate::limits::{DEPTH_MAX, ENTRIES_MAX};
use crate::part::{Part, modified};
use crate::wire::{Input, Output};
use crate::{Copied, Meter};

/// Nanoseconds of a second.
const NANOSECONDS: u32 = 1_000_000_000;

/// Where something is copied to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Absolute; links in it are followed.
    pub path: PathBuf,
    /// What it is called there, if that is a folder; without a name the entries of a folder go into it
    /// themselves.
    pub name: Option<Vec<u8>>,
}

/// A folder that is being filled.
struct Filling {
    folder: Folder,
    entry: CopyEntry,
    /// It was not there before.
    made: bool,
}

/// One copy that is received.
pub(crate) struct Receiving<'copy> {
    input: &'copy mut Input,
    output: &'copy Output,
    options: CopyOptions,
    meter: &'copy Meter,
    entries: u64,
    done: CopyDone,
}

impl<'copy> Receiving<'copy> {
    pub(crate) fn new(
        input: &'copy mut Input,
        output: &'copy Output,
        options: CopyOptions,
        meter: &'copy Meter,
    ) -> Self {
        Self { input, output, options, meter, entries: 0, done: CopyDone::default() }
    }

    /// Receives all of it, and says so when it is on the disk.
    pub(crate) fn run(mut self, target: &Target) -> Result<Copied, CopyError> {
        // The first message may be the reason why nothing comes.
        let Message::CopyEntry(entry) = self.input.message()? else {
            return Err(CopyError::Violation("no entry comes first"));
        };
        self.admit(&entry)?;
        let (folder, name) = self.place(target, entry.kind)?;
        let disk = match (name, entry.kind) {
            (Some(name), EntryKind::File) => {
                self.file(&folder, &name, &entry)?;
                folder
            }
            (Some(name), EntryKind::Folder) => {
                let (inner, made) = folder.folder(&name, entry.mode)?;
                self.fill(Filling { folder: inner, entry, made })?;
                folder
            }
            (None, EntryKind::Folder) => {
                let disk = Folder::open(&folder.path)?;
                self.fill(Filling { folder, entry, made: false })?;
                disk.ok_or_else(|| CopyError::unfit(&target.path, Problem::NoFolder))?
            }
            (None, EntryKind::File) => {
                return Err(CopyError::Violation("a file came, and a folder was asked for"));
            }
        };
        let Message::CopySent(sent) = self.input.message()? else {
            return Err(CopyError::Violation("more came than was asked for"));
        };
        // Once for all of it: one file after another would wait for the disk each.
        syncfs(&disk).map_err(CopyError::here(&disk.path, "the disk did not take it"))?;
        self.output.say(self.done)?;
        let first_skipped =
            sent.first_skipped.map(|path| printable(&String::from_utf8_lossy(&path)));
        Ok(Copied { done: self.done, skipped: sent.skipped, first_skipped })
    }

    /// The folder that the first entry goes into, and the name that it gets there.
    fn place(
        &self,
        target: &Target,
        kind: EntryKind,
    ) -> Result<(Folder, Option<Vec<u8>>), CopyError> {
        let path = &target.path;
        if let Some(folder) = Folder::open(path)? {
            return match &target.name {
                Some(name) if !is_component(name) => {
                    Err(CopyError::unfit(&folder.path_of(name), Problem::Name))
                }
                name => Ok((folder, name.clone())),
            };
        }
        let says_folder = path.as_os_str().as_bytes().ends_with(b"/") && kind == EntryKind::File;
        let (Some(parent), Some(name), false) =
            (path.parent(), path.file_name(), self.options.into_folder || says_folder)
        else {
            return Err(CopyError::unfit(path, Problem::NoFolder));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let folder = Folder::open(parent)?;
        let folder = folder.ok_or_else(|| CopyError::unfit(parent, Problem::NoFolder))?;
        Ok((folder, Some(name.as_bytes().to_vec())))
    }

    /// Checks what holds for every entry.
    fn admit(&mut self, entry: &CopyEntry) -> Result<(), CopyError> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(CopyError::Violation("more files and folders than one copy may have"));
        }
        if entry.kind == EntryKind::Folder && !self.options.recursive {
            return Err(CopyError::Violation("a folder came, and a file was asked for"));
        }
        if entry.modified_nanoseconds >= NANOSECONDS {
            return Err(CopyError::Violation("a time that is none"));
        }
        Ok(())
    }

    /// Fills a folder with all that comes until its end.
    fn fill(&mut self, outermost: Filling) -> Result<(), CopyError> {
        let mut open = vec![outermost];
        while let Some(innermost) = open.last() {
            match self.input.message()? {
                Message::CopyEntry(entry) => {
                    self.admit(&entry)?;
                    if !is_component(&entry.name) {
                        return Err(CopyError::Violation("a name that leads out of its folder"));
                    }
                    match entry.kind {
                        EntryKind::File => self.file(&innermost.folder, &entry.name, &entry)?,
                        EntryKind::Folder if open.len() == DEPTH_MAX => {
                            return Err(CopyError::Violation("folders that lie too deep"));
                        }
                        EntryKind::Folder => {
                            let (folder, made) =
                                innermost.folder.folder(&entry.name, entry.mode)?;
                            open.push(Filling { folder, entry, made });
                        }
                    }
                }
                Message::CopyFolderEnd(_) => {
                    if let Some(full) = open.pop() {
                        self.finish_folder(&full)?;
                    }
                }
                _ => return Err(CopyError::Violation("no entry, within a folder")),
            }
        }
        Ok(())
    }

    fn finish_folder(&mut self, full: &Filling) -> Result<(), CopyError> {
        let Filling { folder, entry, made } = full;
        if self.options.preserve {
            let failed = |doing| CopyError::here(&folder.path, doing);
            fchmod(folder, permissions(entry.mode)).map_err(failed("the mode cannot be set"))?;
            futimens(folder, &modified(entry)).map_err(failed("the time cannot be set"))?;
        } else if *made {
            folder.restrict(entry.mode)?;
        }
        self.done.folders += 1;
        Ok(())
    }

    fn file(&mut self, folder: &Folder, name: &[u8], entry: &CopyEntry) -> Result<(), CopyError> {
        let options = self.options;
        self.meter.begin(entry.size);
        // A mode that is set at the end must not be wider until then; else the umask makes it.
        let is_set_later = options.preserve || folder.file_in_place(name)?.is_some();
        let mode = match is_set_later {
            true => Mode::RUSR | Mode::WUSR,
            false => permissions(entry.mode),
        };
        let mut part = match options.resume {
            true => Part::resumed(folder, name, mode, entry.size)?,
            false => Part::new(folder, name, mode)?,
        };
        let mut offset = match options.resume {
            true => self.agree(&mut part)?,
            false => 0,
        };
        while offset < entry.size {
            let bytes = self.input.raw(entry.size - offset).map_err(|error| {
                match error.is_short_there() {
                    true => CopyError::ShortThere(shown(&folder.path_of(name))),
                    false => error,
                }
            })?;
            part.write(&bytes)?;
            let count = bytes.len() as u64;
            offset += count;
            self.done.bytes += count;
            self.meter.add(count);
        }
        part.finish(entry, options.preserve)?;
        self.done.files += 1;
        Ok(())
    }

    /// Says what is there, and learns where the bytes begin.
    fn agree(&mut self, part: &mut Part<'_>) -> Result<u64, CopyError> {
        let (bytes, sha256) = part.digest()?;
        self.output.say(CopyPartial { bytes, sha256: sha256.into() })?;
        match self.input.message()? {
            Message::CopyFrom(from) if from.offset == 0 || from.offset == bytes => {
                part.begin_at(from.offset)?;
                self.meter.add(from.offset);
                Ok(from.offset)
            }
            _ => Err(CopyError::Violation("no offset that was offered")),
        }
    }
}
