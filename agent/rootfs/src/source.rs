//! Where the bytes come from: hashed, decompressed, and read ahead in a thread of its own.
//!
//! ```text
//!   thread: reader ─▶ Counted ─▶ gzip, zstd or neither ─▶ pieces ══ PIECES_AHEAD ══▶ Source: BufRead
//!                     sha256     told by the magic                ◀═ empty ones ════
//! ```
//!
//! Decompressing and making files take about as long as each other, so they take turns badly: the
//! thread is what keeps up with `zstd | tar`.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use sha2::{Digest, Sha256};

use crate::limits::{PIECE_BYTES, ZSTD_WINDOW_LOG};

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A bare tar.
    None,
    /// One or more gzip members (RFC 1952).
    Gzip,
    /// One or more zstd frames (RFC 8878).
    Zstd,
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

impl Compression {
    /// What begins with these bytes. No header of a tar begins like gzip or zstd: a name with these
    /// bytes at its start is no text in any encoding that tools write.
    fn of(start: &[u8]) -> Self {
        if start.starts_with(&ZSTD_MAGIC) {
            Self::Zstd
        } else if start.starts_with(&GZIP_MAGIC) {
            Self::Gzip
        } else {
            Self::None
        }
    }
}

/// What is known of the bytes when they have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consumed {
    pub(crate) compression: Compression,
    pub(crate) sha256: [u8; 32],
}

/// Bytes as they come from the reader, counted for everyone and hashed.
struct Counted<'count, R> {
    inner: R,
    count: &'count AtomicU64,
    hash: Sha256,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hash.update(&into[..read]);
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A piece of the archive, or why there is no more. The end of the channel is the end of the bytes.
pub(crate) type Piece = io::Result<Vec<u8>>;

/// Reads, hashes and decompresses until the end, or until nobody takes pieces any more; returns what
/// was read if it was read to its end.
pub(crate) fn feed(
    reader: impl Read,
    count: &AtomicU64,
    pieces: &SyncSender<Piece>,
    empty: &Receiver<Vec<u8>>,
) -> Option<Consumed> {
    match feed_all(reader, count, pieces, empty) {
        Ok(consumed) => consumed,
        Err(error) => {
            // Whoever has gone does not want to know.
            drop(pieces.send(Err(error)));
            None
        }
    }
}

fn feed_all(
    reader: impl Read,
    count: &AtomicU64,
    pieces: &SyncSender<Piece>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<Option<Consumed>> {
    let counted = Counted { inner: reader, count, hash: Sha256::new() };
    let mut start = Vec::with_capacity(ZSTD_MAGIC.len());
    let mut counted = counted;
    (&mut counted).take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start)?;
    let compression = Compression::of(&start);
    let mut input = BufReader::with_capacity(PIECE_BYTES, start.as_slice().chain(&mut counted));
    let whole = match compression {
        Compression::None => pump(&mut input, pieces, empty)?,
        Compression::Gzip => {
            pump(&mut flate2::bufread::MultiGzDecoder::new(&mut input), pieces, empty)?
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            pump(&mut decoder, pieces, empty)?
        }
    };
    // Each of them reads until its input ends, or fails; what is hashed is the whole of it.
    debug_assert!(!whole || input.fill_buf()?.is_empty(), "something is left");
    drop(input);
    Ok(whole.then(|| Consumed { compression, sha256: counted.hash.finalize().into() }))
}

/// Whether all of it was taken.
fn pump(
    input: &mut impl Read,
    pieces: &SyncSender<Piece>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<bool> {
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        piece.resize(PIECE_BYTES, 0);
        let mut filled = 0;
        while filled < piece.len() {
            match input.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(true);
        }
        piece.truncate(filled);
        if pieces.send(Ok(piece)).is_err() {
            return Ok(false);
        }
    }
}

/// The decompressed archive, at the other end of the thread.
pub(crate) struct Source {
    pieces: Receiver<Piece>,
    empty: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    position: usize,
}

impl Source {
    pub(crate) fn new(pieces: Receiver<Piece>, empty: SyncSender<Vec<u8>>) -> Self {
        Self { pieces, empty, piece: Vec::new(), position: 0 }
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(into.len());
        into[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.piece.len() {
            self.position = 0;
            let next = match self.pieces.recv() {
                Ok(next) => next?,
                // The thread is done: the end.
                Err(_) => Vec::new(),
            };
            let taken = std::mem::replace(&mut self.piece, next);
            if taken.capacity() > 0 {
                // A thread that has ended needs no more room.
                drop(self.empty.try_send(taken));
            }
        }
        Ok(&self.piece[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
        debug_assert!(self.position <= self.piece.len(), "more was consumed than is there");
    }
}
