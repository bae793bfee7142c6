//! The package through its public interface: hostile archives, faithful ones, and other people's.
//!
//! ```text
//!   crafted ─▶ attacks      one archive per rule, nothing outside of the root changes
//!   any bytes ▶ properties  the same, for what nobody thought of
//!   a tree ─▶ fidelity      packed and unpacked is the same tree
//!   layers               one over the other: what is hidden, and attacks across layers
//!   tar, bsdtar, Python ─▶ compare   the same tree as they make of their archives
//! ```

#![allow(clippy::print_stderr, reason = "what is skipped is said loudly")]

mod attacks;
mod compare;
mod crafted;
mod fidelity;
mod layers;
mod properties;
mod seen;
