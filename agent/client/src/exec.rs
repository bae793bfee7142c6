//! A command in the machine.

mod control;
mod output;
mod session;
mod stdin;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quinn::ConnectionError;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::timeout;
use vault_protocol::frame::{FrameError, PAYLOAD_BYTES_MAX};
use vault_protocol::message::{
    Exec as ExecMessage, ExecFailedReason, Message, Started, Terminal, Variable,
};

pub use control::{Control, ControlError, shell_code};
pub use output::{Output, OutputError};
pub(crate) use session::join;
pub use session::{Keep, Missed, ResumeError};
pub use stdin::Stdin;

use self::output::Source;
use self::session::Kept;
use crate::connection::Shared;
use crate::frames::{Frames, FramesError, encode};
use crate::text::printable;

/// How long the agent may take to start a process. Starting one takes milliseconds; a machine that
/// is short of memory takes longer.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What to run. Texts are bytes, because Linux does not promise UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments. A program without a slash is looked for in `PATH`. Empty for the
    /// user's login shell.
    pub arguments: Vec<Vec<u8>>,
    /// Variables to add to the machine's environment; they win. Names are neither empty nor hold
    /// `=`; nothing here holds a NUL byte.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where to run it; the home folder if it is not given.
    pub directory: Option<Vec<u8>>,
    /// Whether it gets a standard input. Without one it reads from `/dev/null`, or from a terminal on
    /// which nobody types.
    pub stdin: bool,
    /// The terminal that it gets, instead of pipes: then nothing comes on standard error.
    pub terminal: Option<Terminal>,
    /// The name or number of the user to run it as; the agent's own user, usually root, if not given.
    pub user: Option<String>,
    /// How long it may run. Then it gets SIGTERM, and SIGKILL a few seconds later.
    pub timeout: Option<Duration>,
    /// Keep it when the connection is lost, as a session, if the agent knows sessions.
    pub keep: Option<Keep>,
}

/// Why a command does not run, or is not known to.
#[derive(Debug, Error)]
pub enum ExecError {
    /// Program, arguments and environment are longer than a message can be, 1 MiB. Nothing was
    /// sent.
    #[error("program, arguments and environment are too long")]
    TooLong(#[source] FrameError),
    /// The connection was lost before the command was sent: it does not run.
    #[error("the connection was lost before the command was sent")]
    NotSent(#[source] ConnectionError),
    /// The agent says that the command does not run.
    #[error("the command does not run: {message}")]
    NotRun {
        /// For programs.
        reason: ExecFailedReason,
        /// For people.
        message: String,
    },
    /// The command was sent, and the agent's answer did not come.
    #[error("it is unknown whether the command ran: it was sent, and no answer came")]
    Unknown(#[source] FramesError),
    /// The command was sent, and the agent did not answer within [`START_TIMEOUT`].
    #[error(
        "it is unknown whether the command ran: it was sent, and no answer came within {} s",
        START_TIMEOUT.as_secs()
    )]
    NoAnswer,
}

impl ExecError {
    /// The command may have run, wholly or in part.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::NoAnswer)
    }

    /// The command did not run, and may over another connection.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotSent(_) => true,
            Self::NotRun { reason, .. } => matches!(reason, ExecFailedReason::ShuttingDown),
            Self::TooLong(_) | Self::Unknown(_) | Self::NoAnswer => false,
        }
    }
}

/// A command that runs. Its parts are used, and dropped, apart from each other; each keeps the
/// connection open.
#[derive(Debug)]
pub struct Exec {
    /// Its standard input, if it was asked for.
    pub stdin: Option<Stdin>,
    /// Its standard output.
    pub stdout: Output,
    /// Its standard error.
    pub stderr: Output,
    /// Signals to it, and how it ended. Dropping this ends the command.
    pub control: Control,
    /// Its process id inside the machine.
    pub process_id: u32,
}

