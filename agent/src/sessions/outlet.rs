//! An output between the command that writes it and the clients that come and go.
//!
//! ```text
//!   pipe or terminal ─▶ fill ─▶ ring ─▶ next ─▶ the client's stream
//!        waits while the ring is full ◀─ take ◀─ the client has them
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ring::Ring;
use crate::limits::{
    DETACHED_BYTES_MAX, READ_BYTES, READ_BYTES_MIN, SCROLLBACK_BYTES, UNTAKEN_BYTES_MAX,
};
use crate::process::Output;

/// One output of one command.
pub(crate) struct Outlet {
    state: Mutex<State>,
    /// There is more, or there will be nothing more.
    filled: Notify,
    /// There is room, or none is needed.
    drained: Notify,
    /// Nobody reads it any more: the command is to see a broken pipe.
    closed: CancellationToken,
    /// A client may ask for bytes again.
    keeps: bool,
}

#[derive(Default)]
struct State {
    ring: Ring,
    /// Nobody waits for it: the oldest bytes make room.
    detached: bool,
    end: Option<End>,
}

/// How an output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is nothing more.
    Whole,
    /// There may be more, and it cannot be read.
    Failed,
}

impl Outlet {
    /// Nothing was written yet. Only if it `keeps`, bytes can be asked for again.
    pub(super) fn new(keeps: bool) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            closed: CancellationToken::new(),
            keeps,
        }
    }

    /// Reads the output to its end, or until nobody wants it any more.
    pub(super) async fn fill(&self, source: Output) {
        // Both arms are cancel-safe in that the other one ends all use of the pipe.
        let end = tokio::select! {
            () = self.closed.cancelled() => End::Whole,
            end = self.read(source) => end,
        };
        self.lock().end = Some(end);
        self.filled.notify_one();
    }

    async fn read(&self, mut source: Output) -> End {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            self.room().await;
            if buffer.capacity() < READ_BYTES_MIN {
                buffer = BytesMut::with_capacity(READ_BYTES);
            }
            match source.read_buf(&mut buffer).await {
                Ok(0) => return End::Whole,
                // Nobody has the other end of a terminal open any more: that is its end.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return End::Whole;
                }
                Ok(_) => {
                    let mut state = self.lock();
                    state.ring.push(buffer.split().freeze());
                    if state.detached {
                        state.ring.shrink(DETACHED_BYTES_MAX);
                    }
                    drop(state);
                    self.filled.notify_one();
                }
                Err(error) => {
                    tracing::warn!(%error, "an output could not be read");
                    return End::Failed;
                }
            }
        }
    }

    async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            let full = {
                let state = self.lock();
                !state.detached && state.ring.waiting() >= UNTAKEN_BYTES_MAX
            };
            if !full {
                return;
            }
            drained.await;
        }
    }

    /// The bytes from this one on, as soon as there are some, or how it ended. Cancel-safe.
    pub(crate) async fn next(&self, byte: u64) -> Result<Bytes, End> {
        loop {
            let filled = self.filled.notified();
            {
                let state = self.lock();
                if let Some(bytes) = state.ring.at(byte) {
                    return Ok(bytes);
                }
                if let Some(end) = state.end {
                    return Err(end);
                }
            }
            filled.await;
        }
    }

    /// The bytes before this one were handed to QUIC. Who cannot ask for them again has them.
    pub(crate) fn sent(&self, byte: u64) {
        if !self.keeps {
            self.take(byte);
        }
    }

    /// The client has the bytes before this one.
    pub(crate) fn take(&self, byte: u64) {
        let in_case = if self.keeps { SCROLLBACK_BYTES } else { 0 };
        self.lock().ring.take(byte, in_case);
        self.drained.notify_one();
    }

    /// From which byte on a client can have it that has those before `wanted`, or wants all there is.
    pub(super) fn attach(&self, wanted: Option<u64>) -> u64 {
        let mut state = self.lock();
        state.detached = false;
        let start = state.ring.start();
        let from = wanted.map_or(start, |wanted| wanted.max(start));
        state.ring.take(from, SCROLLBACK_BYTES);
        from.min(state.ring.start() + state.ring.kept())
    }

    /// Nobody waits for it: the command goes on, and the oldest bytes are forgotten.
    pub(super) fn detach(&self) {
        let mut state = self.lock();
        state.detached = true;
        state.ring.shrink(DETACHED_BYTES_MAX);
        drop(state);
        self.drained.notify_one();
    }

    /// The client reads no further: neither will we.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
