//! A folder that is received into, by its descriptor: nothing in it is reached through a link.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fchmod, fstat, mkdirat, open, openat2,
    statat,
};
use rustix::io::Errno;

use crate::error::{CopyError, Problem};
use crate::limits::NAME_BYTES_MAX;

/// How anything within a folder is opened.
pub(crate) const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The permission bits that a copy carries: who may become somebody else by running a file is not for
/// the other side to say.
const PERMISSIONS: u32 = 0o777;

/// A folder, open.
pub(crate) struct Folder {
    descriptor: OwnedFd,
    /// For errors.
    pub(crate) path: PathBuf,
}

/// Whether a name is one component, and leads to something in its folder.
pub(crate) fn is_component(name: &[u8]) -> bool {
    let leads_elsewhere = matches!(name, b"" | b"." | b"..");
    !leads_elsewhere
        && name.len() <= NAME_BYTES_MAX
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// The permission bits of a mode.
pub(crate) fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & PERMISSIONS)
}

impl Folder {
    /// The folder that somebody on this side has named, through whatever links; nothing, if there is no
    /// folder of this name.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, CopyError> {
        match open(path, OPEN, Mode::empty()) {
            Ok(descriptor) => Ok(Some(Self { descriptor, path: path.to_owned() })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(CopyError::here(path, "the folder cannot be opened")(error)),
        }
    }

    /// The path of something in it.
    pub(crate) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// The folder of this name in it, and whether it was made. While files are written to it, we need
    /// to be allowed to.
    pub(crate) fn folder(&self, name: &[u8], mode: u32) -> Result<(Self, bool), CopyError> {
        let path = self.path_of(name);
        let made = match mkdirat(&self.descriptor, name, permissions(mode) | Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(CopyError::here(&path, "the folder cannot be made")(error)),
        };
        match openat2(&self.descriptor, name, OPEN | OFlags::NOFOLLOW, Mode::empty(), BENEATH) {
            Ok(descriptor) => Ok((Self { descriptor, path }, made)),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                Err(CopyError::unfit(&path, Problem::NoFolder))
            }
            Err(error) => Err(CopyError::here(&path, "the folder cannot be opened")(error)),
        }
    }

    /// The file of this name that a new one takes the place of, if there is one. A link is replaced as
    /// it is; what is neither is not replaced.
    pub(crate) fn file_in_place(&self, name: &[u8]) -> Result<Option<Stat>, CopyError> {
        let path = self.path_of(name);
        let found = match statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(CopyError::here(&path, "cannot be looked at")(error)),
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Ok(Some(found)),
            FileType::Symlink => Ok(None),
            _ => Err(CopyError::unfit(&path, Problem::InTheWay)),
        }
    }

    /// Takes the rights away that a folder of this mode does not have, now that it is full.
    pub(crate) fn restrict(&self, mode: u32) -> Result<(), CopyError> {
        let missing = permissions(!mode) & Mode::RWXU;
        if missing.is_empty() {
            return Ok(());
        }
        let now =
            fstat(&self.descriptor).map_err(CopyError::here(&self.path, "cannot be looked at"))?;
        fchmod(&self.descriptor, Mode::from_raw_mode(now.st_mode) - missing)
            .map_err(CopyError::here(&self.path, "the mode cannot be set"))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_component() {
        for good in [b"a".as_slice(), b"...", b".hidden", b"a b", b"\xff", &[b'x'; 255]] {
            assert!(is_component(good), "{good:?}");
        }
        for bad in [b"".as_slice(), b".", b"..", b"a/b", b"/", b"../a", b"a\0", &[b'x'; 256]] {
            assert!(!is_component(bad), "{bad:?}");
        }
    }
}