impl Command {
    /// A program and its arguments, without standard input.
    pub fn new<T: Into<Vec<u8>>>(arguments: impl IntoIterator<Item = T>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            directory: None,
            stdin: false,
            terminal: None,
            user: None,
            timeout: None,
            keep: None,
        }
    }

    /// With standard input.
    #[must_use]
    pub fn with_stdin(self) -> Self {
        Self { stdin: true, ..self }
    }

    fn into_message(self) -> Message {
        let Self { arguments, environment, directory, stdin, terminal, user, timeout, keep } = self;
        let milliseconds = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let variable =
            |(name, value): (Vec<u8>, Vec<u8>)| Variable { name: name.into(), value: value.into() };
        ExecMessage {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: environment.into_iter().map(variable).collect(),
            directory: directory.map(Into::into),
            stdin,
            terminal,
            user,
            timeout_ms: timeout.map(milliseconds),
            keep: keep.map(Into::into),
        }
        .into()
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A command line or a variable may hold a secret.
        formatter
            .debug_struct("Command")
            .field("arguments", &self.arguments.len())
            .field("environment", &self.environment.len())
            .field("stdin", &self.stdin)
            .field("terminal", &self.terminal)
            .field("user", &self.user)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Exec {
    pub(crate) async fn begin(shared: Arc<Shared>, command: Command) -> Result<Self, ExecError> {
        let wants_stdin = command.stdin;
        let session = command.keep.as_ref().map(|keep| keep.session);
        let request = match encode(&command.into_message()) {
            Err(FramesError::TooLong(error)) => return Err(ExecError::TooLong(error)),
            encoded => encoded.map_err(ExecError::Unknown)?,
        };
        // All that can wait is done before the command is sent, so that its failure is harmless.
        let streams = shared.connection.open_bi().await.map_err(ExecError::NotSent)?;
        let frames = Frames::new(streams, PAYLOAD_BYTES_MAX);
        let stdin = match wants_stdin {
            true => Some(shared.connection.open_uni().await.map_err(ExecError::NotSent)?),
            false => None,
        };
        let id = frames.id();
        let (registration, [stdout, stderr]) = shared.waiting.register(id);
        let registration = Arc::new(registration);
        // From here on, whoever gives up resets the stream, and the agent ends the command.
        let mut control = Control::new(frames, shared.clone(), registration.clone());
        control.send_bytes(&request).await.map_err(ExecError::Unknown)?;
        let resumable = session.is_some();
        let stdin = match stdin {
            Some(stream) => Some(
                Stdin::begin(stream, id, shared.clone(), (0, resumable))
                    .await
                    .map_err(ExecError::Unknown)?,
            ),
            None => None,
        };
        let started = match timeout(START_TIMEOUT, control.receive()).await {
            Ok(answer) => started(answer.map_err(ExecError::Unknown)?)?,
            Err(_) => return Err(ExecError::NoAnswer),
        };
        // An agent that knows no sessions has not kept it.
        let session = session.filter(|_| started.kept == Some(true));
        let due = Arc::new(Notify::new());
        let source = |receiver| {
            let (shared, registration) = (shared.clone(), registration.clone());
            Source::new(receiver, shared, registration, (0, due.clone()), session.is_some())
        };
        let (stdout, stderr) = (source(stdout), source(stderr));
        match session {
            Some(session) => control.keep(Kept {
                session,
                stdout: stdout.clone(),
                stderr: stderr.clone(),
                stdin: stdin.as_ref().map(Stdin::sink),
                due,
            }),
            None => stdin.iter().for_each(|stdin| stdin.sink().give_up()),
        }
        let (stdout, stderr) = (Output::new(stdout), Output::new(stderr));
        Ok(Self { stdin, stdout, stderr, control, process_id: started.process_id })
    }
}

fn started(answer: Message) -> Result<Started, ExecError> {
    match answer {
        Message::Started(started) => Ok(started),
        Message::ExecFailed(failed) => {
            Err(ExecError::NotRun { reason: failed.reason, message: printable(&failed.message) })
        }
        other => Err(ExecError::Unknown(FramesError::Unexpected(other.name()))),
    }
}
