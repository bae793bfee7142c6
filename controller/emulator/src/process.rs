//! Machines as real processes: the runner behind the emulator's machines.
//!
//! ```text
//!   engine ──launch/stop/kill──▶ ProcessRunner ──one thread per running machine──▶ exited(Exit)
//!                                     │                 │ reads the console into a bounded file
//!                                     │ socket          │ waits for the report
//!                                     ▼                 ▼
//!                               launcher machine-init supervise …   (see `crate::sandbox`)
//! ```
//!
//! A machine lives as long as the emulator's end of its socket: when the emulator dies, the kernel
//! closes the socket, and the supervisor on the other side takes the machine down.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::runner::{
    Environment, Exit, Launch, LogLine, MachineRunner, Visit, VisitError, VisitOutcome,
};
use crate::sandbox;
pub use crate::sandbox::isolation::Isolation;
use crate::sandbox::message::{self, Ended, Order, Task, Visited};

mod folder;

pub(crate) use self::folder::fly_folder;

mod console;

mod lines;

mod visit;

mod machine;

mod probe;

/// How many machines run at once: each costs a thread, six descriptors and three processes, and
/// this many fill a developer's host.
pub const RUNNING_MAX: usize = 1024;

/// How many open files that takes, with as many again for what else the emulator serves.
const DESCRIPTORS: u64 = 2 * 6 * RUNNING_MAX as u64;

/// The stack of a machine's thread, in bytes: it polls and copies, nothing recursive.
const STACK_BYTES: usize = 256 << 10;

/// How long a supervisor may keep an order in the socket before we give up sending it: it reads at
/// once unless it is stopped or the host is stuck.
const SEND_PATIENCE: Duration = Duration::from_secs(10);

/// How long `shutdown` waits for the kernel to take the processes down.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(20);

/// Where the runner works, and how it re-executes this program.
#[derive(Clone, Debug)]
pub struct ProcessRunnerConfig {
    /// The emulator's data folder; machines have theirs in `machines/<id>/`. It is made if it is
    /// not there, and always masked inside machines.
    pub data_dir: PathBuf,
    /// The program to re-execute, usually `std::env::current_exe()`.
    pub launcher: PathBuf,
    /// What makes the launcher call [`crate::sandbox::main`], usually `machine-init`.
    pub launcher_args: Vec<String>,
    /// Further folders that are empty inside machines, whether or not they exist yet: the
    /// controller's data folder, for one.
    pub masked: Vec<PathBuf>,
}

/// Runs machines as processes of this host, as isolated as the host allows.
pub struct ProcessRunner {
    shared: Arc<Shared>,
    isolation: Isolation,
}

/// What the machines' threads use together with the runner.
struct Shared {
    config: ProcessRunnerConfig,
    running: Mutex<Running>,
    ended: Condvar,
    stamps: lines::Stamps,
}

#[derive(Default)]
struct Running {
    /// By machine id and run.
    machines: HashMap<(String, u64), Arc<Mutex<UnixStream>>>,
    /// Where to go in, of those that have a process.
    entrances: HashMap<(String, u64), Entrance>,
    /// Launches whose end has not been told yet; some of these are in the table above.
    untold: usize,
    is_shut_down: bool,
}

/// What a visit to a running machine needs.
#[derive(Clone)]
struct Entrance {
    /// The first stage's process.
    supervisor: u32,
    /// The machine's own folder.
    directory: PathBuf,
    /// The environment of this run.
    env: Environment,
}

impl ProcessRunner {
    /// Makes the data folder and finds out, by starting a machine that ends at once, how far this
    /// host can isolate. Blocks for some milliseconds. Raises this process's soft limit of open
    /// files, which is usually too low for the machines of one host.
    ///
    /// # Errors
    /// The data folder cannot be made or resolved, or the launcher cannot start any machine.
    pub fn new(config: ProcessRunnerConfig) -> io::Result<Self> {
        let strongest: &[Isolation] = if rustix::process::geteuid().is_root() {
            &[Isolation::Namespaces, Isolation::UserNamespaces, Isolation::PlainProcess]
        } else {
            &[Isolation::UserNamespaces, Isolation::PlainProcess]
        };
        Self::with_isolation(config, strongest)
    }

