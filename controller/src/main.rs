//! The controller as a program of its own.

use std::process::ExitCode;

/// A pass makes many small values and drops them together; with this allocator planning takes 0.6
/// of the time (BENCHMARKS.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vault_controller::args::Args::parse_and_run()
}
