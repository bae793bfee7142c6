//! The thread that starts commands, one at a time.
//!
//! A thread of its own has a working folder of its own (`unshare(CLONE_FS)`), so it enters a
//! command's folder itself, and can tell a folder that cannot be entered from a program that cannot
//! be executed. `posix_spawn` does the rest in the child: a session, default signals, an empty
//! mask; it neither copies our memory nor runs our code there.
//!
//! For a command of another user it starts a [`stage`] instead, which does in a process of its own what
//! is to be done with that user's rights.
//!
//! Commands of a workload have a thread of theirs, which has entered the workload's namespaces: what it
//! looks up and opens is the workload's, and what it starts begins there, without a program in between.
//! A workload can keep that thread waiting by what it puts in its way, but nobody else.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};
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
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use vault_protocol::message::Size;

use super::account::Account;
use super::helper::Helper;
use super::launch::{Launch, LaunchError};
use super::lookup::{enter, execute_first};
use super::memory::Usual;
use super::namespaces::Threshold;
use super::stage::Stage;
use super::{Input, Known, Pipes, Process, namespaces, orphans, stage, terminal};
use crate::limits::{PIPE_BYTES, SPAWN_PATIENCE, SPAWN_QUEUE_MAX};

/// `POSIX_SPAWN_SETSID` of glibc and musl; nix does not name it.
const SET_SESSION: PosixSpawnFlags = PosixSpawnFlags::from_bits_retain(0x80);

/// Hands orders to the thread. The thread ends when all of these are gone.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
    program: Arc<Path>,
    known: Known,
    /// Of the workload that commands are started in, if it is one.
    init: Option<Arc<OwnedFd>>,
}

enum Order {
    Start(Box<Launch>, oneshot::Sender<Result<Started, LaunchError>>),
    Help(Box<Helper>, oneshot::Sender<io::Result<Process>>),
    Find(String, oneshot::Sender<Option<Account>>),
    ReapOrphans,
}

/// What a thread needs.
struct Tools {
    /// Executed for commands of other users, and as helper.
    program: CString,
    known: Known,
    usual: Usual,
    /// For the commands of a workload.
    workload: Option<Workload>,
}

/// Where commands run, if that is not the machine.
struct Workload {
    init: OwnedFd,
    /// Starts stages.
    threshold: Threshold,
}

impl Spawner {
    /// Starts the thread for the machine's own commands. Call it inside a tokio runtime. `program` is
    /// executed for commands of other users, see [`stage`], and as helper.
    ///
    /// # Errors
    /// The machine has no room for a thread.
    pub(crate) fn start(program: &Path) -> io::Result<Self> {
        let known = Known::default();
        let path = CString::new(program.as_os_str().as_bytes())?;
        let tools = Tools {
            program: path,
            known: Arc::clone(&known),
            usual: Usual::look(),
            workload: None,
        };
        let (orders, queue) = mpsc::channel(SPAWN_QUEUE_MAX);
        on_a_thread("spawner", move || {
            if let Err(error) = unshare(CloneFlags::CLONE_FS) {
                // Nothing else in the agent uses the working folder, so commands do not notice.
                tracing::info!(%error, "commands change the working folder of the whole agent");
            }
            serve(queue, &tools);
        })?;
        Ok(Self { orders, program: program.into(), known, init: None })
    }

    /// Starts another thread, for the commands of the workload whose init process that is.
    ///
    /// # Errors
    /// The namespaces cannot be entered, or the machine has no room for a thread.
    pub(crate) async fn beside(&self, init: OwnedFd) -> io::Result<Self> {
        let program = CString::new(self.program.as_os_str().as_bytes())?;
        let (known, usual) = (Arc::clone(&self.known), Usual::look());
        let visited = Some(Arc::new(init.try_clone()?));
        let (orders, queue) = mpsc::channel(SPAWN_QUEUE_MAX);
        let (entered, outcome) = oneshot::channel();
        on_a_thread("workload-spawner", move || {
            let workload = init.try_clone().and_then(Threshold::start).and_then(|threshold| {
                namespaces::enter(&init)?;
                Ok(Workload { init, threshold })
            });
            match workload {
                Ok(workload) => {
                    drop(entered.send(Ok(())));
                    serve(queue, &Tools { program, known, usual, workload: Some(workload) });
                }
                Err(error) => drop(entered.send(Err(error))),
            }
        })?;
        outcome.await.map_err(|_| io::Error::other("the spawning thread is gone"))??;
        Ok(Self { orders, init: visited, ..self.clone() })
    }

