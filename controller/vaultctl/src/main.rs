//! `vaultctl`: kubectl's grammar for tenants on Fly.io.
//!
//! ```text
//!   argv ──▶ cli (clap) ──▶ commands/* ──▶ client ──HTTPS──▶ the controller's resource API
//!                               │
//!                               ├──▶ output   results on stdout; notes and progress on stderr
//!                               └──▶ error    what went wrong, said once ──▶ exit code
//! ```

mod cli;
mod client;
mod clock;
mod commands;
mod context;
mod conversation;
mod ends;
mod error;
mod follow;
mod forwarding;
mod image;
mod input;
mod object;
mod output;
mod plugins;
mod poll;
mod private_file;
mod profile;
mod provisioning;
mod reach;
mod reference;
mod terminal;

/// The controller's allocator, because `dev` runs a controller.
#[cfg(feature = "dev")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Inside a machine this binary prepares the machine's world, and is its agent. That has to happen
    // before any thread exists, hence before anything else.
    #[cfg(feature = "dev")]
    {
        if let Some(code) = vault_agent::helper() {
            return code;
        }
        let mut arguments = std::env::args_os();
        match arguments.nth(1) {
            Some(argument) if argument == commands::dev::MACHINE_INIT => {
                return vault_emulator::sandbox::main(arguments);
            }
            Some(argument) if argument == commands::dev::AGENT => {
                return vault_agent::main(std::env::args_os().skip(1));
            }
            _ => {}
        }
    }
    cli::main()
}
