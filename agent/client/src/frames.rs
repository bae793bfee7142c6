//! Messages over a bidirectional stream.

use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use thiserror::Error;
use vault_protocol::frame::{Decoder, FrameError, PAYLOAD_BYTES_MAX};
use vault_protocol::message::{Message, MessageError};

/// How much is taken from a stream at once, in bytes. Control messages are small.
const READ_BYTES: usize = 16 << 10;

/// Why a message did not come or go.
#[derive(Debug, Error)]
pub enum FramesError {
    /// The stream could not be read.
    #[error("the agent's messages cannot be read")]
    Read(#[source] ReadError),
    /// The stream could not be written.
    #[error("a message cannot be sent to the agent")]
    Write(#[source] WriteError),
    /// The bytes are no frame.
    #[error("the agent's bytes are no message")]
    Frame(#[source] FrameError),
    /// Ours is too long for a frame.
    #[error("the message is too long")]
    TooLong(#[source] FrameError),
    /// The frame is no message.
    #[error("the agent's frame is no message")]
    Message(#[source] MessageError),
    /// The agent said something that does not belong here.
    #[error("the agent sent a {0} message, which does not belong here")]
    Unexpected(&'static str),
    /// The agent ended the stream.
    #[error("the agent ended the stream")]
    Ended,
}

impl FramesError {
    /// The connection's end, if that is what it was.
    pub(crate) fn connection_lost(&self) -> Option<&quinn::ConnectionError> {
        match self {
            Self::Read(ReadError::ConnectionLost(lost))
            | Self::Write(WriteError::ConnectionLost(lost)) => Some(lost),
            _ => None,
        }
    }

    /// The other side broke the protocol.
    pub(crate) fn is_violation(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::Message(_) | Self::Unexpected(_) | Self::Ended)
    }
}

/// The two directions of one stream.
#[derive(Debug)]
pub(crate) struct Frames {
    send: SendStream,
    messages: Messages,
}

/// The direction from the agent.
#[derive(Debug)]
pub(crate) struct Messages {
    receive: RecvStream,
    decoder: Decoder,
}

impl Frames {
    /// Takes messages of up to `allowed` bytes.
    pub(crate) fn new((send, receive): (SendStream, RecvStream), allowed: usize) -> Self {
        Self { send, messages: Messages { receive, decoder: Decoder::new(allowed) } }
    }

    /// The stream's id on the wire.
    pub(crate) fn id(&self) -> u64 {
        VarInt::from(self.send.id()).into_inner()
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Message) -> Result<(), FramesError> {
        self.send_bytes(&encode(message)?).await
    }

    /// Sends what [`encode`] made.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), FramesError> {
        self.send.write_all(bytes).await.map_err(FramesError::Write)
    }

    /// Sends a part of the bytes, and answers how many. Cancel-safe: nothing was sent then.
    pub(crate) async fn send_some(&mut self, bytes: &[u8]) -> Result<usize, FramesError> {
        self.send.write(bytes).await.map_err(FramesError::Write)
    }

    /// The next message. Nothing is lost if the future is dropped before its end.
    pub(crate) async fn receive(&mut self) -> Result<Message, FramesError> {
        self.messages.receive().await
    }

    /// The two directions, each for itself.
    pub(crate) fn split(self) -> (SendStream, Messages) {
        (self.send, self.messages)
    }

    /// The stream, and what came on it after the last message.
    pub(crate) fn into_rest(self) -> ((SendStream, RecvStream), Vec<u8>) {
        let Messages { receive, decoder } = self.messages;
        ((self.send, receive), decoder.into_rest())
    }

    /// Ends our direction at once, without its end being the end of a message stream.
    pub(crate) fn reset(&mut self, code: vault_protocol::code::StreamCode) {
        // It may have ended already, which is as good.
        drop(self.send.reset(VarInt::from_u32(code.number())));
    }
}

impl Messages {
    /// The next message. Nothing is lost if the future is dropped before its end.
    pub(crate) async fn receive(&mut self) -> Result<Message, FramesError> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(FramesError::Frame)? {
                return Message::read(&frame).map_err(FramesError::Message);
            }
            match self.receive.read_chunk(READ_BYTES, true).await.map_err(FramesError::Read)? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => {
                    self.decoder.finish().map_err(FramesError::Frame)?;
                    return Err(FramesError::Ended);
                }
            }
        }
    }
}

/// A message's bytes.
pub(crate) fn encode(message: &Message) -> Result<Vec<u8>, FramesError> {
    let mut bytes = Vec::new();
    message.frame().encode(PAYLOAD_BYTES_MAX, &mut bytes).map_err(FramesError::TooLong)?;
    Ok(bytes)
}
