//! `vault-simulator`

use std::process::ExitCode;

fn main() -> ExitCode {
    vault_simulator::cli::main()
}
