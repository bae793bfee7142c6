//! Files that hold tokens: replaced at once, readable by their owner alone.

use std::io::{self, Write as _};
use std::path::Path;

/// Replaces a file, and makes the folders above it. Whoever reads it meanwhile finds the old one or the
/// new one, whole; a link stays one, and the file that it leads to is replaced.
///
/// # Errors
/// The file system refuses; then the old file is as it was.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    // The library makes the file with mode 0600.
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().sync_all()?;
    draft.persist(&path)?;
    Ok(())
}
