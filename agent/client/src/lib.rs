//! Client of the agent inside a machine: believes it by its evidence, proves itself, runs commands,
//! forwards connections, copies files.
//!
//! ```text
//!   Client::connect(target, keys)
//!     │  QUIC, TLS 1.3; whose certificate it is says nothing, that the peer holds its key is checked
//!     │  Hello ──▶          ◀── Evidence
//!     │  evidence::verify: signed by the issuer, of this machine, for this very connection
//!     ▼
//!   Attested ── health() ──▶ version, boot, readiness
//!     │
//!     │  prove(key): a MAC over this connection; the key itself is never sent
//!     ▼
//!   Connection ── exec(command) ──▶ Exec { stdin, stdout, stderr, control }
//!     ▲  │                                 ▲       ▲
//!     │  └──── dial(destination) ──▶ Dialed │       │  two halves, or copied to a socket
//!     └── one task hands the agent's one-way streams to the command that each belongs to
//! ```
//!
//! The types follow the order of trust: an [`connect::Attested`] exists only after the evidence was
//! verified, a [`connection::Connection`] only after the agent accepted the proof. Errors say whether it
//! makes sense to try again ([`connect::ConnectError::is_retryable`]), and whether a command may
//! have run ([`exec::ExecError`]).
//!
//! A process that lets this package read an issuer's keys installs a provider of cryptography once,
//! at its start (`rustls::crypto::ring::default_provider().install_default()`). The time comes from
//! the caller, in Unix seconds.

// Whom to believe.
pub mod evidence;
pub mod issuer;

// One connection.
pub mod connect;

// What is done over it.
pub mod audit_log;
pub mod connection;
pub mod copy;
pub mod dial;
pub mod exec;
pub mod provision;
pub mod sessions;

mod bytes;
mod frames;
mod text;
mod tls;
mod transport;

pub use audit_log::{AuditLog, AuditLogError};
pub use connect::{Attested, Client, ClientError, ConnectError, Target};
pub use connection::Connection;
pub use copy::{CopyError, MachineTarget};
pub use dial::{DialError, Dialed};
pub use evidence::{EvidenceError, ExpectedIdentity};
pub use exec::{
    Command, Control, ControlError, Exec, ExecError, Keep, Missed, Output, OutputError,
    ResumeError, Stdin,
};
pub use issuer::{IssuerKeys, KeysError};
pub use provision::{Archive, ProvisionError, Provisioned};
pub use sessions::SessionsError;

pub use vault_files::{Copied, Meter, Target as LocalTarget};
pub use vault_protocol as protocol;
pub use vault_relay::{Relayed, Socket};
