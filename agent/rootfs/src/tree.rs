//! The tree that is being made: every path of it is opened beneath the root, and no link followed.
//!
//! ```text
//!   "usr/bin/env" ─▶ folder "usr/bin": an open descriptor (the last few are kept), or
//!                    openat2(root, "usr/bin", BENEATH | NO_SYMLINKS | NO_MAGICLINKS | NO_XDEV)
//!                 ─▶ the leaf "env" is made in that folder, where nothing of its name is left
//! ```
//!
//! Folders are made for us alone, and get their owners, modes and times at the end, when nothing is
//! made in them any more: children first, so that a folder that even we may not enter comes last.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, fchmod, fchown, fsetxattr,
    futimens, linkat, mkdirat, mknodat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::attributes::Attributes;
use crate::error::{Limit, Problem};
use crate::limits::{Device, FOLDERS_OPEN, HELD_BYTES};
use crate::name::{Name, shown, split};

/// For folders above an entry, and for reaching what is there.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Until the end a folder is ours alone.
const FOLDER_IN_THE_MAKING: Mode = Mode::RWXU;

/// What a folder is given that has no entry of its own.
const FOLDER_MODE: Mode =
    Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

/// What one folder costs beside the bytes of its name and attributes.
const FOLDER_HELD_BYTES: usize = 128;

mod hide;

pub use hide::remove_tree;

pub(crate) struct Tree<'root> {
    root: BorrowedFd<'root>,
    /// The last few folders, the most recently used one at the end.
    open: Vec<(Vec<u8>, Rc<OwnedFd>)>,
    /// Every folder that was made, with what it is to get at the end; nothing, if no entry said so.
    folders: BTreeMap<Vec<u8>, Option<Attributes>>,
    /// What the root itself is to get.
    root_attributes: Option<Attributes>,
    /// Bytes held by `folders`.
    held: usize,
}

/// A folder, open.
enum Folder<'root> {
    Root(BorrowedFd<'root>),
    Beneath(Rc<OwnedFd>),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(root) => root.as_fd(),
            Self::Beneath(folder) => folder.as_fd(),
        }
    }
}

impl<'root> Tree<'root> {
    pub(crate) fn new(root: BorrowedFd<'root>) -> Self {
        Self {
            root,
            open: Vec::with_capacity(FOLDERS_OPEN),
            folders: BTreeMap::new(),
            root_attributes: None,
            held: 0,
        }
    }

