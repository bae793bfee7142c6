//! A command's output to its stream.

use bytes::BytesMut;
use quinn::{Connection, SendStream};
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use vault_protocol::code::StreamCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Attach, Channel};

use crate::framed;
use crate::limits::{READ_BYTES, READ_BYTES_MIN};
use crate::process::Output;

/// Opens the stream of an output, and copies until the output ends or nobody reads the stream any
/// more; our end is closed then, so that the command sees a broken pipe. Gives the finished stream
/// back, for its delivery to be awaited.
pub(crate) async fn run(
    connection: Connection,
    command: u64,
    channel: Channel,
    source: Output,
) -> Option<SendStream> {
    let mut stream = connection.open_uni().await.ok()?;
    let attach = Attach { command, channel };
    framed::send(&mut stream, &attach.into(), PAYLOAD_BYTES_MAX).await.ok()?;
    let stopped = stream.stopped();
    // Both arms are cancel-safe in that the other one ends all use of pipe and stream.
    tokio::select! {
        _ = stopped => return None,
        copied = copy(source, &mut stream) => copied?,
    }
    stream.finish().ok()?;
    Some(stream)
}

/// What is read is handed to QUIC as it is. How much is on the way is bounded by QUIC: by the
/// client's windows, and by [`crate::limits::SEND_WINDOW_BYTES`].
async fn copy(mut source: Output, stream: &mut SendStream) -> Option<()> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        if buffer.capacity() < READ_BYTES_MIN {
            buffer = BytesMut::with_capacity(READ_BYTES);
        }
        match source.read_buf(&mut buffer).await {
            Ok(0) => return Some(()),
            // Nobody has the other end of a terminal open any more: that is its end.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Some(()),
            Ok(_) => stream.write_chunk(buffer.split().freeze()).await.ok()?,
            Err(error) => {
                tracing::warn!(%error, "an output could not be read");
                stream.reset(StreamCode::Failed.number().into()).ok()?;
                return None;
            }
        }
    }
}
