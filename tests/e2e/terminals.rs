//! A shell in a machine, on a terminal: `vaultctl connect`, and `vaultctl exec -t`.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use pty_process::{OwnedReadPty, OwnedWritePty, Pts};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::time::timeout;
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::program::Output;
use vault_tests::world::World;

use crate::support;

/// How long anything may take to be shown.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with somebody at it, and `vaultctl` on it.
struct Desk {
    vaultctl: Child,
    keys: OwnedWritePty,
    shown: OwnedReadPty,
    /// What was shown, and not asked for yet.
    text: String,
    /// The end that `vaultctl` has.
    theirs: Pts,
}

impl Desk {
    fn sit_down(world: &World, arguments: &[&str]) -> anyhow::Result<Self> {
        let (ours, theirs) = pty_process::open()?;
        ours.resize(pty_process::Size::new(33, 90))?;
        let end = || Ok::<_, std::io::Error>(Stdio::from(theirs.as_fd().try_clone_to_owned()?));
        let mut command = world.vaultctl_command(arguments)?;
        let command = command.env("TERM", "xterm-256color");
        let vaultctl = command.stdin(end()?).stdout(end()?).stderr(end()?).spawn()?;
        let (shown, keys) = ours.into_split();
        Ok(Self { vaultctl, keys, shown, text: String::new(), theirs })
    }

    async fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.keys.write_all(keys.as_bytes()).await?)
    }

    /// Reads on until this is shown, and gives what stood before it.
    async fn see(&mut self, what: &str) -> anyhow::Result<String> {
        let reading = async {
            let mut buffer = [0; 4096];
            while !self.text.contains(what) {
                let count = self.shown.read(&mut buffer).await?;
                self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            anyhow::Ok(())
        };
        let read = timeout(PATIENCE, reading).await;
        read.ok().with_context(|| format!("{what:?} is not shown in {:?}", self.text))??;
        let (before, behind) = self.text.split_once(what).context("it was shown")?;
        let (before, behind) = (before.to_owned(), behind.to_owned());
        self.text = behind;
        Ok(before)
    }

    /// Whether lines are edited on this side, as before and after the command.
    fn edits_lines(&self) -> anyhow::Result<bool> {
        Ok(tcgetattr(&self.theirs)?.local_modes.contains(LocalModes::ICANON))
    }

    fn resize(&self, rows: u16, columns: u16) -> anyhow::Result<()> {
        self.keys.resize(pty_process::Size::new(rows, columns))?;
        // A shell would have made this the foreground of its terminal, and the kernel would say so.
        let id = self.vaultctl.id().context("it has ended")?;
        let id = Pid::from_raw(i32::try_from(id)?).context("no process id")?;
        Ok(kill_process(id, Signal::WINCH)?)
    }

    async fn code(&mut self) -> anyhow::Result<Option<i32>> {
        Ok(timeout(PATIENCE, self.vaultctl.wait()).await.context("it does not end")??.code())
    }
}

async fn exec(world: &World, arguments: &[&str]) -> anyhow::Result<Output> {
    world.vaultctl(&[&["exec", "acme"], arguments].concat()).await
}

/// A world whose tenant `acme` has a machine with a user of its own, whose start-up files are empty.
async fn acme() -> anyhow::Result<World> {
    let world = World::start(support::processes()).await?;
    world.write_manifest("acme.yaml", manifests::agent("acme", 1))?;
    world.all_ready(1).await?;
    let script = "mkdir /tmp/dev && chown 1234 /tmp/dev && \
                  echo 'dev:x:1234:1234::/tmp/dev:/bin/sh' >> /etc/passwd";
    drop(world.vaultctl(&["exec", "acme", "--", "sh", "-c", script]).await?.expect(0));
    Ok(world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_is_a_login_shell_with_keys_sizes_and_an_exit_code() -> anyhow::Result<()> {
    let world = acme().await?;
    let mut desk = Desk::sit_down(&world, &["connect", "acme", "--user", "dev"])?;
    desk.press("echo $0 $(id -un) $TERM $(stty size) $(pwd)\n").await?;
    desk.see("-sh dev xterm-256color 33 90 /tmp/dev").await?;
    assert!(!desk.edits_lines()?, "keys are passed on as they are");

    // Ctrl-C interrupts the program there, and not us; Ctrl-Z stops it, for there is job control.
    // Seen once it has the terminal: until then the shell has it.
    desk.press("sh -c 'echo as$((2 - 1))eep; exec sleep 1000'\n").await?;
    desk.see("as1eep").await?;
    desk.press("\x03").await?;
    desk.press("echo still $((40 + 2))\n").await?;
    desk.see("still 42").await?;
    desk.resize(10, 40)?;
    desk.press("while [ \"$(stty size)\" != '10 40' ]; do :; done; echo smaller$((1 + 1))\n")
        .await?;
    desk.see("smaller2").await?;

    desk.press("exit 5\n").await?;
    assert_eq!(desk.code().await?, Some(5));
    assert!(desk.edits_lines()?, "the terminal is as it was");

    // A program that takes Ctrl-C for itself: Enter, and then what is meant for us.
    let mut desk = Desk::sit_down(&world, &["connect", "acme", "--user", "dev"])?;
    desk.press("trap '' INT HUP; while :; do echo st$((1 + 0))uck; sleep 1; done\n").await?;
    desk.see("st1uck").await?;
    desk.press("\x03\n~?").await?;
    desk.see("~. leaves").await?;
    desk.press("~.").await?;
    assert_eq!(desk.code().await?, Some(255));
    assert!(desk.edits_lines()?, "the terminal is as it was");

    let mut desk = Desk::sit_down(&world, &["connect", "acme", "--user", "dev"])?;
    desk.press("echo ready$((1 + 1))\n").await?;
    desk.see("ready2").await?;
    desk.press("\x04").await?;
    assert_eq!(desk.code().await?, Some(0), "Ctrl-D leaves");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_forwards_ports_while_the_shell_is_open() -> anyhow::Result<()> {
    let world = acme().await?;
    // Machines share the network of this computer, so what listens there listens here.
    let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let destination = format!("127.0.0.1:{}", there.local_addr()?.port());
    let forward = format!("0:{destination}");
    let nobody = format!("{}:127.0.0.1:1", free_port()?);
    let arguments = ["connect", "acme", "--user", "dev", "-L", &forward, "-L", &nobody];
    let mut desk = Desk::sit_down(&world, &arguments)?;
    desk.see("127.0.0.1:").await?;
    let port: u16 = desk.see(&format!(" -> acme: {destination}")).await?.parse()?;
    let mut here = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    here.write_all(b"ping").await?;
    let (mut accepted, _) = timeout(PATIENCE, there.accept()).await??;
    let mut ping = [0; 4];
    timeout(PATIENCE, accepted.read_exact(&mut ping)).await??;
    assert_eq!(&ping, b"ping");

    // What goes wrong is said beside the shell, which goes on.
    let nobody: u16 = nobody.split(':').next().unwrap_or_default().parse()?;
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, nobody)).await?);
    desk.see("127.0.0.1:1: ").await?;
    desk.press("echo still $((40 + 2))\n").await?;
    desk.see("still 42").await?;
    desk.press("exit 5\n").await?;
    assert_eq!(desk.code().await?, Some(5));
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect_err("nobody listens any more");
    world.finish().await
}

