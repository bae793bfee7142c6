//! The third stage: the last steps in the workload's own process, before it becomes the workload.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Starts a session, ties our life to PID 1's, and becomes the program; returns only on failure.
pub(crate) fn run(mut argv: impl Iterator<Item = OsString>) -> io::Result<()> {
    let program = argv.next().ok_or_else(|| io::Error::other("no program is given"))?;
    // Where no PID namespace takes the workload down with its parent, this does.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::setsid()?;
    let error = Command::new(&program).args(argv).exec();
    Err(io::Error::new(error.kind(), format!("cannot run {}: {error}", program.display())))
}
