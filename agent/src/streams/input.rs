//! One-way streams of the client: a command's standard input.

use std::future::pending;
use std::io;

use bytes::Bytes;
use quinn::RecvStream;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{Channel, Message};

use super::rendezvous::Rendezvous;
use crate::framed::Receiver;
use crate::limits::{ATTACH_PAYLOAD_BYTES_MAX, FIRST_FRAME_PATIENCE, INPUT_PATIENCE, READ_BYTES};
use crate::process::Input;

/// Where inputs meet their commands, by the number of the command's stream.
pub(crate) type Inputs = Rendezvous<u64, Incoming>;

/// The standard input of a command, as it comes.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    /// What came together with the first frame.
    first: Vec<u8>,
}

/// Reads a new stream's first frame and hands it to its command; tells the client if there is none.
pub(crate) async fn attach(inputs: &Inputs, stream: RecvStream) {
    let mut receiver = Receiver::new(stream, ATTACH_PAYLOAD_BYTES_MAX);
    let first = timeout(FIRST_FRAME_PATIENCE, receiver.next()).await;
    let Ok(Ok(Some(Message::Attach(attach)))) = first else {
        return stop(receiver.stream(), StreamCode::Protocol);
    };
    if attach.channel != Channel::Stdin {
        return stop(receiver.stream(), StreamCode::Protocol);
    }
    let (stream, first) = receiver.into_rest();
    let input = Incoming { stream, first };
    if let Err(mut stray) = inputs.bring(attach.command, input, INPUT_PATIENCE).await {
        stop(&mut stray.stream, StreamCode::NoCommand);
    }
}

/// Stops the input of a command that was not started.
pub(crate) fn dismiss(inputs: &Inputs, command: u64) {
    if let Some(mut input) = inputs.take(command) {
        stop(&mut input.stream, StreamCode::NoCommand);
    }
}

/// Copies a command's standard input into its pipe or terminal, until either ends, or `over` says that
/// the command has. Our end is closed then. An input that comes late is waited for: its absence must
/// not be taken for its end.
pub(crate) async fn run(inputs: &Inputs, command: u64, to: Input, over: &CancellationToken) {
    // Cancel-safe: whoever brings the input after that keeps it, and stops it.
    let input = tokio::select! {
        () = over.cancelled() => None,
        input = inputs.want(command) => input,
    };
    let Some(mut input) = input else {
        return;
    };
    // Both arms are cancel-safe in that the other one ends all use of pipe and stream.
    tokio::select! {
        () = over.cancelled() => stop(&mut input.stream, StreamCode::NoCommand),
        copied = copy(&mut input, to) => match copied {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                stop(&mut input.stream, StreamCode::BrokenPipe);
            }
            Err(error) => {
                tracing::warn!(%error, "a standard input could not be written");
                stop(&mut input.stream, StreamCode::Failed);
            }
        },
    }
}

/// Only the end of the stream ends the input. What broke off, by a reset or with the connection, is
/// not all there is: the command must not take it for that, and waits until it is ended.
async fn copy(input: &mut Incoming, to: Input) -> io::Result<()> {
    let Input { mut writer, at_end } = to;
    writer.write_all(&std::mem::take(&mut input.first)).await?;
    loop {
        match input.stream.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => {
                let mut bytes: Bytes = chunk.bytes;
                writer.write_all_buf(&mut bytes).await?;
            }
            Ok(None) => return writer.write_all(at_end).await,
            Err(_) => return pending().await,
        }
    }
}

fn stop(stream: &mut RecvStream, code: StreamCode) {
    // A stream that has ended by itself needs no stop.
    drop(stream.stop(code.number().into()));
}
