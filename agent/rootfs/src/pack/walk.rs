//! Through a folder in the order of names, without following anything.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat, fgetxattr, flistxattr, fstat,
    llistxattr, major, minor, openat, readlinkat, seek, statat,
};
use rustix::io::Errno;

use crate::archive::{BLOCK, Region};
use crate::attributes::{Attributes, Time, Xattrs};
use crate::limits::{DEPTH, Device, NAME_BYTES, SPARSE_REGIONS};

use super::record::{Record, Sparse};
use super::{Output, PackError, PackProblem};

pub(super) struct Walked {
    pub(super) entries: u64,
    pub(super) left_out: Vec<PathBuf>,
}

/// Writes every entry of the folder, itself first.
pub(super) fn walk(
    folder: &Path,
    devices: &[Device],
    output: &mut Output<impl Write>,
) -> Result<Walked, PackError> {
    let walked = Walked { entries: 0, left_out: Vec::new() };
    let mut walk = Walk { folder, devices, output, first_names: BTreeMap::new(), walked };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, folder, flags, Mode::empty()).map_err(failed(b".", "opening"))?;
    walk.folder(&root, b"", 0)?;
    Ok(walk.walked)
}

struct Walk<'run, W> {
    folder: &'run Path,
    devices: &'run [Device],
    output: &'run mut Output<W>,
    /// Of files with several names, by device and inode: the one that has the content.
    first_names: BTreeMap<(u64, u64), Vec<u8>>,
    walked: Walked,
}

impl<W: Write> Walk<'_, W> {
    fn folder(&mut self, folder: &OwnedFd, path: &[u8], depth: usize) -> Result<(), PackError> {
        let name = if path.is_empty() { b"./".to_vec() } else { [path, b"/"].concat() };
        if depth > DEPTH || name.len() > NAME_BYTES {
            return Err(refused(path, PackProblem::Path));
        }
        let stat = fstat(folder).map_err(failed(path, "looking"))?;
        let attributes = attributes(&stat, xattrs(folder, path)?);
        self.write(path, &plain(&name, b'5', &attributes))?;
        for leaf in leaves(folder, path)? {
            let child = match path {
                b"" => leaf.clone(),
                _ => [path, b"/", &leaf].concat(),
            };
            self.leaf(folder, &leaf, &child, depth)?;
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        folder: &OwnedFd,
        leaf: &[u8],
        path: &[u8],
        depth: usize,
    ) -> Result<(), PackError> {
        if path.len() > NAME_BYTES {
            return Err(refused(path, PackProblem::Path));
        }
        let stat =
            statat(folder, leaf, AtFlags::SYMLINK_NOFOLLOW).map_err(failed(path, "looking"))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |flags| {
            let opened = openat(folder, leaf, flags, Mode::empty());
            opened.map_err(failed(path, "opening"))
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(&open(flags | OFlags::DIRECTORY)?, path, depth + 1),
            FileType::RegularFile => {
                if stat.st_nlink > 1 {
                    let key = (stat.st_dev, stat.st_ino);
                    if let Some(first) = self.first_names.get(&key).cloned() {
                        let attributes = attributes(&stat, Vec::new());
                        let record = plain(path, b'1', &attributes);
                        return self.write(path, &Record { target: Some(&first), ..record });
                    }
                    self.first_names.insert(key, path.to_vec());
                }
                self.file(open(flags)?, &stat, path)
            }
            FileType::Symlink => self.symlink(folder, leaf, &stat, path),
            FileType::CharacterDevice => self.device(&stat, leaf, path),
            FileType::Socket => {
                self.walked.left_out.push(shown(path));
                Ok(())
            }
            _ => Err(refused(path, PackProblem::Type)),
        }
    }

    fn file(&mut self, file: OwnedFd, before: &Stat, path: &[u8]) -> Result<(), PackError> {
        let changed = || refused(path, PackProblem::Changed);
        let stat = fstat(&file).map_err(failed(path, "looking"))?;
        if (stat.st_dev, stat.st_ino) != (before.st_dev, before.st_ino) {
            return Err(changed());
        }
        let size = u64::try_from(stat.st_size).map_err(|_| changed())?;
        let attributes = attributes(&stat, xattrs(&file, path)?);
        // Files with holes take less of the disk than they are long.
        let holes = u64::try_from(stat.st_blocks).is_ok_and(|blocks| blocks * 512 < size);
        let whole = vec![Region { offset: 0, length: size }];
        let regions = if holes { regions(&file, size, path)? } else { whole.clone() };
        let record = plain(path, b'0', &attributes);
        let stored = regions.iter().map(|region| region.length).sum();
        let sparse = (regions != whole).then_some(Sparse { size, regions: &regions });
        self.write(path, &Record { size: stored, sparse, ..record })?;
        let file = File::from(file);
        for region in &regions {
            if !self.output.copy(&file, *region, &shown(path))? {
                return Err(changed());
            }
        }
        self.output.pad()
    }

    fn symlink(
        &mut self,
        folder: &OwnedFd,
        leaf: &[u8],
        stat: &Stat,
        path: &[u8],
    ) -> Result<(), PackError> {
        let place = self.folder.join(OsStr::from_bytes(path));
        let mut names = [0; 512];
        match llistxattr(&place, &mut names[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => {}
            Ok(_) | Err(Errno::RANGE) => {
                return Err(refused(path, PackProblem::SymlinkAttributes));
            }
            Err(error) => return Err(failed(path, "listing the extended attributes")(error)),
        }
        let target =
            readlinkat(folder, leaf, Vec::new()).map_err(failed(path, "reading the symlink"))?;
        let attributes = attributes(stat, Vec::new());
        let record = plain(path, b'2', &attributes);
        self.write(path, &Record { target: Some(target.to_bytes()), ..record })
    }

    fn device(&mut self, stat: &Stat, leaf: &[u8], path: &[u8]) -> Result<(), PackError> {
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let allowed = self.devices.iter().any(|device| {
            device.name.as_bytes() == leaf && (device.major, device.minor) == (major, minor)
        });
        if !allowed {
            return Err(refused(path, PackProblem::Device { major, minor }));
        }
        let attributes = attributes(stat, Vec::new());
        let record = plain(path, b'3', &attributes);
        self.write(path, &Record { device: Some((major, minor)), ..record })
    }

    fn write(&mut self, path: &[u8], record: &Record<'_>) -> Result<(), PackError> {
        let blocks = record.blocks().ok_or_else(|| refused(path, PackProblem::Attributes))?;
        self.walked.entries += 1;
        self.output.write(&blocks)
    }
}

fn plain<'entry>(name: &'entry [u8], kind: u8, attributes: &'entry Attributes) -> Record<'entry> {
    Record { name, kind, attributes, size: 0, target: None, device: None, sparse: None }
}

/// The names in a folder, sorted by their bytes.
fn leaves(folder: &OwnedFd, path: &[u8]) -> Result<Vec<Vec<u8>>, PackError> {
    let mut leaves = Vec::new();
    for entry in Dir::read_from(folder).map_err(failed(path, "reading the folder"))? {
        let entry = entry.map_err(failed(path, "reading the folder"))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            leaves.push(name.to_vec());
        }
    }
    leaves.sort();
    Ok(leaves)
}

