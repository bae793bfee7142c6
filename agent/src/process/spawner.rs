//! The thread that starts commands, one at a time.
//!
//! A thread of its own has a working folder of its own (`unshare(CLONE_FS)`), so it enters a
//! command's folder itself, and can tell a folder that cannot be entered from a program that cannot
//! be executed. `posix_spawn` does the rest in the child: a session, default signals, an empty
//! mask; it neither copies our memory nor runs our code there.
//!
//! For a command of another user it starts a [`stage`] instead, which does in a process of its own what
//! is to be done with that user's rights.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use pty_process::Pts;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Uid};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use vault_protocol::message::Size;

use super::account::Account;
use super::launch::{Launch, LaunchError};
use super::lookup::{enter, execute_first};
use super::stage::Stage;
use super::{Input, Known, Pipes, Process, orphans, stage, terminal};
use crate::limits::{PIPE_BYTES, SPAWN_QUEUE_MAX};

/// `POSIX_SPAWN_SETSID` of glibc and musl; nix does not name it.
const SET_SESSION: PosixSpawnFlags = PosixSpawnFlags::from_bits_retain(0x80);

/// Hands orders to the thread. The thread ends when all of these are gone.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Start(Box<Launch>, oneshot::Sender<Result<Started, LaunchError>>),
    ReapOrphans,
}

impl Spawner {
    /// Starts the thread. Call it inside a tokio runtime. `stage_program` is executed for commands of
    /// other users; see [`stage`].
    ///
    /// # Errors
    /// The machine has no room for a thread.
    pub(crate) fn start(stage_program: &Path) -> io::Result<Self> {
        let stage_program = CString::new(stage_program.as_os_str().as_bytes())?;
        let (orders, queue) = mpsc::channel(SPAWN_QUEUE_MAX);
        let runtime = Handle::current();
        thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            // Descriptors of new processes are watched by the runtime.
            let _entered = runtime.enter();
            serve(queue, &stage_program);
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
        let Started { process, pipes, stage } = answered.await.map_err(|_| gone())??;
        if let Some(stage) = stage {
            // If it does not become the command, dropping the process kills it.
            stage.executed().await?;
        }
        Ok((process, pipes))
    }

    /// Reaps children that are not commands: as PID 1 we inherit them.
    pub(crate) async fn reap_orphans(&self) {
        // Without the thread the agent is ending, and the kernel with it.
        drop(self.orders.send(Order::ReapOrphans).await);
    }
}

fn serve(mut queue: mpsc::Receiver<Order>, stage_program: &CStr) {
    if let Err(error) = unshare(CloneFlags::CLONE_FS) {
        // Nothing else in the agent uses the working folder, so commands do not notice.
        tracing::info!(%error, "commands change the working folder of the whole agent");
    }
    let known = Known::new(Mutex::new(HashSet::new()));
    while let Some(order) = queue.blocking_recv() {
        match order {
            // If nobody waits for the answer any more, dropping it kills the process.
            Order::Start(launch, answer) => {
                drop(answer.send(start(&launch, stage_program, &known)));
            }
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

/// What the thread answers: for a command of another user the stage still has to become it.
struct Started {
    process: Process,
    pipes: Pipes,
    stage: Option<Stage>,
}

fn start(launch: &Launch, stage_program: &CStr, known: &Known) -> Result<Started, LaunchError> {
    let (pipes, theirs) = match launch.screen {
        None => ends(launch.stdin),
        Some(size) => terminal_ends(size, launch.stdin),
    }
    .map_err(LaunchError::Resources)?;
    let (pid, stage) = match &launch.account {
        None => (spawn_command(launch, &theirs)?, None),
        Some(account) => {
            let (pid, stage) = spawn_stage(stage_program, launch, account, &theirs)?;
            (pid, Some(stage))
        }
    };
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(pid.as_raw_nonzero().get());
    let process = Process::watch(pid, Arc::clone(known)).map_err(LaunchError::Resources)?;
    Ok(Started { process, pipes, stage })
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

/// Runs the command itself.
fn spawn_command(launch: &Launch, theirs: &TheirEnds) -> Result<Pid, LaunchError> {
    enter(&launch.directory, launch.substitute.as_deref())
        .map_err(|source| LaunchError::Directory { path: launch.directory.clone(), source })?;
    let (attributes, actions) = preparations(theirs, None)?;
    execute_first(&launch.candidates, |candidate| {
        posix_spawn(candidate, &actions, &attributes, &launch.arguments, &launch.environment)
    })
    .map(id)
    .map_err(|source| LaunchError::Program { program: launch.program(), source })
}

/// Runs the stage that becomes the command.
fn spawn_stage(
    program: &CStr,
    launch: &Launch,
    account: &Account,
    theirs: &TheirEnds,
) -> Result<(Pid, Stage), LaunchError> {
    if let TheirEnds::Terminal { until_opened, .. } = theirs {
        let owner = Some(Uid::from_raw(account.user_id));
        rustix::fs::fchown(until_opened, owner, None).map_err(|error| LaunchError::User {
            name: account.name.clone(),
            source: Some(error.into()),
        })?;
    }
    let (stage, socket) = Stage::prepare(launch, account).map_err(LaunchError::Resources)?;
    let (attributes, actions) = preparations(theirs, Some(&socket))?;
    let nothing: [&CStr; 0] = [];
    let spawned = posix_spawn(program, &actions, &attributes, &[stage::NAME], &nothing);
    let pid = spawned.map_err(|error| LaunchError::Resources(error.into()))?;
    Ok((id(pid), stage))
}

fn id(pid: nix::unistd::Pid) -> Pid {
    Pid::from_raw(pid.as_raw()).unwrap_or_else(|| unreachable!("process ids are positive"))
}

fn preparations(
    theirs: &TheirEnds,
    socket: Option<&OwnedFd>,
) -> Result<(PosixSpawnAttr, PosixSpawnFileActions), LaunchError> {
    attributes()
        .and_then(|attributes| Ok((attributes, actions(theirs, socket)?)))
        .map_err(|error| LaunchError::Resources(error.into()))
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
fn actions(theirs: &TheirEnds, socket: Option<&OwnedFd>) -> nix::Result<PosixSpawnFileActions> {
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
    // Last: one of the others may have had this number.
    if let Some(socket) = socket {
        actions.add_dup2(socket.as_raw_fd(), stage::SOCKET)?;
    }
    Ok(actions)
}
