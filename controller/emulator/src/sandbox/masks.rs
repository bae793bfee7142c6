//! What of the host a machine does not see: folders that are empty inside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::doing;
use super::host_mounts::is_replaced;

/// The paths without those that lie in another one of them, each once: in a folder that is masked
/// already nothing can be masked, and nothing has to be.
pub(crate) fn outermost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    // A folder stands before what lies in it.
    paths.sort_unstable();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        if kept.last().is_none_or(|last| !path.starts_with(last)) {
            kept.push(path);
        }
    }
    kept
}

/// Masks them all; none may lie in another. A file that is to be shown in spite of its mask finds
/// its place there.
pub(super) fn mask_all(masked: &[PathBuf], shown: Option<&Path>) -> io::Result<()> {
    for path in masked.iter().filter(|path| !is_replaced(path)) {
        mask(path, shown.filter(|shown| shown.starts_with(path)))?;
    }
    Ok(())
}

/// Makes a folder (or file) of the host empty inside. A folder that is not there yet is masked all
/// the same: what appears in the lower layer later would show through.
fn mask(path: &Path, shown: Option<&Path>) -> io::Result<()> {
    const NONE: Option<&str> = None;
    let what = format!("mask {}", path.display());
    if path.is_file() {
        let null = Some("/dev/null");
        return doing(&what, mount(null, path, NONE, MsFlags::MS_BIND, NONE));
    }
    doing(&what, fs::create_dir_all(path))?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = Some("size=4k,mode=0555");
    doing(&what, mount(Some("tmpfs"), path, Some("tmpfs"), quiet, options))?;
    if let Some(shown) = shown {
        doing(&what, make_place(shown))?;
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | quiet;
    doing(&what, mount(NONE, path, NONE, flags, NONE))
}

/// An empty file to mount something on.
pub(super) fn make_place(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_covers_what_lies_in_it() {
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect::<Vec<_>>();
        let given = paths(&["/d/platform", "/d", "/d/platform", "/d-2", "/a/b", "/a/bc", "/d"]);
        assert_eq!(outermost(given), paths(&["/a/b", "/a/bc", "/d", "/d-2"]));
        assert_eq!(outermost(Vec::new()), paths(&[]));
    }
}
