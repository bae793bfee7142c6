//! The two directions of a connection through the agent.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use vault_protocol::code::StreamCode;

use crate::bytes::{read_error, write_error};
use crate::connection::Shared;

/// What comes from the destination. Reading fails with [`io::ErrorKind::ConnectionReset`] if it was
/// aborted; only the end that the destination made reads as an end. Dropping it before that tells
/// the destination that nobody reads.
pub struct ReadHalf {
    first: Bytes,
    stream: RecvStream,
    /// Keeps the connection.
    pub(super) shared: Arc<Shared>,
}

/// What goes to the destination. Writing fails with [`io::ErrorKind::BrokenPipe`] once nobody reads
/// it any more. Shutting it down is a half-close: the destination sees the end, and may go on
/// answering. Dropping it before that aborts the connection, because half of a request must not be
/// taken for all of it.
pub struct WriteHalf {
    /// `None` once it was shut down.
    stream: Option<SendStream>,
    /// Keeps the connection.
    shared: Arc<Shared>,
}

impl ReadHalf {
    pub(super) fn new(stream: RecvStream, first: Bytes, shared: Arc<Shared>) -> Self {
        Self { first, stream, shared }
    }

    pub(super) fn into_parts(self) -> (RecvStream, Bytes) {
        (self.stream, self.first)
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let read = self.stream.poll_read_buf(context, buffer);
        Poll::Ready(ready!(read).map_err(read_error))
    }
}

impl WriteHalf {
    pub(super) fn new(stream: SendStream, shared: Arc<Shared>) -> Self {
        Self { stream: Some(stream), shared }
    }

    /// The stream, unless it was shut down.
    pub(super) fn into_stream(mut self) -> Option<SendStream> {
        self.stream.take()
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = ready!(Pin::new(stream).poll_write(context, bytes));
        Poll::Ready(written.map_err(write_error))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The transport sends by itself what it was given.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(mut stream) = self.stream.take() {
            // A destination that reads no more needs no end.
            stream.finish().ok();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.stream {
            // The connection may be lost already, which is as good.
            stream.reset(StreamCode::Failed.number().into()).ok();
        }
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReadHalf").finish_non_exhaustive()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WriteHalf")
            .field("agent", &self.shared.connection.remote_address())
            .field("is_shut_down", &self.stream.is_none())
            .finish_non_exhaustive()
    }
}
