//! The stage between the agent and a command for another user: this program, executed once more.
//!
//! ```text
//!   agent ── posix_spawn ──▶ stage, as root and without any of the command's environment
//!     ╞═══ orders ═════════▶   goes into the workload, if there is one
//!                              becomes the user, for good
//!                              enters the folder
//!                              executes the command ──▶ the socket closes: it runs
//!     ◀════ what and why ═════════┴── fails
//! ```
//!
//! It is a process of its own because whoever has a user's rights may be stopped and killed by that
//! user, thread by thread: a thread of the agent that became a user would leave the agent to them.
//! What the user can reach of the stage is only their own command, and the agent waits for it no longer
//! than [`STAGE_PATIENCE`].
//!
//! The orders come over the socket, because a command line can be read by everybody and an environment
//! would already decide what the dynamic linker does while the stage is still root.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use minicbor::{Decode, Encode};
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal};
use rustix::process::{Gid, Uid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::account::Account;
use super::helper::take_descriptor;
use super::launch::{Launch, LaunchError};
use super::lookup::{enter, execute_first};
use super::{memory, namespaces};
use crate::limits::STAGE_PATIENCE;

/// The name by which the program knows that it is to be the stage.
pub(crate) const NAME: &CStr = c"vault-agent-stage";

/// The descriptor of the stage's end of the socket. It closes when the command is executed, by which the
/// agent knows.
pub(super) const SOCKET: i32 = 3;

/// The descriptor of the workload's init process, if the command is to run in a workload.
pub(super) const WORKLOAD: i32 = 4;

/// What the stage exits with if it does not become the command; the socket says why.
const FAILED: u8 = 255;

/// What the stage says: which step failed, and the number of the system's error in four bytes, the
/// highest first.
const STATUS_BYTES: u64 = 5;

/// What may fail, in the first byte of what the stage says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Step {
    User = 0,
    Directory = 1,
    Program = 2,
    Workload = 3,
}

/// Is the stage.
pub(crate) fn main() -> ExitCode {
    // Whoever may execute this program may give it that name, too.
    let Ok(socket) = take_descriptor(SOCKET) else { return ExitCode::from(FAILED) };
    let mut socket = File::from(socket);
    let (step, error) = become_command(&mut socket);
    let [a, b, c, d] = (error as i32).to_be_bytes();
    // An agent that is gone needs no answer.
    drop(socket.write_all(&[step as u8, a, b, c, d]));
    ExitCode::from(FAILED)
}

/// Returns only why it did not become the command.
fn become_command(socket: &mut File) -> (Step, Errno) {
    let Some(orders) = receive(socket) else { return (Step::User, Errno::EINVAL) };
    memory::give_up();
    if let Err(error) = orders.go_in() {
        return (Step::Workload, Errno::from_raw(error.raw_os_error()));
    }
    if let Err(error) = orders.become_user() {
        return (Step::User, Errno::from_raw(error.raw_os_error()));
    }
    let directory = path_of(&orders.directory);
    if let Err(error) = enter(directory, orders.substitute.as_deref().map(path_of)) {
        return (Step::Directory, error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw));
    }
    if let Err(error) = reset_signals() {
        return (Step::Program, error);
    }
    let Orders { arguments, environment, .. } = &orders;
    let executed = execute_first(&orders.candidates, |candidate| {
        nix::unistd::execve(candidate, arguments, environment)
    });
    match executed {
        Ok(never) => match never {},
        Err(error) => (Step::Program, error),
    }
}

fn receive(socket: &mut File) -> Option<Orders> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).ok()?;
    minicbor::decode(&bytes).ok()
}

