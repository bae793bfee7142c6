//! The messages of a copy of files.
//!
//! ```text
//!   client ── CopyRequest ──▶ agent, and then, by its direction:
//!
//!   sender                                                     receiver
//!     │── CopyEntry (a file) ── its bytes, raw ────────────────▶│ writes it
//!     │── CopyEntry (a folder) ── its entries ── CopyFolderEnd ▶│ makes it
//!     │── CopySent ────────────────────────────────────────────▶│
//!     │◀──────────────────────── CopyDone, when all is on the disk
//!
//!   to resume, before a file's bytes:
//!     │◀── CopyPartial (so many bytes are there, their digest) ─│
//!     │── CopyFrom (so many of them need not come again) ──────▶│
//! ```
//!
//! Either side says [`CopyFailed`] instead of its next message, and nothing after that. A sender that
//! cannot go on within a file's bytes resets the stream.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

/// Copy one file, or one folder with everything in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CopyRequest {
    /// Which way.
    #[n(0)]
    pub direction: Direction,
    /// In the machine: absolute, or beneath the home folder, for which `~` may stand.
    #[n(1)]
    pub path: ByteVec,
    /// The name that it gets in a destination that is a folder; without one, the entries of a folder go
    /// into the destination themselves. Of use to a receiving agent alone.
    #[n(2)]
    pub name: Option<ByteVec>,
    /// How.
    #[n(3)]
    pub options: CopyOptions,
}

/// Which way files are copied. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Direction {
    /// Into the machine.
    #[n(0)]
    Upload,
    /// Out of it.
    #[n(1)]
    Download,
}

/// How files are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CopyOptions {
    /// A folder may be copied, with everything in it.
    #[n(0)]
    pub recursive: bool,
    /// Modes become what they were, whatever the umask, and so do the times of the last change.
    #[n(1)]
    pub preserve: bool,
    /// What an earlier copy left is continued, and what this one leaves is kept.
    #[n(2)]
    pub resume: bool,
    /// The destination has to be a folder that is there.
    #[n(3)]
    pub into_folder: bool,
}

/// A file or a folder begins.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CopyEntry {
    /// Which of them.
    #[n(0)]
    pub kind: EntryKind,
    /// One component of a path; of no meaning for the first entry, whose name the client has chosen.
    #[n(1)]
    pub name: ByteVec,
    /// The permission bits, 0 to 0o777.
    #[n(2)]
    pub mode: u32,
    /// When its content last changed: seconds since 1970.
    #[n(3)]
    pub modified_seconds: i64,
    /// And nanoseconds, 0 to 999,999,999.
    #[n(4)]
    pub modified_nanoseconds: u32,
    /// How many bytes a file has; 0 for a folder.
    #[n(5)]
    pub size: u64,
}

/// What an entry is. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EntryKind {
    /// As many raw bytes as its size says come next.
    #[n(0)]
    File,
    /// Its entries come next, and then a [`CopyFolderEnd`].
    #[n(1)]
    Folder,
}

/// The folder that began last, and has not ended, has no more entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CopyFolderEnd {}

/// What the receiver has of the file whose entry came last.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CopyPartial {
    /// How many bytes; never more than the file has.
    #[n(0)]
    pub bytes: u64,
    /// Their SHA-256.
    #[n(1)]
    pub sha256: ByteArray<32>,
}

/// Where the raw bytes begin: at the end of what the receiver has, or at 0 if that is not the file's.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CopyFrom {
    /// The offset of the first byte that comes.
    #[n(0)]
    pub offset: u64,
}

/// All entries were sent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CopySent {
    /// How many things in the folder were passed over, because they are neither files nor folders, or
    /// links that lead nowhere.
    #[n(0)]
    pub skipped: u64,
    /// The path of the first of them.
    #[n(1)]
    pub first_skipped: Option<ByteVec>,
}

/// All entries are on the receiver's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CopyDone {
    /// How many files.
    #[n(0)]
    pub files: u64,
    /// How many folders.
    #[n(1)]
    pub folders: u64,
    /// How many bytes of files came; less than they have where some were there.
    #[n(2)]
    pub bytes: u64,
}

/// The copy goes no further.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CopyFailed {
    /// Where.
    #[n(0)]
    pub path: ByteVec,
    /// Why, for people.
    #[n(1)]
    pub message: String,
}
