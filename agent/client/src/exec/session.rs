//! A command that goes on over another connection when one is lost.
//!
//! ```text
//!   Exec { stdin, stdout, stderr, control }        the parts stay as they are
//!            │      │       │        │  control.resume(another connection)
//!            ▼      ▼       ▼        ▼
//!          sink   source  source   frames          what stands behind them is exchanged
//! ```

use std::sync::Arc;
use std::time::Duration;

use quinn::ConnectionError;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Keep as KeepMessage, Message, Resume, Resumed, Size};

use super::output::Source;
use super::stdin::{Sink, attach};
use super::{Control, Exec, Output, START_TIMEOUT, Stdin};
use crate::connection::{Attached, Connection, Registration, Shared};
use crate::frames::{Frames, FramesError};
use crate::text::printable;

/// How a command is kept when its connection is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Its session's id: random bytes.
    pub session: [u8; 16],
    /// What people call it: up to 128 bytes.
    pub tag: Option<String>,
    /// How long it may be without a client that was lost; a week at most. Then it gets a hang-up.
    pub linger: Duration,
}

/// Why a session does not go on.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// The command was not kept: it has ended with its connection.
    #[error("the command is no session")]
    NoSession,
    /// The agent does not have it.
    #[error("{message}")]
    Refused {
        /// For people.
        message: String,
    },
    /// There is no connection any more.
    #[error("the connection was lost")]
    NotSent(#[source] ConnectionError),
    /// The agent's answer did not come.
    #[error("the session may go on, but the agent did not say so")]
    Frames(#[from] FramesError),
    /// The agent did not answer within [`START_TIMEOUT`].
    #[error("no answer came within {} s", START_TIMEOUT.as_secs())]
    NoAnswer,
}

impl ResumeError {
    /// It may be tried again, over another connection.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::NoAnswer => true,
            Self::Frames(error) => error.connection_lost().is_some(),
            Self::NoSession | Self::Refused { .. } => false,
        }
    }
}

/// Bytes of the outputs that are lost: the agent keeps so many only while nobody waits for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Of standard output.
    pub stdout: u64,
    /// Of standard error.
    pub stderr: u64,
}

/// What stands behind the parts of a command.
pub(super) struct Kept {
    pub(super) session: [u8; 16],
    pub(super) stdout: Arc<Source>,
    pub(super) stderr: Arc<Source>,
    pub(super) stdin: Option<Arc<Sink>>,
    /// There is something to acknowledge.
    pub(super) due: Arc<Notify>,
}

/// What a control is exchanged for.
pub(super) type Parts = (Frames, Arc<Shared>, Arc<Registration>);

impl From<Keep> for KeepMessage {
    fn from(keep: Keep) -> Self {
        let Keep { session, tag, linger } = keep;
        let linger_ms = u64::try_from(linger.as_millis()).unwrap_or(u64::MAX);
        Self { session: session.into(), tag, linger_ms }
    }
}

impl Kept {
    pub(super) async fn resume(
        &self,
        connection: &Connection,
    ) -> Result<(Parts, Missed), ResumeError> {
        let shared = connection.shared();
        let (had_stdout, had_stderr) = (self.stdout.bytes(), self.stderr.bytes());
        let request = Resume {
            session: self.session.into(),
            stdout: Some(had_stdout),
            stderr: Some(had_stderr),
            size: None,
        };
        let Opened { frames, id, registration, stdout, stderr, resumed } =
            open(&shared, request).await?;
        if let Some(sink) = &self.stdin {
            let mut stream = shared.connection.open_uni().await.map_err(ResumeError::NotSent)?;
            attach(&mut stream, id).await?;
            sink.resume(stream, shared.clone(), resumed.stdin).await?;
        }
        let from = (resumed.stdout, resumed.stderr);
        self.stdout.resume(stdout, shared.clone(), registration.clone(), from.0);
        self.stderr.resume(stderr, shared.clone(), registration.clone(), from.1);
        let missed = Missed {
            stdout: from.0.saturating_sub(had_stdout),
            stderr: from.1.saturating_sub(had_stderr),
        };
        Ok(((frames, shared, registration), missed))
    }

    pub(super) fn give_up(&self) {
        self.stdout.give_up();
        self.stderr.give_up();
        if let Some(sink) = &self.stdin {
            sink.give_up();
        }
    }
}

/// Takes over a session that another client has, or none; its outputs begin with the oldest bytes that
/// are kept.
pub(crate) async fn join(
    shared: Arc<Shared>,
    session: [u8; 16],
    size: Option<Size>,
) -> Result<(Exec, bool, Missed), ResumeError> {
    let request = Resume { session: session.into(), stdout: None, stderr: None, size };
    let Opened { frames, id, registration, stdout, stderr, resumed } =
        open(&shared, request).await?;
    let stdin = match resumed.stdin {
        Some(taken) => {
            let stream = shared.connection.open_uni().await.map_err(ResumeError::NotSent)?;
            Some(Stdin::begin(stream, id, shared.clone(), (taken, true)).await?)
        }
        None => None,
    };
    let due = Arc::new(Notify::new());
    let source = |receiver, bytes| {
        let from = (bytes, due.clone());
        Source::new(receiver, shared.clone(), registration.clone(), from, true)
    };
    let (stdout, stderr) = (source(stdout, resumed.stdout), source(stderr, resumed.stderr));
    let missed = Missed { stdout: resumed.stdout, stderr: resumed.stderr };
    let mut control = Control::new(frames, shared, registration);
    let kept = Kept {
        session,
        stdout: stdout.clone(),
        stderr: stderr.clone(),
        stdin: stdin.as_ref().map(Stdin::sink),
        due,
    };
    control.keep(kept);
    let (stdout, stderr) = (Output::new(stdout), Output::new(stderr));
    let exec = Exec { stdin, stdout, stderr, control, process_id: resumed.process_id };
    Ok((exec, resumed.terminal, missed))
}

/// A stream on which a session goes on, and its outputs, which the agent opens.
struct Opened {
    frames: Frames,
    id: u64,
    registration: Arc<Registration>,
    stdout: oneshot::Receiver<Attached>,
    stderr: oneshot::Receiver<Attached>,
    resumed: Resumed,
}

async fn open(shared: &Arc<Shared>, request: Resume) -> Result<Opened, ResumeError> {
    let streams = shared.connection.open_bi().await.map_err(ResumeError::NotSent)?;
    let mut frames = Frames::new(streams, PAYLOAD_BYTES_MAX);
    let id = frames.id();
    let (registration, [stdout, stderr]) = shared.waiting.register(id);
    let registration = Arc::new(registration);
    frames.send(&request.into()).await?;
    match timeout(START_TIMEOUT, frames.receive()).await.map_err(|_| ResumeError::NoAnswer)?? {
        Message::Resumed(resumed) => {
            Ok(Opened { frames, id, registration, stdout, stderr, resumed })
        }
        Message::SessionFailed(failed) => {
            Err(ResumeError::Refused { message: printable(&failed.message) })
        }
        other => Err(FramesError::Unexpected(other.name()).into()),
    }
}
