//! A file that is not whole yet: under a name of its own beside the place that it is for.
//!
//! ```text
//!   usually   .vaultctl-<random>.part            removed if the copy goes no further
//!   resuming  .vaultctl-<hash of the name>.part  kept, found again, and locked while it is written
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT,
    Uid, fchmod, fchown, flock, fstat, ftruncate, futimens, openat2, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use vault_protocol::message::CopyEntry;

use crate::error::{CopyError, Problem};
use crate::folder::{BENEATH, Folder, permissions};
use crate::limits::CHUNK_BYTES;

/// Bytes of a hash, or of chance, in a temporary name: enough that no two files of a folder meet.
const NAME_BYTES: usize = 16;

/// A file in the making. Unless it is finished or kept, dropping it removes it.
pub(crate) struct Part<'folder> {
    folder: &'folder Folder,
    file: File,
    /// Of the temporary name; empty once it has its own.
    temporary: Vec<u8>,
    /// Of the place that it is for.
    name: &'folder [u8],
    /// For errors.
    path: PathBuf,
    replaced: Option<Stat>,
    kept: bool,
}

impl<'folder> Part<'folder> {
    /// An empty one.
    pub(crate) fn new(
        folder: &'folder Folder,
        name: &'folder [u8],
        mode: Mode,
    ) -> Result<Self, CopyError> {
        let path = folder.path_of(name);
        let replaced = folder.file_in_place(name)?;
        let mut chance = [0; NAME_BYTES];
        getrandom::fill(&mut chance)
            .map_err(|error| CopyError::system(&path, "a name for it")(io::Error::other(error)))?;
        let temporary = temporary(&chance);
        let file = open(folder, &temporary, OFlags::WRONLY | OFlags::EXCL, mode)
            .map_err(CopyError::here(&path, "the file cannot be made"))?;
        Ok(Self { folder, file, temporary, name, path, replaced, kept: false })
    }

    /// What an earlier copy left, or else as much as the place itself has; at most `size` bytes.
    pub(crate) fn resumed(
        folder: &'folder Folder,
        name: &'folder [u8],
        mode: Mode,
        size: u64,
    ) -> Result<Self, CopyError> {
        let path = folder.path_of(name);
        let replaced = folder.file_in_place(name)?;
        let temporary = temporary(&Sha256::digest(name)[..NAME_BYTES]);
        let opening = CopyError::here(&path, "what an earlier copy left cannot be opened");
        let file =
            open(folder, &temporary, OFlags::RDWR | OFlags::NONBLOCK, mode).map_err(opening)?;
        let mut part = Self { folder, file, temporary, name, path, replaced, kept: true };
        let left = part.lock()?;
        if left > size {
            part.truncate()?;
        } else if left == 0 {
            part.begin_as_in_place(size)?;
        }
        Ok(part)
    }

    /// Keeps other copies out; answers how many bytes it has.
    fn lock(&self) -> Result<u64, CopyError> {
        let looking =
            || CopyError::here(&self.path, "what an earlier copy left cannot be looked at");
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(CopyError::unfit(&self.path, Problem::Busy)),
            locked => locked.map_err(looking())?,
        }
        let ours = fstat(&self.file).map_err(looking())?;
        if FileType::from_raw_mode(ours.st_mode) != FileType::RegularFile {
            return Err(CopyError::unfit(&self.path, Problem::Special));
        }
        // Whoever had the lock may have moved the file to its place before they gave it up; a file with
        // two names is somebody else's, too.
        let named = statat(self.folder, self.temporary.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
        let is_ours =
            named.is_ok_and(|named| (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino));
        if !is_ours || ours.st_nlink != 1 {
            return Err(CopyError::unfit(&self.path, Problem::Busy));
        }
        Ok(u64::try_from(ours.st_size).unwrap_or_default())
    }

