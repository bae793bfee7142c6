//! What a folder holds, to be compared; and archives unpacked as an agent would.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use data_encoding::HEXLOWER;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use tempfile::TempDir;
use vault_rootfs::{Limits, unpack};

use super::layout::digest;

/// One thing in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The lower twelve bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// In seconds since 1970.
    pub(super) time: i64,
    /// Names of the same file, except for folders.
    names: u64,
    kind: fs::FileType,
    /// The digest of a file, the target of a symlink.
    pub(super) content: String,
}

/// By path; the root's is empty.
pub(super) type Tree = BTreeMap<String, Node>;

pub(super) fn tree(root: &Path) -> anyhow::Result<Tree> {
    let mut tree = Tree::new();
    look(root, "", &mut tree)?;
    Ok(tree)
}

fn look(root: &Path, path: &str, tree: &mut Tree) -> anyhow::Result<()> {
    let place = root.join(path);
    let metadata = fs::symlink_metadata(&place)?;
    let content = if metadata.is_file() {
        digest(&fs::read(&place)?)
    } else if metadata.is_symlink() {
        String::from_utf8(fs::read_link(&place)?.as_os_str().as_bytes().to_vec())?
    } else {
        String::new()
    };
    let is_folder = metadata.is_dir();
    let node = Node {
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        time: metadata.mtime(),
        names: if is_folder { 1 } else { metadata.nlink() },
        kind: metadata.file_type(),
        content,
    };
    tree.insert(path.to_owned(), node);
    if is_folder {
        for entry in fs::read_dir(&place)? {
            let name = entry?.file_name().into_string().expect("a name in UTF-8");
            let child = if path.is_empty() { name } else { format!("{path}/{name}") };
            look(root, &child, tree)?;
        }
    }
    Ok(())
}

/// The paths and contents alone.
pub(super) fn contents(root: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    Ok(tree(root)?.into_iter().map(|(path, node)| (path, node.content)).collect())
}

/// What is known of an archive once it is unpacked.
pub(super) struct Summary {
    pub(super) sha256: String,
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

/// The tree in an archive.
pub(super) fn unpacked(archive: &Path) -> anyhow::Result<(Summary, Tree)> {
    let folder = TempDir::new()?;
    let root = fs::File::open(folder.path())?;
    let limits = Limits { reserve_percent: 0, ..Limits::default() };
    let summary = unpack(fs::File::open(archive)?, root.as_fd(), &limits, &mut |_| ())?;
    let sha256 = HEXLOWER.encode(&summary.sha256);
    let summary = Summary { sha256, bytes: summary.bytes_in, entries: summary.entries };
    Ok((summary, tree(folder.path())?))
}

/// Sets when something was changed last, also of a symlink.
pub(super) fn set_time(path: &Path, seconds: i64) -> anyhow::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
