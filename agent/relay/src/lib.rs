//! A forwarded connection: copies between a socket and a QUIC stream, both ways, until both ends
//! have ended. The agent and its client run the same code, each at its end.
//!
//! ```text
//!   a program ◀── TCP or ──▶ Socket ◀── relay ──▶ bidirectional QUIC stream ◀──▶ the other end
//!                 unix
//!       FIN, shutdown ────── end of one direction ────── end of the stream's direction
//!       RST ──────────────── abort, both directions ──── reset and STOP_SENDING
//!       nobody reads more ── this direction alone ────── STOP_SENDING
//!       cannot read now ──── nothing is read ahead ───── the window stays closed
//! ```
//!
//! What is read of one side is handed to the other before more is read, so a reader that is slow
//! holds up its writer, and memory is bounded by [`READ_BYTES`], [`CHUNKS_MAX`] packets, and the
//! windows of the QUIC connection. A connection that is idle holds no buffer.
//!
//! Whatever is dropped before its end is aborted: half of an answer is never taken for all of it.
//! Unix sockets know no abort. There the other program sees the end, or an error if it was cut off
//! with bytes on their way to us.

use std::future::Future;
use std::io::{self, IoSlice};

use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream};
use tokio::pin;
use tokio::task::coop::consume_budget;
use vault_protocol::code::StreamCode;

mod socket;

pub use socket::Socket;

/// What is read from a socket at once, in bytes: some forty packets, so that a system call for them
/// costs little beside encrypting them.
pub const READ_BYTES: usize = 64 << 10;

/// How many packets' bytes are written to a socket at once, for the same reason.
pub const CHUNKS_MAX: usize = 64;

/// What fills less than this part of its buffer is copied out of it: bytes that wait in QUIC for
/// their acknowledgement hold no more than so many times their own memory.
const WASTE_MAX: usize = 4;

/// What went through, in bytes, and how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// From the stream to the socket.
    pub to_socket: u64,
    /// From the socket to the stream.
    pub from_socket: u64,
    /// Both directions came to their end. Otherwise the connection was aborted, by whichever side.
    pub whole: bool,
}

/// A socket and a stream that belong together. Dropping it aborts both.
#[derive(Debug)]
pub struct Relay {
    socket: Socket,
    send: SendStream,
    receive: RecvStream,
    first: Bytes,
    whole: bool,
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At its end, which was passed on.
    Ended,
    /// Who should read it has left, which was passed on.
    Unread,
    /// The connection was aborted.
    Aborted,
}

impl Relay {
    /// Begins with what came on the stream already, before its rest.
    #[must_use]
    pub fn new(
        socket: Socket,
        (send, receive): (SendStream, RecvStream),
        first: impl Into<Bytes>,
    ) -> Self {
        Self { socket, send, receive, first: first.into(), whole: false }
    }

    /// Copies until both directions have ended, either side aborts, or `cut` says that it has been
    /// long enough, which aborts too.
    pub async fn run(mut self, cut: impl Future<Output = ()>) -> Relayed {
        let mut relayed = Relayed::default();
        self.whole = {
            let Self { socket, send, receive, first, .. } = &mut self;
            let to = to_socket(socket, receive, std::mem::take(first), &mut relayed.to_socket);
            let from = from_socket(socket, send, &mut relayed.from_socket);
            pin!(to, from, cut);
            let (mut to_end, mut from_end) = (None, None);
            loop {
                // The first two stay as they are when another one wins; `cut` ends all of them.
                tokio::select! {
                    end = &mut to, if to_end.is_none() => to_end = Some(end),
                    end = &mut from, if from_end.is_none() => from_end = Some(end),
                    () = &mut cut => break false,
                }
                match (to_end, from_end) {
                    (Some(End::Aborted), _) | (_, Some(End::Aborted)) => break false,
                    (Some(_), Some(End::Ended)) => break socket.settle().is_ok(),
                    // The program may go on writing; an abort tells it that nobody reads.
                    (Some(_), Some(End::Unread)) => break false,
                    _ => {}
                }
            }
        };
        relayed.whole = self.whole;
        relayed
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        let code = StreamCode::Failed.number().into();
        // Directions that have ended by themselves need no abort.
        drop(self.send.reset(code));
        drop(self.receive.stop(code));
    }
}

