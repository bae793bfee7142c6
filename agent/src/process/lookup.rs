//! The two lookups whose result depends on whose rights they are made with: the folder that a command
//! runs in, and the file that is its program.

use std::env;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

/// Enters a folder, or the one that stands in for it.
///
/// # Errors
/// Why the last one that was tried cannot be entered.
pub(super) fn enter(directory: &Path, substitute: Option<&Path>) -> io::Result<()> {
    env::set_current_dir(directory).or_else(|error| match substitute {
        Some(substitute) => env::set_current_dir(substitute),
        None => Err(error),
    })
}

/// Executes the first candidate that can be executed. As `execvp`: a file that may not be executed is
/// passed over, and told if nothing better comes.
///
/// # Errors
/// Why none can be executed.
pub(super) fn execute_first<T>(
    candidates: &[CString],
    execute: impl Fn(&CStr) -> nix::Result<T>,
) -> nix::Result<T> {
    let mut failure = Errno::ENOENT;
    for candidate in candidates.iter().filter(|candidate| !is_absent(candidate)) {
        match execute(candidate) {
            Ok(executed) => return Ok(executed),
            Err(Errno::ENOENT | Errno::ENOTDIR) if candidates.len() > 1 => {}
            Err(Errno::EACCES) => failure = Errno::EACCES,
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

/// Spares a try, which may be a child process, for each folder of `PATH` that does not have the
/// program.
fn is_absent(candidate: &CStr) -> bool {
    let path = Path::new(OsStr::from_bytes(candidate.to_bytes()));
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
