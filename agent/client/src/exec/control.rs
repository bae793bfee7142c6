//! A command's control stream: signals to it, and how it ended.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use quinn::ConnectionError;
use thiserror::Error;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{
    Channel, Detach, Detached, Exit, Message, Resize, Signal, Size, Taken,
};

use super::session::{Kept, Missed, ResumeError};
use crate::connection::{Connection, Registration, Shared};
use crate::frames::{Frames, FramesError, encode};

/// Why a command's end is not known, or a signal was not sent.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The command ran, and the agent did not say how it ended.
    #[error("it is unknown how the command ended, or whether it did")]
    ExitUnknown(#[source] FramesError),
    /// The signal was not sent.
    #[error("the signal was not sent")]
    SignalNotSent(#[source] FramesError),
    /// The terminal's new size was not sent.
    #[error("the terminal's new size was not sent")]
    SizeNotSent(#[source] FramesError),
    /// The session goes on without this client: by its own wish, or because another one has it now.
    #[error("{}", if *taken_over { "another client has the session now" } else { "the session goes on by itself" })]
    Detached {
        /// Another client has it.
        taken_over: bool,
    },
}

impl ControlError {
    /// The connection was lost, and the session may go on over another one: see [`Control::resume`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match self {
            Self::ExitUnknown(error) | Self::SignalNotSent(error) | Self::SizeNotSent(error) => {
                matches!(
                    error.connection_lost(),
                    Some(
                        ConnectionError::TimedOut
                            | ConnectionError::Reset
                            | ConnectionError::ConnectionClosed(_)
                            | ConnectionError::TransportError(_)
                    )
                )
            }
            Self::Detached { .. } => false,
        }
    }
}

/// Signals to a command, and how it ended. Dropping this before [`Control::wait`] has returned
/// resets the stream, by which the agent ends the command (a hang-up, as when a terminal closes).
pub struct Control {
    frames: Frames,
    /// What is to be sent still: a message that is sent in part must be sent wholly.
    unsent: BytesMut,
    exit: Option<Exit>,
    /// What a session needs in order to go on over another connection.
    kept: Option<Kept>,
    /// Keeps the connection.
    shared: Arc<Shared>,
    /// Keeps the outputs waited for.
    registration: Arc<Registration>,
}

impl Control {
    pub(super) fn new(
        frames: Frames,
        shared: Arc<Shared>,
        registration: Arc<Registration>,
    ) -> Self {
        let unsent = BytesMut::new();
        Self { frames, unsent, exit: None, kept: None, shared, registration }
    }

