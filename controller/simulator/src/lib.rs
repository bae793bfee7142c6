//! The controller's own code on virtual time, over a platform that fails on purpose, from one seed.
//!
//! ```text
//!   seed ─▶ story, faults ─▶ run: ┌ actor: processes, each with the controller's own passes ┐
//!                                 ├ nature: people and hosts that meddle                    ├─▶ oracles
//!                                 └ universe: time, platform, disks, chance                 ┘      │
//!                                                        a violation, a readable trace, a seed ◀───┘
//! ```
//!
//! Nothing here decides anything for the controller: it runs [`vault_controller::reconcile`] over the
//! three seams that production has, and the emulator's pure world behind one of them.

/// A pass makes many small values and drops them together: with this allocator a seed takes a fifth
/// less time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod actor;
pub mod boundary;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod coverage;
pub mod fate;
pub mod faults;
pub mod ledger;
pub mod lists;
pub mod matrix;
pub mod mutants;
pub mod nature;
pub mod oracle;
pub mod pause;
pub mod platform;
pub mod process;
pub mod range;
pub mod run;
pub mod seed;
pub mod store;
pub mod trace;
pub mod universe;
pub mod verb;
pub mod workload;
