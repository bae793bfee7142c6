//! Files into the machine and out of it.
//!
//! ```text
//!   upload:    CopyRequest ──▶, then vault-files sends here and receives there
//!   download:  CopyRequest ──▶, then vault-files sends there and receives here
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use quinn::ConnectionError;
use thiserror::Error;
use vault_files::{Copied, CopyError as FilesError, Meter, Streams, Target};
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{CopyOptions, CopyRequest, Direction};

use crate::connection::Shared;
use crate::frames::{Frames, FramesError};

/// Why a copy goes no further. What was whole by then stays.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The connection was lost before anything was asked for.
    #[error("the connection was lost")]
    Connection(#[source] ConnectionError),
    /// It could not be asked for.
    #[error("the agent could not be asked")]
    Request(#[source] FramesError),
    /// It was asked for, and went no further.
    #[error(transparent)]
    Files(FilesError),
}

/// Sends a file or a folder of this side; the path is absolute.
pub(crate) async fn upload(
    shared: Arc<Shared>,
    from: PathBuf,
    to: MachineTarget,
    options: CopyOptions,
    meter: Arc<Meter>,
) -> Result<Copied, CopyError> {
    let (path, name) = (to.path.into(), to.name.map(Into::into));
    let request = CopyRequest { direction: Direction::Upload, path, name, options };
    let streams = begin(&shared, request).await?;
    vault_files::send(from, options, streams, meter, vault_files::here)
        .await
        .map_err(CopyError::Files)
}

/// Receives a file or a folder of the machine.
pub(crate) async fn download(
    shared: Arc<Shared>,
    from: Vec<u8>,
    to: Target,
    options: CopyOptions,
    meter: Arc<Meter>,
) -> Result<Copied, CopyError> {
    let path = from.into();
    let request = CopyRequest { direction: Direction::Download, path, name: None, options };
    let streams = begin(&shared, request).await?;
    vault_files::receive(to, options, streams, meter, vault_files::here)
        .await
        .map_err(CopyError::Files)
}

/// Where something is copied to in the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineTarget {
    /// Absolute, or beneath the home folder, for which `~` may stand.
    pub path: Vec<u8>,
    /// What it is called there, if that is a folder; without a name the entries of a folder go into it
    /// themselves.
    pub name: Option<Vec<u8>>,
}

async fn begin(shared: &Shared, request: CopyRequest) -> Result<Streams, CopyError> {
    let streams = shared.connection.open_bi().await.map_err(CopyError::Connection)?;
    let mut frames = Frames::new(streams, PAYLOAD_BYTES_MAX);
    frames.send(&request.into()).await.map_err(CopyError::Request)?;
    let ((sender, receiver), first) = frames.into_rest();
    Ok(Streams { sender, receiver, first })
}
