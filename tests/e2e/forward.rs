//! Port forwards: from a program here through `vaultctl forward` and the agent to one there.
//!
//! Machines share the network of this computer, so what listens there listens here.
//!
//! fly-vault's defect W12: a forward ended when either half closed, so responses were truncated, and
//! a dial that failed was a silent reset.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinSet;
use tokio::time::timeout;
use vault_tests::eventually::{DEADLINE, eventually};
use vault_tests::world::World;
use vault_tests::{manifests, processes};

use crate::support;

/// A world with one tenant, `acme`, whose one machine runs the agent.
async fn acme() -> anyhow::Result<World> {
    let world = World::start(support::processes()).await?;
    world.write_manifest("acme.yaml", manifests::agent("acme", 1))?;
    world.all_ready(1).await?;
    Ok(world)
}

/// A running `vaultctl forward`.
struct Forwarding {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: Arc<Mutex<String>>,
    _tasks: JoinSet<()>,
}

impl Forwarding {
    fn start(world: &World, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = world
            .vaultctl_command(&[&["forward"], arguments].concat())?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("piped")?).lines();
        let mut stderr = BufReader::new(child.stderr.take().context("piped")?).lines();
        let errors = Arc::new(Mutex::new(String::new()));
        let (keep, mut tasks) = (errors.clone(), JoinSet::new());
        tasks.spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                keep.lock().expect("unpoisoned").push_str(&format!("{line}\n"));
            }
        });
        Ok(Self { child, lines, errors, _tasks: tasks })
    }

    /// The next line that it prints, cut at the arrow.
    async fn line(&mut self) -> anyhow::Result<(String, String)> {
        let line = timeout(DEADLINE, self.lines.next_line()).await??;
        let line = line.with_context(|| self.errors())?;
        let (local, destination) = line.split_once(" -> ").with_context(|| line.clone())?;
        Ok((local.to_owned(), destination.to_owned()))
    }

    fn errors(&self) -> String {
        self.errors.lock().expect("unpoisoned").clone()
    }

    async fn says(&self, words: &str) -> anyhow::Result<()> {
        eventually(&format!("it says {words:?}"), async || match self.errors() {
            errors if errors.contains(words) => Ok(()),
            errors => Err(errors),
        })
        .await
    }

    async fn stop(mut self, signal: Signal) -> anyhow::Result<Option<i32>> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("it runs")?, signal)?;
        Ok(timeout(DEADLINE, self.child.wait()).await??.code())
    }
}

/// Answers each request, once it has ended, with a mebibyte and the request.
async fn server() -> anyhow::Result<(JoinSet<()>, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut request = Vec::new();
                if stream.read_to_end(&mut request).await.is_ok() {
                    let response = [vec![b'.'; 1 << 20], request].concat();
                    stream.write_all(&response).await.ok();
                }
            });
        }
    });
    Ok((tasks, port))
}

