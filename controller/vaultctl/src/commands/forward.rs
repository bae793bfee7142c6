//! `vaultctl forward`
//!
//! ```text
//!   a program here ──▶ Listener ──▶ Link: the connection to the agent, made anew if it is lost
//!                         │           │ dial
//!                         └── relay ──┴──▶ QUIC stream ──▶ the agent ──▶ a program there
//! ```

mod argument;
mod link;
mod listen;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use tokio::time::timeout;
use vault_client::Socket;
use vault_client::protocol::message::Destination;

use self::argument::Forward;
use self::link::Link;
use self::listen::Listener;
use crate::cli::Globals;
use crate::ends::Ends;
use crate::error::{Exit, Failure};
use crate::output::Output;
use crate::poll::{Pauses, parse_limit};
use crate::profile::Profile;
use crate::reach::{FAREWELL, MachineName, Way};

/// How many connections may be open at once, over all forwards: as many as the agent takes over one
/// connection. Further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 256;

/// Lines that wait to be printed: more than connections can fail at once.
const REPORTS_MAX: usize = 2 * CONNECTIONS_MAX;

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
    let forwards = match (forwards, way.profile()) {
        (none, Some(profile)) if none.is_empty() => of_profile(&machine, profile)?,
        (given, _) => given,
    };
    if forwards.is_empty() {
        let message = format!("nothing says what to forward to {machine}");
        return Err(Failure::new(Exit::BadInput, message)
            .hint("write a FORWARD, such as 8080, or list some in a profile")
            .into());
    }
    let mut listeners = Vec::new();
    for forward in forwards {
        listeners.push((Listener::bind(&forward.local)?, forward.destination));
    }
    let (report, mut reports) = mpsc::channel(REPORTS_MAX);
    let link = Link::new(way, machine.clone(), connect_timeout, report.clone());
    let progress = output.progress(&format!("connecting to {machine}"));
    // Both arms are cancel-safe: nothing has been forwarded yet.
    tokio::select! {
        connected = link.connect(&progress) => connected?,
        () = ends.next() => return Ok(Exit::Success),
    }
    drop(progress);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    for (listener, destination) in listeners {
        output.line(&format!("{} -> {machine}: {destination}", listener.shown()))?;
        tasks.spawn(serve(listener, destination, link.clone(), room.clone(), report.clone()));
    }
    loop {
        // Both arms are cancel-safe.
        tokio::select! {
            () = ends.next() => break,
            Some(line) = reports.recv() => output.note(&line),
        }
    }
    // What is open is aborted, so that nobody takes half of an answer for all of it.
    tasks.shutdown().await;
    drop(timeout(FAREWELL, link.leave()).await);
    Ok(Exit::Success)
}

/// The forwards that a profile lists.
fn of_profile(machine: &MachineName, profile: &Profile) -> Result<Vec<Forward>, Failure> {
    let read = |text: &String| {
        text.parse().map_err(|why| {
            let message = format!("the profile {machine} has the forward {text:?}: {why}");
            Failure::new(Exit::BadInput, message)
        })
    };
    profile.forward.iter().map(read).collect()
}

/// Takes connections for ever; their tasks end with it.
async fn serve(
    listener: Listener,
    destination: Destination,
    link: Arc<Link>,
    room: Arc<Semaphore>,
    reports: Sender<String>,
) {
    let mut connections = JoinSet::new();
    let mut pauses = Pauses::new();
    loop {
        // The semaphore is never closed.
        let seat = Arc::clone(&room).acquire_owned().await;
        while connections.try_join_next().is_some() {}
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                let line = format!("{}: cannot take a connection: {error}", listener.shown());
                reports.send(line).await.ok();
                pauses.sleep().await;
                continue;
            }
        };
        pauses = Pauses::new();
        let (link, reports, destination) = (link.clone(), reports.clone(), destination.clone());
        connections.spawn(async move {
            carry(socket, &peer, &destination, &link, &reports).await;
            drop(seat);
        });
    }
}

/// Serves one connection to its end.
async fn carry(
    socket: Socket,
    peer: &str,
    destination: &Destination,
    link: &Link,
    reports: &Sender<String>,
) {
    match link.dial(destination).await {
        Ok(dialed) => {
            // It is aborted if the connection to the agent is lost, which is told once for all.
            dialed.relay(socket, pending()).await;
        }
        Err(error) => {
            reports.send(format!("{peer}: {destination}: {error:#}")).await.ok();
        }
    }
}
