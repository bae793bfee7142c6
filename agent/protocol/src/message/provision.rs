//! Giving a machine its root filesystem.
//!
//! ```text
//!   Provision ──▶ SendFrom ──▶ the archive's bytes from there on, and then the end
//!                 ProvisionProgress … ◀──┴──▶ Provisioned, or ProvisionFailed
//! ```

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

/// Unpack an archive, and boot what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Provision {
    /// SHA-256 of all its bytes. What was sent before of the same archive is not sent again.
    #[n(0)]
    pub sha256: ByteArray<32>,
    /// How many bytes it has.
    #[n(1)]
    pub bytes: u64,
    /// Take the place of the root filesystem that is in use. Without this only a machine that has none
    /// gets one.
    #[n(2)]
    pub replace: bool,
}

/// Send the archive from here on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SendFrom {
    /// So many bytes of it have come before, over an earlier connection.
    #[n(0)]
    pub offset: u64,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProvisionProgress {
    /// Bytes of the archive that were unpacked.
    #[n(0)]
    pub received: u64,
    /// Bytes that came out of them.
    #[n(1)]
    pub unpacked: u64,
    /// Entries that were made.
    #[n(2)]
    pub entries: u64,
}

/// The machine runs it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Provisioned {
    /// It did so already; nothing was done.
    #[n(0)]
    pub unchanged: bool,
    /// Entries that were made.
    #[n(1)]
    pub entries: u64,
    /// Bytes that were unpacked.
    #[n(2)]
    pub unpacked: u64,
}

/// The machine does not run it. What it ran before it still runs, or again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProvisionFailed {
    /// For programs.
    #[n(0)]
    pub reason: ProvisionFailedReason,
    /// For people.
    #[n(1)]
    pub message: String,
}

reasons! {
    /// Why a machine does not run what it was sent.
    ProvisionFailedReason {
        /// Another archive is being unpacked.
        0 Busy,
        /// The machine has a root filesystem, and was not asked to replace it.
        1 InUse,
        /// The archive is not sound, or too large. The message names the entry.
        2 Archive,
        /// The bytes that came are not those that were announced.
        3 Digest,
        /// It was unpacked, and does not boot, or ends at once.
        4 Boot,
        /// This machine can have no root filesystem of its own.
        5 Unsupported,
        /// The agent is ending.
        6 ShuttingDown,
        /// The machine's fault.
        7 Internal,
        /// Another connection sends it now.
        8 TakenOver,
    }
}
