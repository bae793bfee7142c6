//! Where forwards listen.

use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::task::Poll;

use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, UnixListener, UnixSocket};
use vault_client::Socket;

use super::argument::Local;
use crate::error::{Exit, Failure};

/// Connections that wait until they are taken: a browser opens a few dozen at once.
const BACKLOG: i32 = 128;

/// The modes of a unix socket: its owner's alone, as with ssh.
const MODE: u32 = 0o600;

/// A free place, for one forward.
#[derive(Debug)]
pub(super) enum Listener {
    /// The same port of several addresses.
    Tcp(Vec<TcpListener>),
    Unix {
        listener: UnixListener,
        file: OwnFile,
    },
}

/// A unix socket's file, which goes with its listener.
#[derive(Debug)]
pub(super) struct OwnFile(PathBuf);

impl Drop for OwnFile {
    fn drop(&mut self) {
        // Somebody may have taken it away, and there is nobody to tell at the end.
        std::fs::remove_file(&self.0).ok();
    }
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// The place is taken, or cannot be used.
    pub(super) fn bind(local: &Local) -> Result<Self, Failure> {
        match local {
            Local::Tcp { addresses, port } => bind_tcp(addresses, *port),
            Local::Unix(path) => bind_unix(path).map_err(|error| {
                let failure = refused(path.display(), &error);
                match error.kind() {
                    io::ErrorKind::AddrInUse => failure.hint(
                        "remove the file if nobody listens there any more, or choose another",
                    ),
                    _ => failure,
                }
            }),
        }
    }

    /// What it is, for people: all its addresses, with the port that it got.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Tcp(listeners) => {
                let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
                let shown: Vec<String> = addresses.map(|address| address.to_string()).collect();
                shown.join(", ")
            }
            Self::Unix { file, .. } => file.0.display().to_string(),
        }
    }

    /// The next connection, and who it is, for people. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(Socket, String)> {
        match self {
            Self::Tcp(listeners) => {
                let (stream, peer) = std::future::poll_fn(|context| {
                    for listener in listeners {
                        if let Poll::Ready(accepted) = listener.poll_accept(context) {
                            return Poll::Ready(accepted);
                        }
                    }
                    Poll::Pending
                })
                .await?;
                Ok((Socket::tcp(stream)?, peer.to_string()))
            }
            Self::Unix { listener, file } => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), file.0.display().to_string()))
            }
        }
    }
}

fn bind_tcp(addresses: &[IpAddr], port: u16) -> Result<Listener, Failure> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut missing = None;
    for address in addresses {
        // All have the port that the first one got.
        let first = listeners.first().and_then(|first| first.local_addr().ok());
        let address = SocketAddr::new(*address, first.map_or(port, |first| first.port()));
        match listen(address) {
            Ok(listener) => listeners.push(listener),
            // Where there is no IPv6, `localhost` has one address.
            Err(error) if addresses.len() > 1 && is_missing(&error) => {
                missing = Some(refused(address, &error));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(refused(address, &error).hint("0 takes a free port"));
            }
            Err(error) => return Err(refused(address, &error)),
        }
    }
    match (listeners.is_empty(), missing) {
        (true, Some(missing)) => Err(missing),
        _ => Ok(Listener::Tcp(listeners)),
    }
}

fn refused(place: impl std::fmt::Display, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "it is in use".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Failure::new(Exit::BadInput, format!("cannot listen at {place}: {why}"))
}

fn is_missing(error: &io::Error) -> bool {
    // The second one is of a whole family that the kernel does not have; it has no name in `std`.
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections are only just over is free.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The other family has a listener of its own, if it was asked for.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = OwnFile(path.to_owned());
    // Before anybody can connect.
    std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
    let listener = socket.listen(BACKLOG.unsigned_abs())?;
    Ok(Listener::Unix { listener, file })
}
