//! The controller as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    vault_controller::args::Args::parse_and_run()
}
