//! The agent inside a tenant's machine: it proves which machine it is, checks callers, runs
//! their commands, and connects them to what listens there.
//!
//! ```text
//!              UDP                        secret, out of the environment
//!               │                               │
//!   agent ──▶ admit ── source, penalties, ──▶ connection ──▶ proving ── evidence ──▶ /.fly/api
//!               │      admission              │              └────── access (proofs)
//!               │      (who may come in)      ▼
//!           refuse, Retry               streams/ exec ──▶ process ── spawner thread ──▶ commands
//!                                        │  ▲  forward ──▶ sockets
//!                                        ▼  │ raw bytes, one QUIC stream per pipe
//!                                  input, output
//! ```
//!
//! Linux only. What may be said when stands in `vault-protocol`; what is decided about strangers is
//! plain data (`penalties`, `admission`), and every bound stands in [`limits`].

// As a program.
pub mod args;
pub mod secret;

// Who may come in.
pub mod admission;
pub mod clock;
pub mod limits;
pub mod penalties;
pub mod source;

// Who is who.
pub mod access;
pub mod evidence;
pub mod tls;

// Serving.
pub mod agent;
mod audit;
mod connection;
pub mod counts;
mod framed;
mod helpers;
mod process;
mod provision;
mod reset;
mod roots;
mod sessions;
mod streams;
mod telemetry;
mod workload;

pub use self::agent::{Agent, AgentConfig, StartError};
pub use self::args::main;
pub use self::counts::Counts;
pub use self::helpers::helper;
