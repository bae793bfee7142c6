//! Unpacking: entry by entry, within limits, until the tree is on the disk.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use rustix::fs::{Dir, fstatvfs, ftruncate, syncfs};
use rustix::io::{pwrite, write};

use crate::archive::{Archive, Entry, Kind, Region, Shape};
use crate::error::{Limit, Problem, UnpackError};
use crate::limits::{
    Limits, PIECES_AHEAD, RATIO_FREE_BYTES, RESERVE_LOOK_BYTES, RESERVE_LOOK_ENTRIES,
};
use crate::name::{Name, shown};
use crate::source::{Compression, Consumed, Source, feed};
use crate::tree::{Tree, attributes_of};
use crate::whiteout::Whiteout;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes taken from the reader; some pieces of them are still to be unpacked.
    pub bytes_in: u64,
    /// Bytes of the decompressed archive that were unpacked.
    pub bytes_out: u64,
    /// Entries that were made.
    pub entries: u64,
}

/// What was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How the archive was compressed.
    pub compression: Compression,
    /// Of all bytes of the reader, as they came.
    pub sha256: [u8; 32],
    /// Bytes of the reader.
    pub bytes_in: u64,
    /// Bytes of the decompressed archive.
    pub bytes_out: u64,
    /// All entries, folders and links too.
    pub entries: u64,
}

/// Unpacks an archive (tar, also with gzip or zstd) into an empty folder, while its bytes arrive.
///
/// The archive is read to the end of `reader` and checked whole: only then the tree is brought to
/// the disk and the [`Summary`] returned. The caller compares its `sha256` with what it expects
/// before it uses the tree. `progress` is called after each entry, and in large files after each
/// piece. Owners are set as the archive says, which needs root unless they are one's own.
///
/// A thread reads ahead for as long as this runs; after an error it ends with its current read.
///
/// # Errors
/// If the archive is not sound in every part, exceeds a limit, or the filesystem refuses. What was
/// unpacked by then stays in the folder.
pub fn unpack(
    reader: impl io::Read + Send,
    root: BorrowedFd<'_>,
    limits: &Limits,
    progress: &mut impl FnMut(Progress),
) -> Result<Summary, UnpackError> {
    require_empty(root)?;
    let mut tree = Tree::new(root);
    let reading = Reading { root, limits, pass: Pass::Archive, done: Progress::default() };
    let summary = reading.read(reader, &mut tree, progress)?;
    finish(tree, summary.bytes_out)?;
    syncfs(root).map_err(|error| UnpackError::Sync(error.into()))?;
    Ok(summary)
}

/// What entries are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// To be made, all of them.
    Archive,
    /// To be made, but for whiteouts.
    Layer,
    /// To remove what the layer hides; nothing is made.
    Hide,
}

/// How one archive is read into a tree.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'run> {
    pub(crate) root: BorrowedFd<'run>,
    pub(crate) limits: &'run Limits,
    pub(crate) pass: Pass,
    /// By archives that were read into the same tree before.
    pub(crate) done: Progress,
}

impl Reading<'_> {
    /// Reads the whole archive; the tree is still to be finished.
    pub(crate) fn read(
        self,
        reader: impl io::Read + Send,
        tree: &mut Tree<'_>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Summary, UnpackError> {
        let bytes_in = AtomicU64::new(0);
        let (pieces, taken) = sync_channel(PIECES_AHEAD);
        let (returned, empty) = sync_channel(PIECES_AHEAD);
        thread::scope(|scope| {
            let count = &bytes_in;
            let feeding = scope.spawn(move || feed(reader, count, &pieces, &empty));
            let mut unpacking = Unpacking {
                archive: Archive::new(Source::new(taken, returned)),
                tree,
                reading: self,
                bytes_in: count,
                entries: 0,
                looked: None,
                progress,
            };
            if let Err(problem) = unpacking.run() {
                let (name, offset) = unpacking.archive.place();
                return Err(UnpackError::Entry { name: name.to_owned(), offset, problem });
            }
            let Unpacking { archive, entries, .. } = unpacking;
            let bytes_out = archive.position();
            drop(archive);
            let consumed = match feeding.join() {
                Ok(consumed) => consumed,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            // The archive was read to its end, so the thread has seen it, too.
            let Some(Consumed { compression, sha256 }) = consumed else {
                return Err(UnpackError::Sync(io::Error::other("the archive did not end")));
            };
            let bytes_in = count.load(Ordering::Relaxed);
            Ok(Summary { compression, sha256, bytes_in, bytes_out, entries })
        })
    }
}

