//! `vaultctl connect`

use std::process::ExitCode;
use std::time::Duration;

use vault_client::Command;

use crate::cli::Globals;
use crate::conversation;
use crate::output::Output;
use crate::poll::parse_limit;
use crate::reach::MachineName;
use crate::terminal;

/// Open a shell in a tenant's machine
///
/// It is the login shell of the user, on a terminal like this one: keys, colours and the window's size
/// are passed on, Ctrl-C too. Ctrl-D or `exit` leaves; the exit code is the shell's own, and 255 if
/// vaultctl itself failed.
///
/// Before anything secret is used, the machine proves with a token of the platform which machine it
/// is. A machine that is just starting, or comes back after a crash, is tried again until
/// --connect-timeout.
///
/// EXAMPLES:
///   vaultctl connect acme
///   vaultctl connect globex/web-1 --user dev
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The tenant, if it has one machine; else TENANT/GROUP-INDEX
    #[arg(value_name = "TENANT[/GROUP-INDEX]")]
    machine: MachineName,

    /// Whose shell: a user of the machine, by name or number [default: the agent's, root]
    #[arg(short = 'u', long, value_name = "USER")]
    user: Option<String>,

    /// How long to try to reach the machine; 0 tries once
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_limit)]
    connect_timeout: Duration,
}

/// Opens the shell and answers with its exit code.
pub(crate) async fn run(args: Args, globals: &Globals, output: &mut Output) -> ExitCode {
    let Args { machine, user, connect_timeout } = args;
    let shell = Command {
        stdin: true,
        terminal: Some(terminal::ours()),
        user,
        ..Command::new(Vec::<Vec<u8>>::new())
    };
    conversation::run(&machine, shell, connect_timeout, globals, output).await
}