/// Rust's runtime ignores SIGPIPE, which a command would inherit; the agent's spawn has reset and
/// unblocked all others.
fn reset_signals() -> nix::Result<()> {
    #[allow(unsafe_code, reason = "dispositions of signals have no safe interface")]
    // SAFETY: the default disposition runs none of our code.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

fn path_of(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

/// What the stage is to do.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
struct Orders {
    #[n(0)]
    user: u32,
    #[n(1)]
    group: u32,
    #[n(2)]
    groups: Vec<u32>,
    #[n(3)]
    directory: CString,
    #[n(4)]
    substitute: Option<CString>,
    #[n(5)]
    candidates: Vec<CString>,
    #[n(6)]
    arguments: Vec<CString>,
    #[n(7)]
    environment: Vec<CString>,
    /// Descriptor 0 is a terminal, and the command's own.
    #[n(8)]
    terminal: bool,
}

impl Orders {
    /// Into the workload, if there is one, and onto the terminal.
    fn go_in(&self) -> rustix::io::Result<()> {
        if let Ok(init) = take_descriptor(WORKLOAD) {
            namespaces::go_in(&init)?;
        }
        match self.terminal {
            true => rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()),
            false => Ok(()),
        }
    }

    /// Groups while they may still be changed, the user last; the saved ids, too.
    fn become_user(&self) -> rustix::io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        // These change one thread. The stage has no other.
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)
    }
}

/// The agent's side: a stage that was started, and has no orders yet.
pub(super) struct Stage {
    socket: UnixStream,
    orders: Vec<u8>,
    /// For what the stage says: the user, the folder and the program that it is about.
    user: String,
    directory: PathBuf,
    program: Vec<u8>,
}

impl Stage {
    /// Prepares a stage for a command, and gives the stage's end of the socket. Inside a tokio runtime.
    pub(super) fn prepare(launch: &Launch, account: &Account) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let path = |path: &Path| CString::new(path.as_os_str().as_bytes());
        let orders = Orders {
            user: account.user_id,
            group: account.group_id,
            groups: account.groups.clone(),
            directory: path(&launch.directory)?,
            substitute: launch.substitute.as_deref().map(path).transpose()?,
            candidates: launch.candidates.clone(),
            arguments: launch.arguments.clone(),
            environment: launch.environment.clone(),
            terminal: launch.screen.is_some(),
        };
        let orders = minicbor::to_vec(orders).map_err(io::Error::other)?;
        let stage = Self {
            socket: UnixStream::from_std(ours)?,
            orders,
            user: account.name.clone(),
            directory: launch.directory.clone(),
            program: launch.program(),
        };
        Ok((stage, theirs.into()))
    }

    /// Gives the orders and waits until the command is executed, or the stage has ended without: then
    /// the user has killed it, and its end is the command's.
    ///
    /// # Errors
    /// Why the command is not executed.
    pub(super) async fn executed(mut self) -> Result<(), LaunchError> {
        let mut said = Vec::new();
        let exchange = async {
            match self.socket.write_all(&self.orders).await {
                Ok(()) => self.socket.shutdown().await?,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error),
            }
            (&mut self.socket).take(STATUS_BYTES).read_to_end(&mut said).await
        };
        let exchanged = timeout(STAGE_PATIENCE, exchange).await;
        match exchanged.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(_) => self.outcome(&said),
            Err(error) => Err(LaunchError::User { name: self.user, source: Some(error) }),
        }
    }

    /// What it means that the stage said this and no more.
    fn outcome(self, said: &[u8]) -> Result<(), LaunchError> {
        let (step, number) = match said {
            [] => return Ok(()),
            [step, number @ ..] => (*step, <[u8; 4]>::try_from(number)),
        };
        let number = number.map_or(Errno::EINVAL as i32, i32::from_be_bytes);
        let source = io::Error::from_raw_os_error(number);
        Err(match step {
            step if step == Step::Program as u8 => {
                LaunchError::Program { program: self.program, source: Errno::from_raw(number) }
            }
            step if step == Step::Workload as u8 => LaunchError::Resources(source),
            step if step == Step::Directory as u8 => {
                LaunchError::Directory { path: self.directory, source }
            }
            _ => LaunchError::User { name: self.user, source: Some(source) },
        })
    }
}
