//! From a destination to a connected socket, in bounded time, or to the reason why not.
//!
//! ```text
//!   name ──▶ addresses (getaddrinfo, on a thread, so many at once) ──▶ each in turn, for its share
//!   address ─────────────────────────────────────────────────────▶     of the time that is left
//!   path ──▶ unix socket, where commands find it
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use vault_protocol::message::{Destination, DialFailedReason};
use vault_relay::Socket;

use crate::limits::{ADDRESSES_MAX, BACKLOG_POLL, FORWARDS_MAX, LOOKUPS_MAX};
use crate::workload::Workload;

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    /// There are too many already.
    #[error("the agent carries {FORWARDS_MAX} connections already")]
    TooMany,
    /// The agent is ending.
    #[error("the agent is ending")]
    ShuttingDown,
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// Sockets are found in the root filesystem, which is not booted; here is why.
    #[error("the machine's root filesystem is not booted: {0}")]
    NotBooted(String),
    /// The host has no address.
    #[error("the name cannot be resolved")]
    Name(#[source] io::Error),
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The system's answer, where our words for it say everything.
    #[error("{}", plain(*.0))]
    Plain(DialFailedReason),
    /// The system's answer.
    #[error("no connection")]
    System(DialFailedReason, #[source] io::Error),
}

impl DialError {
    /// For programs.
    pub(crate) fn reason(&self) -> DialFailedReason {
        match self {
            Self::TooMany => DialFailedReason::Resources,
            Self::ShuttingDown => DialFailedReason::ShuttingDown,
            Self::Invalid(_) => DialFailedReason::Invalid,
            Self::NotBooted(_) => DialFailedReason::Unreachable,
            Self::Name(_) => DialFailedReason::NameNotFound,
            Self::TimedOut(_) => DialFailedReason::TimedOut,
            Self::Plain(reason) | Self::System(reason, _) => *reason,
        }
    }
}

fn plain(reason: DialFailedReason) -> &'static str {
    match reason {
        DialFailedReason::Refused => "connection refused",
        DialFailedReason::NameNotFound => "there is no such socket",
        DialFailedReason::Denied => "permission denied",
        DialFailedReason::TimedOut => "timed out",
        _ => "no connection",
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        let reason = match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED | Errno::CONNRESET) => DialFailedReason::Refused,
            Some(Errno::NOENT | Errno::NOTDIR) => DialFailedReason::NameNotFound,
            Some(Errno::ACCESS | Errno::PERM) => DialFailedReason::Denied,
            Some(Errno::TIMEDOUT) => DialFailedReason::TimedOut,
            Some(Errno::INVAL | Errno::PROTOTYPE | Errno::NAMETOOLONG | Errno::LOOP) => {
                return Self::System(DialFailedReason::Invalid, error);
            }
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                return Self::System(DialFailedReason::Resources, error);
            }
            // No network, no route, no such host, no address of ours to begin with: the system's
            // words say which.
            Some(_) => return Self::System(DialFailedReason::Unreachable, error),
            // Not the system's: the standard library refuses the address before it asks.
            None => return Self::System(DialFailedReason::Invalid, error),
        };
        Self::Plain(reason)
    }
}

/// What all forwarded connections share.
#[derive(Debug)]
pub(crate) struct Forwards {
    turns: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    /// For one dial, with its lookup and all addresses.
    patience: Duration,
}

