//! The platform's bad days, on demand: what fails, for whom, when and how often.
//!
//! ```text
//!  FILE, PUT /_emulator/faults ──▶ document ──▶ Faults ◀── the world asks: slow image, update undone,
//!                                                 ▲  │         claim that lingers, … (world/quirks)
//!            a call arrives ── may it act? ───────┘  │
//!            its answer is ready ── shown as it is? ─┘   the clock: errands that are due
//! ```
//!
//! Everything here is plain data and pure decisions: `now` is an argument, chance follows from a
//! seed. The doing stands in `api/faults.rs` (calls and answers) and `world/quirks.rs` (machines).

mod action;
mod answers;
mod armed;
mod document;
pub(crate) mod glob;
mod help;
mod history;
mod kind;
mod member;
mod operation;
mod problem;
mod schedule;

#[cfg(test)]
mod tests;

pub use self::action::{ACTIONS, Action, Call, Subject};
pub use self::armed::{Errand, Faults, Hit};
pub use self::document::Fault;
pub use self::help::HELP;
pub use self::kind::{Happening, Kind, Reply};
pub use self::operation::OPERATIONS;
pub use self::problem::{FaultProblem, FaultProblems};
