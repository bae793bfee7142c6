//! The package through its public interface: hostile archives, faithful ones, and other people's.
//!
//! ```text
//!   crafted ─▶ attacks      one archive per rule, nothing outside of the root changes
//!   any bytes ▶ properties  the same, for what nobody thought of
//!   a tree ─▶ fidelity      packed and unpacked is the same tree
//!   tar, bsdtar, Python ─▶ compare   the same tree as they make of their archives
//! ```

#![allow(clippy::print_stderr, reason = "what is skipped is said loudly")]

mod attacks;
mod compare;
mod crafted;
mod fidelity;
mod properties;
mod seen;
