//! Reading what the agent wrote down; see [`crate::audit`].

use minicbor::{Decode, Encode};

/// Send the records.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AuditLogRequest {
    /// From this number on, or from the oldest that is kept; whole files are sent, so there may be some
    /// before it.
    #[n(0)]
    pub from: Option<u64>,
}

/// What comes on this stream after this message: so many bytes, lines of records, and then its end.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AuditLog {
    /// How many.
    #[n(0)]
    pub bytes: u64,
    /// Why there are none, if the machine keeps no records.
    #[n(1)]
    pub message: Option<String>,
}
