//! A network that goes away for a while.

use std::net::{Ipv6Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UdpSocket;
use tokio::process::ChildStderr;
use tokio::task::JoinSet;
use vault_tests::manifests;
use vault_tests::world::World;

use crate::support;

/// Passes packets on between clients and one agent, or swallows them.
struct Network {
    address: SocketAddr,
    broken: Arc<AtomicBool>,
    _tasks: JoinSet<anyhow::Result<()>>,
}

impl Network {
    async fn start(agent: SocketAddr) -> anyhow::Result<Self> {
        let front = Arc::new(UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await?);
        let address = front.local_addr()?;
        let broken = Arc::new(AtomicBool::new(false));
        let swallows = Arc::clone(&broken);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ways: Vec<(SocketAddr, Arc<UdpSocket>)> = Vec::new();
            let mut backs = JoinSet::new();
            let mut packet = [0; 65536];
            loop {
                let (length, client) = front.recv_from(&mut packet).await?;
                let known = ways.iter().find(|(known, _)| *known == client);
                let way = match known {
                    Some((_, way)) => Arc::clone(way),
                    None => {
                        let way = Arc::new(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await?);
                        way.connect(agent).await?;
                        ways.push((client, Arc::clone(&way)));
                        let (front, back) = (Arc::clone(&front), Arc::clone(&way));
                        let swallows = Arc::clone(&swallows);
                        backs.spawn(async move {
                            let mut packet = [0; 65536];
                            while let Ok(length) = back.recv(&mut packet).await {
                                if !swallows.load(Ordering::Relaxed) {
                                    drop(front.send_to(&packet[..length], client).await);
                                }
                            }
                        });
                        way
                    }
                };
                if !swallows.load(Ordering::Relaxed) {
                    drop(way.send(&packet[..length]).await);
                }
            }
        });
        Ok(Self { address, broken, _tasks: tasks })
    }
}

/// Reads until somebody says this.
async fn said(lines: &mut Lines<BufReader<ChildStderr>>, what: &str) -> anyhow::Result<()> {
    let mut before = Vec::new();
    loop {
        let line = lines.next_line().await?;
        match line.with_context(|| format!("{what:?} is not said in {before:?}"))? {
            line if line.contains(what) => return Ok(()),
            line => before.push(line),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_on_when_the_network_comes_back_and_no_byte_is_lost() -> anyhow::Result<()> {
    let mut world = World::start(support::processes()).await?;
    world.write_manifest("acme.yaml", manifests::agent("acme", 1))?;
    world.all_ready(1).await?;
    drop(world.vaultctl(&["profile", "add", "acme"]).await?.expect(0));
    let profiles = std::fs::read_to_string(world.profiles_file())?;
    let address = profiles.lines().find_map(|line| line.strip_prefix("address = \""));
    let address = address.and_then(|rest| rest.strip_suffix('"')).context("an address")?;
    let network = Network::start(address.parse()?).await?;
    let through = profiles.replace(address, &network.address.to_string());
    std::fs::write(world.profiles_file(), &through)?;
    // It would know another way.
    world.kill_controller();

    let mut vaultctl = world
        .vaultctl_command(&["exec", "acme", "--", "sh", "-c", "cat; exit 6"])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = vaultctl.stdin.take().context("piped")?;
    let mut stdout = BufReader::new(vaultctl.stdout.take().context("piped")?);
    let mut stderr = BufReader::new(vaultctl.stderr.take().context("piped")?).lines();
    let mut line = String::new();
    stdin.write_all(b"before\n").await?;
    stdout.read_line(&mut line).await?;
    assert_eq!(line, "before\n");

    // Another one, whose user does not want to wait.
    let script = "echo begun; exec sleep 1000";
    let mut impatient = world
        .vaultctl_command(&["exec", "acme", "-n", "--", "sh", "-c", script])?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut begun = String::new();
    let impatient_stdout = impatient.stdout.take().context("piped")?;
    BufReader::new(impatient_stdout).read_line(&mut begun).await?;
    let mut impatient_stderr = BufReader::new(impatient.stderr.take().context("piped")?).lines();

    network.broken.store(true, Ordering::Relaxed);
    stdin.write_all(b"meanwhile\n").await?;
    said(&mut stderr, "is lost").await?;
    let short = ["exec", "acme", "--connect-timeout", "1s", "--", "true"];
    drop(world.vaultctl(&short).await?.expect(255));
    said(&mut impatient_stderr, "is lost").await?;
    let id = Pid::from_raw(i32::try_from(impatient.id().context("it runs")?)?).context("an id")?;
    kill_process(id, Signal::TERM)?;
    said(&mut impatient_stderr, "the session waits for up to 15 min, and then ends").await?;
    assert_eq!(impatient.wait().await?.code(), Some(128 + 15));
    network.broken.store(false, Ordering::Relaxed);

    said(&mut stderr, "connected again").await?;
    stdin.write_all(b"after\n").await?;
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await?;
    assert_eq!(rest, "meanwhile\nafter\n");
    assert_eq!(vaultctl.wait().await?.code(), Some(6));
    let listed = world.vaultctl(&["sessions", "list", "acme"]).await?.expect(0);
    assert!(listed.stdout.contains(" sh ") && listed.stdout.contains(" waiting "), "{listed}");
    world.finish().await
}
