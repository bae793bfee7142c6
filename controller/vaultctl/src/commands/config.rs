//! `vaultctl config`

mod change;
mod view;

use clap::Subcommand;

use crate::cli::Globals;
use crate::error::Exit;
use crate::output::Output;

/// Show and change which controllers vaultctl knows
///
/// A context is a controller's address, how to trust it, and the token to show it. Contexts lie in
/// a file: that of --context-file or VAULTCTL_CONFIG, else ./.vaultctl/config.yaml, else
/// ~/.config/vaultctl/config.yaml, the first that is there.
///
/// EXAMPLES:
///   vaultctl config view
///   vaultctl config get-contexts
///   vaultctl config use-context production
///   vaultctl config set-context staging --server https://vault.example --token-file token
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    View(view::ViewArgs),
    GetContexts(view::GetContextsArgs),
    /// Print the name of the context that is used
    CurrentContext,
    UseContext(change::UseContextArgs),
    SetContext(change::SetContextArgs),
    DeleteContext(change::DeleteContextArgs),
}

/// Shows or changes.
///
/// # Errors
/// The file cannot be read or written, or does not have the context.
pub(crate) fn run(args: Args, globals: &Globals, output: &mut Output) -> anyhow::Result<Exit> {
    match args.command {
        Command::View(args) => view::view(&args, globals, output),
        Command::GetContexts(args) => view::contexts(&args, globals, output),
        Command::CurrentContext => view::current(globals, output),
        Command::UseContext(args) => change::use_context(&args, globals, output),
        Command::SetContext(args) => change::set_context(args, globals, output),
        Command::DeleteContext(args) => change::delete_context(&args, globals, output),
    }
}
