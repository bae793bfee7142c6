//! The root filesystems on the volume.
//!
//! ```text
//!   DATA/rootfs/state.json      which is which; see `state`
//!   DATA/rootfs/ID/root/        a tree, whole if `state.json` names it
//!   DATA/persist/{root,home}    outlives them all; nothing here touches it
//! ```
//!
//! A tree is made beside the others and brought to the disk before `state.json` names it; that file is
//! replaced by a rename, and brought to the disk before anything acts on it. Whatever else lies there is
//! removed when the agent starts.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use thiserror::Error;
use vault_rootfs::remove_tree;

use crate::limits::ROOTS_STATE_BYTES_MAX;

mod state;

pub(crate) use self::state::{Root, State};

const STATE: &str = "state.json";

/// Becomes [`STATE`].
const STATE_IN_THE_MAKING: &str = "state.json.new";

/// The tree inside of a root filesystem's folder.
const TREE: &str = "root";

/// Why the volume's root filesystems cannot be told.
#[derive(Debug, Error)]
pub(crate) enum RootsError {
    /// There is no volume, and so nothing that could be lost.
    #[error("there is no volume at {}", path.display())]
    NoVolume {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The system refuses.
    #[error("{} cannot be used", path.display())]
    System {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is not what we wrote. Nothing is done then: what it named may be needed.
    #[error("{} does not say which root filesystem is in use; nothing was changed", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The folder of root filesystems, and what is known of it.
#[derive(Debug)]
pub(crate) struct Roots {
    folder: PathBuf,
    persist: PathBuf,
    state: State,
    /// The ids of trees that are being unpacked.
    staged: HashSet<String>,
}

/// A folder that a tree is to be unpacked into. It stays until it is installed or discarded.
#[derive(Debug)]
pub(crate) struct Staging {
    id: String,
    /// Empty, and ours alone.
    pub(crate) tree: PathBuf,
}

impl Roots {
    /// Reads what the volume holds, and removes what is left over there.
    ///
    /// # Errors
    /// The volume cannot be used, or says what no agent has written.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, RootsError> {
        let (folder, persist) = (data_dir.join("rootfs"), data_dir.join("persist"));
        // The volume is there, or it is not; it is not for us to make.
        fs::read_dir(data_dir).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                RootsError::NoVolume { path: data_dir.to_owned(), source }
            }
            _ => system(data_dir)(source),
        })?;
        let path = folder.join(STATE);
        let state = match File::open(&path) {
            Ok(file) => read(file).map_err(|source| RootsError::Malformed { path, source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(system(&path)(error)),
        };
        let roots = Self { folder, persist, state, staged: HashSet::new() };
        roots.leftovers().remove();
        Ok(roots)
    }

    /// Which is which.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The tree of a root filesystem.
    pub(crate) fn tree(&self, root: &Root) -> PathBuf {
        self.folder.join(&root.id).join(TREE)
    }

    /// The folder of what outlives them all.
    pub(crate) fn persist(&self) -> &Path {
        &self.persist
    }

    /// Writes down what is the case from now on. It is on the disk when this returns.
    ///
    /// # Errors
    /// The system refuses; then nothing has changed.
    pub(crate) fn change(&mut self, change: impl FnOnce(State) -> State) -> Result<(), RootsError> {
        let state = change(self.state.clone());
        if state == self.state {
            return Ok(());
        }
        let path = self.folder.join(STATE);
        self.write(&state, &path).map_err(system(&path))?;
        self.state = state;
        Ok(())
    }

    fn write(&self, state: &State, path: &Path) -> io::Result<()> {
        let new = self.folder.join(STATE_IN_THE_MAKING);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Makes a folder to unpack into.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn stage(&mut self) -> Result<Staging, RootsError> {
        let mut bytes = [0; state::ID_CHARACTERS / 2];
        getrandom::fill(&mut bytes).map_err(|error| system(&self.folder)(error.into()))?;
        let id = HEXLOWER.encode(&bytes);
        let tree = self.folder.join(&id).join(TREE);
        make_folder(&tree).map_err(system(&tree))?;
        self.staged.insert(id.clone());
        Ok(Staging { id, tree })
    }

    /// From now on the unpacked tree is the one in use, for a trial. It has to be on the disk.
    ///
    /// # Errors
    /// The system refuses; then nothing has changed.
    pub(crate) fn install(&mut self, staging: &Staging, sha256: &[u8]) -> Result<(), RootsError> {
        let root = Root { id: staging.id.clone(), sha256: HEXLOWER.encode(sha256) };
        // The names of the tree's folders are still to be brought to the disk.
        let holder = self.folder.join(&staging.id);
        let synced = [&holder, &self.folder].into_iter().try_for_each(|folder| {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(system(folder))
        });
        synced?;
        self.change(|state| state.install(root))?;
        self.staged.remove(&staging.id);
        Ok(())
    }

    /// The unpacked tree is not needed: it is among the [`Self::leftovers`] from now on.
    pub(crate) fn discard(&mut self, staging: &Staging) {
        self.staged.remove(&staging.id);
    }

    /// Whatever lies there that is neither needed nor being made.
    pub(crate) fn leftovers(&self) -> Leftovers {
        let ids = self.state.ids();
        let is_left =
            |name: &str| name != STATE && !ids.contains(name) && !self.staged.contains(name);
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name());
        let names = names.filter(|name| name.to_str().is_none_or(is_left)).collect();
        Leftovers { folder: self.folder.clone(), names }
    }
}

/// What is to be removed from the folder of root filesystems.
pub(crate) struct Leftovers {
    folder: PathBuf,
    names: Vec<OsString>,
}

impl Leftovers {
    /// Removes them, which takes as long as `rm -r` does. What cannot be removed is left for the next
    /// time.
    pub(crate) fn remove(self) {
        if self.names.is_empty() {
            return;
        }
        let removed = File::open(&self.folder)
            .and_then(|folder| self.names.iter().try_for_each(|name| remove_tree(&folder, name)));
        if let Err(error) = removed {
            tracing::warn!(%error, "an unused root filesystem could not be removed");
        }
    }
}

/// Ours alone: what is in there is for other users of another machine.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn read(file: File) -> Result<State, Box<dyn std::error::Error + Send + Sync>> {
    let mut bytes = Vec::new();
    file.take(ROOTS_STATE_BYTES_MAX).read_to_end(&mut bytes)?;
    let state: State = serde_json::from_slice(&bytes)?;
    Ok(state.checked()?)
}

