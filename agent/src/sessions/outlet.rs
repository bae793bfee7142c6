//! An output between the command that writes it and the clients that come and go.
//!
//! ```text
//!   pipe or terminal ─▶ fill ─▶ ring ─▶ next ─▶ the client's stream
//!        waits while the ring is full ◀─ take ◀─ the client has them
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ring::Ring;
use crate::limits::{
    DETACHED_BYTES_MAX, KEPT_BYTES_TOGETHER, READ_BYTES, READ_BYTES_MIN, SCROLLBACK_BYTES,
    UNTAKEN_BYTES_EACH, UNTAKEN_BYTES_MAX,
};
use crate::process::Output;

/// One output of one command.
pub(crate) struct Outlet {
    state: Mutex<State>,
    /// There is more, or there will be nothing more: for every sender, since one that is being replaced
    /// may wait beside its successor.
    filled: Notify,
    /// There is room, or none is needed.
    drained: Notify,
    /// Nobody reads it any more: the command is to see a broken pipe.
    closed: CancellationToken,
    /// A client may ask for bytes again.
    keeps: bool,
    /// What all outputs keep.
    together: Kept,
}

/// Bytes that all outputs keep together.
pub(super) type Kept = Arc<AtomicU64>;

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
    pub(super) fn new(keeps: bool, together: Kept) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            closed: CancellationToken::new(),
            keeps,
            together,
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
        self.filled.notify_waiters();
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
                    self.change(|state| {
                        state.ring.push(buffer.split().freeze());
                        if state.detached {
                            state.ring.shrink(DETACHED_BYTES_MAX);
                        }
                    });
                    self.filled.notify_waiters();
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
                !state.detached && state.ring.waiting() >= self.bound()
            };
            if !full {
                return;
            }
            drained.await;
        }
    }

    /// What may wait for the client. Whoever is over the smaller bound only because all are over theirs is
    /// woken by its own client, which says by then what it has.
    fn bound(&self) -> u64 {
        let crowded = self.together.load(Ordering::Relaxed) >= KEPT_BYTES_TOGETHER;
        if self.keeps && !crowded { UNTAKEN_BYTES_MAX } else { UNTAKEN_BYTES_EACH }
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
        self.change(|state| state.ring.take(byte, in_case));
        self.drained.notify_one();
    }

    /// From which byte on a client can have it that has those before `wanted`, or wants all there is.
    pub(super) fn attach(&self, wanted: Option<u64>) -> u64 {
        let from = self.change(|state| {
            state.detached = false;
            let (start, end) = (state.ring.start(), state.ring.start() + state.ring.kept());
            let from = wanted.unwrap_or(start).clamp(start, end);
            state.ring.take(from, SCROLLBACK_BYTES);
            from
        });
        // What the client has makes room, and perhaps it will never say so again.
        self.drained.notify_one();
        from
    }

    /// Nobody waits for it: the command goes on, and the oldest bytes are forgotten.
    pub(super) fn detach(&self) {
        self.change(|state| {
            state.detached = true;
            state.ring.shrink(DETACHED_BYTES_MAX);
        });
        self.drained.notify_one();
    }

    /// The client reads no further: neither will we.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Changes what is kept, and counts it with all the rest.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.ring.kept();
        let changed = change(&mut state);
        let after = state.ring.kept();
        self.together.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.together.fetch_sub(self.lock().ring.kept(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Reads endless output until it has to wait, and says how much it has then.
    async fn filled(outlet: &Arc<Outlet>, at_least: u64) -> u64 {
        let end = || {
            let state = outlet.lock();
            state.ring.start() + state.ring.kept()
        };
        let waits = async {
            while outlet.lock().ring.waiting() < outlet.bound() || end() < at_least {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, waits).await.expect("it fills up");
        end()
    }

    fn started(keeps: bool, together: &Kept) -> (Arc<Outlet>, tokio::task::JoinSet<()>) {
        let outlet = Arc::new(Outlet::new(keeps, Arc::clone(together)));
        let mut tasks = tokio::task::JoinSet::new();
        let reader = Arc::clone(&outlet);
        tasks.spawn(async move { reader.fill(Box::new(tokio::io::repeat(7).take(1 << 40))).await });
        (outlet, tasks)
    }

    #[tokio::test]
    async fn a_client_that_has_all_when_it_comes_back_makes_room() {
        let (outlet, _tasks) = started(true, &Kept::default());
        let end = filled(&outlet, UNTAKEN_BYTES_MAX).await;
        // It had read everything, and its word of that was lost with the connection.
        assert_eq!(outlet.attach(Some(end)), end);
        assert!(filled(&outlet, end + UNTAKEN_BYTES_MAX).await > end);
    }

    #[tokio::test]
    async fn all_outputs_together_have_a_bound() {
        let together = Kept::default();
        let many: Vec<_> = (0..40).map(|_| started(true, &together)).collect();
        for (outlet, _) in &many {
            filled(outlet, UNTAKEN_BYTES_EACH).await;
        }
        let most = KEPT_BYTES_TOGETHER + 40 * (UNTAKEN_BYTES_EACH + 256 * 1024);
        let kept = together.load(Ordering::Relaxed);
        assert!((KEPT_BYTES_TOGETHER..most).contains(&kept), "{kept}");
        drop(many);
        // The tasks that read are gone with their outlets.
        let gone = async {
            while together.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.expect("nothing is kept for outputs that are gone");
    }

    #[tokio::test]
    async fn every_sender_sees_what_comes() {
        let outlet = Outlet::new(true, Kept::default());
        let (mut one, mut two) = (std::pin::pin!(outlet.next(0)), std::pin::pin!(outlet.next(0)));
        let source: Output = Box::new(std::io::Cursor::new(b"x"));
        let both = async { tokio::join!(&mut one, &mut two, outlet.fill(source)) };
        let (one, two, ()) = timeout(PATIENCE, both).await.expect("both are woken");
        assert_eq!((one, two), (Ok(Bytes::from("x")), Ok(Bytes::from("x"))));
    }
}
