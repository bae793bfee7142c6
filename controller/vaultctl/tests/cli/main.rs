//! The built binary against a fake of the controller's HTTP contract.

use std::io::Write as _;

mod changing;
mod choosing;
mod completing;
mod configuring;
mod describing;
mod fake;
mod plugging;
mod pruning;
mod reading;
mod tokens;
mod usage;
mod watching;
mod writing;

#[cfg(feature = "dev")]
mod live;

/// Says that a part of the tests was left out. Written past the test harness, which would keep it
/// to itself.
fn skipped(why: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}
