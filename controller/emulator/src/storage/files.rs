//! Buckets on disk: `DIR/buckets/BUCKET ID/FILE`, both names drawn here and never by callers.
//!
//! A file is written beside its name and renamed when it is whole; then the world takes it, or it is
//! removed. What a killed emulator leaves is in no row of the world, and is swept by the next one.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt, try_unfold};
use s3s::StdError;
use s3s::crypto::{Checksum as _, Md5};
use thiserror::Error;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufWriter, SeekFrom};

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes of one step of reading.
const READ_BYTES: usize = 64 * 1024;
/// Random bytes of a file's name.
const NAME_BYTES: usize = 16;

/// Why bytes were not stored.
#[derive(Debug, Error)]
pub(super) enum StoreError {
    /// The caller's body did not arrive as it should have.
    #[error("reading the body: {0}")]
    Body(StdError),
    /// More than may come.
    #[error("the body is too large")]
    TooLarge,
    /// The file system refused.
    #[error("storing")]
    Io(#[from] io::Error),
}

/// The folder of all buckets.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
}

/// A file that is whole, and removed unless somebody keeps it.
#[derive(Debug)]
pub(super) struct Stored {
    /// Its name in its bucket's folder.
    pub(super) file: String,
    /// In bytes.
    pub(super) size: u64,
    /// Of all its bytes.
    pub(super) md5: [u8; 16],
    draft: Draft,
}

#[derive(Debug)]
struct Draft {
    path: PathBuf,
    kept: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.path);
        }
    }
}

impl Stored {
    /// Keeps the file: the world has it.
    pub(super) fn keep(mut self) {
        self.draft.kept = true;
    }
}

impl Files {
    /// Makes the folder if it is missing.
    pub(super) fn new(root: PathBuf) -> anyhow::Result<Self> {
        make(&root).with_context(|| format!("making {}", root.display()))?;
        Ok(Self { root })
    }

    /// Removes all files but those that the world knows, by bucket id and name.
    pub(super) fn sweep(&self, known: &BTreeSet<(String, String)>) -> io::Result<()> {
        for folder in std::fs::read_dir(&self.root)? {
            let folder = folder?;
            let Some(bucket) = folder.file_name().to_str().map(str::to_owned) else { continue };
            for file in std::fs::read_dir(folder.path())? {
                let file = file?;
                let name = file.file_name().to_string_lossy().into_owned();
                if !known.contains(&(bucket.clone(), name)) {
                    std::fs::remove_file(file.path())?;
                }
            }
            // A bucket without objects needs none; it is made again with the first one.
            match std::fs::remove_dir(folder.path()) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Stores a body of at most `most` bytes; `seen` is shown every piece.
    pub(super) async fn store(
        &self,
        bucket_id: &str,
        mut body: impl Stream<Item = Result<Bytes, StdError>> + Unpin,
        most: u64,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<Stored, StoreError> {
        let (name, mut draft) = self.draft(bucket_id)?;
        let file = File::from_std(create(&draft.path)?);
        let mut writer = BufWriter::with_capacity(WRITE_BYTES, file);
        let (mut size, mut md5) = (0_u64, Md5::new());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(StoreError::Body)?;
            size += piece.len() as u64;
            if size > most {
                return Err(StoreError::TooLarge);
            }
            md5.update(&piece);
            seen(&piece);
            writer.write_all(&piece).await?;
        }
        writer.flush().await?;
        self.finish(bucket_id, &name, &mut draft)?;
        Ok(Stored { file: name, size, md5: md5.finalize(), draft })
    }

    /// Stores the bytes of files of one bucket, one after the other.
    pub(super) async fn join(
        &self,
        bucket_id: &str,
        files: &[String],
    ) -> Result<Stored, StoreError> {
        let (name, mut draft) = self.draft(bucket_id)?;
        let mut target = File::from_std(create(&draft.path)?);
        let mut size = 0;
        for file in files {
            let mut source = self.open(bucket_id, file).await?;
            size += tokio::io::copy(&mut source, &mut target).await?;
        }
        target.flush().await?;
        self.finish(bucket_id, &name, &mut draft)?;
        Ok(Stored { file: name, size, md5: [0; 16], draft })
    }

    /// Gives a bucket a file of another one, or of its own, under a new name. Files never change, so
    /// both names stand for the same bytes.
    pub(super) fn link(
        &self,
        (from, file): (&str, &str),
        bucket_id: &str,
    ) -> Result<Stored, StoreError> {
        let (name, _unused) = self.draft(bucket_id)?;
        let path = self.path(bucket_id, &name);
        std::fs::hard_link(self.path(from, file), &path)?;
        let draft = Draft { path, kept: false };
        Ok(Stored { file: name, size: 0, md5: [0; 16], draft })
    }

    /// Opens a file to read it.
    pub(super) async fn open(&self, bucket_id: &str, file: &str) -> io::Result<File> {
        File::open(self.path(bucket_id, file)).await
    }

    /// Removes a file that is nobody's any more.
    pub(super) fn remove(&self, bucket_id: &str, file: &str) {
        remove(&self.path(bucket_id, file));
    }

    /// Removes the folder of a bucket that is gone.
    pub(super) fn remove_bucket(&self, bucket_id: &str) {
        let path = self.root.join(bucket_id);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a bucket's folder stays behind");
            }
            _ => {}
        }
    }

    fn draft(&self, bucket_id: &str) -> io::Result<(String, Draft)> {
        let mut bytes = [0; NAME_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let name = data_encoding::HEXLOWER.encode(&bytes);
        make(&self.root.join(bucket_id))?;
        let path = self.path(bucket_id, &format!("{name}.part"));
        Ok((name, Draft { path, kept: false }))
    }

    fn finish(&self, bucket_id: &str, name: &str, draft: &mut Draft) -> io::Result<()> {
        let whole = self.path(bucket_id, name);
        std::fs::rename(&draft.path, &whole)?;
        draft.path = whole;
        Ok(())
    }

    fn path(&self, bucket_id: &str, file: &str) -> PathBuf {
        self.root.join(bucket_id).join(file)
    }
}

/// The bytes of a file from a place on, that many of them.
pub(super) async fn bytes(
    mut file: File,
    start: u64,
    length: u64,
) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static> {
    file.seek(SeekFrom::Start(start)).await?;
    Ok(try_unfold((file, length), async |(mut file, left)| {
        let step = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
        if step == 0 {
            return Ok(None);
        }
        let mut buffer = vec![0; step];
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        buffer.truncate(read);
        Ok(Some((Bytes::from(buffer), (file, left - read as u64))))
    }))
}

fn make(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn create(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            // The next start sweeps it.
            tracing::warn!(path = %path.display(), %error, "a file stays behind");
        }
        _ => {}
    }
}
