//! The controller: it compares what is declared with what the platform reports, and converges.
//!
//! ```text
//!   folder ─┐                                   ┌─▶ observe ◀── Platform (lists)
//!           ├─▶ accept ─▶ Store ─▶ desired ─┐   │
//!   HTTP ───┘               ▲               ├─▶ plan ─▶ execute ─▶ journal ─▶ Platform (one call per action)
//!                           │   settle ◀────┘   │          │
//!                           └── status, events ◀┴──────────┘
//! ```
//!
//! A pass ([`reconcile`]) takes no hint: a timer, a changed file, a request and start-up all run
//! the same code on the same state. It is generic over three seams, [`platform::Platform`],
//! [`store::Store`] and [`clock::Clock`], so that a simulator can drive it.

mod chain;
pub mod clock;
pub mod identity;
pub mod platform;
pub mod select;
pub mod source;

pub mod accept;
pub mod folder;
pub mod store;

mod confirm;
pub mod edits;
pub mod execute;
mod in_turn;
pub mod observe;
pub mod reconcile;
pub mod record;
pub mod secrets;
pub mod setback;
pub mod settle;
pub mod slices;
mod snapshots;
pub mod status;
pub mod storage;
pub mod tokens;
pub mod usage;

pub mod agents;
pub mod args;
pub mod audit;
pub mod connect;
pub mod context;
pub mod diagnosis;
pub mod events;
pub mod fleet;
pub mod http;
mod memory;
pub mod metrics;
pub mod run;
pub mod telemetry;
pub mod view;

#[cfg(test)]
mod testing;

pub use vault_cloud::storage::StorageAccess;
pub use vault_plan::policy;
