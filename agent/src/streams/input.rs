//! One-way streams of the client: a command's standard input.

use quinn::RecvStream;
use tokio::time::timeout;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{Channel, Message};

use super::rendezvous::Rendezvous;
use crate::framed::Receiver;
use crate::limits::{ATTACH_PAYLOAD_BYTES_MAX, FIRST_FRAME_PATIENCE, INPUT_PATIENCE};

/// Where inputs meet their commands, by the number of the command's stream.
pub(crate) type Inputs = Rendezvous<u64, Incoming>;

/// The standard input of a command, as it comes.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) stream: RecvStream,
    /// What came together with the first frame.
    pub(crate) first: Vec<u8>,
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

/// Tells the client that what it sends goes nowhere.
pub(crate) fn stop(stream: &mut RecvStream, code: StreamCode) {
    // A stream that has ended by itself needs no stop.
    drop(stream.stop(code.number().into()));
}
