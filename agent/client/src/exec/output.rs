//! What a command writes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::{ConnectionError, ReadError};
use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::oneshot;

use crate::connection::{Attached, Registration, Shared};

/// The longest chunk, in bytes. The transport's are about a packet long.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Why an output ended before its end.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The agent reset the stream, or the connection was lost.
    #[error("the command's output was cut off")]
    Read(#[source] ReadError),
    /// The connection was lost before the agent opened the stream.
    #[error("the command's output never came")]
    NeverCame(#[source] Option<ConnectionError>),
}

/// Standard output or standard error of a command. It is also an [`AsyncRead`], which takes many
/// packets at once: the better way for much data. Dropping it before its end is a broken pipe for
/// the command.
pub struct Output {
    state: State,
    shared: Arc<Shared>,
    /// Keeps the stream waited for.
    _registration: Arc<Registration>,
}

enum State {
    /// The agent has not opened it yet.
    Waiting(oneshot::Receiver<Attached>),
    Open(Attached),
    /// Read to its end.
    Ended,
    /// The connection ended before the agent opened it.
    NeverCame,
}

impl Output {
    pub(crate) fn new(
        receiver: oneshot::Receiver<Attached>,
        shared: Arc<Shared>,
        registration: Arc<Registration>,
    ) -> Self {
        Self { state: State::Waiting(receiver), shared, _registration: registration }
    }

    /// The next bytes; `None` at the end. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`OutputError`]: what was read so far is not all.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, OutputError> {
        std::future::poll_fn(|context| self.poll_open(context)).await?;
        let State::Open(Attached { first, stream }) = &mut self.state else { return Ok(None) };
        if !first.is_empty() {
            return Ok(Some(std::mem::take(first)));
        }
        match stream.read_chunk(CHUNK_BYTES_MAX, true).await.map_err(OutputError::Read)? {
            Some(chunk) => Ok(Some(chunk.bytes)),
            None => {
                self.state = State::Ended;
                Ok(None)
            }
        }
    }

    /// Reads no further: the command gets a broken pipe when it writes.
    pub fn stop(self) {
        drop(self);
    }

    /// Ends when the stream is open, or was.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<(), OutputError>> {
        if let State::Waiting(receiver) = &mut self.state {
            self.state = match ready!(Pin::new(receiver).poll(context)) {
                Ok(attached) => State::Open(attached),
                Err(_) => State::NeverCame,
            };
        }
        Poll::Ready(match self.state {
            State::NeverCame => Err(OutputError::NeverCame(self.shared.connection.close_reason())),
            _ => Ok(()),
        })
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Err(error) = ready!(self.poll_open(context)) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)));
        }
        let State::Open(Attached { first, stream }) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        if !first.is_empty() {
            let count = first.len().min(buffer.remaining());
            buffer.put_slice(&first.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let filled = buffer.filled().len();
        let has_room = buffer.remaining() > 0;
        ready!(AsyncRead::poll_read(Pin::new(stream), context, buffer))?;
        if has_room && buffer.filled().len() == filled {
            self.state = State::Ended;
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Waiting(_) => "waiting",
            State::Open(_) => "open",
            State::Ended => "ended",
            State::NeverCame => "never came",
        };
        formatter.debug_struct("Output").field("state", &state).finish_non_exhaustive()
    }
}
