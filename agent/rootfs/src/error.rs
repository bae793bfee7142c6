//! Why an archive was not unpacked, with the entry that it is about.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::name::NameProblem;

/// Why [`crate::unpack`] failed. The folder then holds a part of the tree, or none.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The folder is not an empty one that can be used.
    #[error("the folder to unpack into cannot be used")]
    Folder(#[source] io::Error),
    /// The folder has something in it already, so what is in it would not be what the archive says.
    #[error("the folder to unpack into is not empty")]
    NotEmpty,
    /// An entry is refused, and with it the archive.
    #[error("entry {name} (at byte {offset} of the archive) is refused")]
    Entry {
        /// The entry, escaped where it is not text. Until a header is read whole it is the one before;
        /// `?` before the first.
        name: String,
        /// Where its header stands in the decompressed archive.
        offset: u64,
        /// What is wrong.
        #[source]
        problem: Problem,
    },
    /// A layer cannot be opened.
    #[error("the layer cannot be opened")]
    Open(#[source] io::Error),
    /// A layer is read twice, and its bytes were others the second time.
    #[error("the layer was changed while it was read")]
    Changed,
    /// Everything was unpacked, and the end went wrong.
    #[error("what was unpacked cannot be brought to the disk")]
    Sync(#[source] io::Error),
}

/// What is wrong with an entry.
#[derive(Debug, Error)]
pub enum Problem {
    /// Its name leads elsewhere, or nowhere.
    #[error("its name {0}")]
    Name(NameProblem),
    /// The target of a link.
    #[error("the target of its link {0}")]
    Target(NameProblem),
    /// Something above it in the tree is not a folder, but for example a symlink.
    #[error("{0} above it is not a folder")]
    Above(String),
    /// A folder that has something in it stands there.
    #[error("it would replace a folder that is not empty")]
    FolderInTheWay,
    /// The root itself can only be a folder.
    #[error("the root has to be a folder")]
    Root,
    /// The hard link leads to nothing that this archive made, or to itself.
    #[error("its hard link leads to {0}, which is not a file made by an earlier entry")]
    Link(String),
    /// In a layer: a name with a part that begins with `.wh.` and hides nothing.
    #[error(
        "names that begin with .wh. are kept for whiteouts, which are empty files `.wh.NAME` or \
         `.wh..wh..opq`"
    )]
    Whiteout,
    /// A device that is not allowed.
    #[error("character device {major}:{minor} is not allowed here")]
    Device {
        /// The driver.
        major: u32,
        /// Which device of the driver.
        minor: u32,
    },
    /// A kind of entry that is not made: block device, FIFO, or unknown.
    #[error("entries of type {:?} are refused", char::from(*.0))]
    Type(u8),
    /// The header is none: neither ustar, GNU nor the old form.
    #[error("its header has an unknown format")]
    Format,
    /// The header's checksum does not fit.
    #[error("the checksum of its header is wrong")]
    Checksum,
    /// A number in a header or record cannot be read, or is out of bounds.
    #[error("the number in its field {0} is none, or out of bounds")]
    Number(&'static str),
    /// Header and record disagree about where the entry ends, so that two readers could see two
    /// archives in the same bytes.
    #[error("its header says {header} bytes and its extension record {record}")]
    TwoSizes {
        /// The header's.
        header: u64,
        /// The record's.
        record: u64,
    },
    /// A link, folder or device that says it has content: readers do not agree on skipping that.
    #[error("it has content ({0} bytes) though it is no file")]
    Content(u64),
    /// Something is said twice, in ways that readers weigh differently.
    #[error("{0} stands there twice")]
    Twice(String),
    /// An extension record is damaged.
    #[error("an extension record is damaged")]
    Record,
    /// An extension record that is not understood, and would be lost.
    #[error("extension record {0} is not supported")]
    Unsupported(String),
    /// The archive ends between an extension record and what it describes.
    #[error("an extension record stands at the end, without its entry")]
    Dangling,
    /// The map of a sparse file is none.
    #[error("its map of a sparse file is damaged")]
    Sparse,
    /// The archive ends in it, or before its end marker.
    #[error("the archive ends too early")]
    Truncated,
    /// Something other than zeros stands after the end of the archive.
    #[error("something stands after the end of the archive")]
    Trailing,
    /// A limit is exceeded.
    #[error("{0}")]
    Limit(Limit),
    /// The bytes cannot be read or decompressed: the reader failed, or the compressed stream is
    /// damaged or followed by something else.
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
    /// The filesystem refused.
    #[error("{doing} failed")]
    System {
        /// What was asked of it.
        doing: &'static str,
        /// Its answer.
        #[source]
        error: io::Error,
    },
}

impl Problem {
    /// For `map_err`: a system call that failed.
    pub(crate) fn system(doing: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |error| Self::System { doing, error: error.into() }
    }
}

/// A limit that an archive exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `Limits::bytes`.
    Bytes(u64),
    /// `Limits::ratio`.
    Ratio(u64),
    /// `Limits::entries`.
    Entries(u64),
    /// `Limits::depth`.
    Depth(usize),
    /// `Limits::file_bytes`.
    FileBytes(u64),
    /// [`crate::limits::RECORDS_BYTES`].
    Records(u64),
    /// [`crate::limits::SPARSE_REGIONS`].
    Regions(u64),
    /// [`crate::limits::HELD_BYTES`].
    Held(usize),
    /// [`crate::limits::PADDING_BYTES`].
    Padding(u64),
    /// `Limits::reserve_percent`, of space.
    Space(u64),
    /// `Limits::reserve_percent`, of inodes.
    Inodes(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(limit) => write!(formatter, "more than {limit} bytes are to be unpacked"),
            Self::Ratio(limit) => {
                write!(formatter, "it is more than {limit} times as large as its compressed bytes")
            }
            Self::Entries(limit) => write!(formatter, "there are more than {limit} entries"),
            Self::Depth(limit) => write!(formatter, "more than {limit} folders are above it"),
            Self::FileBytes(limit) => write!(formatter, "it has more than {limit} bytes"),
            Self::Records(limit) => {
                write!(formatter, "an extension record has more than {limit} bytes")
            }
            Self::Regions(limit) => write!(formatter, "it has more than {limit} pieces"),
            Self::Held(limit) => {
                write!(formatter, "the folders' names and attributes need more than {limit} bytes")
            }
            Self::Padding(limit) => {
                write!(formatter, "more than {limit} zeros stand after the end of the archive")
            }
            Self::Space(percent) => {
                write!(formatter, "less than {percent} % of space would be free")
            }
            Self::Inodes(percent) => {
                write!(formatter, "less than {percent} % of inodes would be free")
            }
        }
    }
}