/// Ends its request, and then reads the response to its end.
async fn ask(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
) -> anyhow::Result<()> {
    stream.write_all(b"request").await?;
    stream.shutdown().await?;
    let mut response = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut response)).await??;
    anyhow::ensure!(response.len() == (1 << 20) + 7, "{} bytes", response.len());
    anyhow::ensure!(response.ends_with(b"request"), "another request");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_comes_whole_after_its_request_has_ended() -> anyhow::Result<()> {
    let world = acme().await?;
    let (_server, port) = server().await?;
    let socket = world.path("local.sock");
    let socket = socket.to_str().context("UTF-8")?;
    let there = format!("localhost:{port}");
    let forwards =
        [format!("0:{there}"), format!("localhost:0:{there}"), format!("{socket}:{there}")];
    let forwards: Vec<&str> = forwards.iter().map(String::as_str).collect();
    let mut forwarding = Forwarding::start(&world, &[&["acme"], &forwards[..]].concat())?;

    let (local, destination) = forwarding.line().await?;
    assert_eq!(destination, format!("acme: {there}"));
    let address: SocketAddr = local.parse()?;
    assert!(address.ip().is_loopback() && address.is_ipv4(), "{address}");
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        asking.spawn(async move { ask(TcpStream::connect(address).await?).await });
    }
    while let Some(asked) = asking.join_next().await {
        asked??;
    }
    // `localhost` is both, where there is IPv6.
    let (local, _) = forwarding.line().await?;
    for address in local.split(", ") {
        ask(TcpStream::connect(address).await?).await?;
    }
    assert_eq!(forwarding.line().await?.0, socket);
    ask(UnixStream::connect(socket).await?).await?;

    assert_eq!(forwarding.errors(), "");
    assert_eq!(forwarding.stop(Signal::TERM).await?, Some(0));
    assert!(!std::path::Path::new(socket).exists(), "it has taken its socket away");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_fails_is_one_line_and_one_reset() -> anyhow::Result<()> {
    let world = acme().await?;
    let (_server, port) = server().await?;
    // Nobody listens there any more.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port();
    let refused = format!("127.0.0.1:{closed}");
    let (refusing, serving) = (format!("0:{refused}"), format!("0:localhost:{port}"));
    let arguments = ["acme", &refusing, "0:no-such-host.invalid:80", "0:/no/such.sock", &serving];
    let mut forwarding = Forwarding::start(&world, &arguments)?;
    for (destination, words) in [
        (refused.as_str(), "connection refused"),
        ("no-such-host.invalid:80", "the name cannot be resolved"),
        ("/no/such.sock", "there is no such socket"),
    ] {
        let (local, shown) = forwarding.line().await?;
        assert_eq!(shown, format!("acme: {destination}"));
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let (peer, local) = (socket.local_addr()?, local.parse()?);
        // The reset may be here before we know that we are connected.
        let read = async { socket.connect(local).await?.read(&mut [0; 1]).await };
        let read = timeout(DEADLINE, read).await?;
        assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
        forwarding.says(&format!("{peer}: {destination}: {words}")).await?;
    }
    assert_eq!(forwarding.errors().lines().count(), 3, "{}", forwarding.errors());
    let (local, _) = forwarding.line().await?;
    ask(TcpStream::connect(&local).await?).await?;
    assert_eq!(forwarding.stop(Signal::INT).await?, Some(0));
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_bad_input() -> anyhow::Result<()> {
    let world = acme().await?;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = taken.local_addr()?;
    let forward = format!("{}:localhost:80", address.port());
    let output = world.vaultctl(&["forward", "acme", "0:localhost:80", &forward]).await?.expect(2);
    assert!(
        output.stderr.contains(&format!("cannot listen at {address}: it is in use")),
        "{output}"
    );
    assert_eq!(output.stdout, "");
    let output = world.vaultctl(&["forward", "acme", "8080:db"]).await?.expect(2);
    assert!(output.stderr.contains("write db:PORT"), "{output}");
    let output = world.vaultctl(&["forward", "nobody", "0:localhost:80"]).await?.expect(4);
    assert!(output.stderr.contains("nobody"), "{output}");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_machine_cuts_its_connections_and_the_next_one_finds_it_again() -> anyhow::Result<()>
{
    let world = acme().await?;
    let (_server, port) = server().await?;
    let mut forwarding = Forwarding::start(&world, &["acme", &format!("0:localhost:{port}")])?;
    let (local, _) = forwarding.line().await?;
    for _ in 0..2 {
        let mut established = TcpStream::connect(&local).await?;
        established.write_all(b"half of a request").await?;
        ask(TcpStream::connect(&local).await?).await?;
        let machine = world.lists().await?.machine_ids().remove(0);
        processes::kill(processes::agent_of(&machine)?)?;
        ask(TcpStream::connect(&local).await?).await?;
        let read = timeout(DEADLINE, established.read(&mut [0; 1])).await?;
        assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    }
    let errors = forwarding.errors();
    assert_eq!(errors.matches("acme: the connection was lost").count(), 2, "{errors}");
    assert_eq!(forwarding.stop(Signal::TERM).await?, Some(0));
    world.finish().await
}
