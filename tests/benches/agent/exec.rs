//! How long `true` takes.
//!
//! ```text
//!   cold:  vaultctl exec acme -- true    a process, the controller, QUIC, evidence, proof, command
//!          ssh HOST true                 a process, TCP, key exchange, authentication, command
//!   warm:  Connection::exec("true")      a command over a connection that is there
//!          ssh -S SOCKET HOST true       a process, a command over a connection that is there
//! ```
//!
//! The four take turns within one run, so that whatever else the computer does hits all of them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vault_client::{Client, Connection};
use vault_tests::world::World;

use crate::place::{Place, place, seconds};
use crate::ssh::Ssh;
use crate::{acme, succeed};

/// Rounds that count; each kind runs once per round.
const ROUNDS: usize = 300;
/// Rounds before those.
const WARM_UP: usize = 5;

/// Measures, and prints.
pub(crate) async fn run() -> anyhow::Result<()> {
    let world = acme().await?;
    let place = place(&world).await?;
    let agents = Client::new()?;
    let connection = phases(&agents, &place).await?.connection;
    let ssh = Ssh::start().await?;

    let mut figures = Figures::default();
    for round in 0..WARM_UP + ROUNDS {
        figures.counts = round >= WARM_UP;
        figures.time("cold: vaultctl exec acme -- true", || vaultctl(&world))?;
        if let Some(ssh) = &ssh {
            figures.time("cold: ssh, new connection", || ssh.new_connection())?;
        }
        let began = now();
        command(&connection).await?;
        figures.add("warm: Connection::exec", began.elapsed());
        if let Some(ssh) = &ssh {
            figures.time("warm: ssh, ControlMaster", || ssh.multiplexed())?;
        }
        let phases = phases(&agents, &place).await?;
        figures.add("  of a cold one: QUIC, evidence and its verification", phases.connect);
        figures.add("  of a cold one: proof", phases.prove);
        figures.add("  of a cold one: the command", phases.command);
        figures.time("  a process that does nothing: vaultctl --version", || version(&world))?;
    }
    figures.print();
    drop(ssh);
    world.finish().await
}

fn vaultctl(world: &World) -> anyhow::Result<()> {
    succeed(world.vaultctl_command(&["exec", "acme", "--", "true"])?.as_std_mut())
}

fn version(world: &World) -> anyhow::Result<()> {
    succeed(world.vaultctl_command(&["--version"])?.as_std_mut())
}

async fn command(connection: &Connection) -> anyhow::Result<()> {
    let mut running = connection.exec(vault_client::Command::new(["true"])).await?;
    let exit = running.control.wait().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    Ok(())
}

/// One cold command, its parts timed.
struct Phases {
    connect: Duration,
    prove: Duration,
    command: Duration,
    connection: Connection,
}

async fn phases(agents: &Client, place: &Place) -> anyhow::Result<Phases> {
    let began = now();
    let attested = agents.connect(&place.target, &place.keys, seconds).await?;
    let connect = began.elapsed();
    let connection = attested.prove(&place.proof).await?;
    let prove = began.elapsed() - connect;
    command(&connection).await?;
    let command = began.elapsed() - connect - prove;
    Ok(Phases { connect, prove, command, connection })
}

/// Spans of time by what took them, in the order of their first.
#[derive(Default)]
struct Figures {
    counts: bool,
    kinds: Vec<(&'static str, Vec<Duration>)>,
}

impl Figures {
    fn time(
        &mut self,
        what: &'static str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let began = now();
        work().context(what)?;
        self.add(what, began.elapsed());
        Ok(())
    }

    fn add(&mut self, what: &'static str, took: Duration) {
        if !self.counts {
            return;
        }
        match self.kinds.iter_mut().find(|(kind, _)| *kind == what) {
            Some((_, spans)) => spans.push(took),
            None => self.kinds.push((what, vec![took])),
        }
    }

    fn print(&mut self) {
        println!("{ROUNDS} rounds, milliseconds:        least     p50     p99    most");
        for (what, spans) in &mut self.kinds {
            spans.sort_unstable();
            let at = |part: usize| spans[(spans.len() - 1) * part / 100].as_secs_f64() * 1e3;
            let [least, half, most_of, most] = [0, 50, 99, 100].map(at);
            println!("{least:7.2} {half:7.2} {most_of:7.2} {most:7.2}  {what}");
        }
    }
}

/// The benchmark's stopwatch.
fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    Instant::now()
}
