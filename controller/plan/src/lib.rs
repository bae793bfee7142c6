//! The pure core: what should exist and what does exist go in, a plan and its report come out.
//!
//! ```text
//!   tenants, classes ──▶ desired ─┐
//!                                 ├─▶ plan(&Desired, &Observed, &Policy, now) ─▶ Plan { actions, report }
//!   platform's lists ─▶ observed ─┘
//! ```
//!
//! Nothing here is asynchronous, reads a clock or draws a random number, so every decision of the
//! controller can be tested on data and replayed. An [`action::Action`] is complete: whoever
//! executes it decides nothing. What the planner leaves undone stands, with its reason, in the
//! [`report::Report`].

pub mod identity;
pub mod metadata;
pub mod time;

pub mod bucket;
pub mod config;
pub mod desired;
pub mod leftovers;
pub mod observed;
pub mod policy;
pub mod token;
pub mod tombstone;

pub mod orphans;

pub mod action;
pub mod report;

mod edits;
mod history;
mod machine;
mod planner;
mod relocation;
mod secret;
#[cfg(test)]
mod testing;
mod volume;

pub use edits::edited_members;
pub use history::{LastUsed, needs_history};
pub use planner::plan;
pub use relocation::{SnapshotsNeeded, needs_snapshots};
