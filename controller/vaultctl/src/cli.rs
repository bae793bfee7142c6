//! The command line as a whole: global flags, one subcommand, one runtime, one exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::client::Client;
use crate::commands::Command;
use crate::context;
use crate::error::{describe, exit_of};
use crate::output::Output;

/// Keep tenant VMs on Fly.io as their manifests say
///
/// A tenant is a customer's machines and volumes, written down in a YAML manifest. A controller
/// compares the manifests with what exists at Fly.io and makes the difference go away; vaultctl
/// talks to that controller.
#[derive(Debug, Parser)]
#[command(
    name = "vaultctl",
    version,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_long_help = AFTER_HELP
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
EXIT CODES:
  0   done (diff: no difference)
  1   diff: there is a difference
  2   wrong usage or bad input
  3   conflict: someone else owns or changed it
  4   not found
  5   timeout
  6   the platform or the controller failed, or cannot be reached
  10  partly done

  exec answers the command's own code: 128+n if signal n ended it, and 255 if vaultctl itself
  failed.

CONTEXT:
  Commands find the controller through a context file: VAULTCTL_CONFIG, then
  ./.vaultctl/config.yaml, then ~/.config/vaultctl/config.yaml.";

/// The flags of all commands.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Globals {
    /// The context file, which says where the controller is and how to trust it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "VAULTCTL_CONFIG",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    context_file: Option<PathBuf>,

    /// The context to use of that file, if not its current one
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    context: Option<String>,
}

impl Globals {
    /// The controller that the context file names.
    ///
    /// # Errors
    /// No context file can be used, or what it says.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let home = std::env::home_dir();
        let paths = context::candidates(self.context_file.as_deref(), home.as_deref());
        let context = context::load(&paths, self.context.as_deref())?;
        Ok(Client::new(&context)?)
    }
}

/// The whole grammar, for scripts that complete command lines.
pub(crate) fn grammar() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command and says what went wrong, once.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut output = Output::new();
    let result = match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let result = runtime.block_on(cli.command.run(&cli.globals, &mut output));
            // A thread that reads standard input cannot be told to stop, and is not waited for.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        output.note(&describe(&error));
        exit_of(&error).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn the_command_line_is_consistent() {
        grammar().debug_assert();
    }

    #[test]
    fn the_help_names_every_exit_code() {
        for exit in [
            Exit::Success,
            Exit::Different,
            Exit::BadInput,
            Exit::Conflict,
            Exit::NotFound,
            Exit::Timeout,
            Exit::Platform,
            Exit::Partly,
        ] {
            assert!(AFTER_HELP.contains(&format!("\n  {:<4}", exit as u8)), "{exit:?}");
        }
    }
}
