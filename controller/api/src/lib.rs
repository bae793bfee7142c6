//! The documents of vaultctl: what people write, and what they read back.
//!
//! ```text
//!   YAML file ──▶ manifest (located tree) ─┐
//!                                          ├─▶ check ──▶ Document (Tenant | TenantClass) ──▶ set ──▶ resolve ──▶ ResolvedSpec
//!   JSON body over HTTP ───────────────────┘      │                                          │         │
//!                                                 └───────────▶ Problem { path, message } ◀──┴─────────┘
//! ```
//!
//! A [`problem::Problem`] names a path inside a document. The manifest reader turns that path into
//! `FILE:LINE:COLUMN`, the HTTP API turns it into a cause of a Status error: one check, two voices.
//! The structure that [`check`] asks for is the JSON Schema that [`schema`] generates from the
//! types, so that editors, files and HTTP agree.
//!
//! This package knows nothing about networks, databases or clocks.

// What people write and read.
pub mod object;
pub mod status;
pub mod storage;
pub mod tenant;

pub mod age;
pub mod audit;
pub mod connect;
pub mod context;
pub mod diagnosis;
pub mod fleet;
pub mod operator;
pub mod orphan;
pub mod plan;
pub mod tokens;
pub mod trace;
pub mod usage;

// What may be written, piece by piece.
pub mod problem;

pub mod duration;
pub mod names;
pub mod regions;
pub mod selector;
pub mod template;

// Whole documents: one alone, a tenant with its class, several together, files.
pub mod schema;

pub mod check;

pub mod resolve;
pub mod set;

pub mod manifest;
