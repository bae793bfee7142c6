//! Commands inside machines: from `vaultctl exec` through the controller to the agent and back.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vault_tests::program::Output;
use vault_tests::world::World;
use vault_tests::{manifests, processes};

use crate::support;

/// What `vaultctl` itself fails with.
const OWN_FAILURE: i32 = 255;

/// A world with one tenant, `acme`, whose one machine runs the agent.
async fn acme() -> anyhow::Result<World> {
    let world = World::start(support::processes()).await?;
    world.write_manifest("acme.yaml", manifests::agent("acme", 1))?;
    world.all_ready(1).await?;
    Ok(world)
}

async fn exec(world: &World, arguments: &[&str]) -> anyhow::Result<Output> {
    world.vaultctl(&[&["exec"], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_apart_and_the_exit_code_is_the_commands() -> anyhow::Result<()> {
    let world = acme().await?;
    let script = "echo out; echo err >&2; exit 7";
    let output = exec(&world, &["acme", "--", "sh", "-c", script]).await?.expect(7);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));

    drop(exec(&world, &["acme", "--", "sh", "-c", "kill -TERM $$"]).await?.expect(128 + 15));
    let missing = exec(&world, &["acme", "--", "no-such-program"]).await?.expect(127);
    assert!(missing.stderr.contains("no-such-program"), "{missing}");
    drop(exec(&world, &["acme", "--", "/etc/passwd"]).await?.expect(126));

    let script = "pwd; echo $COLOUR; echo $FLY_APP_NAME; env | grep -c VAULT_TENANT_SECRET";
    let command = ["acme/box-0", "-n", "-w", "/tmp", "-e", "COLOUR=red", "--", "sh", "-c", script];
    let output = exec(&world, &command).await?.expect(1);
    let app = world.vaultctl(&["get", "tenant", "acme", "-o", "jsonpath={.status.app}"]).await?;
    let app = app.expect(0).stdout;
    assert_eq!(output.stdout, format!("/tmp\nred\n{}\n0\n", app.trim()));
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mebibyte_of_input_comes_back_as_it_was() -> anyhow::Result<()> {
    let world = acme().await?;
    // Every byte value, and no period that a block could hide.
    let sent: Vec<u8> =
        (0..1 << 20_u32).map(|at: u32| at.wrapping_mul(at | 1).to_le_bytes()[1]).collect();
    let mut child = world
        .vaultctl_command(&["exec", "acme", "--", "cat"])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("piped");
    let writing = async {
        stdin.write_all(&sent).await?;
        drop(stdin);
        Ok(())
    };
    let (written, output): (std::io::Result<()>, _) =
        tokio::join!(writing, child.wait_with_output());
    written?;
    let output = output?;
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == sent, "{} bytes came back", output.stdout.len());
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_ends_the_command() -> anyhow::Result<()> {
    let world = acme().await?;
    let mut child = world
        .vaultctl_command(&["exec", "acme", "--", "yes"])?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut two = [0; 2];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut two).await?;
    assert_eq!(&two, b"y\n");
    drop(stdout);
    let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await??;
    // `yes` had nobody to write to.
    assert_eq!(ended.code(), Some(128 + 13));
    let script = "for file in /proc/[0-9]*/comm; do cat $file; done 2>/dev/null";
    let names = exec(&world, &["acme", "--", "sh", "-c", script]).await?.expect(0).stdout;
    assert!(!names.lines().any(|name| name == "yes"), "{names}");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_of_output_and_errors_interleaved_arrives_whole() -> anyhow::Result<()> {
    const HALF: u64 = 512 << 20;
    let world = acme().await?;
    let script = "for i in $(seq 512); do
        yes out | head -c 1048576
        yes err | head -c 1048576 >&2
    done";
    let mut child = world
        .vaultctl_command(&["exec", "acme", "--", "sh", "-c", script])?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take());
    let (out, err) =
        tokio::join!(repeated(stdout, *b"out\n"), repeated(stderr.expect("piped"), *b"err\n"));
    assert_eq!((out?, err?), (HALF, HALF));
    assert_eq!(child.wait().await?.code(), Some(0));
    world.finish().await
}

/// Reads to the end, and fails if it is not `pattern` again and again; answers how many bytes.
async fn repeated(
    mut stream: impl tokio::io::AsyncRead + Unpin,
    pattern: [u8; 4],
) -> anyhow::Result<u64> {
    let expected = pattern.repeat((1 << 20) / pattern.len() + 1);
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(total);
        }
        let phase = usize::try_from(total % 4)?;
        anyhow::ensure!(buffer[..count] == expected[phase..][..count], "garbled after {total}");
        total += u64::try_from(count)?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_succeeds_once_a_killed_machine_is_back() -> anyhow::Result<()> {
    let world = acme().await?;
    drop(exec(&world, &["acme", "--", "true"]).await?.expect(0));
    for _ in 0..3 {
        let machine = world.lists().await?.machine_ids().remove(0);
        let agent = processes::agent_of(&machine)?;
        processes::kill(agent)?;
        let output = exec(&world, &["acme", "--", "echo", "back"]).await?.expect(0);
        assert_eq!(output.stdout, "back\n");
        assert_ne!(processes::agent_of(&machine)?, agent);
    }
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_under_a_command_is_noticed() -> anyhow::Result<()> {
    let world = acme().await?;
    // The command's parent is the agent.
    let script = "kill -KILL $PPID; exec sleep 1000";
    let output = exec(&world, &["acme", "--", "sh", "-c", script]).await?.expect(OWN_FAILURE);
    // Whether the command ran, or how it ended: that depends on how quick the signal is.
    assert!(output.stderr.contains("it is unknown"), "{output}");
    // The next agent said so, with a stateless reset, and if it was asked, that it has no such session:
    // silence would have been a timeout.
    let told = ["reset by peer", "there is no such session"];
    assert!(told.iter().any(|told| output.stderr.contains(told)), "{output}");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_input_is_not_taken_for_all_of_it() -> anyhow::Result<()> {
    let world = acme().await?;
    // A folder opens, but cannot be read.
    let mut child = world
        .vaultctl_command(&["exec", "acme", "--", "sh", "-c", "cat && echo whole"])?
        .stdin(std::fs::File::open("/")?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut stdout).await?;
    assert_eq!(child.wait().await?.code(), Some(OWN_FAILURE));
    assert_eq!(stdout, "");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_us_even_while_nobody_reads_our_output() -> anyhow::Result<()> {
    let world = acme().await?;
    let mut child = world
        .vaultctl_command(&["exec", "acme", "-n", "--", "head", "-c", "3000000", "/dev/zero"])?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 1]).await?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    kill_process(pid.expect("it runs"), Signal::TERM)?;
    // The command may have ended by itself already, or not yet.
    let code = tokio::time::timeout(Duration::from_secs(30), child.wait()).await??.code();
    assert_eq!(code, Some(128 + 15));
    drop(stdout);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_named_or_the_error_lists_them() -> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    world.write_manifest("acme.yaml", manifests::agent("acme", 2))?;
    world.write_manifest("umbra.yaml", manifests::idle("umbra"))?;
    world.all_ready(2).await?;
    let output = exec(&world, &["acme", "--", "true"]).await?.expect(OWN_FAILURE);
    assert!(output.stderr.contains("box-0") && output.stderr.contains("box-1"), "{output}");
    let mut seen = Vec::new();
    for machine in ["acme/box-0", "acme/box-1"] {
        let output = exec(&world, &[machine, "--", "sh", "-c", "echo $FLY_MACHINE_ID"]).await?;
        seen.push(output.expect(0).stdout.trim().to_owned());
    }
    seen.sort();
    let mut ids = world.lists().await?.machine_ids();
    ids.retain(|id| seen.contains(id));
    assert_eq!(ids.len(), 2, "{seen:?}");

    let output = exec(&world, &["acme/box-7", "--", "true"]).await?.expect(OWN_FAILURE);
    assert!(output.stderr.contains("box-0"), "{output}");
    let output = exec(&world, &["nobody", "--", "true"]).await?.expect(OWN_FAILURE);
    assert!(output.stderr.contains("nobody"), "{output}");
    // No agent runs there; the error says why that may be.
    let command = ["umbra", "--connect-timeout", "1s", "--", "true"];
    let output = exec(&world, &command).await?.expect(OWN_FAILURE);
    assert!(output.stderr.contains("`agent`"), "{output}");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_after_the_database_is_lost_and_nothing_restarts() -> anyhow::Result<()> {
    let mut world = acme().await?;
    drop(exec(&world, &["acme", "--", "true"]).await?.expect(0));
    let before = world.lists().await?;
    let machine = before.machine_ids().remove(0);
    let agent = processes::agent_of(&machine)?;
    let writes = world.calls().count().writes;

    world.kill_controller();
    world.remove_database()?;
    world.start_controller().await?;
    world.all_ready(1).await?;
    support::passes(&world, 3).await?;
    let output = exec(&world, &["acme", "--", "echo", "still"]).await?.expect(0);
    assert_eq!(output.stdout, "still\n");
    assert_eq!(processes::agent_of(&machine)?, agent, "the same process");
    assert_eq!(world.calls().count().writes, writes, "nothing was written");
    world.finish().await
}
