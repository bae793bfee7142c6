//! A command's output to its client's stream.

use quinn::{Connection, SendStream, WriteError};
use vault_protocol::code::StreamCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Attach, Channel};

use crate::framed::{self, SendError};
use crate::sessions::outlet::{End, Outlet};

/// An output's stream that is reset if it is dropped before its end: QUIC would take that for the end.
struct Sending(Option<SendStream>);

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.0 {
            // One that the client has stopped needs no reset.
            drop(stream.reset(StreamCode::Failed.number().into()));
        }
    }
}

/// Opens the stream of an output, and sends it from a byte on until it ends, or the client reads it no
/// further; then the command sees a broken pipe. Gives the finished stream back, for its delivery to
/// be awaited.
pub(crate) async fn run(
    connection: Connection,
    command: u64,
    channel: Channel,
    outlet: &Outlet,
    from: u64,
) -> Option<SendStream> {
    let stream = connection.open_uni().await.ok()?;
    let stopped = stream.stopped();
    let mut sending = Sending(Some(stream));
    // Both arms are cancel-safe in that the other one ends all use of the stream.
    let sent = tokio::select! {
        // A connection that is lost has not said that it wants no more.
        stopped = stopped => Err(if let Ok(Some(_)) = stopped { Broken::Stopped } else { Broken::Off }),
        sent = send(sending.0.as_mut()?, command, channel, outlet, from) => sent,
    };
    if let Err(broken) = sent {
        if let Broken::Stopped = broken {
            outlet.close();
        }
        return None;
    }
    let mut stream = sending.0.take()?;
    stream.finish().ok()?;
    Some(stream)
}

/// Why an output is not sent to its end.
enum Broken {
    /// The client reads it no further.
    Stopped,
    /// It cannot be read, or the connection is lost.
    Off,
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        if let WriteError::Stopped(_) = error { Self::Stopped } else { Self::Off }
    }
}

/// What is read is handed to QUIC as it is. How much is on the way is bounded by QUIC: by the
/// client's windows, and by [`crate::limits::SEND_WINDOW_BYTES`].
async fn send(
    stream: &mut SendStream,
    command: u64,
    channel: Channel,
    outlet: &Outlet,
    mut byte: u64,
) -> Result<(), Broken> {
    let attach = Attach { command, channel };
    match framed::send(stream, &attach.into(), PAYLOAD_BYTES_MAX).await {
        Ok(()) => {}
        Err(SendError::Stream(error)) => return Err(error.into()),
        Err(SendError::Frame(_)) => return Err(Broken::Off),
    }
    loop {
        match outlet.next(byte).await {
            Ok(bytes) => {
                byte += u64::try_from(bytes.len()).unwrap_or_default();
                stream.write_chunk(bytes).await?;
                outlet.sent(byte);
            }
            Err(End::Whole) => return Ok(()),
            Err(End::Failed) => return Err(Broken::Off),
        }
    }
}
