//! The helper between the agent and the workload's init process.
//!
//! ```text
//!   agent ══ socket ══▶ keeper ── a PID namespace for its children ──▶ init, number 1 in there
//!     │ a signal's number ─▶ to init                                    │
//!     │ end of the socket ─▶ SIGKILL to init, and with it to all of them│
//!     ◀── Booted, Failed, Ended ─────────────────────────────────────────╯
//! ```
//!
//! Only a process without threads can have children in another PID namespace than its own. The keeper
//! ends when the agent does, and so does what it keeps; while it lives, init's number stays init's.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use minicbor::{Decode, Encode};
use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::PipeFlags;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
    waitid,
};
use rustix_libc_wrappers::process::SignalExt;

use super::init::{self, InitReport};
use crate::process::helper::{
    FIRST_DESCRIPTOR, Failed, Helper, doing, environment, heard, say, take_descriptor,
};

/// The name by which the program knows that it is to be the keeper.
pub(crate) const NAME: &CStr = c"vault-agent-keeper";

/// `SIGRTMIN+4`, as the C library counts that systemd is linked with.
const SYSTEMD_POWER_OFF: i32 = 34 + 4;

/// What the keeper says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Report {
    /// The root filesystem's init process runs.
    #[n(0)]
    Booted {
        /// Its number in the machine. It stays its own until the keeper ends.
        #[n(0)]
        init: i32,
        /// It is ours, because the root filesystem has none.
        #[n(1)]
        built_in: bool,
        /// The signal by which it is asked to end.
        #[n(2)]
        stop_signal: i32,
    },
    /// It does not.
    #[n(1)]
    Failed(#[n(0)] Failed),
    /// It has ended, and everything in its PID namespace with it.
    #[n(2)]
    Ended {
        /// Its exit code, if it ended by itself.
        #[n(0)]
        code: Option<i32>,
        /// The signal that ended it, if one did.
        #[n(1)]
        signal: Option<i32>,
    },
}

/// Is the keeper. Its arguments are those of [`init`].
pub(crate) fn main() -> ExitCode {
    let Ok(socket) = take_descriptor(FIRST_DESCRIPTOR) else { return ExitCode::FAILURE };
    let mut socket = UnixStream::from(socket);
    // If the agent is gone there is nobody to tell.
    drop(match boot() {
        Err(failed) => say(&mut socket, &Report::Failed(failed)),
        Ok((init, report)) => say(&mut socket, &report).and_then(|()| keep(init, &mut socket)),
    });
    ExitCode::SUCCESS
}

/// Starts init, and waits until it executes the root filesystem's program, or does without one.
fn boot() -> Result<(Pid, Report), Failed> {
    unshare(CloneFlags::CLONE_NEWPID).map_err(doing("making a PID namespace"))?;
    let starting = doing::<io::Error>("starting the init process");
    let (said, says) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| starting(error.into()))?;
    let arguments = std::env::args_os().skip(1).map(|text| CString::new(text.into_vec()));
    let helper = Helper {
        name: init::NAME,
        arguments: arguments.collect::<Result<_, _>>().map_err(|error| starting(error.into()))?,
        environment: environment(),
        descriptors: vec![says],
    };
    let init = helper.spawn(c"/proc/self/exe").map_err(&starting)?;
    // Ours is still open, and would keep the other end from coming to its end.
    drop(helper);
    let number = init.as_raw_nonzero().get();
    let report = match heard(&mut File::from(said)).map_err(&starting)? {
        Some(InitReport::Failed(failed)) => Report::Failed(failed),
        Some(InitReport::BuiltIn) => {
            Report::Booted { init: number, built_in: true, stop_signal: Signal::TERM.as_raw() }
        }
        // The pipe was closed as the program was executed.
        None => Report::Booted { init: number, built_in: false, stop_signal: stop_signal(number) },
    };
    Ok((init, report))
}

/// systemd takes SIGTERM for a wish to be executed again, and another signal for a wish to power off
/// (`systemd(1)`).
fn stop_signal(init: i32) -> i32 {
    // If that cannot be told, what most programs understand is as good as anything.
    let program = std::fs::read_link(format!("/proc/{init}/exe")).unwrap_or_default();
    match program.file_name().is_some_and(|name| name == "systemd") {
        true => SYSTEMD_POWER_OFF,
        false => Signal::TERM.as_raw(),
    }
}

/// Until the agent lets go of the socket.
fn keep(init: Pid, socket: &mut UnixStream) -> io::Result<()> {
    let watch = pidfd_open(init, PidfdFlags::empty())?;
    let kept = listen(&watch, socket);
    // If it lives no more, this reaches nobody else: it is not reaped yet.
    let _gone = pidfd_send_signal(&watch, Signal::KILL);
    let _status = waitid(WaitId::PidFd(watch.as_fd()), WaitIdOptions::EXITED);
    kept
}

fn listen(watch: &OwnedFd, socket: &mut UnixStream) -> io::Result<()> {
    let mut has_ended = false;
    loop {
        // Once it has ended its descriptor would be ready all the time.
        let events = if has_ended { PollFlags::empty() } else { PollFlags::IN };
        let mut ready = [PollFd::new(socket, PollFlags::IN), PollFd::new(watch, events)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (said, ended) =
            (!ready[0].revents().is_empty(), ready[1].revents().contains(PollFlags::IN));
        if ended && !has_ended {
            has_ended = true;
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let status = waitid(WaitId::PidFd(watch.as_fd()), look)?;
            say(socket, &end(status.as_ref()))?;
        }
        if said {
            let mut number = [0];
            if socket.read(&mut number)? == 0 {
                return Ok(());
            }
            if let Some(signal) = Signal::from_raw(number[0].into()) {
                // It may have ended.
                let _gone = pidfd_send_signal(watch, signal);
            }
        }
    }
}

fn end(status: Option<&WaitIdStatus>) -> Report {
    Report::Ended {
        code: status.and_then(WaitIdStatus::exit_status),
        signal: status.and_then(WaitIdStatus::terminating_signal),
    }
}
