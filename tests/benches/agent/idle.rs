//! What a session costs in which nothing happens.
//!
//! ```text
//!   agent:  a connection and `sleep` on a terminal, 10 and then 1,000 of them
//!   sshd:   ssh -tt HOST sleep, 5 and then 25: two processes of the server each
//! ```
//!
//! The memory that the processes of the server have for themselves (private pages, clean and dirty, as
//! `smaps_rollup` tells), but for the command. The slope between the two counts is what one session costs.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};

use anyhow::Context;
use vault_client::protocol::message::{Size, Terminal};
use vault_client::{Client, Connection, Exec};
use vault_tests::eventually::eventually;
use vault_tests::processes;
use vault_tests::world::World;

use crate::acme;
use crate::place::{Place, place, seconds};
use crate::ssh::Ssh;

/// Sessions with the agent: what is there first does not count.
const OURS: [usize; 2] = [10, 1_000];

/// Sessions with sshd. They cost far more, and their slope is as straight.
const THEIRS: [usize; 2] = [5, 25];

/// What a command of ours has as an argument, by which it is found.
const SPAN: &str = "1000003";

/// Measures, and prints.
pub(crate) async fn run() -> anyhow::Result<()> {
    let world = acme().await?;
    println!("private KiB per idle session:");
    println!("{:8.1}  vault-agent, {OURS:?} sessions", ours(&world).await?);
    if let Some(ssh) = Ssh::start().await? {
        println!("{:8.1}  sshd, {THEIRS:?} sessions", theirs(&ssh).await?);
    }
    world.finish().await
}

async fn ours(world: &World) -> anyhow::Result<f64> {
    let place = place(world).await?;
    let agent = processes::agent_of(&place.target.identity.machine_id)?;
    let client = Client::new()?;
    let mut sessions = Vec::new();
    let mut sizes = Vec::new();
    for count in OURS {
        while sessions.len() < count {
            sessions.push(session(&client, &place).await?);
        }
        sizes.push(private_kib(&[agent])?);
    }
    Ok(slope(&sizes, OURS))
}

async fn session(client: &Client, place: &Place) -> anyhow::Result<(Connection, Exec)> {
    let attested = client.connect(&place.target, &place.keys, seconds).await?;
    let connection = attested.prove(&place.proof).await?;
    let size = Size { columns: 80, rows: 24 };
    let terminal = Terminal { kind: b"xterm".to_vec().into(), size };
    let sleep = vault_client::Command {
        terminal: Some(terminal),
        ..vault_client::Command::new(["sleep", SPAN]).with_stdin()
    };
    let running = connection.exec(sleep).await?;
    Ok((connection, running))
}

async fn theirs(ssh: &Ssh) -> anyhow::Result<f64> {
    let mut clients = Clients(Vec::new());
    let mut sizes = Vec::new();
    for count in THEIRS {
        while clients.0.len() < count {
            clients.0.push(
                ssh.client()
                    .args(["-tt", "-o", "ControlPath=none", "127.0.0.1", "exec", "sleep", SPAN])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()?,
            );
            let wanted = clients.0.len();
            eventually("the session is there", async || {
                match sleeping().map_err(|error| format!("{error:#}"))? {
                    found if found == wanted => Ok(()),
                    found => Err(format!("{found} of {wanted}")),
                }
            })
            .await?;
        }
        sizes.push(private_kib(&descendants(ssh.server())?)?);
    }
    Ok(slope(&sizes, THEIRS))
}

/// Clients of ssh, which end with this.
struct Clients(Vec<Child>);

impl Drop for Clients {
    fn drop(&mut self) {
        for client in &mut self.0 {
            drop(client.kill());
            drop(client.wait());
        }
    }
}

/// How many of the commands run, and are not a client's argument.
fn sleeping() -> anyhow::Result<usize> {
    let found = processes::with_argument(SPAN)?;
    let is_sleep =
        |pid: &&i32| fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"sleep\n");
    Ok(found.iter().filter(is_sleep).count())
}

#[expect(clippy::cast_precision_loss, reason = "KiB of processes are far below 2^52")]
fn slope(sizes: &[u64], counts: [usize; 2]) -> f64 {
    let [few, many] = counts.map(|count| count as f64);
    let size = |index: usize| sizes.get(index).copied().unwrap_or_default() as f64;
    (size(1) - size(0)) / (many - few)
}

/// The private memory of some processes together.
fn private_kib(processes: &[i32]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in processes {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        for line in text.lines().filter(|line| line.starts_with("Private_")) {
            let number = line.split_whitespace().nth(1).context("a number")?;
            sum += number.parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// The processes of a server, without the commands that it runs.
fn descendants(server: u32) -> anyhow::Result<Vec<i32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // It may end while we look.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(") ") else { continue };
        let parent = rest.split_whitespace().nth(1).and_then(|parent| parent.parse::<i32>().ok());
        if let Some(parent) = parent.filter(|_| name.ends_with("(sshd")) {
            parents.insert(pid, parent);
        }
    }
    let mut found = vec![i32::try_from(server)?];
    while let Some((pid, _)) =
        parents.iter().find(|(pid, parent)| found.contains(parent) && !found.contains(pid))
    {
        found.push(*pid);
    }
    Ok(found)
}
