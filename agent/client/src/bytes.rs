//! What the transport's errors are for those who know a stream only as one of bytes.

use std::io;

use quinn::{ReadError, WriteError};

/// Reading fails with [`io::ErrorKind::ConnectionReset`] if the other side, or the connection, broke off.
pub(crate) fn read_error(error: ReadError) -> io::Error {
    let kind = match &error {
        ReadError::Reset(_) | ReadError::ConnectionLost(_) => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::NotConnected,
    };
    io::Error::new(kind, error)
}

/// Writing fails with [`io::ErrorKind::BrokenPipe`] once nobody reads any more.
pub(crate) fn write_error(error: WriteError) -> io::Error {
    let kind = match &error {
        WriteError::Stopped(_) => io::ErrorKind::BrokenPipe,
        WriteError::ConnectionLost(_) => io::ErrorKind::ConnectionReset,
        WriteError::ClosedStream | WriteError::ZeroRttRejected => io::ErrorKind::NotConnected,
    };
    io::Error::new(kind, error)
}
