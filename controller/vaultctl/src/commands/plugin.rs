//! `vaultctl plugin list`

use clap::Subcommand;

use crate::cli::grammar;
use crate::error::Exit;
use crate::output::Output;
use crate::plugins::{self, Flaw};

/// Show the plugins
///
/// A plugin is a program `vaultctl-NAME` in a folder of PATH; `vaultctl NAME` runs it with all that
/// follows on the command line. `vaultctl a b` runs vaultctl-a-b if there is one, else vaultctl-a
/// with `b`. A plugin never takes the place of a command that vaultctl has. It finds the context
/// file in VAULTCTL_CONFIG.
///
/// EXAMPLES:
///   vaultctl plugin list
///   vaultctl plugin list --name-only
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the plugins on PATH, and what keeps one from being run
    List {
        /// Names without folders
        #[arg(long)]
        name_only: bool,
    },
}

/// Looks through PATH.
///
/// # Errors
/// The list cannot be printed.
pub(crate) fn run(args: &Args, output: &mut Output) -> anyhow::Result<Exit> {
    let Command::List { name_only } = &args.command;
    let grammar = grammar();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let plugins = plugins::list(&path, &|name| plugins::is_builtin(&grammar, name));
    if plugins.is_empty() {
        output.note("No plugins found: no folder of PATH has a program vaultctl-NAME.");
        return Ok(Exit::NotFound);
    }
    for plugin in plugins {
        let shown = plugin.path.display().to_string();
        match (name_only, plugin.path.file_name()) {
            (true, Some(name)) => output.line(&name.to_string_lossy())?,
            _ => output.line(&shown)?,
        }
        match plugin.flaw {
            None => {}
            Some(Flaw::NotExecutable) => {
                output.note(&format!("warning: {shown} is not executable"));
            }
            Some(Flaw::Shadowed { by }) => {
                let by = by.display();
                output.note(&format!("warning: {shown} is never run: {by} comes first on PATH"));
            }
            Some(Flaw::Builtin { command }) => output.note(&format!(
                "warning: {shown} is never run: vaultctl has a command {command:?} itself"
            )),
        }
    }
    Ok(Exit::Success)
}