#[expect(clippy::cast_possible_truncation, reason = "there are less than 10^9 nanoseconds")]
fn attributes(stat: &Stat, xattrs: Xattrs) -> Attributes {
    Attributes {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
        xattrs,
    }
}

/// All extended attributes, sorted by name.
fn xattrs(file: impl AsFd, path: &[u8]) -> Result<Xattrs, PackError> {
    // What Linux gives at most, for all names and for one value.
    let mut names = vec![0; 1 << 16];
    let length = match flistxattr(&file, &mut names[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        length => length.map_err(failed(path, "listing the extended attributes"))?,
    };
    let mut xattrs = Vec::new();
    let mut value = vec![0; 1 << 16];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.contains(&b'=') || str::from_utf8(name).is_err() {
            return Err(refused(path, PackProblem::AttributeName));
        }
        let length = fgetxattr(&file, name, &mut value[..])
            .map_err(failed(path, "reading an extended attribute"))?;
        xattrs.push((name.to_vec(), value[..length].to_vec()));
    }
    xattrs.sort();
    Ok(xattrs)
}

/// What of a file is no hole, in whole blocks.
fn regions(file: &OwnedFd, size: u64, path: &[u8]) -> Result<Vec<Region>, PackError> {
    let mut regions: Vec<Region> = Vec::new();
    let mut offset = 0;
    while offset < size {
        let data = match seek(file, SeekFrom::Data(offset)) {
            Err(Errno::NXIO) => break,
            data => data.map_err(failed(path, "looking for holes"))?,
        };
        let hole = seek(file, SeekFrom::Hole(data)).map_err(failed(path, "looking for holes"))?;
        let begin = data / BLOCK * BLOCK;
        let end = hole.next_multiple_of(BLOCK).min(size);
        match regions.last_mut() {
            Some(last) if last.offset + last.length >= begin => last.length = end - last.offset,
            _ => regions.push(Region { offset: begin, length: end - begin }),
        }
        offset = hole;
    }
    if regions.len() as u64 >= SPARSE_REGIONS {
        // Nobody would unpack such a map; without it the file is the same.
        return Ok(vec![Region { offset: 0, length: size }]);
    }
    Ok(regions)
}

fn shown(path: &[u8]) -> PathBuf {
    let path = if path.is_empty() { b"." } else { path };
    PathBuf::from(OsStr::from_bytes(path))
}

fn failed(path: &[u8], doing: &'static str) -> impl Fn(Errno) -> PackError {
    move |error| PackError::Read { path: shown(path), doing, error: error.into() }
}

fn refused(path: &[u8], problem: PackProblem) -> PackError {
    PackError::Refused { path: shown(path), problem }
}
