//! The two kinds of sockets, as one.

use std::io::{self, IoSlice};

use bytes::BytesMut;
use rustix::net::Shutdown;
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket. Dropping it aborts a TCP connection, and so does the kernel if this
/// program dies: only [`crate::Relay`] ends one well.
#[derive(Debug)]
pub enum Socket {
    /// TCP. Made by [`Socket::tcp`].
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// A TCP connection, which sends what it is given at once.
    ///
    /// # Errors
    /// The connection has failed meanwhile.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        // Closing it is an RST from now on.
        stream.set_zero_linger()?;
        Ok(Self::Tcp(stream))
    }

    /// It is over on both sides: closing it loses nothing that was written.
    pub(crate) fn settle(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => Ok(rustix::net::sockopt::set_socket_linger(stream, None)?),
            Self::Unix(_) => Ok(()),
        }
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    pub(crate) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
        }
    }

    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Unix(stream) => stream.try_write_vectored(slices),
        }
    }

    /// Ends what is written to the program, which may go on writing to us.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    /// Nobody reads what the program writes. A unix socket tells it so; TCP can only abort, which
    /// has to wait until the other direction has ended.
    pub(crate) fn stop_reading(&self) {
        // It fails only for a connection that is gone.
        self.shutdown(Shutdown::Read).ok();
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let done = match self {
            Self::Tcp(stream) => rustix::net::shutdown(stream, how),
            Self::Unix(stream) => rustix::net::shutdown(stream, how),
        };
        Ok(done?)
    }
}
