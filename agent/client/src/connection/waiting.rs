//! Which command waits for which of the agent's streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, VarInt};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use vault_protocol::code::StreamCode;
use vault_protocol::frame::Decoder;
use vault_protocol::message::{Attach, Channel, Message};

/// The longest first frame of a one-way stream, in bytes: two numbers, and room for a few more.
const ATTACH_BYTES_MAX: usize = 1 << 10;

/// How much is read to find the first frame, in bytes. What comes after it is not lost.
const READ_BYTES: usize = 64 << 10;

/// How long a stream may be open without saying what it is. The agent sends both at once.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream that has said what it is. Dropping it before its end is a broken pipe for whoever writes
/// to it, wherever it is at that time.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Raw bytes that came together with the first frame.
    pub(crate) first: Bytes,
    /// The rest.
    pub(crate) stream: RecvStream,
}

impl Drop for Attached {
    fn drop(&mut self) {
        stop(&mut self.stream, StreamCode::BrokenPipe);
    }
}

type Key = (u64, Channel);

/// The channels that are waited for. There are two for each command that runs, and the agent's cap
/// on bidirectional streams bounds those.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    channels: HashMap<Key, oneshot::Sender<Attached>>,
    /// The connection has ended: nothing comes any more.
    closed: bool,
}

/// What a command waits for; forgotten when this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    waiting: Arc<Waiting>,
    keys: [Key; 2],
}

impl Waiting {
    /// From now on the two outputs of this command are handed to the receivers: standard output
    /// and standard error.
    pub(crate) fn register(
        self: &Arc<Self>,
        command: u64,
    ) -> (Registration, [oneshot::Receiver<Attached>; 2]) {
        let keys = [(command, Channel::Stdout), (command, Channel::Stderr)];
        let receivers = keys.map(|key| {
            let (sender, receiver) = oneshot::channel();
            let mut table = self.lock();
            // A sender that is dropped here tells its receiver.
            if !table.closed {
                table.channels.insert(key, sender);
            }
            receiver
        });
        (Registration { waiting: self.clone(), keys }, receivers)
    }

    /// Hands a stream to the command that waits for it.
    fn deliver(&self, key: Key, mut attached: Attached) {
        let sender = self.lock().channels.remove(&key);
        match sender {
            // A reader that has gone already is a broken pipe: the stream comes back, and is dropped.
            Some(sender) => drop(sender.send(attached)),
            None => stop(&mut attached.stream, StreamCode::NoCommand),
        }
    }

    fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        table.channels.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.waiting.lock();
        for key in &self.keys {
            table.channels.remove(key);
        }
    }
}

/// Takes the agent's one-way streams as they come, for as long as the connection lasts. A stream
/// that is slow to say what it is does not hold up the others; the transport bounds how many there
/// are.
pub(crate) async fn hand_out(connection: Connection, waiting: Arc<Waiting>) {
    let mut openings = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Ok(stream) => drop(openings.spawn(open(stream, waiting.clone()))),
                Err(_) => break,
            },
            Some(_) = openings.join_next() => {}
        }
    }
    waiting.close();
}

async fn open(mut stream: RecvStream, waiting: Arc<Waiting>) {
    match timeout(ATTACH_TIMEOUT, first_frame(&mut stream)).await {
        Ok(Some((Attach { command, channel }, first))) => {
            waiting.deliver((command, channel), Attached { first, stream });
        }
        Ok(None) | Err(_) => {
            tracing::debug!(stream = %stream.id(), "a stream of the agent's is not understood");
            stop(&mut stream, StreamCode::Protocol);
        }
    }
}

/// What the stream is, and the raw bytes that came with it.
async fn first_frame(stream: &mut RecvStream) -> Option<(Attach, Bytes)> {
    let mut decoder = Decoder::new(ATTACH_BYTES_MAX);
    loop {
        let chunk = stream.read_chunk(READ_BYTES, true).await.ok()??;
        decoder.push(&chunk.bytes);
        if let Some(frame) = decoder.next_frame().ok()? {
            return match Message::read(&frame) {
                Ok(Message::Attach(attach)) => Some((attach, decoder.into_rest().into())),
                _ => None,
            };
        }
    }
}

/// Tells the agent that nobody reads this.
fn stop(stream: &mut RecvStream, code: StreamCode) {
    // It may have ended already, which is as good.
    drop(stream.stop(VarInt::from_u32(code.number())));
}
