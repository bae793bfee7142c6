//! `vaultctl exec`

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::time::Duration;

use vault_client::Command;

use crate::cli::Globals;
use crate::conversation::{self, Wanted};
use crate::output::Output;
use crate::poll::parse_limit;
use crate::provisioning::When;
use crate::reach::MachineName;
use crate::terminal;

/// Run a command in a tenant's machine
///
/// The command gets the machine's environment, this program's standard input, and its signals
/// (Ctrl-C too; the third one leaves without waiting). Output and errors come back apart. The exit
/// code is the command's own, 128+n if signal n ended it, and 255 if vaultctl itself failed.
///
/// Before anything secret is used, the machine proves with a token of the platform which machine it
/// is. A machine that is just starting, or comes back after a crash, is tried again until
/// --connect-timeout.
///
/// If the connection is lost, the command goes on for --linger and so do we, as soon as the machine can be
/// reached again: no output and no input is lost.
///
/// With -t the command gets a terminal: its output and errors come back as one, and what is typed goes
/// to it as it is, Ctrl-C too. `vaultctl connect` opens a shell that way.
///
/// EXAMPLES:
///   vaultctl exec acme -- uname -a
///   vaultctl exec globex/web-1 -- sh -c 'cat /data/*.log' > logs
///   tar cz src | vaultctl exec acme -w /data -- tar xz
///   vaultctl exec acme -n -e DEBUG=1 --timeout 1h -- ./job
///   vaultctl exec acme -t -u dev -- top
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The tenant, if it has one machine; else TENANT/GROUP-INDEX
    #[arg(value_name = "TENANT[/GROUP-INDEX]")]
    machine: MachineName,

    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Give the command no standard input
    #[arg(short = 'n', long)]
    no_stdin: bool,

    /// Set an environment variable of the command; may be repeated
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,

    /// The folder to run it in [default: the home folder]
    #[arg(short = 'w', long, visible_alias = "cwd", value_name = "DIR")]
    workdir: Option<OsString>,

    /// Give the command a terminal, as large as ours
    #[arg(short = 't', long = "tty")]
    terminal: bool,

    /// Pass standard input on; it is passed on anyway, unless -n is given
    #[arg(short = 'i', long = "stdin", conflicts_with = "no_stdin")]
    _stdin: bool,

    /// Run it as this user of the machine, by name or number [default: the agent's, root]
    #[arg(short = 'u', long, value_name = "USER")]
    user: Option<String>,

    /// How long it may run, for example 90s; then it gets SIGTERM, soon after SIGKILL, and we exit with 124
    #[arg(long, value_name = "SPAN", value_parser = parse_limit)]
    timeout: Option<Duration>,

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

/// Runs the command and answers with its exit code.
pub(crate) async fn run(args: Args, globals: &Globals, output: &mut Output) -> ExitCode {
    let (machine, connect_timeout) = (args.machine.clone(), args.connect_timeout);
    let when = When::of(args.reprovision);
    conversation::run(&machine, Wanted::Run(args.command()), when, connect_timeout, globals, output)
        .await
}

impl Args {
    fn command(self) -> Command {
        let bytes = |text: String| text.into_bytes();
        let variables = self.environment.into_iter();
        Command {
            environment: variables.map(|(name, value)| (bytes(name), bytes(value))).collect(),
            directory: self.workdir.map(OsStringExt::into_vec),
            stdin: !self.no_stdin,
            terminal: self.terminal.then(terminal::ours),
            user: self.user,
            timeout: self.timeout,
            keep: conversation::keep(self.linger, self.tag),
            ..Command::new(self.command.into_iter().map(OsStringExt::into_vec))
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_a_name() {
        let owned = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(variable("A=b=c"), owned("A", "b=c"));
        assert_eq!(variable("A="), owned("A", ""));
        for bad in ["", "A", "=b"] {
            variable(bad).expect_err(bad);
        }
    }
}
