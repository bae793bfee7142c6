//! The layers of an image, one over the other.
//!
//! ```text
//!   layer ─┬─ first: what it hides of lower layers is removed ─┐
//!          └─ again: what it holds is made ────────────────────┴─▶ next layer … ─▶ finish: folders
//! ```
//!
//! A layer is read twice because a whiteout hides what lower layers have and never what its own layer
//! has, wherever in the layer it stands. The other way, remembering all that a layer made, costs memory
//! by the entry. The first layer hides nothing, and is read once.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::process::{getegid, geteuid};

use crate::attributes::{Attributes, Time};
use crate::error::UnpackError;
use crate::limits::Limits;
use crate::tree::Tree;
use crate::unpack::{Pass, Progress, Reading, Summary, finish, require_empty};

/// A tree that layers are unpacked into, from the lowest to the highest.
///
/// The limits are for all layers together.
pub struct Layers<'run> {
    root: BorrowedFd<'run>,
    limits: &'run Limits,
    tree: Tree<'run>,
    done: Progress,
}

impl<'run> Layers<'run> {
    /// Begins in an empty folder.
    ///
    /// # Errors
    /// If it cannot be listed, or is not empty.
    pub fn new(root: BorrowedFd<'run>, limits: &'run Limits) -> Result<Self, UnpackError> {
        require_empty(root)?;
        Ok(Self { root, limits, tree: Tree::new(root), done: Progress::default() })
    }

    /// Unpacks a layer (tar, also with gzip or zstd) over what is there, with the same distrust as
    /// [`crate::unpack`]: no symlink of a lower layer is followed either. `open` gives the layer's
    /// bytes from the beginning each time; a layer that is not the first is read twice. `progress` is
    /// told of this layer's second reading alone.
    ///
    /// # Errors
    /// As of [`crate::unpack`]; also if the two readings differ. The tree is of no use then.
    pub fn unpack<R: io::Read + Send>(
        &mut self,
        mut open: impl FnMut() -> io::Result<R>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Summary, UnpackError> {
        let hidden = if self.done.entries > 0 {
            Some(self.read(Pass::Hide, open().map_err(UnpackError::Open)?, &mut |_| ())?)
        } else {
            None
        };
        let summary = self.read(Pass::Layer, open().map_err(UnpackError::Open)?, progress)?;
        if hidden.is_some_and(|hidden| hidden.sha256 != summary.sha256) {
            return Err(UnpackError::Changed);
        }
        self.done.bytes_out += summary.bytes_out;
        self.done.entries += summary.entries;
        Ok(summary)
    }

    /// Gives all folders their owners, modes and times. Those that no layer names, as perhaps the root,
    /// are the caller's, with the mode 0755 and the time 0, so that the same layers make the same tree.
    /// It is not brought to the disk.
    ///
    /// # Errors
    /// If the filesystem refuses.
    pub fn finish(mut self) -> Result<(), UnpackError> {
        self.tree.name_all(&Attributes {
            mode: 0o755,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            mtime: Time { seconds: 0, nanoseconds: 0 },
            xattrs: Vec::new(),
        });
        finish(self.tree, self.done.bytes_out)
    }

    fn read(
        &mut self,
        pass: Pass,
        reader: impl io::Read + Send,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Summary, UnpackError> {
        let Self { root, limits, done, .. } = *self;
        Reading { root, limits, pass, done }.read(reader, &mut self.tree, progress)
    }
}
