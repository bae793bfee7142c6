//! Local ports and sockets that lead to something in a machine, as `ssh -L` makes them.
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
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::timeout;
use vault_client::Socket;
use vault_client::protocol::message::Destination;

pub(crate) use self::argument::Forward;
use self::link::Link;
use self::listen::Listener;
use crate::error::{Exit, Failure};
use crate::output::Progress;
use crate::poll::Pauses;
use crate::profile::Profile;
use crate::reach::{FAREWELL, MachineName, Way};

/// How many connections may be open at once, over all forwards: as many as the agent takes over one
/// connection. Further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 256;

/// Lines that wait to be printed: more than connections can fail at once.
const REPORTS_MAX: usize = 2 * CONNECTIONS_MAX;

/// Forwards to one machine. When it is dropped, what is open is aborted.
pub(crate) struct Forwarding {
    machine: MachineName,
    /// Until they are served.
    listeners: Vec<(Listener, Destination)>,
    link: Arc<Link>,
    tasks: JoinSet<()>,
    report: Sender<String>,
    reports: Receiver<String>,
}

impl Forwarding {
    /// Listens for the forwards that are given, or else for those that a profile lists; there may be
    /// none. Nobody is answered yet.
    ///
    /// # Errors
    /// The profile's are malformed, or one cannot be listened for.
    pub(crate) fn bind(
        machine: &MachineName,
        way: Way,
        given: Vec<Forward>,
        connect_timeout: Duration,
    ) -> anyhow::Result<Self> {
        let forwards = match way.profile() {
            Some(profile) if given.is_empty() => of_profile(machine, profile)?,
            _ => given,
        };
        let mut listeners = Vec::new();
        for forward in forwards {
            listeners.push((Listener::bind(&forward.local)?, forward.destination));
        }
        let (report, reports) = mpsc::channel(REPORTS_MAX);
        let link = Link::new(way, machine.clone(), connect_timeout, report.clone());
        let (machine, tasks) = (machine.clone(), JoinSet::new());
        Ok(Self { machine, listeners, link, tasks, report, reports })
    }

    /// Whether there is nothing to forward.
    pub(crate) fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.tasks.is_empty()
    }

    /// Connects to the machine, before anybody needs it.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub(crate) async fn connect(&self, progress: &Progress) -> anyhow::Result<()> {
        self.link.connect(progress).await
    }

    /// Answers from now on; a line about each forward, for people.
    pub(crate) fn serve(&mut self) -> Vec<String> {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut lines = Vec::new();
        for (listener, destination) in self.listeners.drain(..) {
            lines.push(format!("{} -> {}: {destination}", listener.shown(), self.machine));
            let (link, report) = (Arc::clone(&self.link), self.report.clone());
            self.tasks.spawn(serve(listener, destination, link, Arc::clone(&room), report));
        }
        lines
    }

    /// What went wrong next, for people. Cancel-safe.
    pub(crate) async fn report(&mut self) -> String {
        match self.reports.recv().await {
            Some(line) => line,
            // It holds a sender itself.
            None => pending().await,
        }
    }

    /// Ends it, and tells the agent.
    pub(crate) async fn end(mut self) {
        // What is open is aborted, so that nobody takes half of an answer for all of it.
        self.tasks.shutdown().await;
        drop(timeout(FAREWELL, self.link.leave()).await);
    }
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