/// Stream to socket.
async fn to_socket(
    socket: &Socket,
    receive: &mut RecvStream,
    first: Bytes,
    count: &mut u64,
) -> End {
    let mut chunks = [const { Bytes::new() }; CHUNKS_MAX];
    chunks[0] = first;
    let mut filled = 1;
    loop {
        match write(socket, receive, &chunks[..filled], count).await {
            Ok(()) => {}
            // The program has closed its end for reading, and said nothing against what it writes.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                drop(receive.stop(StreamCode::BrokenPipe.number().into()));
                return End::Unread;
            }
            Err(_) => return End::Aborted,
        }
        chunks[..filled].fill(Bytes::new());
        // Much may come at once, and the other direction has its turn, too.
        consume_budget().await;
        match receive.read_chunks(&mut chunks).await {
            Ok(Some(count)) => filled = count,
            Ok(None) if socket.finish().is_ok() => return End::Ended,
            Ok(None) | Err(_) => return End::Aborted,
        }
    }
}

/// Writes all of these. A socket that takes nothing must not keep an abort from being seen.
async fn write(
    socket: &Socket,
    receive: &mut RecvStream,
    chunks: &[Bytes],
    count: &mut u64,
) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); CHUNKS_MAX];
    for (slice, chunk) in slices.iter_mut().zip(chunks) {
        *slice = IoSlice::new(chunk);
    }
    let mut left = &mut slices[..chunks.len()];
    // Takes away those that are empty.
    IoSlice::advance_slices(&mut left, 0);
    let mut may_be_reset = true;
    while !left.is_empty() {
        match socket.try_write(left) {
            Ok(written) => {
                *count += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Both arms are cancel-safe.
                tokio::select! {
                    ready = socket.writable() => ready?,
                    reset = receive.received_reset(), if may_be_reset => match reset {
                        // All of it has come already.
                        Ok(None) => may_be_reset = false,
                        Ok(Some(_)) | Err(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                    },
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Socket to stream.
async fn from_socket(socket: &Socket, send: &mut SendStream, count: &mut u64) -> End {
    let stopped = send.stopped();
    // Both arms are cancel-safe in that the other one ends the direction.
    tokio::select! {
        stopped = stopped => match stopped {
            // Of our own end, when all of it was delivered; the other arm has told it before.
            Ok(None) => End::Ended,
            Ok(Some(code)) if code != StreamCode::Failed.number().into() => {
                socket.stop_reading();
                End::Unread
            }
            Ok(Some(_)) | Err(_) => End::Aborted,
        },
        end = read(socket, send, count) => end,
    }
}

async fn read(socket: &Socket, send: &mut SendStream, count: &mut u64) -> End {
    loop {
        if socket.readable().await.is_err() {
            return End::Aborted;
        }
        // Taken only once there is something to read, and given back after it.
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let read = match socket.try_read(&mut buffer) {
            Ok(0) if send.finish().is_ok() => return End::Ended,
            Ok(0) => return End::Aborted,
            Ok(read) => read,
            Err(error) if is_passing(&error) => continue,
            Err(_) => return End::Aborted,
        };
        *count += read as u64;
        let sent = if read * WASTE_MAX < READ_BYTES {
            send.write_all(&buffer).await
        } else {
            send.write_chunk(buffer.freeze()).await
        };
        match sent {
            Ok(()) => {}
            // Told with its code by the other arm of our caller.
            Err(quinn::WriteError::Stopped(_)) => std::future::pending().await,
            Err(_) => return End::Aborted,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
