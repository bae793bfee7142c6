//! Messages over QUIC streams.

use quinn::{ReadError, RecvStream, SendStream, WriteError};
use thiserror::Error;
use vault_protocol::frame::{Decoder, FrameError};
use vault_protocol::message::{Message, MessageError};

/// What is taken from QUIC at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Why no message could be read.
#[derive(Debug, Error)]
pub(crate) enum ReceiveError {
    /// The stream or the connection failed.
    #[error("the stream failed")]
    Stream(#[source] ReadError),
    /// The bytes are not a frame.
    #[error("malformed frames")]
    Frame(#[source] FrameError),
    /// The frame is not a message.
    #[error("malformed message")]
    Message(#[source] MessageError),
}

/// Why no message could be sent.
#[derive(Debug, Error)]
pub(crate) enum SendError {
    /// The message is longer than it may be.
    #[error("a message that is too long")]
    Frame(#[source] FrameError),
    /// The stream or the connection failed.
    #[error("the stream failed")]
    Stream(#[source] WriteError),
}

/// Reads messages.
pub(crate) struct Receiver {
    stream: RecvStream,
    decoder: Decoder,
}

impl Receiver {
    /// Reads messages with payloads of at most `allowed` bytes.
    pub(crate) fn new(stream: RecvStream, allowed: usize) -> Self {
        Self { stream, decoder: Decoder::new(allowed) }
    }

    /// The next message; `None` at the stream's end. Cancel-safe: what has come is kept.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, ReceiveError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(ReceiveError::Frame)? {
                return Message::read(&frame).map(Some).map_err(ReceiveError::Message);
            }
            let chunk = self.stream.read_chunk(CHUNK_BYTES, true).await;
            match chunk.map_err(ReceiveError::Stream)? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => {
                    self.decoder.finish().map_err(ReceiveError::Frame)?;
                    return Ok(None);
                }
            }
        }
    }

    /// The stream, and what has come after the last message.
    pub(crate) fn into_rest(self) -> (RecvStream, Vec<u8>) {
        (self.stream, self.decoder.into_rest())
    }

    /// The stream.
    pub(crate) fn stream(&mut self) -> &mut RecvStream {
        &mut self.stream
    }
}

/// Sends one message.
pub(crate) async fn send(
    stream: &mut SendStream,
    message: &Message,
    allowed: usize,
) -> Result<(), SendError> {
    let mut bytes = Vec::new();
    message.frame().encode(allowed, &mut bytes).map_err(SendError::Frame)?;
    stream.write_all(&bytes).await.map_err(SendError::Stream)
}