fn system(path: &Path) -> impl Fn(io::Error) -> RootsError {
    let path = path.to_owned();
    move |source| RootsError::System { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder.join("rootfs")).expect("readable").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_installed_is_found_again_and_what_is_not_is_removed() {
        let data = tempfile::tempdir().expect("a folder");
        let mut roots = Roots::open(data.path()).expect("opens");
        let (kept, unfinished) = (roots.stage().expect("made"), roots.stage().expect("made"));
        fs::write(kept.tree.join("file"), b"new").expect("written");
        fs::write(unfinished.tree.join("file"), b"half").expect("written");
        roots.leftovers().remove();
        assert!(unfinished.tree.exists(), "what is being made is not left over");
        roots.install(&kept, &[7; 32]).expect("installed");
        drop(roots);
        let roots = Roots::open(data.path()).expect("opens again");
        let current = roots.state().current().cloned().expect("is there");
        assert_eq!(fs::read(roots.tree(&current).join("file")).expect("readable"), b"new");
        assert_eq!(current.sha256, "07".repeat(32));
        assert_eq!(names(data.path()), [kept.id, STATE.to_owned()]);
    }

    #[test]
    fn the_previous_one_lies_there_until_the_new_one_has_worked() {
        let data = tempfile::tempdir().expect("a folder");
        let mut roots = Roots::open(data.path()).expect("opens");
        let first = roots.stage().expect("made");
        roots.install(&first, &[1; 32]).expect("installed");
        roots.change(State::proven).expect("written");
        let second = roots.stage().expect("made");
        roots.install(&second, &[2; 32]).expect("installed");
        let mut roots = Roots::open(data.path()).expect("opens again");
        assert!(first.tree.exists() && second.tree.exists());
        roots.change(State::rolled_back).expect("written");
        roots.leftovers().remove();
        assert!(first.tree.exists() && !second.tree.exists());
    }

    #[test]
    fn a_volume_that_is_not_there_is_told_from_one_that_cannot_be_read() {
        let data = tempfile::tempdir().expect("a folder");
        let absent = Roots::open(&data.path().join("absent")).expect_err("not there");
        assert!(matches!(absent, RootsError::NoVolume { .. }), "{absent}");
        assert!(!data.path().join("absent").exists(), "it is not for us to make");
        // A folder instead of the file: reading it fails, as a broken disk would make it.
        fs::create_dir_all(data.path().join("rootfs").join(STATE)).expect("made");
        let broken = Roots::open(data.path()).expect_err("unreadable");
        assert!(!matches!(broken, RootsError::NoVolume { .. }), "{broken}");
    }

    #[test]
    fn a_file_that_cannot_be_read_stops_everything_and_nothing_is_removed() {
        let data = tempfile::tempdir().expect("a folder");
        let mut roots = Roots::open(data.path()).expect("opens");
        let root = roots.stage().expect("made");
        roots.install(&root, &[1; 32]).expect("installed");
        let path = data.path().join("rootfs").join(STATE);
        for text in ["", "{", r#"{"current":{"id":"../..","sha256":""},"trial":null}"#] {
            fs::write(&path, text).expect("written");
            let error = Roots::open(data.path()).expect_err("malformed");
            assert!(matches!(error, RootsError::Malformed { .. }), "{error}");
            assert!(root.tree.exists());
        }
    }
}