    /// Starts a command.
    ///
    /// # Errors
    /// Why it does not run.
    pub(crate) async fn launch(&self, launch: Launch) -> Result<(Process, Pipes), LaunchError> {
        let started = self.order(|answer| Order::Start(Box::new(launch), answer)).await;
        let Started { process, pipes, stage } = started.map_err(LaunchError::Resources)??;
        if let Some(stage) = stage {
            // If it does not become the command, dropping the process kills it.
            stage.executed().await?;
        }
        Ok((process, pipes))
    }

    /// Starts a helper.
    ///
    /// # Errors
    /// The machine has no room for one more process.
    pub(crate) async fn help(&self, helper: Helper) -> io::Result<Process> {
        self.order(|answer| Order::Help(Box::new(helper), answer)).await?
    }

    /// Finds a user by name or number, where the commands are to run.
    ///
    /// # Errors
    /// The thread is gone, or kept waiting.
    pub(crate) async fn find(&self, user: String) -> io::Result<Option<Account>> {
        self.order(|answer| Order::Find(user, answer)).await
    }

    /// Has the thread do something, for as long as that is bearable.
    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> io::Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the spawning thread is gone");
        let exchange = async {
            self.orders.send(order(answer)).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())
        };
        timeout(SPAWN_PATIENCE, exchange).await?
    }

    /// Does something on a thread of its own that sees the files which commands see; what cannot go there
    /// is dropped.
    ///
    /// # Errors
    /// The machine has no room for a thread.
    pub(crate) fn visit(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let Some(init) = self.init.clone() else {
            // It ends by itself.
            drop(spawn_blocking(work));
            return Ok(());
        };
        // Not one of the runtime's threads: there is no way back from where it goes.
        on_a_thread("visitor", move || match namespaces::visit(&init) {
            Ok(()) => work(),
            Err(error) => tracing::info!(%error, "the workload's files cannot be reached"),
        })
    }

    /// Reaps children that are not commands: as PID 1 we inherit them.
    pub(crate) async fn reap_orphans(&self) {
        // Without the thread the agent is ending, and the kernel with it.
        drop(self.orders.send(Order::ReapOrphans).await);
    }
}

fn on_a_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = Handle::current();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Descriptors of new processes are watched by the runtime.
        let _entered = runtime.enter();
        run();
    })?;
    Ok(())
}

/// If nobody waits for an answer any more, dropping it kills the process.
fn serve(mut queue: mpsc::Receiver<Order>, tools: &Tools) {
    while let Some(order) = queue.blocking_recv() {
        match order {
            Order::Start(launch, answer) => {
                let started = start(&launch, tools).map_err(|error| tools.explained(error));
                drop(answer.send(started));
            }
            Order::Help(helper, answer) => {
                let spawn = || helper.spawn(&tools.program);
                let started = tools.spawn(spawn).and_then(|pid| tools.watch(pid));
                drop(answer.send(started));
            }
            Order::Find(user, answer) => drop(answer.send(Account::find(&user))),
            Order::ReapOrphans => orphans::reap(&tools.known()),
        }
    }
}

impl Tools {
    fn known(&self) -> MutexGuard<'_, HashSet<i32>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process that is known from its first moment, so that nobody takes it for an orphan.
    fn spawn<E>(&self, spawn: impl FnOnce() -> Result<Pid, E>) -> Result<Pid, E> {
        let mut known = self.known();
        let pid = spawn()?;
        known.insert(pid.as_raw_nonzero().get());
        drop(known);
        self.usual.give(pid);
        Ok(pid)
    }

    /// In a workload that has ended nothing starts, for reasons that make no sense to anybody.
    fn explained(&self, error: LaunchError) -> LaunchError {
        match &self.workload {
            Some(workload) if namespaces::has_ended(&workload.init) => {
                LaunchError::NotBooted("its init process has just ended".to_owned())
            }
            _ => error,
        }
    }

