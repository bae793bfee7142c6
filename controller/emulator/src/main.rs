//! The emulator as a program.

use std::process::ExitCode;

use vault_emulator::{args, sandbox};

fn main() -> ExitCode {
    // Inside a machine this binary prepares the machine's world. That has to happen before any
    // thread exists, hence before anything else.
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|argument| argument == args::MACHINE_INIT) {
        return sandbox::main(arguments);
    }
    match args::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing else is left to say it with.
            #[allow(clippy::print_stderr, reason = "the program's last word")]
            {
                eprintln!("vault-emulator: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
