//! One command as a process: its group, its pipes or its terminal, its end.
//!
//! A command leads a session of its own, and so a process group whose number is its process id. The
//! process is reaped last: as long as it is not, the number cannot become somebody else's, and a
//! signal to the group reaches nobody else.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use vault_protocol::message::Exit;

use self::terminal::Screen;

pub(crate) mod account;

pub(crate) mod helper;

pub(crate) mod launch;

pub(crate) mod spawner;

pub(crate) mod terminal;

pub(crate) mod stage;

mod lookup;

pub(crate) mod memory;

pub(crate) mod namespaces;

mod orphans;

/// The process ids of commands that are not reaped yet: nobody else may reap them.
pub(crate) type Known = Arc<Mutex<HashSet<i32>>>;

/// A running command, or one that has ended and is not reaped yet. Dropping it kills its group.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Readable once the process has ended.
    watch: AsyncFd<OwnedFd>,
    reaped: bool,
    known: Known,
}

/// Our ends of a command's channels: pipes, or one terminal for all of them.
pub(crate) struct Pipes {
    /// If it has a standard input.
    pub(crate) stdin: Option<Input>,
    pub(crate) stdout: Output,
    /// Nothing comes here from a terminal.
    pub(crate) stderr: Output,
    /// The terminal's, if there is one.
    pub(crate) screen: Option<Screen>,
}

/// What a command writes to.
pub(crate) type Output = Box<dyn AsyncRead + Send + Unpin>;

/// What a command reads from.
pub(crate) struct Input {
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What to write where the input ends, before the writer is closed.
    pub(crate) at_end: &'static [u8],
}

impl Process {
    /// Watches a process that was just started, leads its own group and is in `known`. If that
    /// fails, the group is killed and the process reaped.
    fn watch(pid: Pid, known: Known) -> io::Result<Self> {
        let watch = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(watched);
        match watch {
            Ok(watch) => Ok(Self { pid, watch, reaped: false, known }),
            Err(error) => {
                kill_and_reap(pid, &known);
                Err(error)
            }
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How the process ended, once it has. It is not reaped yet. Cancel-safe.
    pub(crate) async fn ended(&self) -> io::Result<Exit> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            let mut ready = self.watch.readable().await?;
            let id = WaitId::PidFd(self.watch.get_ref().as_fd());
            if let Some(status) = rustix::process::waitid(id, look)? {
                return Ok(exit(&status));
            }
            ready.clear_ready();
        }
    }

    /// Sends a signal to the group. Nobody may be left in it.
    pub(crate) fn signal(&self, signal: Signal) {
        match rustix::process::kill_process_group(self.pid, signal) {
            // Whoever is in the group has ended, or has become somebody whom we may not signal.
            Ok(()) | Err(rustix::io::Errno::SRCH | rustix::io::Errno::PERM) => {}
            Err(error) => {
                tracing::warn!(process = self.id(), %error, "a signal could not be sent");
            }
        }
    }

    /// Whether anybody is left in the group. Before the process is reaped it counts itself.
    pub(crate) fn group_is_left(&self) -> bool {
        rustix::process::test_kill_process_group(self.pid).is_ok()
    }

    /// Lets the kernel forget the process; waits for its end, so call it afterwards. The group's
    /// number stays taken for as long as somebody else is in it.
    pub(crate) fn reap(&mut self) {
        if !std::mem::replace(&mut self.reaped, true) {
            reap(self.pid, &self.known);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.reaped, true) {
            kill_and_reap(self.pid, &self.known);
        }
    }
}

#[allow(
    deprecated,
    reason = "unsound for descriptors that change under it; this one is owned, and `unsafe` is denied"
)]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

fn kill_and_reap(pid: Pid, known: &Known) {
    if let Err(error) = rustix::process::kill_process_group(pid, Signal::KILL) {
        tracing::debug!(%error, "nobody was left to kill");
    }
    reap(pid, known);
}

fn reap(pid: Pid, known: &Known) {
    if let Err(error) = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {
        tracing::warn!(process = pid.as_raw_nonzero().get(), %error, "could not be reaped");
    }
    known.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid.as_raw_nonzero().get());
}

fn exit(status: &WaitIdStatus) -> Exit {
    let byte = |number: Option<i32>| number.and_then(|number| u8::try_from(number & 0xff).ok());
    Exit {
        code: byte(status.exit_status()),
        signal: byte(status.terminating_signal()),
        core_dumped: status.dumped(),
        timed_out: None,
    }
}
