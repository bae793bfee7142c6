//! Every bound of a copy, with its reason.

use std::time::Duration;

/// What is read, sent and received at once, in bytes: large enough that a gigabyte is a few thousand
/// turns between threads, and small enough that the first bytes travel while the next are read.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Chunks between the thread that works with files and the stream: reading, sending, receiving and
/// writing overlap, and one copy holds at most 2 MiB of them.
pub const CHUNKS_IN_FLIGHT: usize = 8;

/// The longest message of a copy, in bytes: a path of the system's longest (4,096) and a reason for it.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// The longest name of an entry, in bytes: Linux takes no longer ones.
pub const NAME_BYTES_MAX: usize = 255;

/// Folders within folders: each one holds a descriptor while it is copied. Trees of packages within
/// packages are some thirty deep; a link to a folder above it ends here.
pub const DEPTH_MAX: usize = 128;

/// Files and folders of one copy: ten times what a large home folder holds. Without a bound the other
/// end could fill a disk with empty files for ever.
pub const ENTRIES_MAX: u64 = 10_000_000;

/// How much of the other end's words is kept, in characters: enough for a path and a sentence.
pub const SHOWN_CHARACTERS_MAX: usize = 1024;

/// How long the last word of a copy may take to be acknowledged: whoever has no network by then does
/// not miss it.
pub const DELIVERY_PATIENCE: Duration = Duration::from_secs(2);
