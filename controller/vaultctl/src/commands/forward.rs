//! `vaultctl forward`

use std::time::Duration;

use crate::cli::Globals;
use crate::ends::Ends;
use crate::error::{Exit, Failure};
use crate::forwarding::{Forward, Forwarding};
use crate::output::Output;
use crate::poll::parse_limit;
use crate::reach::{MachineName, Way};

/// Forward local ports to a tenant's machine
///
/// Listens here, and connects each connection that comes to something in the machine, or to what
/// can be reached from there, as `ssh -L` does. Any number of forwards share one connection to the
/// machine. It runs until Ctrl-C; if the machine is restarted or moves, the connections through it
/// are cut, and the next one finds it again.
///
/// A FORWARD is one of:
///   PORT                       the same port of the machine's localhost
///   [BIND:]PORT:HOST:PORT      the port at HOST, as the machine sees it
///   [BIND:]PORT:/PATH          a unix socket in the machine
///   LOCAL.sock:HOST:PORT       a unix socket here, which is made: a path with a slash, or *.sock
///
/// It listens at 127.0.0.1 unless BIND is another address, localhost (127.0.0.1 and ::1) or * (all
/// addresses: whoever reaches this computer then reaches the machine). IPv6 addresses stand in
/// brackets. A local PORT of 0 takes a free one; the line that is printed names it.
///
/// A connection that fails is one line on standard error, and is closed; the others go on.
///
/// EXAMPLES:
///   vaultctl forward acme 8080
///   vaultctl forward acme 8080:localhost:80 5432:db.internal:5432
///   vaultctl forward globex/web-1 localhost:0:[fd00::7]:443
///   vaultctl forward acme docker.sock:/var/run/docker.sock
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The tenant, if it has one machine; else TENANT/GROUP-INDEX
    #[arg(value_name = "TENANT[/GROUP-INDEX]")]
    machine: MachineName,

    /// Where to listen, and where to connect to [default: what the profile lists]
    #[arg(value_name = "FORWARD")]
    forwards: Vec<Forward>,

    /// How long to try to reach the machine; 0 tries once
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_limit)]
    connect_timeout: Duration,
}

/// Forwards until it is interrupted.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let Args { machine, forwards, connect_timeout } = args;
    // Before anything is started, so that no signal is missed.
    let mut ends = Ends::new()?;
    let way = Way::new(&machine, globals)?;
    let mut forwarding = Forwarding::bind(&machine, way, forwards, connect_timeout)?;
    if forwarding.is_empty() {
        let message = format!("nothing says what to forward to {machine}");
        return Err(Failure::new(Exit::BadInput, message)
            .hint("write a FORWARD, such as 8080, or list some in a profile")
            .into());
    }
    let progress = output.progress(&format!("connecting to {machine}"));
    // Both arms are cancel-safe: nothing has been forwarded yet.
    tokio::select! {
        connected = forwarding.connect(&progress) => connected?,
        () = ends.next() => return Ok(Exit::Success),
    }
    drop(progress);
    for line in forwarding.serve() {
        output.line(&line)?;
    }
    loop {
        // Both arms are cancel-safe.
        tokio::select! {
            () = ends.next() => break,
            line = forwarding.report() => output.note(&line),
        }
    }
    forwarding.end().await;
    Ok(Exit::Success)
}