    /// As [`Self::new`], with the first of the `candidates` that this host allows.
    ///
    /// # Errors
    /// As [`Self::new`]; also if the host allows none of the candidates.
    pub fn with_isolation(
        mut config: ProcessRunnerConfig,
        candidates: &[Isolation],
    ) -> io::Result<Self> {
        allow_many_descriptors()?;
        let machines = config.data_dir.join("machines");
        fs::create_dir_all(&machines)?;
        // What machines print may be secret.
        fs::set_permissions(&machines, fs::Permissions::from_mode(0o700))?;
        config.data_dir = config.data_dir.canonicalize()?;
        let masked = config.masked.iter().map(|path| folder::resolved(path));
        config.masked = masked.collect::<io::Result<_>>()?;
        config.masked.push(config.data_dir.clone());
        config.masked = sandbox::outermost(config.masked);
        let isolation = probe::first_possible(&config, candidates)?;
        match isolation {
            Isolation::Namespaces => tracing::info!("{isolation}"),
            Isolation::UserNamespaces | Isolation::PlainProcess => tracing::warn!("{isolation}"),
        }
        let shared = Shared {
            config,
            running: Mutex::default(),
            ended: Condvar::new(),
            stamps: lines::Stamps::default(),
        };
        Ok(Self { shared: Arc::new(shared), isolation })
    }

    /// How machines of this runner are isolated.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    fn send(&self, machine_id: &str, run: u64, order: &Order) {
        let key = (machine_id.to_owned(), run);
        let Some(control) = self.shared.lock().machines.get(&key).cloned() else {
            tracing::debug!(machine_id, run, "an order for a machine that does not run");
            return;
        };
        let control = control.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = message::send(&control, order) {
            tracing::debug!(machine_id, run, %error, "the machine ended before its order");
        }
    }
}

impl MachineRunner for ProcessRunner {
    /// Never blocks for the machine. `exited` comes from the machine's own thread; only if the host
    /// cannot give one more thread is it called before `launch` returns.
    fn launch(&self, launch: Launch, exited: Box<dyn FnOnce(Exit) + Send>) {
        let notice = Notice::new(exited);
        let (shared, isolation) = (Arc::clone(&self.shared), self.isolation);
        let (machine_id, run) = (launch.machine_id.clone(), launch.run);
        let untold = Untold::new(&shared);
        let admitted = shared.admit(&machine_id, run);
        let thread =
            thread::Builder::new().name(format!("machine {machine_id}")).stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            // Dropped in the other order, also when something panics.
            let _untold = untold;
            let notice = notice;
            let ended = admitted.and_then(|(admitted, theirs)| {
                machine::run(&shared.config, isolation, launch, &admitted, theirs)
            });
            notice.give(ended.unwrap_or_else(|error| {
                tracing::error!(machine_id, run, %error, "the machine could not be started");
                Ended::not_started()
            }));
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "there is no thread for one more machine");
        }
    }

    fn stop(&self, machine_id: &str, run: u64, signal: i32, timeout: Duration) {
        let kill_after_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self.send(machine_id, run, &Order::Signal { signal, kill_after_ms });
    }

    fn kill(&self, machine_id: &str, run: u64) {
        self.send(machine_id, run, &Order::Kill);
    }

    fn signal(&self, machine_id: &str, run: u64, signal: i32) {
        self.send(machine_id, run, &Order::Signal { signal, kill_after_ms: None });
    }

    fn freeze(&self, machine_id: &str, run: u64, frozen: bool) {
        self.send(machine_id, run, &Order::Freeze(frozen));
    }

    fn visit(&self, machine_id: &str, run: u64, visit: Visit) -> Result<VisitOutcome, VisitError> {
        let key = (machine_id.to_owned(), run);
        let entrance = self.shared.lock().entrances.get(&key).cloned();
        let Entrance { supervisor, directory, env } = entrance.ok_or(VisitError::NotReady)?;
        let task = match visit {
            Visit::List => Task::List,
            Visit::Run { argv, input, time } => {
                let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                Task::Run { argv, input, milliseconds }
            }
        };
        let (isolation, env) = (self.isolation, BTreeMap::clone(&env));
        let wish = message::Visit { isolation, supervisor, directory, env, task };
        let visit::Outcome { visited, stdout, stderr } =
            visit::run(&self.shared.config, machine_id, &wish)?;
        match visited {
            Visited::NotReady => Err(VisitError::NotReady),
            Visited::Ran { is_late: true, .. } => Err(VisitError::Late),
            Visited::Ran { ended, .. } => Ok(VisitOutcome::Ran {
                exit: Exit { code: ended.code, signal: ended.signal },
                stdout: String::from_utf8_lossy(&stdout).into_owned(),
                stderr: String::from_utf8_lossy(&stderr).into_owned(),
            }),
            Visited::Listed(processes) => Ok(VisitOutcome::Listed(processes)),
        }
    }

    fn logs(&self, machine_id: &str) -> io::Result<Vec<LogLine>> {
        folder::check_id(machine_id)?;
        lines::read(&self.shared.config.data_dir.join("machines").join(machine_id))
    }

    /// Also removes the machine's console logs.
    fn forget(&self, machine_id: &str) {
        if let Err(error) = folder::remove(&self.shared.config.data_dir, machine_id) {
            tracing::warn!(machine_id, %error, "the machine's folder stays");
        }
    }

    /// Later launches are refused (code 127).
    fn shutdown(&self) {
        let mut running = self.shared.lock();
        running.is_shut_down = true;
        let controls: Vec<_> = running.machines.values().cloned().collect();
        drop(running);
        for control in controls {
            // The end of the stream is the one order that needs no room in the socket.
            let control = control.lock().unwrap_or_else(PoisonError::into_inner);
            drop(control.shutdown(std::net::Shutdown::Write));
        }
        let (running, outcome) = self
            .shared
            .ended
            .wait_timeout_while(self.shared.lock(), SHUTDOWN_PATIENCE, |running| running.untold > 0)
            .unwrap_or_else(PoisonError::into_inner);
        if outcome.timed_out() {
            let left: Vec<_> = running.machines.keys().collect();
            tracing::error!(?left, untold = running.untold, "machines did not end");
        }
    }
}

