//! What the agent wrote down about its clients.
//!
//! ```text
//!   AuditLogRequest ──▶ AuditLog: how many bytes ──▶ line ──▶ line ──▶ … ──▶ the end
//! ```
//!
//! Whether the lines follow each other is for [`vault_protocol::audit::Chain`] to say.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, RecvStream};
use thiserror::Error;
use vault_protocol::audit::LINE_BYTES_MAX;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{AuditLogRequest, Message};

use crate::connection::Shared;
use crate::frames::{Frames, FramesError};
use crate::text::printable;

/// How much is taken from the stream at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Why the records do not come.
#[derive(Debug, Error)]
pub enum AuditLogError {
    /// The connection was lost before they were asked for.
    #[error("the connection was lost")]
    Connection(#[source] ConnectionError),
    /// The agent's answer is none. One that knows no audit log ends the stream.
    #[error("the agent did not answer; an older one keeps no audit log")]
    Answer(#[source] FramesError),
    /// The agent keeps none.
    #[error("the machine has no audit log: {0}")]
    None(String),
    /// They broke off.
    #[error("the audit log broke off after {0} bytes")]
    Cut(u64, #[source] Option<ReadError>),
    /// A line that is longer than any record.
    #[error("a line of the audit log is longer than {LINE_BYTES_MAX} bytes")]
    Line,
}

/// The records, as they come.
pub struct AuditLog {
    stream: RecvStream,
    unread: BytesMut,
    /// How much is to come, and has come.
    bytes: u64,
    taken: u64,
    /// Keeps the connection open.
    _shared: Arc<Shared>,
}

impl AuditLog {
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        from: Option<u64>,
    ) -> Result<Self, AuditLogError> {
        let streams = shared.connection.open_bi().await.map_err(AuditLogError::Connection)?;
        let mut frames = Frames::new(streams, PAYLOAD_BYTES_MAX);
        let request = AuditLogRequest { from }.into();
        frames.send(&request).await.map_err(AuditLogError::Answer)?;
        let bytes = match frames.receive().await.map_err(AuditLogError::Answer)? {
            Message::AuditLog(log) => match log.message {
                None => log.bytes,
                Some(message) => return Err(AuditLogError::None(printable(&message))),
            },
            other => {
                return Err(AuditLogError::Answer(FramesError::Unexpected(other.name())));
            }
        };
        let ((_, stream), unread) = frames.into_rest();
        let taken = unread.len() as u64;
        let unread = BytesMut::from(unread.as_slice());
        Ok(Self { stream, unread, bytes, taken, _shared: shared })
    }

    /// How long all lines together are, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line, without its end; `None` behind the last one.
    ///
    /// # Errors
    /// [`AuditLogError::Cut`] and [`AuditLogError::Line`].
    pub async fn next_line(&mut self) -> Result<Option<Bytes>, AuditLogError> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.unread[looked..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.unread.split_to(looked + end + 1);
                line.truncate(looked + end);
                return Ok(Some(line.freeze()));
            }
            looked = self.unread.len();
            if looked > LINE_BYTES_MAX {
                return Err(AuditLogError::Line);
            }
            match self.stream.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => {
                    self.taken += chunk.bytes.len() as u64;
                    self.unread.extend_from_slice(&chunk.bytes);
                }
                Ok(None) if self.unread.is_empty() && self.taken == self.bytes => return Ok(None),
                Ok(None) => return Err(AuditLogError::Cut(self.taken, None)),
                Err(error) => return Err(AuditLogError::Cut(self.taken, Some(error))),
            }
        }
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuditLog")
            .field("bytes", &self.bytes)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
