//! Who is killed when the machine's memory runs out: not the agent, as long as there is somebody else.
//!
//! The kernel kills who has most, corrected by a number of each process (`proc_pid_oom_score_adj(5)`) that
//! children inherit. The agent's is low; what it starts gets the usual one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::Pid;

const FILE: &str = "/proc/self/oom_score_adj";

/// The agent's: only what the kernel cannot do without has less (-1000).
const AGENT: &str = "-900";

/// That of everybody to whom nobody has given another.
const USUAL: &str = "0";

/// Spares this process, if it may be: that needs root.
///
/// # Errors
/// Why it may not.
pub(crate) fn spare() -> io::Result<()> {
    fs::write(FILE, AGENT)
}

/// In a helper that becomes something else: it is not spared any more.
pub(crate) fn give_up() {
    // A system without the file has nothing to be spared from.
    drop(fs::write(FILE, USUAL));
}

/// Takes from new processes what they inherit.
pub(super) struct Usual {
    /// The machine's `/proc`, also where another one is mounted; nothing, if there is nothing to inherit.
    proc: Option<OwnedFd>,
}

impl Usual {
    /// Looks what there is to inherit. Call it where the machine's `/proc` is.
    pub(super) fn look() -> Self {
        let own = fs::read_to_string(FILE).unwrap_or_default();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || rustix::fs::open("/proc", flags, Mode::empty()).ok();
        Self { proc: (!matches!(own.trim(), "" | USUAL)).then(open).flatten() }
    }

    /// A process that was just started gets the usual number.
    pub(super) fn give(&self, pid: Pid) {
        let Some(proc) = &self.proc else { return };
        let path = format!("{}/oom_score_adj", pid.as_raw_nonzero());
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let written = openat(proc, path, flags, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|file| File::from(file).write_all(USUAL.as_bytes()));
        if let Err(error) = written {
            // It may have ended.
            tracing::debug!(%error, "a command keeps the agent's place when memory runs out");
        }
    }
}
