//! The thread that starts commands, one at a time.
//!
//! A thread of its own has a working folder of its own (`unshare(CLONE_FS)`), so it enters a
//! command's folder itself, and can tell a folder that cannot be entered from a program that cannot
//! be executed. `posix_spawn` does the rest in the child: a session, default signals, an empty
//! mask; it neither copies our memory nor runs our code there.

use std::collections::HashSet;
use std::env;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::launch::{Launch, LaunchError};
use super::{Known, Pipes, Process, orphans};
use crate::limits::{PIPE_BYTES, SPAWN_QUEUE_MAX};

/// `POSIX_SPAWN_SETSID` of glibc and musl; nix does not name it.
const SET_SESSION: PosixSpawnFlags = PosixSpawnFlags::from_bits_retain(0x80);

/// Hands orders to the thread. The thread ends when all of these are gone.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Start(Box<Launch>, oneshot::Sender<Result<(Process, Pipes), LaunchError>>),
    ReapOrphans,
}

impl Spawner {
    /// Starts the thread. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// The machine has no room for a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (orders, queue) = mpsc::channel(SPAWN_QUEUE_MAX);
        let runtime = Handle::current();
        thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            // Descriptors of new processes are watched by the runtime.
            let _entered = runtime.enter();
            serve(queue);
        })?;
        Ok(Self { orders })
    }

    /// Starts a command.
    ///
    /// # Errors
    /// Why it does not run.
    pub(crate) async fn launch(&self, launch: Launch) -> Result<(Process, Pipes), LaunchError> {
        let (answer, answered) = oneshot::channel();
        let gone = || LaunchError::Resources(io::Error::other("the spawning thread is gone"));
        let order = Order::Start(Box::new(launch), answer);
        self.orders.send(order).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Reaps children that are not commands: as PID 1 we inherit them.
    pub(crate) async fn reap_orphans(&self) {
        // Without the thread the agent is ending, and the kernel with it.
        drop(self.orders.send(Order::ReapOrphans).await);
    }
}

fn serve(mut queue: mpsc::Receiver<Order>) {
    if let Err(error) = unshare(CloneFlags::CLONE_FS) {
        // Nothing else in the agent uses the working folder, so commands do not notice.
        tracing::info!(%error, "commands change the working folder of the whole agent");
    }
    let known = Known::new(Mutex::new(HashSet::new()));
    while let Some(order) = queue.blocking_recv() {
        match order {
            // If nobody waits for the answer any more, dropping it kills the process.
            Order::Start(launch, answer) => drop(answer.send(start(&launch, &known))),
            // On this thread, so that no command is started and not known in the middle of it.
            Order::ReapOrphans => {
                orphans::reap(&known.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

/// The command's ends of its pipes.
struct TheirEnds {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

fn start(launch: &Launch, known: &Known) -> Result<(Process, Pipes), LaunchError> {
    enter(launch)?;
    let (pipes, theirs) = pipes(launch.stdin).map_err(LaunchError::Resources)?;
    let pid = spawn(launch, &theirs)?;
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(pid.as_raw_nonzero().get());
    let process = Process::watch(pid, Arc::clone(known)).map_err(LaunchError::Resources)?;
    Ok((process, pipes))
}

fn enter(launch: &Launch) -> Result<(), LaunchError> {
    let entered = env::set_current_dir(&launch.directory);
    let entered = match (&entered, &launch.substitute) {
        (Err(_), Some(substitute)) => env::set_current_dir(substitute),
        _ => entered,
    };
    entered.map_err(|source| LaunchError::Directory { path: launch.directory.clone(), source })
}

fn pipes(with_stdin: bool) -> io::Result<(Pipes, TheirEnds)> {
    let pipe = || -> io::Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // More than the default is a favour of the kernel, limited per user; less works too.
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES) {
            tracing::debug!(%error, "a pipe keeps its size");
        }
        Ok((reader, writer))
    };
    let (stdin, our_stdin) = if with_stdin {
        let (reader, writer) = pipe()?;
        (reader, Some(pipe::Sender::from_owned_fd(writer)?))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let (our_stdout, stdout) = pipe()?;
    let (our_stderr, stderr) = pipe()?;
    let ours = Pipes {
        stdin: our_stdin,
        stdout: pipe::Receiver::from_owned_fd(our_stdout)?,
        stderr: pipe::Receiver::from_owned_fd(our_stderr)?,
    };
    Ok((ours, TheirEnds { stdin, stdout, stderr }))
}

fn spawn(launch: &Launch, theirs: &TheirEnds) -> Result<Pid, LaunchError> {
    let resources = |error: Errno| LaunchError::Resources(error.into());
    let attributes = attributes().map_err(resources)?;
    let actions = actions(theirs).map_err(resources)?;
    // As `execvp`: a file that may not be executed is passed over, and told if nothing better
    // comes.
    let mut failure = Errno::ENOENT;
    for candidate in &launch.candidates {
        if is_absent(candidate) {
            continue;
        }
        let path = candidate.as_c_str();
        match posix_spawn(path, &actions, &attributes, &launch.arguments, &launch.environment) {
            Ok(pid) => match Pid::from_raw(pid.as_raw()) {
                Some(pid) => return Ok(pid),
                None => unreachable!("process ids are positive"),
            },
            Err(Errno::ENOENT | Errno::ENOTDIR) if launch.candidates.len() > 1 => {}
            Err(Errno::EACCES) => failure = Errno::EACCES,
            Err(error) => {
                failure = error;
                break;
            }
        }
    }
    let program = launch.arguments.first().map(|program| program.to_bytes().to_vec());
    Err(LaunchError::Program { program: program.unwrap_or_default(), source: failure })
}

/// Spares a child process for each folder of `PATH` that does not have the program.
fn is_absent(candidate: &CString) -> bool {
    let path = Path::new(OsStr::from_bytes(candidate.to_bytes()));
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// A session of its own, all signals at their defaults, none blocked.
fn attributes() -> nix::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_flags(
        SET_SESSION
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    Ok(attributes)
}

/// All other descriptors are closed on execution.
fn actions(theirs: &TheirEnds) -> nix::Result<PosixSpawnFileActions> {
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(theirs.stdin.as_raw_fd(), 0)?;
    actions.add_dup2(theirs.stdout.as_raw_fd(), 1)?;
    actions.add_dup2(theirs.stderr.as_raw_fd(), 2)?;
    Ok(actions)
}
