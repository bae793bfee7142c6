//! The thread that works with files, and the stream beside it.
//!
//! ```text
//!   thread: Output ── a few chunks ──▶ task ──▶ QUIC ──▶ task ── a few chunks ──▶ Input: thread
//! ```
//!
//! Neither side can run ahead of the other by more than the chunks between them.

use bytes::{Bytes, BytesMut};
use quinn::{ReadError, RecvStream, SendStream};
use tokio::sync::mpsc;
use vault_protocol::code::StreamCode;
use vault_protocol::frame::Decoder;
use vault_protocol::message::Message;

use crate::error::CopyError;
use crate::limits::{CHUNK_BYTES, CHUNKS_IN_FLIGHT, MESSAGE_BYTES_MAX};

type Received = Result<Bytes, ReadError>;

/// What goes to the other side, written by a thread.
pub(crate) struct Output(mpsc::Sender<Bytes>);

impl Output {
    /// Sends a message.
    pub(crate) fn say(&self, message: impl Into<Message>) -> Result<(), CopyError> {
        let mut bytes = Vec::new();
        message.into().frame().encode(MESSAGE_BYTES_MAX, &mut bytes)?;
        self.raw(bytes.into())
    }

    /// Sends bytes of a file.
    pub(crate) fn raw(&self, bytes: Bytes) -> Result<(), CopyError> {
        // The stream's task says why it has ended.
        self.0.blocking_send(bytes).map_err(|_| CopyError::Cut(None))
    }
}

/// What comes from the other side, read by a thread.
pub(crate) struct Input {
    chunks: mpsc::Receiver<Received>,
    current: Bytes,
}

impl Input {
    /// The next message. A side that says that it failed is an error.
    pub(crate) fn message(&mut self) -> Result<Message, CopyError> {
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
        loop {
            if let Some(frame) = decoder.next_frame()? {
                return match Message::read(&frame)? {
                    Message::CopyFailed(failed) => Err(CopyError::there(&failed)),
                    message => Ok(message),
                };
            }
            let wanted = self.raw(decoder.wanted() as u64)?;
            decoder.push(&wanted);
        }
    }

    /// At least one of the next bytes, and at most so many.
    pub(crate) fn raw(&mut self, most: u64) -> Result<Bytes, CopyError> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => return Err(CopyError::Cut(Some(error.into()))),
                None => return Err(CopyError::Cut(None)),
            }
        }
        let count =
            usize::try_from(most).map_or(self.current.len(), |most| most.min(self.current.len()));
        Ok(self.current.split_to(count))
    }
}

impl CopyError {
    /// The other side has reset its stream because a file became shorter.
    pub(crate) fn is_short_there(&self) -> bool {
        let Self::Cut(Some(error)) = self else { return false };
        matches!(
            error.downcast_ref(),
            Some(ReadError::Reset(code)) if *code == StreamCode::Changed.number().into()
        )
    }
}

/// A way to send, and the task's end of it.
pub(crate) fn output() -> (Output, mpsc::Receiver<Bytes>) {
    let (sender, chunks) = mpsc::channel(CHUNKS_IN_FLIGHT);
    (Output(sender), chunks)
}

/// A way to receive, and the task's end of it. `first` came with the message before.
pub(crate) fn input(first: Vec<u8>) -> (Input, mpsc::Sender<Received>) {
    let (sender, chunks) = mpsc::channel(CHUNKS_IN_FLIGHT);
    (Input { chunks, current: first.into() }, sender)
}

/// Sends what the thread writes, until it has no more. Ends early when the other side wants no more.
pub(crate) async fn pump_out(mut chunks: mpsc::Receiver<Bytes>, stream: &mut SendStream) {
    while let Some(chunk) = chunks.recv().await {
        if stream.write_chunk(chunk).await.is_err() {
            // Dropping the receiver tells the thread; why, the other side says on its own stream.
            return;
        }
    }
}

/// Receives for the thread, until the stream ends or the thread wants no more.
pub(crate) async fn pump_in(chunks: mpsc::Sender<Received>, stream: &mut RecvStream) {
    let mut buffer = BytesMut::new();
    loop {
        if buffer.len() < CHUNK_BYTES / 4 {
            buffer = BytesMut::zeroed(CHUNK_BYTES);
        }
        // Both arms are cancel-safe: a thread that wants no more needs nothing that is lost.
        let read = tokio::select! {
            read = stream.read(&mut buffer) => read,
            () = chunks.closed() => return,
        };
        let received = match read {
            Ok(Some(count)) => Ok(buffer.split_to(count).freeze()),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let ends = received.is_err();
        if chunks.send(received).await.is_err() || ends {
            return;
        }
    }
}