    /// Begins with what the place has, if it can be the front of what comes.
    fn begin_as_in_place(&mut self, size: u64) -> Result<(), CopyError> {
        let there =
            self.replaced.as_ref().map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
        if there == 0 || there > size {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let in_place = openat2(self.folder, self.name, flags, Mode::empty(), BENEATH)
            .map_err(CopyError::here(&self.path, "what is there cannot be read"))?;
        io::copy(&mut File::from(in_place).take(there), &mut self.file)
            .map_err(CopyError::system(&self.path, "what is there cannot be copied"))?;
        Ok(())
    }

    /// How many bytes it has, and their SHA-256.
    pub(crate) fn digest(&mut self) -> Result<(u64, [u8; 32]), CopyError> {
        let path = &self.path;
        let reading = |error| CopyError::system(path, "what is there cannot be read")(error);
        self.file.rewind().map_err(reading)?;
        digest(&mut self.file, u64::MAX).map_err(reading)
    }

    /// What comes goes behind so many bytes: all that it has, or none.
    pub(crate) fn begin_at(&mut self, offset: u64) -> Result<(), CopyError> {
        if offset == 0 {
            return self.truncate();
        }
        let sought = self.file.seek(SeekFrom::Start(offset));
        sought.map(drop).map_err(CopyError::system(&self.path, "the file cannot be written"))
    }

    fn truncate(&mut self) -> Result<(), CopyError> {
        ftruncate(&self.file, 0)
            .map_err(CopyError::here(&self.path, "the file cannot be written"))?;
        self.file.rewind().map_err(CopyError::system(&self.path, "the file cannot be written"))
    }

    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CopyError> {
        use std::io::Write;

        self.file
            .write_all(bytes)
            .map_err(CopyError::system(&self.path, "the file cannot be written"))
    }

    /// The file is whole: it gets its attributes, and its place. One that was there hands on its owner
    /// and its mode, as if it had been written to.
    pub(crate) fn finish(mut self, entry: &CopyEntry, preserve: bool) -> Result<(), CopyError> {
        let file = &self.file;
        let failed = |doing| CopyError::here(&self.path, doing);
        let ours = fstat(file).map_err(failed("cannot be looked at"))?;
        if let Some(replaced) = &self.replaced {
            if (ours.st_uid, ours.st_gid) != (replaced.st_uid, replaced.st_gid) {
                let owner = (Uid::from_raw(replaced.st_uid), Gid::from_raw(replaced.st_gid));
                fchown(file, Some(owner.0), Some(owner.1))
                    .map_err(failed("the owner cannot be kept"))?;
            }
            fchmod(file, permissions(replaced.st_mode))
                .map_err(failed("the mode cannot be set"))?;
        }
        if preserve {
            fchmod(file, permissions(entry.mode)).map_err(failed("the mode cannot be set"))?;
            futimens(file, &modified(entry)).map_err(failed("the time cannot be set"))?;
        }
        renameat(self.folder, self.temporary.as_slice(), self.folder, self.name)
            .map_err(failed("the file cannot take its place"))?;
        self.temporary.clear();
        Ok(())
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.kept && !self.temporary.is_empty() {
            // It is no more than a leftover; the error that brought us here is told.
            let _removed = unlinkat(self.folder, self.temporary.as_slice(), AtFlags::empty());
        }
    }
}

/// The time that an entry has.
pub(crate) fn modified(entry: &CopyEntry) -> Timestamps {
    let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let modified =
        Timespec { tv_sec: entry.modified_seconds, tv_nsec: entry.modified_nanoseconds.into() };
    Timestamps { last_access: unchanged, last_modification: modified }
}

/// How many bytes came, at most so many, and their SHA-256.
pub(crate) fn digest(file: impl Read, most: u64) -> io::Result<(u64, [u8; 32])> {
    let (mut file, mut hash, mut bytes) = (file.take(most), Sha256::new(), 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hash.finalize().into())),
            count => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

fn temporary(what: &[u8]) -> Vec<u8> {
    format!(".vaultctl-{}.part", HEXLOWER.encode(what)).into_bytes()
}

fn open(folder: &Folder, name: &[u8], flags: OFlags, mode: Mode) -> rustix::io::Result<File> {
    let flags = flags | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(folder, name, flags, mode, BENEATH).map(File::from)
}
