//! Every bound of reading images, with its reason.

/// An index, a manifest or a configuration: what registries take at most (4 MiB). All of them are read
/// into memory.
pub(super) const DOCUMENT_BYTES: u64 = 4 << 20;

/// Indexes beneath one another. Tools write one beneath `index.json`.
pub(super) const INDEX_DEPTH: usize = 4;

/// Documents that are read to choose an image. An index has one manifest per platform, and as many
/// for where these came from; the widest in use have some thirty.
pub(super) const DOCUMENTS: usize = 256;

/// Layers of an image. Overlay filesystems take 500 at most, Docker 127.
pub(super) const LAYERS: usize = 512;

/// The agent's binary: it is some 10 MiB, with everything that a debugger wants some 100.
pub(super) const AGENT_BYTES: u64 = 512 << 20;