/// Gives the folders of a tree what they are to have, when all archives were read.
pub(crate) fn finish(tree: Tree<'_>, offset: u64) -> Result<(), UnpackError> {
    tree.finish().map_err(|(path, problem)| UnpackError::Entry {
        name: shown(&path),
        offset,
        problem,
    })
}

pub(crate) fn require_empty(root: BorrowedFd<'_>) -> Result<(), UnpackError> {
    let folder = |error: rustix::io::Errno| UnpackError::Folder(error.into());
    for entry in Dir::read_from(root).map_err(folder)? {
        let entry = entry.map_err(folder)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Err(UnpackError::NotEmpty);
        }
    }
    Ok(())
}

struct Unpacking<'run, 'root, P> {
    archive: Archive<Source>,
    tree: &'run mut Tree<'root>,
    reading: Reading<'run>,
    bytes_in: &'run AtomicU64,
    entries: u64,
    /// Position and entries when free space was looked at last.
    looked: Option<(u64, u64)>,
    progress: &'run mut P,
}

impl<P: FnMut(Progress)> Unpacking<'_, '_, P> {
    fn run(&mut self) -> Result<(), Problem> {
        loop {
            self.check_reserve(0)?;
            let entry = self.archive.next()?;
            self.check_bytes()?;
            let Some(entry) = entry else { return Ok(()) };
            self.entries += 1;
            let Limits { entries, depth, .. } = *self.reading.limits;
            if self.reading.done.entries + self.entries > entries {
                return Err(Problem::Limit(Limit::Entries(entries)));
            }
            if entry.name.depth() > depth {
                return Err(Problem::Limit(Limit::Depth(depth)));
            }
            self.take(entry)?;
            self.tell();
        }
    }

    fn take(&mut self, entry: Entry) -> Result<(), Problem> {
        let pass = self.reading.pass;
        if pass == Pass::Archive {
            return self.make(entry);
        }
        match (Whiteout::of(&entry)?, pass) {
            (Some(Whiteout::One(name)), Pass::Hide) => self.tree.hide(&name)?,
            (Some(Whiteout::Children(name)), Pass::Hide) => self.tree.hide_children(&name)?,
            (Some(_), _) => {}
            (None, Pass::Hide) if matches!(entry.kind, Kind::Folder) => {}
            (None, Pass::Hide) => self.tree.make_way(&entry.name)?,
            (None, _) => return self.make(entry),
        }
        self.skip()
    }

    /// Passes over content that is not wanted.
    fn skip(&mut self) -> Result<(), Problem> {
        loop {
            let length = self.archive.content(u64::MAX)?.len();
            if length == 0 {
                return Ok(());
            }
            self.archive.consume(length);
            self.check_bytes()?;
        }
    }

    fn make(&mut self, entry: Entry) -> Result<(), Problem> {
        let Entry { name, attributes, kind } = entry;
        match kind {
            Kind::File(shape) => {
                let most = self.reading.limits.file_bytes;
                if shape.size > most {
                    return Err(Problem::Limit(Limit::FileBytes(most)));
                }
                self.check_reserve(self.archive.remaining())?;
                let file = self.tree.file(&name)?;
                self.fill(&file, shape)?;
                attributes_of(&file, &attributes)
            }
            Kind::Folder => self.tree.folder(&name, attributes),
            Kind::Symlink(target) => self.tree.symlink(&name, &target, &attributes),
            Kind::Link(target) => self.tree.link(&name, &target),
            Kind::CharacterDevice { major, minor } => {
                let device = self.device(&name, major, minor)?;
                if !self.reading.limits.make_devices {
                    return Ok(());
                }
                self.tree.device(&name, device, &attributes)
            }
        }
    }

