//! What a command reads.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use quinn::{SendStream, WriteError};
use tokio::io::AsyncWrite;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{Attach, Channel};

use crate::bytes::write_error;
use crate::connection::Shared;
use crate::frames::{FramesError, encode};

/// How many bytes may be under way to a session, in bytes: less than the agent's window of a stream, so
/// that all of them can be sent again at once. The agent says every 256 KiB that it has them.
const UNTAKEN_BYTES_MAX: u64 = 2 << 20;

/// Standard input of a command. Writing fails with [`io::ErrorKind::BrokenPipe`] once the command
/// reads no more. Dropping it is the end of the file, as [`Stdin::finish`] is. Of a session it waits
/// while the connection is lost, until [`super::Control::resume`] brings the next one, or the control
/// is dropped.
pub struct Stdin {
    sink: Arc<Sink>,
}

/// Where an input goes to: one connection after the other.
pub(super) struct Sink(Mutex<Inner>);

struct Inner {
    stream: SendStream,
    /// Keeps the connection.
    shared: Arc<Shared>,
    /// What was sent over a session's stream, and the agent has not said that it has.
    untaken: VecDeque<Bytes>,
    /// Bytes that it has.
    taken: u64,
    /// Bytes that were sent.
    sent: u64,
    /// Another connection may come.
    resumable: bool,
    /// There is nothing more.
    finished: bool,
    /// The command reads no more.
    closed: bool,
    writer: Option<Waker>,
}

/// Says what the stream is.
pub(super) async fn attach(stream: &mut SendStream, command: u64) -> Result<(), FramesError> {
    let bytes = encode(&Attach { command, channel: Channel::Stdin }.into())?;
    match stream.write_all(&bytes).await {
        // The command was over, or refused, before it read anything; the control stream tells.
        Ok(()) | Err(WriteError::Stopped(_)) => Ok(()),
        Err(error) => Err(FramesError::Write(error)),
    }
}

impl Stdin {
    pub(super) async fn begin(
        mut stream: SendStream,
        command: u64,
        shared: Arc<Shared>,
        (sent, resumable): (u64, bool),
    ) -> Result<Self, FramesError> {
        attach(&mut stream, command).await?;
        let inner = Inner {
            stream,
            shared,
            untaken: VecDeque::new(),
            taken: sent,
            sent,
            resumable,
            finished: false,
            closed: false,
            writer: None,
        };
        Ok(Self { sink: Arc::new(Sink(Mutex::new(inner))) })
    }

    pub(super) fn sink(&self) -> Arc<Sink> {
        self.sink.clone()
    }

    /// The end of the file.
    pub fn finish(self) {
        drop(self);
    }

    /// Breaks off: what was written may not be all there is.
    pub fn abort(self) {
        let mut inner = self.sink.lock();
        inner.resumable = false;
        drop(inner.stream.reset(quinn::VarInt::from_u32(StreamCode::Failed.number())));
    }
}

impl Sink {
    /// The agent has the bytes before this one.
    pub(super) fn take(&self, bytes: u64) {
        let mut inner = self.lock();
        inner.take(bytes);
        inner.wake();
    }

    /// The agent does not know sessions: nothing is kept for another connection.
    pub(super) fn give_up(&self) {
        let mut inner = self.lock();
        inner.resumable = false;
        inner.untaken.clear();
        inner.wake();
    }

    /// Sends over another stream what the agent does not have; it reads no more, if that is `None`.
    pub(super) async fn resume(
        &self,
        mut stream: SendStream,
        shared: Arc<Shared>,
        taken: Option<u64>,
    ) -> Result<(), FramesError> {
        let again: Vec<Bytes> = {
            let mut inner = self.lock();
            let taken = taken.unwrap_or(inner.sent);
            inner.take(taken);
            inner.untaken.iter().cloned().collect()
        };
        for bytes in again {
            match stream.write_all(&bytes).await {
                Ok(()) | Err(WriteError::Stopped(_)) => {}
                Err(error) => return Err(FramesError::Write(error)),
            }
        }
        let mut inner = self.lock();
        inner.closed |= taken.is_none();
        if inner.finished {
            // A command that reads no more needs no end.
            drop(stream.finish());
        }
        inner.stream = stream;
        inner.shared = shared;
        inner.wake();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self, bytes: u64) {
        let bytes = bytes.min(self.sent);
        while self.taken < bytes
            && let Some(first) = self.untaken.pop_front()
        {
            let length = u64::try_from(first.len()).unwrap_or_default();
            let due = bytes - self.taken;
            if due < length {
                self.untaken.push_front(first.slice(usize::try_from(due).unwrap_or_default()..));
            }
            self.taken += due.min(length);
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        // A command that reads no more needs no end; a stream that was reset has none.
        drop(self.stream.finish());
    }

    fn wake(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn wait(&mut self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.sink.lock();
        if inner.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = match inner.resumable {
            true => UNTAKEN_BYTES_MAX.saturating_sub(inner.sent - inner.taken),
            false => u64::MAX,
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room == 0 {
            return inner.wait(context);
        }
        let bytes = &bytes[..bytes.len().min(room)];
        match ready!(Pin::new(&mut inner.stream).poll_write(context, bytes)) {
            Ok(count) => {
                inner.sent += u64::try_from(count).unwrap_or_default();
                if inner.resumable {
                    inner.untaken.push_back(Bytes::copy_from_slice(&bytes[..count]));
                }
                Poll::Ready(Ok(count))
            }
            Err(WriteError::ConnectionLost(_)) if inner.resumable => inner.wait(context),
            Err(error) => Poll::Ready(Err(write_error(error))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The transport sends by itself what it was given.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sink.lock().finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.sink.lock().finish();
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stdin")
            .field("address", &self.sink.lock().shared.connection.remote_address())
            .finish_non_exhaustive()
    }
}
