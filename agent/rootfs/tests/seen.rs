//! What a folder holds, in full, to be compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FileType, lgetxattr, llistxattr};
use sha2::{Digest, Sha256};

/// By path beneath the folder, which is itself `.`.
pub(crate) type Tree = BTreeMap<Vec<u8>, Node>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File {
        size: u64,
        sha256: Vec<u8>,
        /// The first path of the same inode, where it has several.
        same_as: Option<Vec<u8>>,
        /// Whether it takes less of the disk than it is long.
        holes: bool,
    },
    Folder,
    Symlink(Vec<u8>),
    Other(u32, u64),
}

pub(crate) fn seen(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    look(folder, b".", &mut BTreeMap::new(), &mut tree);
    tree
}

fn look(place: &Path, path: &[u8], first: &mut BTreeMap<(u64, u64), Vec<u8>>, tree: &mut Tree) {
    let metadata = fs::symlink_metadata(place).expect("metadata");
    let kind = match FileType::from_raw_mode(metadata.mode()) {
        FileType::RegularFile => {
            let same_as = if metadata.nlink() > 1 {
                let inode = (metadata.dev(), metadata.ino());
                Some(first.entry(inode).or_insert_with(|| path.to_vec()).clone())
            } else {
                None
            };
            let content = fs::read(place).expect("content");
            Kind::File {
                size: metadata.size(),
                sha256: Sha256::digest(&content).to_vec(),
                same_as,
                holes: metadata.blocks() * 512 < metadata.size(),
            }
        }
        FileType::Directory => Kind::Folder,
        FileType::Symlink => {
            let target = fs::read_link(place).expect("a target");
            Kind::Symlink(target.as_os_str().as_bytes().to_vec())
        }
        other => Kind::Other(other.as_raw_mode(), metadata.rdev()),
    };
    let is_folder = kind == Kind::Folder;
    let node = Node {
        kind,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        xattrs: xattrs(place),
    };
    tree.insert(path.to_vec(), node);
    if !is_folder {
        return;
    }
    // Longer paths cannot be named at once; what lies below is not looked at.
    if place.as_os_str().len() > 3000 {
        return;
    }
    let mut names: Vec<_> = fs::read_dir(place)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    for name in names {
        let child = match path {
            b"." => name.as_bytes().to_vec(),
            _ => [path, b"/", name.as_bytes()].concat(),
        };
        look(&place.join(&name), &child, first, tree);
    }
}

fn xattrs(place: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = llistxattr(place, &mut names[..]).unwrap_or_default();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let length = lgetxattr(place, name, &mut value[..]).expect("an attribute");
            (name.to_vec(), value[..length].to_vec())
        })
        .collect()
}

/// Where two trees differ, path by path.
fn differences(left: &Tree, right: &Tree) -> Vec<String> {
    let mut paths: Vec<_> = left.keys().chain(right.keys()).collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| left.get(*path) != right.get(*path))
        .map(|path| {
            let text = OsStr::from_bytes(path).display();
            format!("{text}:\n  {:?}\n  {:?}", left.get(path), right.get(path))
        })
        .collect()
}

/// Compares two trees, and says where they differ.
#[track_caller]
pub(crate) fn assert_same(left: &Tree, right: &Tree, what: &str) {
    let differing = differences(left, right);
    assert!(differing.is_empty(), "{what}: {differing:#?}");
}
