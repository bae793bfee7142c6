//! The agent as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    vault_agent::helper().unwrap_or_else(|| vault_agent::main(std::env::args_os()))
}
