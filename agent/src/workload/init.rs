//! From a helper to the workload's init process: namespaces, mounts, and then the root filesystem's own
//! program.
//!
//! ```text
//!   number 1 of a PID namespace ─▶ namespaces ─▶ root ─▶ mounts ─▶ /sbin/init, executed
//!                                                             └─ there is none ─▶ built_in
//! ```

use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use minicbor::{Decode, Encode};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal as NixSignal};
use nix::sys::stat::Mode;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{built_in, mounts};
use crate::process::helper::{FIRST_DESCRIPTOR, Failed, doing, environment, say, take_descriptor};
use crate::process::memory;
use crate::process::namespaces::forbid;

/// The name by which the program knows that it is to be the init process.
pub(crate) const NAME: &CStr = c"vault-agent-init";

/// The root filesystem's own init process.
const PROGRAM: &CStr = c"/sbin/init";

/// What init says to its keeper; nothing, if it becomes the root filesystem's own program.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum InitReport {
    /// The root filesystem has none.
    #[n(0)]
    BuiltIn,
    /// It gets no further.
    #[n(1)]
    Failed(#[n(0)] Failed),
}

/// Is the init process. Its arguments are the folders of the root filesystem and of what is to outlive
/// it.
pub(crate) fn main() -> ExitCode {
    let Ok(pipe) = take_descriptor(FIRST_DESCRIPTOR) else { return ExitCode::FAILURE };
    let mut pipe = File::from(pipe);
    let mut folders = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(root), Some(persist)) = (folders.next(), folders.next()) else {
        return ExitCode::FAILURE;
    };
    let outcome = prepare(&root, &persist).and_then(|()| execute());
    let (report, code) = match outcome {
        Ok(()) => (InitReport::BuiltIn, ExitCode::SUCCESS),
        Err(failed) => (InitReport::Failed(failed), ExitCode::FAILURE),
    };
    let told = say(&mut pipe, &report);
    drop(pipe);
    match (report, told) {
        (InitReport::BuiltIn, Ok(())) => built_in::run(),
        _ => code,
    }
}

fn prepare(root: &Path, persist: &Path) -> Result<(), Failed> {
    // If the keeper ends, nobody else would end this one.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(doing("tying init to the agent"))?;
    memory::give_up();
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    unshare(namespaces).map_err(doing("making namespaces"))?;
    // A kernel without control groups has no namespaces for them.
    if let Err(error) = unshare(CloneFlags::CLONE_NEWCGROUP)
        && error != Errno::EINVAL
    {
        return Err(doing("making a control group namespace")(error));
    }
    mounts::enter(root, persist)?;
    forbid().map_err(doing("dropping capabilities"))?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// Executes the root filesystem's program; returns if it has none.
fn execute() -> Result<(), Failed> {
    let failed = doing::<Errno>("executing /sbin/init");
    // A link to nowhere is a mistake that somebody has to be told.
    match fs::symlink_metadata(Path::new(OsStr::from_bytes(PROGRAM.to_bytes()))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    #[allow(unsafe_code, reason = "dispositions of signals have no safe interface")]
    // SAFETY: the default disposition runs none of our code.
    unsafe { nix::sys::signal::signal(NixSignal::SIGPIPE, SigHandler::SigDfl) }.map_err(&failed)?;
    match nix::unistd::execve(PROGRAM, &[PROGRAM], &environment()) {
        Ok(never) => match never {},
        Err(error) => Err(failed(error)),
    }
}
