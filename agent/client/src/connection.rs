//! A connection over which commands are run, and others are forwarded.

mod waiting;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::ConnectionError;
use tokio::task::JoinSet;
use tokio::time::sleep;
use vault_files::{Copied, Meter, Target};
use vault_protocol::code::CloseCode;
use vault_protocol::message::{CopyOptions, Destination, Ready, SessionState, Size};

pub(crate) use waiting::{Attached, Registration};
use waiting::{Waiting, hand_out};

use crate::audit_log::{AuditLog, AuditLogError};
use crate::connect::close;
use crate::copy::{self, CopyError, MachineTarget};
use crate::dial::{DialError, Dialed};
use crate::exec::{Command, Exec, ExecError, Missed, ResumeError, join};
use crate::frames::Frames;
use crate::provision::{self, Archive, Progress, ProvisionError, Provisioned};
use crate::sessions::{self, SessionsError};

/// How often we look whether the last word was sent; it takes less.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// An agent that has accepted the proof. Clones are the same connection. It is kept alive, and
/// closed when the last clone and the last part of the last [`Exec`] or [`Dialed`] are
/// dropped.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

/// What a connection and its commands have in common.
pub(crate) struct Shared {
    pub(crate) connection: quinn::Connection,
    pub(crate) waiting: Arc<Waiting>,
    /// What the machine ran when the connection was made.
    root: Option<[u8; 32]>,
    /// The control stream. Nothing more is said on it, but its end would be the client's.
    _control: Frames,
    /// The task that hands out the agent's streams; ends with this.
    tasks: Mutex<JoinSet<()>>,
}

impl Connection {
    pub(crate) fn begin(connection: quinn::Connection, control: Frames, ready: Ready) -> Self {
        let waiting = Arc::new(Waiting::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(hand_out(connection.clone(), waiting.clone()));
        let tasks = Mutex::new(tasks);
        let root = ready.root.map(Into::into);
        Self { shared: Arc::new(Shared { connection, waiting, tasks, root, _control: control }) }
    }

    /// Runs a command. Returns when it runs, or is known not to.
    ///
    /// # Errors
    /// [`ExecError`]; [`ExecError::may_have_run`] says whether to be careful with another attempt.
    pub async fn exec(&self, command: Command) -> Result<Exec, ExecError> {
        Exec::begin(self.shared.clone(), command).await
    }

    /// Takes over a session, whoever has it: also says whether it has a terminal, and how much of its
    /// outputs is not kept any more.
    ///
    /// # Errors
    /// [`ResumeError`]
    pub async fn attach(
        &self,
        session: [u8; 16],
        size: Option<Size>,
    ) -> Result<(Exec, bool, Missed), ResumeError> {
        join(self.shared.clone(), session, size).await
    }

    /// The sessions that the machine has, the oldest first.
    ///
    /// # Errors
    /// [`SessionsError`]
    pub async fn sessions(&self) -> Result<Vec<SessionState>, SessionsError> {
        sessions::list(&self.shared.connection).await
    }

    /// Sends a signal to the process group of a session's command, by its number on Linux (1 to 64).
    ///
    /// # Errors
    /// [`SessionsError`]
    pub async fn signal_session(&self, session: [u8; 16], number: u8) -> Result<(), SessionsError> {
        sessions::signal(&self.shared.connection, session, number).await
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Connects to something that listens in the machine, or is seen from there. Returns when it is
    /// connected, or known not to be.
    ///
    /// # Errors
    /// [`DialError`]; [`DialError::reason`] says whether it is the agent's answer, or about the
    /// connection to the agent.
    pub async fn dial(&self, destination: Destination) -> Result<Dialed, DialError> {
        Dialed::begin(self.shared.clone(), destination).await
    }

    /// Copies a file or a folder into the machine; `from` is absolute. `meter` says meanwhile how far it
    /// has come. Dropping the future ends the copy.
    ///
    /// # Errors
    /// [`CopyError`], with the path that it is about.
    pub async fn upload(
        &self,
        from: PathBuf,
        to: MachineTarget,
        options: CopyOptions,
        meter: Arc<Meter>,
    ) -> Result<Copied, CopyError> {
        copy::upload(self.shared.clone(), from, to, options, meter).await
    }

    /// Copies a file or a folder out of the machine: `from` is absolute there, or beneath the home
    /// folder. Nothing is written outside `to`, whatever the machine sends.
    ///
    /// # Errors
    /// [`CopyError`], with the path that it is about.
    pub async fn download(
        &self,
        from: Vec<u8>,
        to: Target,
        options: CopyOptions,
        meter: Arc<Meter>,
    ) -> Result<Copied, CopyError> {
        copy::download(self.shared.clone(), from, to, options, meter).await
    }

    /// Asks for what the agent wrote down about its clients: from a record's number on, or from the
    /// oldest that is kept.
    ///
    /// # Errors
    /// [`AuditLogError`]
    pub async fn audit_log(&self, from: Option<u64>) -> Result<AuditLog, AuditLogError> {
        AuditLog::begin(self.shared.clone(), from).await
    }

    /// SHA-256 of the archive of the root filesystem that the machine ran when the connection was made;
    /// nothing, if it has none: commands run beside the agent then.
    #[must_use]
    pub fn root(&self) -> Option<[u8; 32]> {
        self.shared.root
    }

    /// Gives the machine a root filesystem: sends the archive, if the machine does not run it already,
    /// and waits until it does.
    ///
    /// # Errors
    /// [`ProvisionError`]; after [`ProvisionError::is_interrupted`] another attempt goes on where this one
    /// ended.
    pub async fn provision(
        &self,
        archive: &Archive,
        replace: bool,
        progress: impl FnMut(Progress),
    ) -> Result<Provisioned, ProvisionError> {
        provision::run(&self.shared.connection, archive, replace, progress).await
    }

    /// The agent's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.connection.remote_address()
    }

    /// Closes the connection, for all clones. Commands that still run get a hang-up.
    pub fn close(&self) {
        close(&self.shared.connection, CloseCode::Done);
    }

    /// Closes the connection, and returns as soon as that was sent, once: the way out for a program
    /// that ends, and whose commands have. Whoever needs more certainty than that closes it, and
    /// waits for [`crate::Client::wait_idle`], which takes 75 ms and more.
    pub async fn leave(&self) {
        if self.is_closed() {
            return;
        }
        let sent = || self.shared.connection.stats().udp_tx.datagrams;
        let before = sent();
        self.close();
        while sent() == before {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether the connection has ended, by whomever.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.connection.close_reason().is_some()
    }

    /// Ends when the connection has ended, and says why.
    pub async fn closed(&self) -> ConnectionError {
        self.shared.connection.closed().await
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
        close(&self.connection, CloseCode::Done);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
