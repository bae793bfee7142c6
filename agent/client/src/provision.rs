//! A root filesystem for the machine.
//!
//! ```text
//!   file ── SHA-256 ──▶ Provision ──▶ SendFrom ──▶ bytes ──▶ … ──▶ Provisioned, or ProvisionFailed
//!                                        ▲           ◀── progress
//!   connection lost, and another one ────┘ goes on where the agent has come to
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use quinn::{ConnectionError, SendStream, WriteError};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};
use vault_protocol::code::StreamCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Message, Provision, ProvisionProgress};
pub use vault_protocol::message::{ProvisionFailedReason, Provisioned};

use crate::frames::{Frames, FramesError, Messages};
use crate::text::printable;

/// How much is read from the file at once, in bytes.
const READ_BYTES: usize = 256 << 10;

/// Why the machine does not run what it was to be given.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// The file cannot be read.
    #[error("the archive cannot be read")]
    File(#[source] io::Error),
    /// The connection was lost.
    #[error("the connection was lost")]
    Connection(#[source] ConnectionError),
    /// The agent's answer is none. One that knows no root filesystems ends the stream.
    #[error("the agent did not answer; an older one takes no root filesystem")]
    Answer(#[source] FramesError),
    /// The agent says no.
    #[error("{message}")]
    Refused {
        /// For programs.
        reason: ProvisionFailedReason,
        /// For people.
        message: String,
    },
}

impl ProvisionError {
    /// Another attempt goes on where this one ended.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            Self::Answer(error) => error.connection_lost().is_some(),
            Self::File(_) | Self::Refused { .. } => false,
        }
    }
}

/// An archive of a root filesystem: a file, by what its bytes are.
#[derive(Debug)]
pub struct Archive {
    file: File,
    bytes: u64,
    sha256: [u8; 32],
}

impl Archive {
    /// Opens a file and reads it once, for its digest.
    ///
    /// # Errors
    /// It cannot be read, or is no file.
    pub async fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        spawn_blocking(move || {
            let mut file = File::open(path)?;
            let (bytes, sha256) = digest(&mut file)?;
            Ok(Self { file, bytes, sha256 })
        })
        .await
        .map_err(broken)?
    }

    /// How long it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of all its bytes.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Its bytes from there on.
    fn pieces(&self, offset: u64) -> io::Result<Pieces> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Pieces(file.take(self.bytes.saturating_sub(offset))))
    }
}

/// How many bytes there are, and their SHA-256.
fn digest(reader: &mut impl Read) -> io::Result<(u64, [u8; 32])> {
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; READ_BYTES]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((bytes, hash.finalize().into())),
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// A file, piece by piece. What was added to it meanwhile does not belong to it.
struct Pieces(io::Take<File>);

impl Pieces {
    /// The next piece; an empty one at the end.
    async fn next(mut self) -> io::Result<(Self, Bytes)> {
        spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(READ_BYTES);
            self.0.by_ref().take(READ_BYTES as u64).read_to_end(&mut bytes)?;
            Ok((self, Bytes::from(bytes)))
        })
        .await
        .map_err(broken)?
    }
}

fn broken(error: JoinError) -> io::Error {
    io::Error::other(error)
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the archive that the agent has, or that are on the way to it.
    pub sent: u64,
    /// Bytes that were unpacked there.
    pub unpacked: u64,
    /// Entries that were made there.
    pub entries: u64,
}

pub(crate) async fn run(
    connection: &quinn::Connection,
    archive: &Archive,
    replace: bool,
    mut progress: impl FnMut(Progress),
) -> Result<Provisioned, ProvisionError> {
    let streams = connection.open_bi().await.map_err(ProvisionError::Connection)?;
    let mut frames = Frames::new(streams, PAYLOAD_BYTES_MAX);
    let Archive { bytes, sha256, .. } = *archive;
    let request = Provision { sha256: sha256.into(), bytes, replace }.into();
    frames.send(&request).await.map_err(ProvisionError::Answer)?;
    let offset = match frames.receive().await.map_err(ProvisionError::Answer)? {
        Message::SendFrom(from) => from.offset,
        other => return verdict(other).and_then(|told| told.ok_or_else(out_of_place)),
    };
    let mut far = Progress { sent: offset, ..Progress::default() };
    progress(far);
    let (mut sender, mut messages) = frames.split();
    let pieces = archive.pieces(offset).map_err(ProvisionError::File)?;
    let (told, mut counted) = tokio::sync::mpsc::channel(1);
    let sending = send(pieces, &mut sender, told);
    tokio::pin!(sending);
    let mut is_sent = false;
    loop {
        // All arms are cancel-safe.
        tokio::select! {
            sent = &mut sending, if !is_sent => match sent {
                Ok(()) => is_sent = true,
                Err(error) => return Err(error),
            },
            Some(bytes) = counted.recv() => {
                far.sent += bytes;
                progress(far);
            }
            message = next(&mut messages) => match message? {
                Told::Progress(ProvisionProgress { unpacked, entries, .. }) => {
                    far = Progress { unpacked, entries, ..far };
                    progress(far);
                }
                Told::Done(provisioned) => return Ok(provisioned),
            },
        }
    }
}

/// What the agent says meanwhile.
enum Told {
    Progress(ProvisionProgress),
    Done(Provisioned),
}

async fn next(messages: &mut Messages) -> Result<Told, ProvisionError> {
    match messages.receive().await.map_err(ProvisionError::Answer)? {
        Message::ProvisionProgress(progress) => Ok(Told::Progress(progress)),
        other => verdict(other)?.map(Told::Done).ok_or_else(out_of_place),
    }
}

/// The last message, if that is what it is.
fn verdict(message: Message) -> Result<Option<Provisioned>, ProvisionError> {
    match message {
        Message::Provisioned(provisioned) => Ok(Some(provisioned)),
        Message::ProvisionFailed(failed) => Err(ProvisionError::Refused {
            reason: failed.reason,
            message: printable(&failed.message),
        }),
        _ => Ok(None),
    }
}

fn out_of_place() -> ProvisionError {
    ProvisionError::Answer(FramesError::Unexpected("message that is no answer, which"))
}

/// Sends the archive and ends the stream. An agent that does not want any more of it says why.
async fn send(
    mut pieces: Pieces,
    sender: &mut SendStream,
    told: tokio::sync::mpsc::Sender<u64>,
) -> Result<(), ProvisionError> {
    loop {
        let (rest, piece) = match pieces.next().await {
            Ok(next) => next,
            Err(error) => {
                // Its end would be the archive's.
                drop(sender.reset(StreamCode::Failed.number().into()));
                return Err(ProvisionError::File(error));
            }
        };
        if piece.is_empty() {
            // If it is stopped, the agent says why.
            drop(sender.finish());
            return Ok(());
        }
        let bytes = piece.len() as u64;
        match sender.write_chunk(piece).await {
            Ok(()) => drop(told.send(bytes).await),
            Err(WriteError::ConnectionLost(error)) => {
                return Err(ProvisionError::Connection(error));
            }
            Err(_) => return Ok(()),
        }
        pieces = rest;
    }
}
