//! `vaultctl connect`

use std::process::ExitCode;
use std::time::Duration;

use vault_client::Command;

use crate::cli::Globals;
use crate::conversation::{self, OWN_FAILURE, Wanted, tell};
use crate::error::describe;
use crate::forwarding::{Forward, Forwarding};
use crate::output::Output;
use crate::poll::parse_limit;
use crate::provisioning::When;
use crate::reach::{MachineName, Way};
use crate::terminal;

/// Open a shell in a tenant's machine
///
/// It is the login shell of the user, on a terminal like this one: keys, colours and the window's size
/// are passed on, Ctrl-C too. Ctrl-D or `exit` leaves; the exit code is the shell's own, and 255 if
/// vaultctl itself failed. When nothing answers any more: Enter, then ~. leaves at once, as with ssh
/// (~~ is one ~, ~? shows what can be typed). ~d leaves too, and the shell goes on: `vaultctl sessions
/// attach` comes back to it. If the connection is lost, it is made again, and nothing that was shown or
/// typed is lost.
///
/// Before anything secret is used, the machine proves with a token of the platform which machine it
/// is. A machine that is just starting, or comes back after a crash, is tried again until
/// --connect-timeout.
///
/// While the shell is open, local ports can lead into the machine: those that --forward names, or else
/// those that a profile lists. `vaultctl forward --help` says how a forward is written.
///
/// A machine without a root filesystem gets the one that its profile names, if it names one.
/// --reprovision replaces the one that it has: see `vaultctl provision --help`.
///
/// EXAMPLES:
///   vaultctl connect acme
///   vaultctl connect acme -L 8080 -L 5432:db.internal:5432
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

    /// Forward a local port or socket while the shell is open; may be repeated
    #[arg(short = 'L', long = "forward", value_name = "FORWARD")]
    forwards: Vec<Forward>,

    /// How long it goes on without us if the connection is lost, while we try again; 0 ends it at once
    #[arg(long, value_name = "SPAN", default_value = "15m", value_parser = parse_limit)]
    linger: Duration,

    /// A name for its session, for `vaultctl sessions`
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,

    /// First give the machine the root filesystem that its profile names, in place of the one it has
    #[arg(long)]
    reprovision: bool,

    /// How long to try to reach the machine; 0 tries once
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_limit)]
    connect_timeout: Duration,
}

/// Opens the shell and answers with its exit code.
pub(crate) async fn run(args: Args, globals: &Globals, output: &mut Output) -> ExitCode {
    let Args { machine, user, forwards, linger, tag, reprovision, connect_timeout } = args;
    let when = When::of(reprovision);
    let forwarding = Way::new(&machine, globals)
        .and_then(|way| Forwarding::bind(&machine, way, forwards, connect_timeout));
    let mut forwarding = match forwarding {
        Ok(forwarding) => forwarding,
        Err(error) => {
            output.note(&describe(&error));
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let shell = Command {
        stdin: true,
        terminal: Some(terminal::ours()),
        user,
        keep: conversation::keep(linger, tag),
        ..Command::new(Vec::<Vec<u8>>::new())
    };
    for line in forwarding.serve() {
        output.note(&line);
    }
    let code = {
        let conversation =
            conversation::run(&machine, Wanted::Run(shell), when, connect_timeout, globals, output);
        tokio::pin!(conversation);
        loop {
            // Both arms are cancel-safe: the conversation stays.
            tokio::select! {
                code = &mut conversation => break code,
                line = forwarding.report() => tell(&line),
            }
        }
    };
    forwarding.end().await;
    code
}