    /// An empty file that is ours alone, in the place of whatever had its name.
    pub(crate) fn file(&mut self, name: &Name) -> Result<OwnedFd, Problem> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.make(name, "making the file", |folder, leaf| {
            openat2(folder, leaf, flags, Mode::RUSR | Mode::WUSR, BENEATH)
        })
    }

    /// A folder, or the one that is there, with attributes for the end.
    pub(crate) fn folder(&mut self, name: &Name, attributes: Attributes) -> Result<(), Problem> {
        if name.is_root() {
            self.root_attributes = Some(attributes);
            return Ok(());
        }
        let path = name.as_bytes();
        if !self.folders.contains_key(path) {
            self.make(name, "making the folder", |folder, leaf| {
                mkdirat(folder, leaf, FOLDER_IN_THE_MAKING)
            })?;
        }
        self.remember(path, Some(attributes))
    }

    pub(crate) fn symlink(
        &mut self,
        name: &Name,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<(), Problem> {
        // There is no descriptor of a symlink that attributes could be set by.
        if let Some((attribute, _)) = attributes.xattrs.first() {
            let what = format!("{} of a symlink", shown(attribute));
            return Err(Problem::Unsupported(what));
        }
        self.make(name, "making the symlink", |folder, leaf| symlinkat(target, folder, leaf))?;
        self.attributes_of_leaf(name, attributes, false)
    }

    /// A hard link to a regular file of this tree, reached without following anything.
    pub(crate) fn link(&mut self, name: &Name, target: &Name) -> Result<(), Problem> {
        let problem = || Problem::Link(shown(target.as_bytes()));
        let Some((parent, leaf)) = target.split() else { return Err(problem()) };
        if name == target {
            return Err(problem());
        }
        let from = self.existing(parent)?.ok_or_else(problem)?;
        let found = match statat(&from, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Err(problem()),
            found => found.map_err(Problem::system("looking at the target of the link"))?,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(problem());
        }
        self.make(name, "making the hard link", |folder, own| {
            linkat(&from, leaf, folder, own, AtFlags::empty())
        })
    }

    pub(crate) fn device(
        &mut self,
        name: &Name,
        device: Device,
        attributes: &Attributes,
    ) -> Result<(), Problem> {
        if let Some((attribute, _)) = attributes.xattrs.first() {
            let what = format!("{} of a device", shown(attribute));
            return Err(Problem::Unsupported(what));
        }
        self.make(name, "making the device", |folder, leaf| {
            let mode = Mode::RUSR | Mode::WUSR;
            mknodat(folder, leaf, FileType::CharacterDevice, mode, device.number())
        })?;
        self.attributes_of_leaf(name, attributes, true)
    }

    /// What the root and folders are to get that no entry has named.
    pub(crate) fn name_all(&mut self, attributes: &Attributes) {
        self.root_attributes.get_or_insert_with(|| attributes.clone());
        for unnamed in self.folders.values_mut().filter(|folder| folder.is_none()) {
            *unnamed = Some(attributes.clone());
        }
    }

    /// Gives all folders what they are to have.
    pub(crate) fn finish(mut self) -> Result<(), (Vec<u8>, Problem)> {
        self.open.clear();
        let folders = std::mem::take(&mut self.folders);
        // What is deeper comes later in the order of names, so this way it comes first.
        for (path, attributes) in folders.into_iter().rev() {
            self.finish_folder(&path, attributes).map_err(|problem| (path, problem))?;
        }
        if let Some(attributes) = &self.root_attributes {
            attributes_of(self.root, attributes).map_err(|problem| (b".".to_vec(), problem))?;
        }
        Ok(())
    }

    fn finish_folder(&self, path: &[u8], attributes: Option<Attributes>) -> Result<(), Problem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat2(self.root, path, flags, Mode::empty(), BENEATH)
            .map_err(Problem::system("opening the folder"))?;
        match attributes {
            Some(attributes) => attributes_of(&folder, &attributes),
            None => fchmod(&folder, FOLDER_MODE).map_err(Problem::system("setting the mode")),
        }
    }

    /// Makes a leaf; if something has its name, removes that and tries once more.
    fn make<T>(
        &mut self,
        name: &Name,
        doing: &'static str,
        make: impl Fn(&Folder<'root>, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T, Problem> {
        let Some((parent, leaf)) = name.split() else { return Err(Problem::Root) };
        let folder = self.parent(parent)?;
        match make(&folder, leaf) {
            Err(Errno::EXIST) => {
                self.remove(&folder, leaf, name)?;
                make(&folder, leaf).map_err(Problem::system(doing))
            }
            made => made.map_err(Problem::system(doing)),
        }
    }

    /// Removes a leaf: a later entry of the same name counts. Folders go only if they are empty.
    fn remove(&mut self, folder: &Folder<'_>, leaf: &[u8], name: &Name) -> Result<(), Problem> {
        match unlinkat(folder, leaf, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            removed => return removed.map_err(Problem::system("removing what had its name")),
        }
        match unlinkat(folder, leaf, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Problem::FolderInTheWay),
            removed => {
                removed.map_err(Problem::system("removing the folder that had its name"))?;
                self.open.retain(|(path, _)| path != name.as_bytes());
                self.folders.remove(name.as_bytes());
                Ok(())
            }
        }
    }

    /// The folder that an entry is made in; those that no entry has named are made.
    fn parent(&mut self, path: &[u8]) -> Result<Folder<'root>, Problem> {
        if let Some(folder) = self.existing(path)? {
            return Ok(folder);
        }
        let (above, leaf) = split(path);
        let folder = self.parent(above)?;
        mkdirat(&folder, leaf, FOLDER_IN_THE_MAKING)
            .map_err(Problem::system("making a folder above it"))?;
        self.remember(path, None)?;
        self.existing(path)?.ok_or_else(|| Problem::Above(shown(path)))
    }

    /// A folder that is there, or nothing.
    fn existing(&mut self, path: &[u8]) -> Result<Option<Folder<'root>>, Problem> {
        if path.is_empty() {
            return Ok(Some(Folder::Root(self.root)));
        }
        if let Some(index) = self.open.iter().rposition(|(open, _)| open == path) {
            // Siblings in turn are the usual case: the last one stays the last one.
            if index + 1 < self.open.len() {
                let used = self.open.remove(index);
                self.open.push(used);
            }
            return Ok(self.open.last().map(|(_, folder)| Folder::Beneath(Rc::clone(folder))));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match openat2(self.root, path, flags, Mode::empty(), BENEATH) {
            Ok(folder) => Rc::new(folder),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                return Err(Problem::Above(shown(path)));
            }
            Err(error) => return Err(Problem::system("opening the folder above it")(error)),
        };
        if self.open.len() == FOLDERS_OPEN {
            self.open.remove(0);
        }
        self.open.push((path.to_vec(), Rc::clone(&folder)));
        Ok(Some(Folder::Beneath(folder)))
    }

    fn remember(&mut self, path: &[u8], attributes: Option<Attributes>) -> Result<(), Problem> {
        let xattrs = attributes.iter().flat_map(|attributes| &attributes.xattrs);
        let more: usize = xattrs.map(|(name, value)| name.len() + value.len()).sum();
        // What an earlier entry of the same name held is counted on: the bound is no bookkeeping.
        self.held += FOLDER_HELD_BYTES + path.len() + more;
        if self.held > HELD_BYTES {
            return Err(Problem::Limit(Limit::Held(HELD_BYTES)));
        }
        self.folders.insert(path.to_vec(), attributes);
        Ok(())
    }

    /// Of what cannot be opened. It was just made, so it is what we think it is.
    fn attributes_of_leaf(
        &mut self,
        name: &Name,
        attributes: &Attributes,
        mode: bool,
    ) -> Result<(), Problem> {
        let Some((parent, leaf)) = name.split() else { return Err(Problem::Root) };
        let folder = self.parent(parent)?;
        let (uid, gid) = owner(attributes);
        rustix::fs::chownat(&folder, leaf, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Problem::system("setting the owner"))?;
        if mode {
            rustix::fs::chmodat(&folder, leaf, mode_of(attributes), AtFlags::empty())
                .map_err(Problem::system("setting the mode"))?;
        }
        let times = attributes.mtime.timestamps();
        utimensat(&folder, leaf, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Problem::system("setting the time"))
    }
}

/// Sets everything of an open file or folder. The order counts: a new owner takes set-user-ID bits
/// and capabilities away, and whatever is written changes the time.
pub(crate) fn attributes_of(file: impl AsFd, attributes: &Attributes) -> Result<(), Problem> {
    let (uid, gid) = owner(attributes);
    fchown(&file, uid, gid).map_err(Problem::system("setting the owner"))?;
    fchmod(&file, mode_of(attributes)).map_err(Problem::system("setting the mode"))?;
    for (name, value) in &attributes.xattrs {
        fsetxattr(&file, name.as_slice(), value, XattrFlags::empty())
            .map_err(Problem::system("setting an extended attribute"))?;
    }
    futimens(&file, &attributes.mtime.timestamps()).map_err(Problem::system("setting the time"))
}

fn owner(attributes: &Attributes) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))
}

fn mode_of(attributes: &Attributes) -> Mode {
    Mode::from_raw_mode(attributes.mode)
}