    /// The allowed device of this name, if the numbers are its own.
    fn device(
        &self,
        name: &Name,
        major: u32,
        minor: u32,
    ) -> Result<crate::limits::Device, Problem> {
        let leaf = name.split().map_or(&b""[..], |(_, leaf)| leaf);
        let allowed = self.reading.limits.devices.iter().find(|device| {
            device.name.as_bytes() == leaf && (device.major, device.minor) == (major, minor)
        });
        allowed.copied().ok_or(Problem::Device { major, minor })
    }

    fn fill(&mut self, file: impl AsFd, shape: Shape) -> Result<(), Problem> {
        let Some(regions) = shape.regions else { return self.pour(&file) };
        // The size first: whatever is not written stays a hole.
        ftruncate(&file, shape.size).map_err(Problem::system("setting the size"))?;
        for region in regions {
            self.pour_region(&file, region)?;
        }
        Ok(())
    }

    /// All content, from the file's beginning.
    fn pour(&mut self, file: impl AsFd) -> Result<(), Problem> {
        loop {
            let piece = self.archive.content(u64::MAX)?;
            if piece.is_empty() {
                return Ok(());
            }
            let written = write(&file, piece).map_err(Problem::system("writing"))?;
            self.poured(written)?;
        }
    }

    fn pour_region(&mut self, file: impl AsFd, region: Region) -> Result<(), Problem> {
        let Region { mut offset, mut length } = region;
        while length > 0 {
            let piece = self.archive.content(length)?;
            let written = pwrite(&file, piece, offset).map_err(Problem::system("writing"))?;
            offset += written as u64;
            length -= written as u64;
            self.poured(written)?;
        }
        Ok(())
    }

    fn poured(&mut self, bytes: usize) -> Result<(), Problem> {
        self.archive.consume(bytes);
        self.check_bytes()?;
        self.check_reserve(0)?;
        if self.archive.remaining() > 0 {
            self.tell();
        }
        Ok(())
    }

    fn check_bytes(&self) -> Result<(), Problem> {
        let Limits { bytes, ratio, .. } = *self.reading.limits;
        let out = self.archive.position();
        if self.reading.done.bytes_out + out > bytes {
            return Err(Problem::Limit(Limit::Bytes(bytes)));
        }
        let most = self.bytes_in.load(Ordering::Relaxed).saturating_mul(ratio);
        if out > RATIO_FREE_BYTES && out > most {
            return Err(Problem::Limit(Limit::Ratio(ratio)));
        }
        Ok(())
    }

    /// Looks at the filesystem now and then, and before a file that is larger than what is written
    /// between two looks.
    fn check_reserve(&mut self, coming: u64) -> Result<(), Problem> {
        let now = (self.archive.position(), self.entries);
        if let Some((bytes, entries)) = self.looked {
            let soon = now.0 + coming - bytes < RESERVE_LOOK_BYTES;
            if soon && now.1 - entries < RESERVE_LOOK_ENTRIES {
                return Ok(());
            }
        }
        self.looked = Some(now);
        let percent = self.reading.limits.reserve_percent;
        let found =
            fstatvfs(self.reading.root).map_err(Problem::system("looking for free space"))?;
        let reserve = |all: u64| u128::from(all) * u128::from(percent) / 100;
        let coming = coming.div_ceil(found.f_frsize.max(1));
        if u128::from(found.f_bavail) < reserve(found.f_blocks) + u128::from(coming) {
            return Err(Problem::Limit(Limit::Space(percent)));
        }
        // Filesystems that make inodes as they need them say that there are none.
        if found.f_files > 0 && u128::from(found.f_favail) < reserve(found.f_files) {
            return Err(Problem::Limit(Limit::Inodes(percent)));
        }
        Ok(())
    }

    fn tell(&mut self) {
        (self.progress)(Progress {
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.archive.position(),
            entries: self.entries,
        });
    }
}
