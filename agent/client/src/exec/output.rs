//! What a command writes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use quinn::{ConnectionError, ReadError};
use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{Notify, oneshot};

use vault_protocol::message::TAKEN_EVERY_BYTES;

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
/// the command. Of a session it waits while the connection is lost, until [`super::Control::resume`]
/// brings the next one, or the control is dropped.
pub struct Output {
    source: Arc<Source>,
}

/// Where an output comes from: one connection after the other.
pub(super) struct Source {
    inner: Mutex<Inner>,
    /// There is something to acknowledge.
    due: Arc<Notify>,
}

struct Inner {
    state: State,
    shared: Arc<Shared>,
    /// Keeps the stream waited for.
    registration: Arc<Registration>,
    /// Bytes that were read, since the command began.
    bytes: u64,
    acknowledged: u64,
    /// Another connection may come.
    resumable: bool,
    reader: Option<Waker>,
}

enum State {
    /// The agent has not opened it yet.
    Waiting(oneshot::Receiver<Attached>),
    Open(Attached),
    /// Read to its end.
    Ended,
    /// The connection ended before the agent opened it.
    NeverCame,
    /// Nobody reads it any more.
    Stopped,
}

impl Output {
    pub(super) fn new(source: Arc<Source>) -> Self {
        Self { source }
    }

    /// The next bytes; `None` at the end. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`OutputError`]: what was read so far is not all.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, OutputError> {
        std::future::poll_fn(|context| {
            self.source.poll(context, |attached, context| {
                if !attached.first.is_empty() {
                    let first = std::mem::take(&mut attached.first);
                    let count = first.len();
                    return Poll::Ready(Ok((Some(first), count)));
                }
                // It keeps nothing from one poll to the next.
                let chunk = std::pin::pin!(attached.stream.read_chunk(CHUNK_BYTES_MAX, true));
                let chunk = ready!(chunk.poll(context))?;
                let bytes = chunk.map(|chunk| chunk.bytes);
                let count = bytes.as_ref().map_or(0, Bytes::len);
                Poll::Ready(Ok((bytes, count)))
            })
        })
        .await
        .map(Option::flatten)
    }

    /// Reads no further: the command gets a broken pipe when it writes.
    pub fn stop(self) {
        drop(self);
    }
}

impl Source {
    pub(super) fn new(
        receiver: oneshot::Receiver<Attached>,
        shared: Arc<Shared>,
        registration: Arc<Registration>,
        (bytes, due): (u64, Arc<Notify>),
        resumable: bool,
    ) -> Arc<Self> {
        let inner = Inner {
            state: State::Waiting(receiver),
            shared,
            registration,
            bytes,
            acknowledged: bytes,
            resumable,
            reader: None,
        };
        Arc::new(Self { inner: Mutex::new(inner), due })
    }

    /// Bytes that were read, since the command began.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// The bytes to acknowledge, if it is time.
    pub(super) fn acknowledge(&self) -> Option<u64> {
        let mut inner = self.lock();
        if inner.bytes < inner.acknowledged + TAKEN_EVERY_BYTES {
            return None;
        }
        inner.acknowledged = inner.bytes;
        Some(inner.bytes)
    }

    /// Goes on over another connection, from `bytes` on. Whoever reads it no more, does not begin again.
    pub(super) fn resume(
        &self,
        receiver: oneshot::Receiver<Attached>,
        shared: Arc<Shared>,
        registration: Arc<Registration>,
        bytes: u64,
    ) {
        let mut inner = self.lock();
        inner.shared = shared;
        inner.registration = registration;
        if !matches!(inner.state, State::Ended | State::Stopped) {
            inner.bytes = bytes;
            inner.state = State::Waiting(receiver);
        }
        if let Some(reader) = inner.reader.take() {
            reader.wake();
        }
    }

    /// No other connection will come.
    pub(super) fn give_up(&self) {
        let mut inner = self.lock();
        inner.resumable = false;
        if let Some(reader) = inner.reader.take() {
            reader.wake();
        }
    }

    /// Reads by `read`, which answers how many bytes it has got; none are the end.
    fn poll<T>(
        &self,
        context: &mut Context<'_>,
        read: impl FnOnce(&mut Attached, &mut Context<'_>) -> Poll<Result<(T, usize), ReadError>>,
    ) -> Poll<Result<Option<T>, OutputError>> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        if let State::Waiting(receiver) = &mut inner.state {
            inner.state = match ready!(Pin::new(receiver).poll(context)) {
                Ok(attached) => State::Open(attached),
                Err(_) => State::NeverCame,
            };
        }
        let error = match &mut inner.state {
            State::Open(attached) => match ready!(read(attached, context)) {
                Ok((read, 0)) => {
                    inner.state = State::Ended;
                    return Poll::Ready(Ok(Some(read)));
                }
                Ok((read, count)) => {
                    inner.bytes += u64::try_from(count).unwrap_or_default();
                    if inner.resumable && inner.bytes >= inner.acknowledged + TAKEN_EVERY_BYTES {
                        self.due.notify_one();
                    }
                    return Poll::Ready(Ok(Some(read)));
                }
                Err(error) => OutputError::Read(error),
            },
            State::NeverCame => OutputError::NeverCame(inner.shared.connection.close_reason()),
            State::Ended | State::Stopped | State::Waiting(_) => return Poll::Ready(Ok(None)),
        };
        if inner.resumable {
            inner.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Err(error))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Output {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = self.source.poll(context, |attached, context| {
            if !attached.first.is_empty() {
                let count = attached.first.len().min(buffer.remaining());
                buffer.put_slice(&attached.first.split_to(count));
                return Poll::Ready(Ok(((), count)));
            }
            let filled = buffer.filled().len();
            ready!(attached.stream.poll_read_buf(context, buffer))?;
            Poll::Ready(Ok(((), buffer.filled().len() - filled)))
        });
        let read =
            ready!(read).map_err(|error| io::Error::new(io::ErrorKind::ConnectionReset, error));
        Poll::Ready(read.map(drop))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // The stream, if it is open, tells the agent.
        self.source.lock().state = State::Stopped;
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.source.lock().state {
            State::Waiting(_) => "waiting",
            State::Open(_) => "open",
            State::Ended => "ended",
            State::NeverCame => "never came",
            State::Stopped => "stopped",
        };
        formatter.debug_struct("Output").field("state", &state).finish_non_exhaustive()
    }
}
