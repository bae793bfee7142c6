//! The API that a machine has for itself: one Unix socket per running machine. Whoever can connect
//! is that machine, because nobody else sees the folder in which its socket lies.
//!
//! ```text
//!  DIR/machines/ID/fly/api ──seen inside as──▶ /.fly/api      room? ─▶ head ─▶ body ─▶ api::machine
//! ```

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api;
use crate::engine::Engine;
use crate::oidc::Issuer;
use crate::process::fly_folder;
use crate::world::Identity;

/// The socket's name in its folder.
pub(crate) const SOCKET: &str = "api";

/// Connections of one machine at once: it has one agent and asks seldom. Further ones wait in the
/// kernel's queue, whose length is fixed.
const CONNECTIONS_MAX: usize = 16;
/// How long one connection may take, its one request included.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// How long the head of its request may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How many bytes the head may have: a path and a handful of headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long nothing is accepted after a failure, which is usually a lack of descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens machines' sockets.
pub(crate) struct MachineSockets {
    /// Holds `machines/ID/`.
    pub(crate) data_dir: PathBuf,
    /// Where connections are served.
    pub(crate) runtime: Handle,
    /// Tells the time.
    pub(crate) engine: Arc<Engine>,
    /// Makes the tokens.
    pub(crate) issuer: Arc<Issuer>,
}

/// An open socket; dropped, it is gone with its connections.
pub(crate) struct MachineSocket {
    folder: PathBuf,
    _serving: JoinSet<()>,
}

impl MachineSockets {
    /// Opens the socket of one run of a machine; what an earlier run left is removed.
    ///
    /// # Errors
    /// The file system's refusal.
    pub(crate) fn open(&self, identity: Identity) -> io::Result<MachineSocket> {
        let folder = fly_folder(&self.data_dir, &identity.machine_id)?;
        let listener = bind(&folder)?;
        let listener = {
            let _context = self.runtime.enter();
            UnixListener::from_std(listener)?
        };
        let (engine, issuer) = (Arc::clone(&self.engine), Arc::clone(&self.issuer));
        let routes = api::machine::routes(engine, issuer, Arc::new(identity));
        let mut serving = JoinSet::new();
        serving.spawn_on(accept(listener, routes), &self.runtime);
        Ok(MachineSocket { folder, _serving: serving })
    }
}

impl MachineSocket {
    /// The folder of the host in which the socket lies, alone.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for MachineSocket {
    fn drop(&mut self) {
        let path = self.folder.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a machine's socket stays at {}", path.display());
            }
            _ => {}
        }
    }
}

/// Binds by way of the opened folder, because a socket's address holds 108 bytes and paths are
/// longer. Only the owner may connect: inside a machine that is its root.
fn bind(folder: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened: OwnedFd = rustix::fs::open(folder, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(SOCKET);
    let listener = std::os::unix::net::UnixListener::bind(&short)?;
    fs::set_permissions(&short, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, routes: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = routes.clone();
                connections.spawn(async move {
                    serve(stream, routes).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a machine's socket accepts nothing for a while");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One request, one answer.
async fn serve(stream: UnixStream, routes: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    match tokio::time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a machine's connection ended"),
        Err(_) => tracing::debug!("a machine's connection took too long"),
    }
}
