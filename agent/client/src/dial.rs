//! A connection from inside the machine to something that listens there, or is seen from there.

mod halves;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quinn::ConnectionError;
use thiserror::Error;
use tokio::time::timeout;
use vault_protocol::frame::{FrameError, PAYLOAD_BYTES_MAX};
use vault_protocol::message::{Destination, Dial, DialFailedReason, Message};
use vault_relay::{Relay, Relayed, Socket};

pub use halves::{ReadHalf, WriteHalf};

use crate::connection::Shared;
use crate::frames::{Frames, FramesError, encode};
use crate::text::printable;

/// How long the agent's answer may take. It gives up a dial after 10 s itself; the rest is for the
/// way to it and back, and for a turn among the streams that it allows.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// The agent says so. Its own connection is as good as before.
    #[error("{message}")]
    Failed {
        /// For programs.
        reason: DialFailedReason,
        /// For people.
        message: String,
    },
    /// The destination is longer than a message can be, 1 MiB. Nothing was sent.
    #[error("the destination is too long")]
    TooLong(#[source] FrameError),
    /// The connection to the agent was lost before anything was sent.
    #[error("the connection to the agent was lost")]
    NotSent(#[source] ConnectionError),
    /// The connection to the agent was lost, or the agent does not follow the protocol.
    #[error("no answer came from the agent")]
    Lost(#[source] FramesError),
    /// The agent did not answer within [`DIAL_TIMEOUT`].
    #[error("no answer came from the agent within {} s", DIAL_TIMEOUT.as_secs())]
    NoAnswer,
}

impl DialError {
    /// The agent's reason, if this is its answer; otherwise it is about the connection to the agent,
    /// and nothing is known about the destination.
    #[must_use]
    pub fn reason(&self) -> Option<DialFailedReason> {
        match self {
            Self::Failed { reason, .. } => Some(*reason),
            Self::TooLong(_) | Self::NotSent(_) | Self::Lost(_) | Self::NoAnswer => None,
        }
    }

    /// Nothing was said to the destination, and the same may succeed over another connection.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Failed { reason, .. } => matches!(reason, DialFailedReason::ShuttingDown),
            Self::NotSent(_) => true,
            Self::Lost(error) => error.connection_lost().is_some(),
            Self::TooLong(_) | Self::NoAnswer => false,
        }
    }
}

/// A connection through the agent. It is used as two halves, or handed to [`Dialed::relay`]. It
/// keeps the connection to the agent open, and is aborted if it is dropped.
pub struct Dialed {
    read: ReadHalf,
    write: WriteHalf,
}

impl Dialed {
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        destination: Destination,
    ) -> Result<Self, DialError> {
        let request = match encode(&Dial { destination }.into()) {
            Err(FramesError::TooLong(error)) => return Err(DialError::TooLong(error)),
            encoded => encoded.map_err(DialError::Lost)?,
        };
        let answered = timeout(DIAL_TIMEOUT, async {
            let streams = shared.connection.open_bi().await.map_err(DialError::NotSent)?;
            let mut frames = Frames::new(streams, PAYLOAD_BYTES_MAX);
            frames.send_bytes(&request).await.map_err(DialError::Lost)?;
            let answer = frames.receive().await.map_err(DialError::Lost)?;
            Ok((frames, answer))
        });
        let (frames, answer) = answered.await.map_err(|_| DialError::NoAnswer)??;
        match answer {
            Message::Dialed(_) => {
                let ((send, receive), first) = frames.into_rest();
                let read = ReadHalf::new(receive, first.into(), shared.clone());
                Ok(Self { read, write: WriteHalf::new(send, shared) })
            }
            Message::DialFailed(failed) => {
                let message = printable(&failed.message);
                Err(DialError::Failed { reason: failed.reason, message })
            }
            other => Err(DialError::Lost(FramesError::Unexpected(other.name()))),
        }
    }

    /// The two directions, which are used, ended and dropped apart from each other.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// Copies between this and a connected socket, both ways, until both directions have ended,
    /// either side aborts, or `cut` says that it has been long enough, which aborts both.
    pub async fn relay(self, socket: Socket, cut: impl Future<Output = ()>) -> Relayed {
        let shared = self.read.shared.clone();
        let (receive, first) = self.read.into_parts();
        let Some(send) = self.write.into_stream() else { unreachable!("nobody has ended it yet") };
        let relayed = Relay::new(socket, (send, receive), first).run(cut).await;
        drop(shared);
        relayed
    }
}

impl fmt::Debug for Dialed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Dialed")
            .field("agent", &self.read.shared.connection.remote_address())
            .finish_non_exhaustive()
    }
}
