//! How long `true` takes in a tenant's machine, beside ssh to this computer.
//!
//! ```text
//!   cold:  vaultctl exec acme -- true    a process, the controller, QUIC, evidence, proof, command
//!          ssh HOST true                 a process, TCP, key exchange, authentication, command
//!   warm:  Connection::exec("true")      a command over a connection that is there
//!          ssh -S SOCKET HOST true       a process, a command over a connection that is there
//! ```
//!
//! The four take turns within one run, so that whatever else the computer does hits all of them.
//! Without an OpenSSH server the two lines about ssh are left out, loudly.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;
use vault_client::protocol::key::ProofKey;
use vault_client::{Client, Connection, ExpectedIdentity, IssuerKeys, Target};
use vault_tests::client::TENANTS;
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::{World, WorldOptions};

/// Rounds that count; each kind runs once per round.
const ROUNDS: usize = 300;
/// Rounds before those.
const WARM_UP: usize = 5;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let world = World::start(WorldOptions { processes: true, ..WorldOptions::default() }).await?;
    world.write_manifest("acme.yaml", manifests::agent("acme", 1))?;
    world.all_ready(1).await?;
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

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{status}: {command:?}");
    Ok(())
}

async fn command(connection: &Connection) -> anyhow::Result<()> {
    let mut running = connection.exec(vault_client::Command::new(["true"])).await?;
    let exit = running.control.wait().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    Ok(())
}

/// What a client is told by the controller.
struct Place {
    target: Target,
    keys: IssuerKeys,
    proof: ProofKey,
}

async fn place(world: &World) -> anyhow::Result<Place> {
    let request = serde_json::json!({ "apiVersion": "vaultctl.dev/v1", "kind": "ConnectRequest" });
    let path = format!("{TENANTS}/acme/connect");
    let answer = world.client()?.send(reqwest::Method::POST, &path, Some(&request)).await?;
    let status = &answer.expect(201)["status"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let evidence = &status["evidence"];
    let issuer = text(&evidence["issuer"]);
    let keys = match &evidence["keys"] {
        // The controller reads them beside its work; whoever is first reads them too.
        Value::Null => IssuerKeys::new(),
        keys => IssuerKeys::seeded(&issuer, keys, seconds())?,
    };
    let identity = ExpectedIdentity {
        issuer,
        org_name: text(&evidence["orgName"]),
        org_id: evidence["orgId"].as_str().map(str::to_owned),
        app_name: text(&evidence["appName"]),
        app_id: evidence["appId"].as_str().map(str::to_owned),
        machine_id: text(&evidence["machineId"]),
        machine_versions: vec![text(&evidence["machineVersions"][0])],
        image_digests: Vec::new(),
    };
    let address = text(&status["address"]).parse()?;
    let proof = ProofKey::read(&text(&status["credential"]["key"]))?;
    Ok(Place { target: Target { address, identity }, keys, proof })
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

/// An OpenSSH server of our own on this computer, and a connection to it that is kept.
struct Ssh {
    folder: TempDir,
    port: u16,
    server: std::process::Child,
}

impl Ssh {
    async fn start() -> anyhow::Result<Option<Self>> {
        let server = PathBuf::from("/usr/sbin/sshd");
        if !server.is_file() {
            println!(
                "SKIPPED: ssh, because there is no {} (apt install openssh-server)",
                server.display()
            );
            return Ok(None);
        }
        // The server insists on this folder, which its package's service would make.
        fs::create_dir_all("/run/sshd").context("making the folder that sshd wants")?;
        let folder = tempfile::tempdir()?;
        let key = |name: &str| -> anyhow::Result<PathBuf> {
            let path = folder.path().join(name);
            let mut command = Command::new("ssh-keygen");
            succeed(command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path))?;
            Ok(path)
        };
        let (host, user) = (key("host")?, key("user")?);
        let free = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = free.local_addr()?.port();
        drop(free);
        let server = Command::new(&server)
            .args(["-D", "-e", "-f", "/dev/null", "-h"])
            .arg(&host)
            .args(["-o", &format!("Port={port}"), "-o", "ListenAddress=127.0.0.1"])
            .args(["-o", "UsePAM=no", "-o", "StrictModes=no", "-o", "PermitRootLogin=yes"])
            .arg("-o")
            .arg(format!("AuthorizedKeysFile={}", user.with_extension("pub").display()))
            .stderr(Stdio::null())
            .spawn()?;
        let ssh = Self { folder, port, server };
        eventually("ssh answers", async || {
            ssh.new_connection().map_err(|error| format!("{error:#}"))
        })
        .await?;
        succeed(
            ssh.client()
                .args(["-M", "-f", "-N", "-o", "ControlPersist=yes"])
                .arg("-S")
                .arg(ssh.socket())
                .arg("127.0.0.1"),
        )?;
        Ok(Some(ssh))
    }

    fn socket(&self) -> PathBuf {
        self.path("control")
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    fn client(&self) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "/dev/null", "-T", "-p", &self.port.to_string(), "-i"])
            .arg(self.path("user"))
            .args(["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "Ciphers=aes128-gcm@openssh.com", "-o", "GSSAPIAuthentication=no"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.path("known").display()));
        command
    }

    fn new_connection(&self) -> anyhow::Result<()> {
        succeed(self.client().args(["-o", "ControlPath=none", "127.0.0.1", "true"]))
    }

    fn multiplexed(&self) -> anyhow::Result<()> {
        succeed(self.client().arg("-S").arg(self.socket()).args(["127.0.0.1", "true"]))
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let mut exit = self.client();
        exit.arg("-S").arg(self.socket()).args(["-O", "exit", "127.0.0.1"]);
        drop(exit.stderr(Stdio::null()).status());
        drop(self.server.kill());
        drop(self.server.wait());
    }
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

/// Unix seconds.
fn seconds() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// The benchmark's stopwatch.
fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    Instant::now()
}
