//! A standard input between the clients that come and go and the command that reads it.
//!
//! ```text
//!   take_over ─▶ so many bytes were written ─▶ the client sends the rest
//!   bring ─────▶ its stream ─▶ pipe or terminal
//! ```

use std::future::pending;
use std::io;

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use vault_protocol::code::StreamCode;
use vault_protocol::message::TAKEN_EVERY_BYTES;

use crate::limits::READ_BYTES;
use crate::process::Input;
use crate::streams::input::{Incoming, stop};

/// The clients' side.
pub(crate) struct Inlet {
    orders: mpsc::Sender<Order>,
    written: watch::Receiver<Written>,
}

/// The command's side.
pub(super) struct Feed {
    orders: mpsc::Receiver<Order>,
    written: watch::Sender<Written>,
    /// Whose stream may be read.
    attachment: u64,
}

/// What the command was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes.
    pub(crate) bytes: u64,
    /// It takes no more: its input has ended, or nobody reads it.
    pub(crate) over: bool,
}

enum Order {
    /// From now on the input of this attachment counts.
    TakeOver(u64, oneshot::Sender<Written>),
    Bring(u64, Incoming),
}

/// Both sides.
pub(super) fn inlet() -> (Inlet, Feed) {
    // Orders are rare, and whoever gives one may wait.
    let (orders, taken) = mpsc::channel(4);
    let (write, written) = watch::channel(Written::default());
    (Inlet { orders, written }, Feed { orders: taken, written: write, attachment: 0 })
}

impl Inlet {
    /// The input that an earlier client sends counts no more; answers what was written of it.
    pub(super) async fn take_over(&self, attachment: u64) -> Written {
        let (answer, written) = oneshot::channel();
        let ended = Written { over: true, ..*self.written.borrow() };
        if self.orders.send(Order::TakeOver(attachment, answer)).await.is_err() {
            return ended;
        }
        written.await.unwrap_or(ended)
    }

    /// The input that a client sends counts no more, and no other one comes for now.
    pub(crate) async fn let_go(&self) {
        self.take_over(u64::MAX).await;
    }

    /// The client's input comes.
    pub(crate) async fn bring(&self, attachment: u64, input: Incoming) {
        if let Err(refused) = self.orders.send(Order::Bring(attachment, input)).await
            && let Order::Bring(_, mut input) = refused.0
        {
            stop(&mut input.stream, StreamCode::BrokenPipe);
        }
    }

    /// What was written, as it grows.
    pub(crate) fn written(&self) -> watch::Receiver<Written> {
        self.written.clone()
    }
}

impl Feed {
    /// Copies into the pipe or terminal until either ends, or `over` says that the command has. Our end
    /// is closed then. Only the end of a client's stream ends the input: what broke off, by a reset or
    /// with the connection, is not all there is, and the command waits.
    pub(super) async fn run(mut self, mut to: Input, over: &CancellationToken) {
        let mut source: Option<Incoming> = None;
        let (mut bytes, mut ending) = (Bytes::new(), false);
        let code = loop {
            // All arms are cancel-safe: a write that is given up has written nothing.
            tokio::select! {
                () = over.cancelled() => break StreamCode::NoCommand,
                Some(order) = self.orders.recv() => match order {
                    Order::TakeOver(attachment, answer) => {
                        self.attachment = attachment;
                        if !ending {
                            bytes.clear();
                        }
                        if let Some(mut earlier) = source.take() {
                            stop(&mut earlier.stream, StreamCode::NoCommand);
                        }
                        let written = Written { over: ending, ..*self.written.borrow() };
                        let _gone_meanwhile = answer.send(written);
                    }
                    Order::Bring(attachment, mut input) if ending || attachment != self.attachment => {
                        stop(&mut input.stream, StreamCode::NoCommand);
                    }
                    Order::Bring(_, mut input) => {
                        bytes = std::mem::take(&mut input.first).into();
                        source = Some(input);
                    }
                },
                written = to.writer.write(&bytes), if !bytes.is_empty() => match written {
                    Ok(count) => {
                        bytes.advance(count);
                        if !ending {
                            let count = u64::try_from(count).unwrap_or_default();
                            self.written.send_modify(|written| written.bytes += count);
                        } else if bytes.is_empty() {
                            break StreamCode::NoCommand;
                        }
                    }
                    Err(error) => break failed(&error),
                },
                chunk = next(&mut source), if bytes.is_empty() => match chunk {
                    Some(chunk) => bytes = chunk,
                    None if to.at_end.is_empty() => break StreamCode::NoCommand,
                    None => {
                        ending = true;
                        bytes = Bytes::from_static(to.at_end);
                    }
                },
            }
        };
        self.written.send_modify(|written| written.over = true);
        if let Some(mut source) = source {
            stop(&mut source.stream, code);
        }
        // Our end is closed now. Who comes later learns that nobody reads.
        drop(to);
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            if let Order::Bring(_, mut input) = order {
                stop(&mut input.stream, code);
            }
        }
    }
}

fn failed(error: &io::Error) -> StreamCode {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return StreamCode::BrokenPipe;
    }
    tracing::warn!(%error, "a standard input could not be written");
    StreamCode::Failed
}

/// The next bytes, or the end. What broke off never ends.
async fn next(source: &mut Option<Incoming>) -> Option<Bytes> {
    let Some(input) = source else { return pending().await };
    match input.stream.read_chunk(READ_BYTES, true).await {
        Ok(Some(chunk)) => Some(chunk.bytes),
        Ok(None) => None,
        Err(_) => pending().await,
    }
}

/// Whether so much more was written that the client is to know.
pub(crate) fn is_news(told: Written, now: Written) -> bool {
    now.bytes >= told.bytes + TAKEN_EVERY_BYTES
}
