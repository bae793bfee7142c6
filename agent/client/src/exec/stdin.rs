//! What a command reads.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::{SendStream, WriteError};
use tokio::io::AsyncWrite;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{Attach, Channel};

use super::ExecError;
use crate::bytes::write_error;
use crate::connection::Shared;
use crate::frames::{FramesError, encode};

/// Standard input of a command. Writing fails with [`io::ErrorKind::BrokenPipe`] once the command
/// reads no more. Dropping it is the end of the file, as [`Stdin::finish`] is.
pub struct Stdin {
    stream: SendStream,
    /// Keeps the connection.
    shared: Arc<Shared>,
}

impl Stdin {
    /// Says what the stream is.
    pub(crate) async fn attach(
        mut stream: SendStream,
        command: u64,
        shared: Arc<Shared>,
    ) -> Result<Self, ExecError> {
        let bytes = encode(&Attach { command, channel: Channel::Stdin }.into())
            .map_err(ExecError::Unknown)?;
        match stream.write_all(&bytes).await {
            // The command was over, or refused, before it read anything; the control stream tells.
            Ok(()) | Err(WriteError::Stopped(_)) => Ok(Self { stream, shared }),
            Err(error) => Err(ExecError::Unknown(FramesError::Write(error))),
        }
    }

    /// The end of the file.
    pub fn finish(mut self) {
        // A command that reads no more needs no end.
        drop(self.stream.finish());
    }

    /// Breaks off: what was written may not be all there is.
    pub fn abort(mut self) {
        let code = quinn::VarInt::from_u32(StreamCode::Failed.number());
        drop(self.stream.reset(code));
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(written.map_err(write_error))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The transport sends by itself what it was given.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        drop(self.stream.finish());
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stdin")
            .field("address", &self.shared.connection.remote_address())
            .finish_non_exhaustive()
    }
}