/// A port that nobody has; whoever asks next may get it, too.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_gives_a_terminal_a_user_and_an_end() -> anyhow::Result<()> {
    let world = acme().await?;
    let output =
        exec(&world, &["-t", "-n", "--", "sh", "-c", "test -t 0 -a -t 1 && exit 9"]).await?;
    drop(output.expect(9));
    let output = exec(&world, &["--", "sh", "-c", "test -t 0 || test -t 1"]).await?;
    drop(output.expect(1));
    let output =
        exec(&world, &["-n", "-u", "dev", "--", "sh", "-c", "id -un; pwd"]).await?.expect(0);
    assert_eq!(output.stdout, "dev\n/tmp/dev\n");
    let output = exec(&world, &["-u", "no-such-user", "--", "true"]).await?.expect(255);
    assert!(output.stderr.contains("no-such-user"), "{output}");
    let output =
        exec(&world, &["-n", "--timeout", "200ms", "--", "sleep", "1000"]).await?.expect(124);
    assert_eq!(output.stdout, "");
    // A terminal that nobody sits at: what is piped is typed.
    let mut child = world
        .vaultctl_command(&["exec", "acme", "-t", "--", "sh", "-c", "read line; echo got $line"])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("piped")?.write_all(b"this\n").await?;
    let output = timeout(PATIENCE, child.wait_with_output()).await??;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "this\r\ngot this\r\n");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_can_be_left_and_come_back_to() -> anyhow::Result<()> {
    let world = acme().await?;
    let mut desk = Desk::sit_down(&world, &["connect", "acme", "--tag", "work"])?;
    desk.press("echo be$((1 + 1))fore\n").await?;
    desk.see("be2fore").await?;
    desk.press("\r~d").await?;
    desk.see("the session goes on: vaultctl sessions attach acme ").await?;
    assert_eq!(desk.code().await?, Some(0));
    assert!(desk.edits_lines()?, "the terminal is as it was");

    let listed = world.vaultctl(&["sessions", "list", "acme"]).await?.expect(0);
    let row = listed.stdout.lines().nth(1).unwrap_or_default();
    assert!(row.contains(" work ") && row.contains(" waiting "), "{listed}");
    let unknown = world.vaultctl(&["sessions", "attach", "acme", "play"]).await?.expect(255);
    assert!(unknown.stderr.contains("there is no session play"), "{unknown}");

    // What was shown is shown again; a second desk takes it over from the first.
    let mut desk = Desk::sit_down(&world, &["sessions", "attach", "acme", "work"])?;
    desk.see("be2fore").await?;
    desk.press("echo af$((1 + 1))ter\n").await?;
    desk.see("af2ter").await?;
    let mut second = Desk::sit_down(&world, &["sessions", "attach", "acme", "work"])?;
    desk.see("another client has taken the session over").await?;
    assert_eq!(desk.code().await?, Some(255));
    second.see("af2ter").await?;
    second.press("exit 3\n").await?;
    assert_eq!(second.code().await?, Some(3));
    // It is forgotten as soon as the agent knows that its end is known.
    eventually("the session is gone", async || {
        let listed = world.vaultctl(&["sessions", "list", "acme"]).await;
        let listed = listed.map_err(|error| error.to_string())?.expect(0);
        listed.stderr.contains("No sessions found.").then_some(()).ok_or(listed.stdout)
    })
    .await?;
    world.finish().await
}