impl Forwards {
    /// None yet.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(FORWARDS_MAX)),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            patience,
        }
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        FORWARDS_MAX - self.turns.available_permits()
    }

    /// A place among them, given back when it is dropped.
    pub(super) fn turn(&self) -> Result<OwnedSemaphorePermit, DialError> {
        Arc::clone(&self.turns).try_acquire_owned().map_err(|_| DialError::TooMany)
    }

    /// Connects; to a unix socket, where it is found in `workload`. Cancel-safe: what is not connected yet
    /// is given up.
    pub(super) async fn connect(
        &self,
        destination: &Destination,
        workload: &Workload,
    ) -> Result<Socket, DialError> {
        let deadline = Instant::now() + self.patience;
        match destination {
            Destination::Tcp { host, port } => {
                let addresses = timeout_at(deadline, self.addresses(host, *port));
                let addresses =
                    addresses.await.map_err(|_| DialError::TimedOut(self.patience))??;
                self.connect_tcp(&addresses, deadline).await
            }
            Destination::Unix { path } => {
                let connecting = timeout_at(deadline, connect_unix(path, workload));
                connecting.await.map_err(|_| DialError::TimedOut(self.patience))?
            }
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        if port == 0 {
            return Err(DialError::Invalid("there is no port 0"));
        }
        if host.is_empty() || host.contains(|character: char| !character.is_ascii_graphic()) {
            return Err(DialError::Invalid("that is neither the name of a host nor an address"));
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        // Always this machine (RFC 6761 §6.3), also where no file of hosts says so.
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![
                (Ipv4Addr::LOCALHOST, port).into(),
                (Ipv6Addr::LOCALHOST, port).into(),
            ]);
        }
        let turn = Arc::clone(&self.lookups).acquire_owned().await;
        let (host, turn) = (host.to_owned(), turn.map_err(|_| DialError::ShuttingDown)?);
        // A lookup cannot be given up; its thread keeps the place until it has ended.
        let found = spawn_blocking(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            drop(turn);
            found.map(|found| found.take(ADDRESSES_MAX).collect::<Vec<_>>())
        });
        let found = found.await.map_err(|error| DialError::Name(error.into()))?;
        match found.map_err(DialError::Name)? {
            found if found.is_empty() => {
                Err(DialError::Name(io::Error::other("it has no address")))
            }
            found => Ok(found),
        }
    }

    /// The first address that answers. If none does, the error is the one that says most: anything
    /// before an address that there is no way to, as often with IPv6, and the later one else.
    async fn connect_tcp(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Socket, DialError> {
        let mut failed = None;
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let connected = timeout(share, TcpStream::connect(address)).await;
            let error = match connected.map(|connected| connected.and_then(Socket::tcp)) {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => error.into(),
                Err(_) => DialError::TimedOut(self.patience),
            };
            if failed.is_none() || error.reason() != DialFailedReason::Unreachable {
                failed = Some(error);
            }
        }
        Err(failed.unwrap_or(DialError::TimedOut(self.patience)))
    }
}

async fn connect_unix(path: &[u8], workload: &Workload) -> Result<Socket, DialError> {
    if !path.starts_with(b"/") || path.contains(&0) {
        return Err(DialError::Invalid("a socket's path is absolute, and without NUL bytes"));
    }
    let spawner = workload.spawner().await.map_err(DialError::NotBooted)?;
    loop {
        let (told, connected) = oneshot::channel();
        let path = path.to_vec();
        // Whoever waits may have given up.
        spawner.visit(Box::new(move || drop(told.send(connect_at_once(&path)))))?;
        let gone = |_| DialError::NotBooted("it has just ended".to_owned());
        match connected.await.map_err(gone)? {
            Ok(socket) => return Ok(Socket::Unix(UnixStream::from_std(socket.into())?)),
            // Its queue is full. Unlike TCP, the kernel does not wait for us here.
            Err(Errno::AGAIN) => sleep(BACKLOG_POLL).await,
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// Connects on the thread that sees the path, and does not wait there.
fn connect_at_once(path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_the_system_has_its_reason() {
        for (errno, reason, text) in [
            (Errno::CONNREFUSED, DialFailedReason::Refused, "connection refused"),
            (Errno::NOENT, DialFailedReason::NameNotFound, "there is no such socket"),
            (Errno::ACCESS, DialFailedReason::Denied, "permission denied"),
            (Errno::PERM, DialFailedReason::Denied, "permission denied"),
            (Errno::TIMEDOUT, DialFailedReason::TimedOut, "timed out"),
            (Errno::NETUNREACH, DialFailedReason::Unreachable, "no connection"),
            (Errno::HOSTUNREACH, DialFailedReason::Unreachable, "no connection"),
            (Errno::ADDRNOTAVAIL, DialFailedReason::Unreachable, "no connection"),
            (Errno::AFNOSUPPORT, DialFailedReason::Unreachable, "no connection"),
            (Errno::PROTOTYPE, DialFailedReason::Invalid, "no connection"),
            (Errno::MFILE, DialFailedReason::Resources, "no connection"),
            (Errno::NOMEM, DialFailedReason::Resources, "no connection"),
        ] {
            let error = DialError::from(io::Error::from(errno));
            assert_eq!((error.reason(), error.to_string().as_str()), (reason, text), "{errno}");
        }
    }
}