    /// From now on the command may go on over another connection.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Sends what [`crate::frames::encode`] made.
    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), FramesError> {
        self.unsent.extend_from_slice(bytes);
        self.flush().await
    }

    async fn send(&mut self, message: &Message) -> Result<(), FramesError> {
        self.send_bytes(&encode(message)?).await
    }

    /// Cancel-safe: what is left is sent the next time.
    async fn flush(&mut self) -> Result<(), FramesError> {
        while !self.unsent.is_empty() {
            let count = self.frames.send_some(&self.unsent).await?;
            self.unsent.advance(count);
        }
        Ok(())
    }

    /// The next message. Of a session: says meanwhile what was taken of its outputs, and hears what was
    /// of its input. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Result<Message, FramesError> {
        loop {
            self.flush().await?;
            let Some(kept) = &self.kept else { return self.frames.receive().await };
            let taken = [(Channel::Stdout, &kept.stdout), (Channel::Stderr, &kept.stderr)]
                .into_iter()
                .find_map(|(channel, source)| {
                    Some(Taken { channel, bytes: source.acknowledge()? })
                });
            if let Some(taken) = taken {
                self.unsent.extend_from_slice(&encode(&taken.into())?);
                continue;
            }
            // Both arms are cancel-safe: a message is kept until it is whole, a notice until it is seen.
            tokio::select! {
                message = self.frames.receive() => match message? {
                    Message::Taken(Taken { channel: Channel::Stdin, bytes }) => {
                        if let Some(sink) = &kept.stdin {
                            sink.take(bytes);
                        }
                    }
                    message => return Ok(message),
                },
                () = kept.due.notified() => {}
            }
        }
    }

    /// Sends a signal to the command's process group, by its number on Linux (1 to 64). To a
    /// command that is known to have ended, nothing is sent.
    ///
    /// # Errors
    /// [`ControlError::SignalNotSent`].
    pub async fn signal(&mut self, number: u8) -> Result<(), ControlError> {
        if self.exit.is_some() {
            return Ok(());
        }
        let signal = Signal { number }.into();
        self.send(&signal).await.map_err(ControlError::SignalNotSent)
    }

    /// Tells the command's terminal its new size. To a command that is known to have ended, nothing is
    /// sent.
    ///
    /// # Errors
    /// [`ControlError::SizeNotSent`].
    pub async fn resize(&mut self, size: Size) -> Result<(), ControlError> {
        if self.exit.is_some() {
            return Ok(());
        }
        let resize = Resize { size }.into();
        self.send(&resize).await.map_err(ControlError::SizeNotSent)
    }

    /// Asks the agent to let the session go on without us; [`Control::wait`] then ends with
    /// [`ControlError::Detached`]. Only of a session.
    ///
    /// # Errors
    /// [`ControlError::SignalNotSent`].
    pub async fn detach(&mut self) -> Result<(), ControlError> {
        self.send(&Detach {}.into()).await.map_err(ControlError::SignalNotSent)
    }

    /// The session's id, if the agent keeps the command as one.
    #[must_use]
    pub fn session(&self) -> Option<[u8; 16]> {
        self.kept.as_ref().map(|kept| kept.session)
    }

    /// Goes on over another connection, after [`ControlError::is_lost`]: input, outputs and this go on
    /// where they were, and nothing is lost or comes twice.
    ///
    /// # Errors
    /// [`ResumeError`]; after [`ResumeError::is_lost`] it may be tried again over another one.
    pub async fn resume(&mut self, connection: &Connection) -> Result<Missed, ResumeError> {
        let Some(kept) = &self.kept else { return Err(ResumeError::NoSession) };
        let (parts, missed) = kept.resume(connection).await?;
        (self.frames, self.shared, self.registration) = parts;
        self.unsent.clear();
        Ok(missed)
    }

    /// Ends when the command and both its outputs have ended. Of a session it also tells the agent what was
    /// read, so it has to be polled beside the outputs. The outputs are read on their own:
    /// one that nobody reads is full at some point, and then the command waits. Nothing is lost if
    /// the future is dropped, so this may stand in a `select!` beside signals.
    ///
    /// # Errors
    /// [`ControlError::ExitUnknown`]: only the agent's word is taken for the command's end.
    pub async fn wait(&mut self) -> Result<Exit, ControlError> {
        if let Some(exit) = &self.exit {
            return Ok(exit.clone());
        }
        let exit = match self.receive().await.map_err(ControlError::ExitUnknown)? {
            Message::Detached(Detached { taken_over }) if self.kept.is_some() => {
                return Err(ControlError::Detached { taken_over });
            }
            Message::Exit(exit) if exit.code.is_some() != exit.signal.is_some() => exit,
            other => {
                let unexpected = FramesError::Unexpected(other.name());
                return Err(ControlError::ExitUnknown(unexpected));
            }
        };
        self.exit = Some(exit.clone());
        Ok(exit)
    }
}

/// What is shown for a command that ran for longer than it might, as by `timeout(1)`.
const TIMED_OUT: u8 = 124;

/// The code that a shell shows for this end: the command's own, 128 and the signal's number, or 124 if it
/// was ended because its time was up.
#[must_use]
pub fn shell_code(exit: &Exit) -> u8 {
    if exit.timed_out == Some(true) {
        return TIMED_OUT;
    }
    match (exit.code, exit.signal) {
        (Some(code), _) => code,
        (None, signal) => signal.unwrap_or_default().saturating_add(128),
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.frames.reset(StreamCode::BrokenPipe);
        }
        if let Some(kept) = &self.kept {
            kept.give_up();
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Control")
            .field("address", &self.shared.connection.remote_address())
            .field("channels", &self.registration)
            .field("exit", &self.exit)
            .finish_non_exhaustive()
    }
}
