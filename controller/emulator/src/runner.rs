//! The seam between the world and real processes.
//!
//! The engine asks a [`MachineRunner`] to start and stop machines; the runner tells it once, per
//! start, how the machine ended. Nothing else crosses this line, so that the world stays pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::sandbox::processes::ProcessStat;

/// A process's whole environment. It holds secrets, so only the names show when it is printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl From<BTreeMap<String, String>> for Environment {
    fn from(variables: BTreeMap<String, String>) -> Self {
        Self(variables)
    }
}

impl Deref for Environment {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Environment {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.keys()).finish()
    }
}

/// What one start of a machine needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The machine's id: 14 hexadecimal digits.
    pub machine_id: String,
    /// The machine's name, unique within its app.
    pub machine_name: String,
    /// The app's name, unique on the whole platform.
    pub app_name: String,
    /// Grows with each start of this machine, also across restarts of the emulator.
    pub run: u64,
    /// The program and its arguments; empty for the built-in pause, which waits for its signal.
    pub argv: Vec<String>,
    /// The whole environment of the process.
    pub env: Environment,
    /// A file of the host that is seen at its own path inside the machine, whatever else hides that
    /// path: the agent's program. Absolute, without symbolic links.
    pub shown: Option<PathBuf>,
    /// The folder of the host that is seen at `/.fly` inside the machine, read-only: the machine's
    /// API socket lies in it, named `api`.
    pub fly: Option<PathBuf>,
    /// The volume to show inside the machine, if it has one.
    pub volume: Option<MountedVolume>,
    /// The machine's address on the private network, or the one that stands for it on this host.
    pub private_ip: IpAddr,
    /// The name the machine has for itself; Fly uses the machine's id.
    pub hostname: String,
}

/// A volume and where it is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedVolume {
    /// The folder of the host that holds the volume's files.
    pub directory: PathBuf,
    /// The mount point inside the machine, for example `/data`.
    pub path: String,
}

/// How a machine's main process ended: by itself with a code, or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, if the process ended by itself (0..=255).
    pub code: Option<i32>,
    /// The Linux signal number that ended it, if one did.
    pub signal: Option<i32>,
}

/// What can be done in a running machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Run a program.
    Run {
        /// The program and its arguments.
        argv: Vec<String>,
        /// What it reads on its standard input; nothing if absent.
        input: Option<String>,
        /// How long it may take.
        time: Duration,
    },
    /// List the processes.
    List,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisitOutcome {
    /// The program has ended.
    Ran {
        /// How.
        exit: Exit,
        /// What it printed, as far as it is kept; what is no UTF-8 is replaced.
        stdout: String,
        /// The same of its standard error.
        stderr: String,
    },
    /// The processes.
    Listed(Vec<ProcessStat>),
}

/// Why nothing came of it.
#[derive(Debug, Error)]
pub enum VisitError {
    /// The machine is not up yet, or not any more.
    #[error("the machine is not up")]
    NotReady,
    /// The program's time was over; it was ended.
    #[error("the program took too long")]
    Late,
    /// The host's refusal.
    #[error(transparent)]
    Failed(#[from] std::io::Error),
}

/// A line that a machine has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, in nanoseconds since 1970; no two lines share one.
    pub stamp: i64,
    /// The line without its end.
    pub message: String,
}

/// Starts and stops machine processes. One implementation runs real ones; `--machines none` uses
/// none at all.
pub trait MachineRunner: Send + Sync + 'static {
    /// Starts the machine's process; `exited` is called exactly once, from any thread, when it has
    /// ended (also when it could not be started: code 127, with the reason logged).
    fn launch(&self, launch: Launch, exited: Box<dyn FnOnce(Exit) + Send>);

    /// Sends `signal` (a Linux signal number) to the machine's main process; after `timeout` the
    /// whole machine is killed.
    fn stop(&self, machine_id: &str, run: u64, signal: i32, timeout: Duration);

    /// Kills the whole machine at once.
    fn kill(&self, machine_id: &str, run: u64);

    /// Sends `signal` (a Linux signal number) to the machine's main process, and nothing more.
    fn signal(&self, machine_id: &str, run: u64, signal: i32);

    /// Stops all of the machine's processes where they are, or lets them go on.
    fn freeze(&self, machine_id: &str, run: u64, frozen: bool);

    /// Goes into a running machine; blocks until that has ended.
    ///
    /// # Errors
    /// See [`VisitError`].
    fn visit(&self, machine_id: &str, run: u64, visit: Visit) -> Result<VisitOutcome, VisitError>;

    /// What the machine has printed, as far as it is kept, oldest line first.
    ///
    /// # Errors
    /// A log that cannot be read.
    fn logs(&self, machine_id: &str) -> std::io::Result<Vec<LogLine>>;

    /// Removes what a destroyed machine left on disk (its root's upper layer), never its volume.
    fn forget(&self, machine_id: &str);

    /// Kills all machines and waits until they have ended.
    fn shutdown(&self);
}
