//! A connection that says when the answer that was given to it is on the wire.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The number of the answer that is being written, and who is told when it is out.
#[derive(Clone)]
pub(super) struct Handed {
    number: Arc<Mutex<Option<u64>>>,
    told: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Handed {
    pub(super) fn new(told: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { number: Arc::default(), told: Arc::new(told) }
    }

    /// The answer of this number is written next.
    pub(super) fn expect(&self, number: u64) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
    }

    fn is_out(&self) {
        let number = self.number.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(number) = number {
            (self.told)(number);
        }
    }
}

/// A stream whose flushes are seen. A server flushes once it has written all of an answer, and what
/// is flushed on a local connection can be read at the other end.
pub(super) struct Watched {
    stream: TcpStream,
    handed: Handed,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, handed: Handed) -> Self {
        Self { stream, handed }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.handed.is_out();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
