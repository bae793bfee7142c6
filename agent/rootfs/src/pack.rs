//! Packing: a folder as a tar.zst, the same bytes each time for the same tree.
//!
//! ```text
//!   folder ─▶ walk: sorted ─▶ record: ustar + PAX ─▶ zstd ─▶ sha256 ─▶ writer
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::archive::{BLOCK, BLOCK_BYTES, Region};
use crate::limits::{DEVICES, Device, PIECE_BYTES};

mod record;
mod walk;

/// How to pack.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// zstd's, 1 (fast) to 22 (small).
    pub level: i32,
    /// Threads that compress, at least 1. Their number does not change the bytes.
    pub threads: u32,
    /// The character devices that may be packed.
    pub devices: Vec<Device>,
}

impl Default for PackOptions {
    /// A level at which zstd makes some 50 MB/s per core and hardly larger archives than at its best.
    fn default() -> Self {
        Self { level: 10, threads: 1, devices: DEVICES.to_vec() }
    }
}

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackSummary {
    /// Of the bytes that were written.
    pub sha256: [u8; 32],
    /// Bytes that were written.
    pub bytes_out: u64,
    /// Bytes of the tar in it.
    pub bytes_in: u64,
    /// All entries, folders and links too.
    pub entries: u64,
    /// Sockets beneath the folder: they mean nothing without the process that listens.
    pub left_out: Vec<PathBuf>,
}

/// Why a folder was not packed.
#[derive(Debug, Error)]
pub enum PackError {
    /// Something of the folder cannot be read.
    #[error("{} cannot be packed: {doing} failed", path.display())]
    Read {
        /// Beneath the folder.
        path: PathBuf,
        /// What was asked of the system.
        doing: &'static str,
        /// Its answer.
        #[source]
        error: io::Error,
    },
    /// Something stands in the folder that an unpacked tree may not have.
    #[error("{} cannot be packed: {problem}", path.display())]
    Refused {
        /// Beneath the folder.
        path: PathBuf,
        /// What it is.
        problem: PackProblem,
    },
    /// The archive cannot be written.
    #[error("the archive cannot be written")]
    Write(#[source] io::Error),
}

/// What cannot be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PackProblem {
    /// A block device, a FIFO or something unknown.
    #[error("it is neither file, folder, symlink nor character device")]
    Type,
    /// A character device that is not listed in `PackOptions::devices`.
    #[error("character device {major}:{minor} is not allowed")]
    Device {
        /// The driver.
        major: u32,
        /// Which device of the driver.
        minor: u32,
    },
    /// Deeper or longer than what is unpacked again.
    #[error("its path is too long or too deep")]
    Path,
    /// The attributes, such as those of access control, do not fit into what is unpacked again.
    #[error("its extended attributes are too large")]
    Attributes,
    /// An extended attribute whose name PAX cannot hold: it has an equals sign in it or is no text.
    #[error("it has an extended attribute whose name does not fit into the archive's format")]
    AttributeName,
    /// A symlink with extended attributes, which unpacking could not set.
    #[error("it is a symlink with extended attributes")]
    SymlinkAttributes,
    /// It was changed while it was read.
    #[error("it was changed meanwhile")]
    Changed,
}

/// Packs a folder as a tar with zstd. The same tree, wherever it is, gives the same bytes at the same
/// level: entries are sorted, owners are numbers, and nothing of this computer is in them.
///
/// # Errors
/// If something cannot be read or written, or stands in the folder that [`crate::unpack`] would refuse.
pub fn pack(
    folder: &Path,
    writer: impl Write,
    options: &PackOptions,
) -> Result<PackSummary, PackError> {
    let hashed = Hashed { inner: writer, bytes: 0, hash: Sha256::new() };
    let mut encoder =
        zstd::stream::write::Encoder::new(hashed, options.level).map_err(PackError::Write)?;
    // Without any thread zstd cuts its input otherwise, and so makes other bytes.
    encoder.multithread(options.threads.max(1)).map_err(PackError::Write)?;
    encoder.include_checksum(true).map_err(PackError::Write)?;
    let mut output = Output { inner: encoder, bytes: 0 };
    let walked = walk::walk(folder, &options.devices, &mut output)?;
    output.write(&[0; 2 * BLOCK_BYTES])?;
    let Output { inner, bytes: bytes_in } = output;
    let mut hashed = inner.finish().map_err(PackError::Write)?;
    hashed.flush().map_err(PackError::Write)?;
    Ok(PackSummary {
        sha256: hashed.hash.finalize().into(),
        bytes_out: hashed.bytes,
        bytes_in,
        entries: walked.entries,
        left_out: walked.left_out,
    })
}

struct Hashed<W> {
    inner: W,
    bytes: u64,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The tar, on its way to be compressed.
struct Output<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Output<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.inner.write_all(bytes).map_err(PackError::Write)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Up to a whole block.
    fn pad(&mut self) -> Result<(), PackError> {
        let padding = usize::try_from(self.bytes.wrapping_neg() % BLOCK).unwrap_or_default();
        self.write(&[0; BLOCK_BYTES][..padding])
    }

    /// A region of a file. `false` if it is shorter than it was.
    fn copy(&mut self, file: &File, region: Region, path: &Path) -> Result<bool, PackError> {
        let mut buffer =
            vec![0; PIECE_BYTES.min(usize::try_from(region.length).unwrap_or(PIECE_BYTES))];
        let Region { mut offset, mut length } = region;
        while length > 0 {
            let most = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            let read = file.read_at(&mut buffer[..most], offset).map_err(|error| {
                PackError::Read { path: path.to_owned(), doing: "reading", error }
            })?;
            if read == 0 {
                return Ok(false);
            }
            self.write(&buffer[..read])?;
            offset += read as u64;
            length -= read as u64;
        }
        Ok(true)
    }
}
