//! What outlives every root filesystem: `/root` and `/home`.
//!
//! ```text
//!   first boot:  TREE/root ── renamed ──▶ DATA/persist/root ──▶ bound over /root
//!   later ones:                           DATA/persist/root ──▶ bound over /root; TREE/root lies hidden
//! ```

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The folders that are kept, beneath the root, with the modes that they get if nobody has made them.
pub(super) const PERSISTED: [(&str, u32); 2] = [("root", 0o700), ("home", 0o755)];

/// Makes sure that there is something to bind, in the order of [`PERSISTED`]. What the first root
/// filesystem has there is taken as it is: a rename is done or not, so this may be cut short anywhere.
pub(super) fn prepare(tree: &Path, persist: &Path) -> io::Result<Vec<PathBuf>> {
    DirBuilder::new().recursive(true).mode(0o700).create(persist)?;
    let prepared = PERSISTED.into_iter().map(|(name, mode)| {
        let (kept, offered) = (persist.join(name), tree.join(name));
        match fs::symlink_metadata(&kept) {
            Ok(_) => {}
            // A link there would lead out of the tree.
            Err(_) if fs::symlink_metadata(&offered).is_ok_and(|found| found.is_dir()) => {
                fs::rename(&offered, &kept)?;
            }
            Err(_) => DirBuilder::new().mode(mode).create(&kept)?,
        }
        Ok(kept)
    });
    let prepared = prepared.collect::<io::Result<Vec<_>>>()?;
    File::open(persist)?.sync_all()?;
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_is_there_first_is_kept_for_ever() {
        let data = tempfile::tempdir().expect("a folder");
        let persist = data.path().join("persist");
        for (number, tree) in ["one", "two"].into_iter().enumerate() {
            let tree = data.path().join(tree);
            fs::create_dir_all(tree.join("home/dev")).expect("made");
            fs::write(tree.join("home/dev/number"), number.to_string()).expect("written");
            prepare(&tree, &persist).expect("prepared");
        }
        let number = fs::read_to_string(persist.join("home/dev/number")).expect("readable");
        assert_eq!(number, "0");
        let mode = fs::metadata(persist.join("root")).expect("made").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }

    #[test]
    fn a_link_out_of_the_tree_is_not_taken() {
        let data = tempfile::tempdir().expect("a folder");
        let (tree, persist) = (data.path().join("tree"), data.path().join("persist"));
        fs::create_dir(&tree).expect("made");
        symlink("/etc", tree.join("home")).expect("made");
        prepare(&tree, &persist).expect("prepared");
        let kept = fs::symlink_metadata(persist.join("home")).expect("made");
        assert!(kept.is_dir());
        assert_eq!(fs::read_dir(persist.join("home")).expect("readable").count(), 0);
    }
}
