//! The thread that starts commands, one at a time.
//!
//! A thread of its own has a working folder of its own (`unshare(CLONE_FS)`), so it enters a
//! command's folder itself, and can tell a folder that cannot be entered from a program that cannot
//! be executed. `posix_spawn` does the rest in the child: a session, default signals, an empty
//! mask; it neither copies our memory nor runs our code there.
//!
//! On Linux users, too, are a matter of threads. A command for another user is started by a thread that
//! becomes that user and ends afterwards: folder and program are entered and executed with that user's
//! rights alone, and nothing has to become root again.

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
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use pty_process::Pts;
use rustix::pipe::PipeFlags;
use rustix::process::{Gid, Pid, Uid};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use vault_protocol::message::Size;

use super::account::Account;
use super::launch::{Launch, LaunchError};
use super::{Input, Known, Pipes, Process, orphans, terminal};
use crate::limits::{PIPE_BYTES, SPAWN_QUEUE_MAX};

/// `POSIX_SPAWN_SETSID` of glibc and musl; nix does not name it.
const SET_SESSION: PosixSpawnFlags = PosixSpawnFlags::from_bits_retain(0x80);

/// Hands orders to the thread. The thread ends when all of these are gone.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

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

/// The command's ends of its channels.
enum TheirEnds {
    Pipes {
        stdin: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// The name of the terminal, which the command has to open itself.
    Terminal {
        path: CString,
        until_opened: Pts,
    },
}

fn start(launch: &Launch, known: &Known) -> Result<(Process, Pipes), LaunchError> {
    let (pipes, theirs) = match launch.screen {
        None => ends(launch.stdin),
        Some(size) => terminal_ends(size, launch.stdin),
    }
    .map_err(LaunchError::Resources)?;
    let pid = match &launch.account {
        None => enter_and_spawn(launch, &theirs)?,
        Some(account) => as_user(account, &theirs, || enter_and_spawn(launch, &theirs))?,
    };
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(pid.as_raw_nonzero().get());
    let process = Process::watch(pid, Arc::clone(known)).map_err(LaunchError::Resources)?;
    Ok((process, pipes))
}

/// Does something on a thread that has become this user.
fn as_user<T: Send>(
    account: &Account,
    theirs: &TheirEnds,
    doing: impl FnOnce() -> Result<T, LaunchError> + Send,
) -> Result<T, LaunchError> {
    let user = |source| LaunchError::User { name: account.name.clone(), source: Some(source) };
    if let TheirEnds::Terminal { until_opened, .. } = theirs {
        let owner = Some(Uid::from_raw(account.user_id));
        rustix::fs::fchown(until_opened, owner, None).map_err(|error| user(error.into()))?;
    }
    thread::scope(|scope| {
        let starting = thread::Builder::new().name("user".to_owned()).spawn_scoped(scope, || {
            become_user(account).map_err(|error| user(error.into()))?;
            doing()
        });
        let ended = starting.map_err(LaunchError::Resources)?.join();
        ended.unwrap_or_else(|_| Err(LaunchError::Resources(io::Error::other("it panicked"))))
    })
}

/// For this thread, for good: groups while it may still change them, the user last.
fn become_user(account: &Account) -> rustix::io::Result<()> {
    let groups: Vec<Gid> = account.groups.iter().copied().map(Gid::from_raw).collect();
    let (user, group) = (Uid::from_raw(account.user_id), Gid::from_raw(account.group_id));
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)
}

fn enter_and_spawn(launch: &Launch, theirs: &TheirEnds) -> Result<Pid, LaunchError> {
    enter(launch)?;
    spawn(launch, theirs)
}

fn enter(launch: &Launch) -> Result<(), LaunchError> {
    let entered = env::set_current_dir(&launch.directory);
    let entered = match (&entered, &launch.substitute) {
        (Err(_), Some(substitute)) => env::set_current_dir(substitute),
        _ => entered,
    };
    entered.map_err(|source| LaunchError::Directory { path: launch.directory.clone(), source })
}

fn ends(with_stdin: bool) -> io::Result<(Pipes, TheirEnds)> {
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
        stdin: our_stdin.map(|pipe| Input { writer: Box::new(pipe), at_end: &[] }),
        stdout: Box::new(pipe::Receiver::from_owned_fd(our_stdout)?),
        stderr: Box::new(pipe::Receiver::from_owned_fd(our_stderr)?),
        screen: None,
    };
    Ok((ours, TheirEnds::Pipes { stdin, stdout, stderr }))
}

fn terminal_ends(size: Size, with_stdin: bool) -> io::Result<(Pipes, TheirEnds)> {
    let terminal::Opened { reader, writer, screen, path, until_opened } = terminal::open(size)?;
    let typed = Input { writer: Box::new(writer), at_end: terminal::END_OF_INPUT };
    let ours = Pipes {
        stdin: with_stdin.then_some(typed),
        stdout: Box::new(reader),
        stderr: Box::new(tokio::io::empty()),
        screen: Some(screen),
    };
    Ok((ours, TheirEnds::Terminal { path, until_opened }))
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
    match theirs {
        TheirEnds::Pipes { stdin, stdout, stderr } => {
            actions.add_dup2(stdin.as_raw_fd(), 0)?;
            actions.add_dup2(stdout.as_raw_fd(), 1)?;
            actions.add_dup2(stderr.as_raw_fd(), 2)?;
        }
        TheirEnds::Terminal { path, .. } => {
            actions.add_open(0, path.as_c_str(), OFlag::O_RDWR, Mode::empty())?;
            actions.add_dup2(0, 1)?;
            actions.add_dup2(0, 2)?;
        }
    }
    Ok(actions)
}
