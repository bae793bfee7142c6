//! The platform on one machine: Fly's Machines API over a pure world, machines as real processes.
//!
//! ```text
//!            HTTP                 lock, change, journal, answer
//!  client ───────▶ api ─────────▶ engine ─────────▶ world      plain data, `now` is an argument
//!                   │ tokens        │  ▲               │
//!                   │ rate_limit    │  │ exits         │ effects
//!                   ▼               ▼  │               ▼
//!                 hooks          journal  runner ◀── effects   processes in namespaces
//!                                            ▲            │
//!  machine ─▶ /.fly/api ─▶ machine_socket ───┼────────────┘ one socket per run
//!                            │               └ agent, /.fly, volume
//!  verifier ─▶ /oidc/… ─▶ oidc ◀── who it is    tokens that say which machine asked
//!  S3 client ─▶ storage ─▶ engine, files        buckets, keys and policies, on a port of their own
//! ```
//!
//! It shares no types with the controller's client, so that a mistake cannot hide on both sides.

pub mod args;
pub mod emulator;

pub mod faults;
pub mod world;

pub mod clock;
mod engine;
pub mod journal;

pub mod api;
pub mod rate_limit;
pub mod tokens;

mod oidc;
pub mod storage;

mod effects;
mod machine_socket;
pub mod process;
pub mod runner;
pub mod sandbox;

pub use self::api::hooks::{AnswerHook, AnswerInfo, Interface, RequestHook, RequestInfo};
pub use self::emulator::{AgentCommand, DEFAULT_ORG, Emulator, EmulatorConfig, MachinesMode};
pub use self::storage::StorageAccess;
