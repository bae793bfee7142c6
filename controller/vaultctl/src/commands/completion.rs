//! `vaultctl completion`

use clap_complete::Shell;

use crate::cli::grammar;
use crate::error::Exit;
use crate::output::Output;

/// Print a script that completes vaultctl's command line
///
/// To install it, so that every shell from the next one on has it:
///   bash        vaultctl completion bash > ~/.local/share/bash-completion/completions/vaultctl
///               (needs the package bash-completion; make the folder if it is not there)
///   zsh         vaultctl completion zsh > ~/.zfunc/_vaultctl
///               and in ~/.zshrc: fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit
///   fish        vaultctl completion fish > ~/.config/fish/completions/vaultctl.fish
///   powershell  vaultctl completion powershell >> $PROFILE
///   elvish      vaultctl completion elvish >> ~/.config/elvish/rc.elv
///
/// EXAMPLES:
///   source <(vaultctl completion bash)     # for this shell alone
///   vaultctl completion fish | source
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The shell that is to run the script
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// The script cannot be printed.
pub(crate) fn run(args: &Args, output: &mut Output) -> anyhow::Result<Exit> {
    let mut grammar = grammar();
    let name = grammar.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar, name, &mut script);
    output.text(&String::from_utf8(script)?)?;
    Ok(Exit::Success)
}
