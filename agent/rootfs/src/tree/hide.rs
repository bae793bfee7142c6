//! What a layer hides goes, before anything of the layer is made.
//!
//! ```text
//!   usr/share/doc ─▶ the folder usr/share, as `Tree` opens it ─▶ doc, and all beneath it, by descriptor
//! ```
//!
//! What could be reached through a symlink alone is nothing that lower layers have by that name: it
//! stays, and that is no error. A layer may well replace the symlink by a folder.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, OFlags, accessat, chmodat, fchmod, openat2, statat,
    unlinkat,
};
use rustix::io::Errno;

use crate::error::Problem;
use crate::name::Name;

use super::{BENEATH, Folder, Tree};

impl<'root> Tree<'root> {
    /// Removes what has this name and all beneath it, if anything is there.
    pub(crate) fn hide(&mut self, name: &Name) -> Result<(), Problem> {
        let Some((parent, leaf)) = name.split() else { return Err(Problem::Root) };
        if let Some(folder) = self.without_symlinks(parent)? {
            remove(&folder, leaf).map_err(hiding)?;
            self.forget_beneath(name.as_bytes());
            self.open.retain(|(path, _)| path != name.as_bytes());
            self.folders.remove(name.as_bytes());
        }
        Ok(())
    }

    /// Removes everything in a folder, if there is one of this name.
    pub(crate) fn hide_children(&mut self, name: &Name) -> Result<(), Problem> {
        if let Some(folder) = self.without_symlinks(name.as_bytes())? {
            // The folder is open as a mere place; to be listed it is opened once more.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = openat2(&folder, c".", flags, Mode::empty(), BENEATH).map_err(hiding)?;
            remove_children(&folder).map_err(hiding)?;
            self.forget_beneath(name.as_bytes());
        }
        Ok(())
    }

    /// Removes a folder of lower layers that has the name of something else in this one.
    pub(crate) fn make_way(&mut self, name: &Name) -> Result<(), Problem> {
        let Some((parent, leaf)) = name.split() else { return Err(Problem::Root) };
        let Some(folder) = self.without_symlinks(parent)? else { return Ok(()) };
        match statat(&folder, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(hiding(error)),
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                self.hide(name)
            }
            Ok(_) => Ok(()),
        }
    }

    fn without_symlinks(&mut self, path: &[u8]) -> Result<Option<Folder<'root>>, Problem> {
        match self.existing(path) {
            Err(Problem::Above(_)) => Ok(None),
            found => found,
        }
    }

    fn forget_beneath(&mut self, path: &[u8]) {
        let is_beneath = |other: &[u8]| match path {
            b"" => true,
            path => other.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/")),
        };
        self.open.retain(|(other, _)| !is_beneath(other));
        // All that is beneath stands together, right behind the path with its slash.
        let first = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let beneath = self.folders.range(first..).take_while(|(other, _)| is_beneath(other));
        let beneath: Vec<Vec<u8>> = beneath.map(|(other, _)| other.clone()).collect();
        for other in beneath {
            self.folders.remove(&other);
        }
    }
}

fn hiding(error: Errno) -> Problem {
    Problem::system("removing what it hides")(error)
}

/// Removes a leaf of a folder with all beneath it, such as a tree that was unpacked there, without
/// following anything; nothing may be there. Folders that even their owner may not change are opened
/// for it.
///
/// # Errors
/// If the system refuses; what was removed by then is gone.
pub fn remove_tree(folder: impl AsFd, leaf: &OsStr) -> io::Result<()> {
    Ok(remove(folder, leaf.as_bytes())?)
}

fn remove(folder: impl AsFd, leaf: &[u8]) -> rustix::io::Result<()> {
    match unlinkat(&folder, leaf, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat2(&folder, leaf, flags, Mode::empty(), BENEATH);
    let opened = match open() {
        Err(Errno::ACCESS) => {
            chmodat(&folder, leaf, Mode::RWXU, AtFlags::empty())?;
            open()?
        }
        opened => opened?,
    };
    remove_children(&opened)?;
    unlinkat(&folder, leaf, AtFlags::REMOVEDIR)
}

/// It goes as deep as a tree that was unpacked, whose depth is bounded.
fn remove_children(folder: &OwnedFd) -> rustix::io::Result<()> {
    let mut leaves = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            leaves.push(entry.file_name().to_owned());
        }
    }
    let may_change = Access::WRITE_OK | Access::EXEC_OK;
    if accessat(folder, c".", may_change, AtFlags::EACCESS).is_err() {
        fchmod(folder, Mode::RWXU)?;
    }
    leaves.iter().try_for_each(|leaf| remove(folder, leaf.to_bytes()))
}
