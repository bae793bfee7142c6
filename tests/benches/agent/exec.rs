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

use std::time::Duration;

use anyhow::ensure;
use vault_client::{Client, Connection};
use vault_tests::world::World;

use crate::figures::{Figures, now};
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

/// Runs `true`.
pub(crate) async fn command(connection: &Connection) -> anyhow::Result<()> {
    let mut running = connection.exec(vault_client::Command::new(["true"])).await?;
    let exit = running.control.wait().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    Ok(())
}

/// One cold command, its parts timed.
pub(crate) struct Phases {
    connect: Duration,
    prove: Duration,
    command: Duration,
    pub(crate) connection: Connection,
}

/// Connects, proves, and runs `true`.
pub(crate) async fn phases(agents: &Client, place: &Place) -> anyhow::Result<Phases> {
    let began = now();
    let attested = agents.connect(&place.target, &place.keys, seconds).await?;
    let connect = began.elapsed();
    let connection = attested.prove(&place.proof).await?;
    let prove = began.elapsed() - connect;
    command(&connection).await?;
    let command = began.elapsed() - connect - prove;
    Ok(Phases { connect, prove, command, connection })
}
