//! Which sessions a machine has, and signals to them.

use quinn::ConnectionError;
use thiserror::Error;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Message, SessionSignal, SessionState, SessionsRequest};

use crate::frames::{Frames, FramesError};
use crate::text::printable;

/// Why a machine's sessions are not known, or a signal was not sent.
#[derive(Debug, Error)]
pub enum SessionsError {
    /// There is no connection any more.
    #[error("the connection was lost")]
    NotSent(#[source] ConnectionError),
    /// The agent's answer did not come. One that knows no sessions ends the stream.
    #[error("the agent did not answer; an older one knows no sessions")]
    Frames(#[from] FramesError),
    /// The agent says no.
    #[error("{message}")]
    Refused {
        /// For people.
        message: String,
    },
}

pub(crate) async fn list(
    connection: &quinn::Connection,
) -> Result<Vec<SessionState>, SessionsError> {
    match ask(connection, SessionsRequest {}.into()).await? {
        Message::Sessions(sessions) => Ok(sessions.sessions),
        other => Err(FramesError::Unexpected(other.name()).into()),
    }
}

pub(crate) async fn signal(
    connection: &quinn::Connection,
    session: [u8; 16],
    number: u8,
) -> Result<(), SessionsError> {
    let request = SessionSignal { session: session.into(), number };
    match ask(connection, request.into()).await? {
        Message::SessionSignalled(_) => Ok(()),
        Message::SessionFailed(failed) => {
            Err(SessionsError::Refused { message: printable(&failed.message) })
        }
        other => Err(FramesError::Unexpected(other.name()).into()),
    }
}

async fn ask(connection: &quinn::Connection, request: Message) -> Result<Message, SessionsError> {
    let streams = connection.open_bi().await.map_err(SessionsError::NotSent)?;
    let mut frames = Frames::new(streams, PAYLOAD_BYTES_MAX);
    frames.send(&request).await?;
    Ok(frames.receive().await?)
}
