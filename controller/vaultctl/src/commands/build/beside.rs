//! What is made stands beside its place until it is whole.
//!
//! ```text
//!   FOLDER/.NAME.aB3x  ─▶ whole, on the disk ─▶ FOLDER/NAME
//!                      ─▶ failed, interrupted ─▶ gone
//! ```

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tempfile::{Builder, NamedTempFile};

use crate::ends::Ends;
use crate::error::{Exit, Failure};

/// The place where something is to be.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    folder: PathBuf,
    prefix: OsString,
}

impl Place {
    /// The place that a path names. Its folder has to be there.
    ///
    /// # Errors
    /// If it names none.
    pub(super) fn new(path: &Path) -> Result<Self, Failure> {
        let bad = |why: String| {
            Failure::new(Exit::BadInput, format!("cannot write {}: {why}", path.display()))
        };
        let name = path.file_name().ok_or_else(|| bad("it has no name".to_owned()))?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = parent.canonicalize();
        let folder = folder.map_err(|error| bad(format!("{}: {error}", parent.display())))?;
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        Ok(Self { path: folder.join(name), folder, prefix })
    }

    /// Without symlinks but perhaps for the last part.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An empty file, that everybody may read whom the process's mask lets.
    pub(super) fn file(&self) -> anyhow::Result<NamedTempFile> {
        let mut builder = Builder::new();
        builder.prefix(&self.prefix).permissions(Permissions::from_mode(0o666));
        builder.tempfile_in(&self.folder).with_context(|| self.failed())
    }

    /// An empty folder, ours alone.
    pub(super) fn scratch(&self) -> anyhow::Result<Scratch> {
        let mut builder = Builder::new();
        builder.prefix(&self.prefix).permissions(Permissions::from_mode(0o700));
        let folder = builder.tempdir_in(&self.folder).with_context(|| self.failed())?;
        Ok(Scratch(folder.keep()))
    }

    /// Puts a whole file in its place, also of an older one.
    pub(super) fn take_file(&self, file: NamedTempFile) -> anyhow::Result<()> {
        file.as_file().sync_all().with_context(|| self.failed())?;
        file.persist(&self.path).map_err(|error| error.error).with_context(|| self.failed())?;
        self.sync()
    }

    /// Puts a whole folder, made within the scratch, in its place, where nothing or an empty folder is.
    pub(super) fn take_folder(&self, scratch: &Scratch, folder: &Path) -> anyhow::Result<()> {
        fs::rename(scratch.0.join(folder), &self.path).with_context(|| self.failed())?;
        self.sync()
    }

    fn sync(&self) -> anyhow::Result<()> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).with_context(|| self.failed())
    }

    fn failed(&self) -> String {
        format!("cannot write {}", self.path.display())
    }
}

/// A folder that goes when this is dropped, with all that is in it, whatever modes that has.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder in it.
    pub(super) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.0.join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (Some(parent), Some(name)) = (self.0.parent(), self.0.file_name()) else { return };
        // There is nobody to tell, and what is left shows by its name whose it was.
        File::open(parent).and_then(|parent| vault_rootfs::remove_tree(parent, name)).ok();
    }
}

/// Whether somebody wants the work to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A reader or writer that fails from then on.
    pub(super) fn watch<T>(&self, inner: T) -> Watched<T> {
        Watched { inner, interrupt: self.clone() }
    }

    /// Fails from then on.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            // `Interrupted` itself would be tried again.
            true => Err(io::Error::other("interrupted")),
            false => Ok(()),
        }
    }
}

/// A reader or writer that fails once the work is interrupted.
pub(super) struct Watched<T> {
    inner: T,
    interrupt: Interrupt,
}

impl<T> Watched<T> {
    pub(super) fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: Read> Read for Watched<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.interrupt.check()?;
        self.inner.read(into)
    }
}

impl<T: Write> Write for Watched<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupt.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Does work that takes long on a thread of its own. A signal that ends this program lets it clean up
/// first.
pub(super) async fn interruptible<T: Send + 'static>(
    work: impl FnOnce(&Interrupt) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let mut ends = Ends::new()?;
    let interrupt = Interrupt::default();
    let watched = interrupt.clone();
    let mut work = tokio::task::spawn_blocking(move || work(&watched));
    // Both arms are cancel-safe: the work goes on, and is waited for below.
    tokio::select! {
        ended = &mut work => return ended?,
        () = ends.next() => interrupt.0.store(true, Ordering::Relaxed),
    }
    work.await?.context("interrupted")
}
