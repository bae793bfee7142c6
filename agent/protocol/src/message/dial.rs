//! The messages of a forwarded connection.

use std::fmt;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// Connect to something inside the machine, or as seen from it. After [`Dialed`] this stream carries
/// raw bytes both ways; what is sent before it is kept for the connection, or dropped with it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Dial {
    /// To what.
    #[n(0)]
    pub destination: Destination,
}

/// What can be connected to. Numbers are never used again.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum Destination {
    /// A TCP port.
    #[n(0)]
    Tcp {
        /// A name, which the machine resolves, or an IP address; IPv6 without brackets.
        #[n(0)]
        host: String,
        /// Not 0.
        #[n(1)]
        port: u16,
    },
    /// A stream socket in the machine's files.
    #[n(1)]
    Unix {
        /// Its path, absolute.
        #[n(0)]
        path: ByteVec,
    },
}

/// The connection is there.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Dialed {}

/// There is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DialFailed {
    /// For programs.
    #[n(0)]
    pub reason: DialFailedReason,
    /// For people.
    #[n(1)]
    pub message: String,
}

reasons! {
    /// Why there is no connection.
    DialFailedReason {
        /// Nobody listens there.
        0 Refused,
        /// The name is not known: of a host to DNS, of a socket to the file system.
        1 NameNotFound,
        /// The machine's system does not permit it.
        2 Denied,
        /// No answer came in time.
        3 TimedOut,
        /// There is no way to the address.
        4 Unreachable,
        /// The request makes no sense: port 0, a path that is not absolute or no stream socket.
        5 Invalid,
        /// The machine has no room for one more connection.
        6 Resources,
        /// The agent is ending.
        7 ShuttingDown,
    }
}

/// `localhost:80`, `[::1]:80`, `/run/app.sock`: fit for a log or a terminal, whatever it is made of.
impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => {
                write!(formatter, "[{}]:{port}", host.escape_debug())
            }
            Self::Tcp { host, port } => write!(formatter, "{}:{port}", host.escape_debug()),
            Self::Unix { path } => match std::str::from_utf8(path) {
                Ok(path) => write!(formatter, "{}", path.escape_debug()),
                Err(_) => write!(formatter, "{}", path.escape_ascii()),
            },
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Destination({self})")
    }
}
