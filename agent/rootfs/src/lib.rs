//! A root filesystem as an archive: unpacked without trust in it, packed the same way each time.
//!
//! ```text
//!   bytes ─▶ source ───────────▶ archive ─────────────▶ unpack ─────────▶ tree
//!            sha256, gzip, zstd  headers, one size,     limits, order,    openat2 beneath
//!            in a thread ahead   names, sparse maps     attributes        the root
//!
//!   layers ─▶ the same for each, over what is there ─▶ whiteout: what it hides goes first
//!
//!   folder ─▶ pack/walk ────────▶ pack/record ───────────────▶ zstd ─▶ bytes
//!             sorted, hard links  ustar + PAX, sparse 1.0
//! ```
//!
//! [`unpack`] and [`Layers`] believe nothing: an archive that is not sound in every part is refused as a whole,
//! and the error names the entry. Nothing outside of the given folder is ever touched. What of the
//! staging folder is left after an error is the caller's to remove.
//!
//! Why the archive's framing is our own and only the header's layout comes from the `tar` crate:
//! what decides where the next header stands has to be one number, in one place. The crate falls
//! back to the header's size where it cannot read a PAX record, cuts records at line feeds (which
//! binary attributes contain), ends at the first zero block, and knows no sparse files of PAX. It
//! also keeps extension records of any length in memory.

// What both directions share.
mod attributes;
pub mod limits;
mod name;

// From an archive to a tree.
mod archive;
mod error;
mod source;
mod tree;
mod unpack;

// From the layers of an image to one tree.
mod layers;
mod whiteout;

// From a tree to an archive.
mod pack;

pub use error::{Limit, Problem, UnpackError};
pub use layers::Layers;
pub use limits::{Device, Limits};
pub use name::NameProblem;
pub use pack::{PackError, PackOptions, PackProblem, PackSummary, pack};
pub use source::Compression;
pub use tree::remove_tree;
pub use unpack::{Progress, Summary, unpack};
