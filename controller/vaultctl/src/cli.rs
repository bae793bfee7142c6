//! The command line as a whole: global flags, one subcommand, one runtime, one exit code.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use vault_api::context::Context;

use crate::client::Client;
use crate::commands::Command;
use crate::context::{self, ContextError};
use crate::conversation::OWN_FAILURE;
use crate::error::{describe, exit_of};
use crate::output::Output;
use crate::plugins;

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
  1   diff: there is a difference; why: the tenant is not Ready
  2   wrong usage or bad input
  3   conflict: someone else owns or changed it
  4   not found
  5   timeout
  6   the platform or the controller failed, or cannot be reached
  10  partly done

  exec and connect answer the command's own code: 128+n if signal n ended it, and 255 if vaultctl
  itself failed.

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
        // Empty is for us to judge: in the environment it means "not set".
        value_parser = OsStringValueParser::new().map(PathBuf::from),
        env = "VAULTCTL_CONFIG",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    context_file: Option<PathBuf>,

    /// The context to use of that file, if not its current one
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    context: Option<String>,

    /// Colours: where they make sense, always or never; NO_COLOR in the environment wins
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Global options"
    )]
    color: Color,

    /// Whether the context file was named on the command line.
    #[arg(skip)]
    is_file_from_flag: bool,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On terminals
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

impl Color {
    /// `NO_COLOR` (any text but none, see no-color.org) wins over the flag, and the flag over the
    /// terminal.
    fn choice(self, no_color: Option<&OsStr>) -> ColorChoice {
        match self {
            _ if no_color.is_some_and(|value| !value.is_empty()) => ColorChoice::Never,
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        }
    }
}

impl Globals {
    /// The places of the context file, in the order in which they are looked at.
    pub(crate) fn context_files(&self) -> Vec<PathBuf> {
        context::candidates(self.context_file.as_deref(), std::env::home_dir().as_deref())
    }

    /// The context that the command line names.
    pub(crate) fn context_name(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// Why the context file is this one, for people.
    pub(crate) fn file_source(&self, path: &Path) -> String {
        match &self.context_file {
            Some(_) if self.is_file_from_flag => "--context-file".to_owned(),
            Some(_) => "VAULTCTL_CONFIG".to_owned(),
            None => {
                let files = self.context_files();
                let before = files.iter().take_while(|file| *file != path);
                let absent: Vec<String> = before.map(|file| file.display().to_string()).collect();
                match absent.as_slice() {
                    [] => "being there".to_owned(),
                    absent => format!("being there, and not {}", absent.join(", ")),
                }
            }
        }
    }

    /// The controller that the context file names.
    ///
    /// # Errors
    /// No context file can be used, or what it says.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.context()?)?)
    }

    /// The context that the command line names, or the current one.
    ///
    /// # Errors
    /// No context file can be used, or it does not have it.
    pub(crate) fn context(&self) -> Result<Context, ContextError> {
        context::load(&self.context_files(), self.context.as_deref())
    }

    /// The controller of a context, whichever is the current one.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub(crate) fn client_of(&self, context: &str) -> anyhow::Result<Client> {
        Ok(Client::new(&context::load(&self.context_files(), Some(context))?)?)
    }
}

/// The whole grammar, for scripts that complete command lines.
pub(crate) fn grammar() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command and says what went wrong, once.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = plugin_context_file();
    if let Some(exit) = plugins::run(&arguments, &grammar(), &path, file.as_deref()) {
        return exit;
    }
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    cli.globals.color.choice(std::env::var_os("NO_COLOR").as_deref()).write_global();
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

/// The command line, understood.
fn parsed() -> Result<Cli, clap::Error> {
    let matches = grammar().try_get_matches()?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.globals.is_file_from_flag =
        matches.value_source("context_file") == Some(ValueSource::CommandLine);
    let named = cli.globals.context_file.take_if(|file| file.as_os_str().is_empty());
    if named.is_some() && cli.globals.is_file_from_flag {
        return Err(grammar().error(ErrorKind::InvalidValue, "--context-file names no file"));
    }
    Ok(cli)
}

/// Says what is wrong with the command line, or the help that was asked for. Of `exec` and
/// `connect`, every code but 255 is the command's own, so a slip of ours must not look like one of
/// them.
fn refused(error: &clap::Error) -> ExitCode {
    // There is nowhere to complain when the stream is closed.
    error.print().ok();
    let mut grammar = grammar().ignore_errors(true);
    let matches = grammar.try_get_matches_from_mut(std::env::args_os());
    match matches.as_ref().map(clap::ArgMatches::subcommand_name) {
        Ok(Some("exec" | "connect")) if error.use_stderr() => OWN_FAILURE.into(),
        _ => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// The context file that we would use, for a plugin: the one of the environment as it is, else the
/// first that is there.
fn plugin_context_file() -> Option<PathBuf> {
    if std::env::var_os("VAULTCTL_CONFIG").is_some_and(|file| !file.is_empty()) {
        return None;
    }
    let files = context::candidates(None, std::env::home_dir().as_deref());
    std::path::absolute(files.into_iter().find(|file| file.is_file())?).ok()
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

    #[test]
    fn no_color_wins_over_the_flag() {
        for (color, no_color, choice) in [
            (Color::Always, Some("1"), ColorChoice::Never),
            (Color::Always, Some(""), ColorChoice::Always),
            (Color::Always, None, ColorChoice::Always),
            (Color::Never, None, ColorChoice::Never),
            (Color::Auto, None, ColorChoice::Auto),
        ] {
            assert_eq!(color.choice(no_color.map(OsStr::new)), choice, "{color:?} {no_color:?}");
        }
    }
}
