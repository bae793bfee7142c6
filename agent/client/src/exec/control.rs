//! A command's control stream: signals to it, and how it ended.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{Exit, Message, Resize, Signal, Size};

use crate::connection::{Registration, Shared};
use crate::frames::{Frames, FramesError};

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
}

/// Signals to a command, and how it ended. Dropping this before [`Control::wait`] has returned
/// resets the stream, by which the agent ends the command (a hang-up, as when a terminal closes).
pub struct Control {
    frames: Frames,
    exit: Option<Exit>,
    /// Keeps the connection.
    shared: Arc<Shared>,
    /// Keeps the outputs waited for.
    registration: Arc<Registration>,
}

impl Control {
    pub(crate) fn new(
        frames: Frames,
        shared: Arc<Shared>,
        registration: Arc<Registration>,
    ) -> Self {
        Self { frames, exit: None, shared, registration }
    }

    /// Sends what [`crate::frames::encode`] made.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), FramesError> {
        self.frames.send_bytes(bytes).await
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Result<Message, FramesError> {
        self.frames.receive().await
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
        self.frames.send(&signal).await.map_err(ControlError::SignalNotSent)
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
        self.frames.send(&resize).await.map_err(ControlError::SizeNotSent)
    }

    /// Ends when the command and both its outputs have ended. The outputs are read on their own:
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