    fn watch(&self, pid: Pid) -> io::Result<Process> {
        Process::watch(pid, Arc::clone(&self.known))
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

fn start(launch: &Launch, tools: &Tools) -> Result<Started, LaunchError> {
    let (pipes, theirs) = match launch.screen {
        None => ends(launch.stdin),
        Some(size) => terminal_ends(size, launch.stdin),
    }
    .map_err(LaunchError::Resources)?;
    let (pid, stage) = match &launch.account {
        None => (tools.spawn(|| spawn_command(launch, &theirs))?, None),
        Some(account) => {
            let (stage, socket) =
                Stage::prepare(launch, account).map_err(LaunchError::Resources)?;
            own_terminal(account, &theirs)?;
            (tools.spawn(|| spawn_stage(tools, theirs, socket))?, Some(stage))
        }
    };
    let process = tools.watch(pid).map_err(LaunchError::Resources)?;
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
    let resources = |error: nix::errno::Errno| LaunchError::Resources(error.into());
    let attributes = attributes().map_err(resources)?;
    let actions = actions(theirs).map_err(resources)?;
    execute_first(&launch.candidates, |candidate| {
        posix_spawn(candidate, &actions, &attributes, &launch.arguments, &launch.environment)
    })
    .map(id)
    .map_err(|source| LaunchError::Program { program: launch.program(), source })
}

/// A terminal belongs to whoever runs on it.
fn own_terminal(account: &Account, theirs: &TheirEnds) -> Result<(), LaunchError> {
    let TheirEnds::Terminal { until_opened, .. } = theirs else { return Ok(()) };
    let owner = Some(Uid::from_raw(account.user_id));
    rustix::fs::fchown(until_opened, owner, None).map_err(|error| LaunchError::User {
        name: account.name.clone(),
        source: Some(error.into()),
    })
}

/// Runs the stage that becomes the command.
fn spawn_stage(tools: &Tools, theirs: TheirEnds, socket: OwnedFd) -> Result<Pid, LaunchError> {
    let program = tools.program.clone();
    let spawn = move |init: Option<OwnedFd>| {
        let (attributes, actions) =
            (attributes()?, actions_of_stage(&theirs, &socket, init.as_ref())?);
        let nothing: [&CStr; 0] = [];
        posix_spawn(&*program, &actions, &attributes, &[stage::NAME], &nothing).map(id)
    };
    let spawned = match &tools.workload {
        None => spawn(None),
        Some(Workload { init, threshold }) => {
            let init = init.try_clone().map_err(LaunchError::Resources)?;
            threshold.run(move || spawn(Some(init))).map_err(LaunchError::Resources)?
        }
    };
    spawned.map_err(|error| LaunchError::Resources(error.into()))
}

pub(super) fn id(pid: nix::unistd::Pid) -> Pid {
    Pid::from_raw(pid.as_raw()).unwrap_or_else(|| unreachable!("process ids are positive"))
}

/// A session of its own, all signals at their defaults, none blocked.
pub(super) fn attributes() -> nix::Result<PosixSpawnAttr> {
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

/// The same for a stage, which cannot open the terminal of a workload by its name, and takes it for its
/// own itself.
fn actions_of_stage(
    theirs: &TheirEnds,
    socket: &OwnedFd,
    init: Option<&OwnedFd>,
) -> nix::Result<PosixSpawnFileActions> {
    let mut actions = match theirs {
        TheirEnds::Pipes { .. } => actions(theirs)?,
        TheirEnds::Terminal { until_opened, .. } => {
            let terminal = until_opened.as_fd().as_raw_fd();
            let mut actions = PosixSpawnFileActions::init()?;
            (0..3).try_for_each(|number| actions.add_dup2(terminal, number))?;
            actions
        }
    };
    // Last: one of the others may have had these numbers.
    actions.add_dup2(socket.as_raw_fd(), stage::SOCKET)?;
    if let Some(init) = init {
        actions.add_dup2(init.as_raw_fd(), stage::WORKLOAD)?;
    }
    Ok(actions)
}