impl Drop for ProcessRunner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    /// Makes the machine known to `stop` and `kill` before it has a process.
    /// The second part of the answer is the supervisor's end of the socket.
    fn admit(self: &Arc<Self>, machine_id: &str, run: u64) -> io::Result<(Admitted, UnixStream)> {
        folder::check_id(machine_id)?;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(SEND_PATIENCE))?;
        let control = Arc::new(Mutex::new(ours.try_clone()?));
        let mut running = self.lock();
        if running.is_shut_down {
            return Err(io::Error::other("the emulator is shutting down"));
        }
        if running.machines.len() >= RUNNING_MAX {
            return Err(io::Error::other(format!("{RUNNING_MAX} machines are running already")));
        }
        let key = (machine_id.to_owned(), run);
        if running.machines.contains_key(&key) {
            return Err(io::Error::other("this run of the machine is running already"));
        }
        running.machines.insert(key.clone(), Arc::clone(&control));
        drop(running);
        let shared = Arc::clone(self);
        Ok((Admitted { shared, key, control, reports: ours }, theirs))
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One launch whose end is still to be told; `shutdown` waits for all of them, because what is done
/// when it is told (a socket is removed) must not happen to the next emulator's machines.
struct Untold(Arc<Shared>);

impl Untold {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.lock().untold += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.0.lock().untold -= 1;
        self.0.ended.notify_all();
    }
}

/// A place in the table of running machines; given back when dropped.
struct Admitted {
    shared: Arc<Shared>,
    key: (String, u64),
    /// Where orders go; shared with the table.
    control: Arc<Mutex<UnixStream>>,
    /// The same socket, to read from.
    reports: UnixStream,
}

impl Admitted {
    /// From now on one can go in, once its world is built.
    fn open(&self, entrance: Entrance) {
        self.shared.lock().entrances.insert(self.key.clone(), entrance);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut running = self.shared.lock();
        running.machines.remove(&self.key);
        running.entrances.remove(&self.key);
    }
}

/// Raises the soft limit of open files to [`DESCRIPTORS`], as far as the hard limit lets us.
fn allow_many_descriptors() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |hard| hard.min(DESCRIPTORS));
    if limit.current.is_some_and(|soft| soft < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(())
}

/// The promise to call `exited` exactly once, kept even if the thread panics or never starts.
struct Notice(Option<Box<dyn FnOnce(Exit) + Send>>);

impl Notice {
    fn new(exited: Box<dyn FnOnce(Exit) + Send>) -> Self {
        Self(Some(exited))
    }

    fn give(mut self, ended: Ended) {
        self.call(ended);
    }

    fn call(&mut self, ended: Ended) {
        if let Some(exited) = self.0.take() {
            exited(Exit { code: ended.code, signal: ended.signal });
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.call(Ended::not_started());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn an_exit_is_told_exactly_once() {
        let (sender, receiver) = sync_channel(2);
        let copy = sender.clone();
        Notice::new(Box::new(move |exit| copy.send(exit).expect("room"))).give(Ended::with_code(3));
        drop(Notice::new(Box::new(move |exit| {
            sender.send(exit).expect("room");
        })));
        let exits: Vec<_> = receiver.iter().map(|exit| exit.code).collect();
        assert_eq!(exits, [Some(3), Some(127)]);
    }
}
