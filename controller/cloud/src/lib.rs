//! Client of the platform that runs the machines: Fly's Machines API, over plain REST.
//!
//! ```text
//!   controller ──▶ MachinesClient ──▶ Limiter ──▶ http::send ──▶ platform
//!                     ▲    │           (action,      one request,      │
//!                     │    │            machine      one answer        │
//!                     │    │            or app)                        ▼
//!                     │    └──◀── backoff: again? ◀── CallError: Rejected | NotSent | Unknown
//!                     └── wire: lenient JSON, a bad row never hides the good ones
//! ```
//!
//! The one question that a caller must be able to answer after a failed write is *did it act?*
//! [`error::CallError`] has one variant per answer: no, it refused; no, it never heard of it;
//! perhaps, so look before repeating. Reads are repeated inside, writes only when the platform
//! said "too many requests".
//!
//! A process that uses this package installs a provider of cryptography once, at its start
//! (`rustls::crypto::ring::default_provider().install_default()`); [`machines::MachinesClient::new`]
//! refuses to work without one. Certificates are checked against the operating system's roots,
//! which are read when a client for an `https` address is built.
//!
//! This package depends on no other package of the workspace and starts no task.

pub mod error;
pub mod operation;

pub mod authorization;
pub mod backoff;
pub mod counts;
pub mod limit;
pub mod sleep;

mod graphql;
mod http;
mod text;
mod xml;

pub mod logs;
pub mod machines;
pub mod storage;
pub mod tokens;
