//! The agent is killed at moments that are spread over the whole of a provisioning: while the archive
//! comes, while it is unpacked, when it takes the other's place, while it is booted and on trial, and when
//! the old one is removed. (Of the reference, W7: there a crash between two renames left no root at all.)
//!
//! Five times; `VAULT_PROVISION_KILLS=50` kills more often, and so at finer steps.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;
use vault_protocol::message::Message;

use crate::program::Program;
use crate::roots::{Tree, ask, is_root, offset, provision, request, verdict};
use crate::support::{Answer, Client, Platform, code, eventually, shell};

/// Files that say which root filesystem they belong to.
const MARKED: usize = 300;

fn marked(version: &str) -> Tree {
    let tree = Tree::new();
    tree.write("etc/version", version);
    for number in 0..MARKED {
        tree.write(&format!("etc/marked-{number}"), version);
    }
    tree
}

async fn start(platform: &Platform, data: &Path) -> (Program, Client) {
    let program = Program::start(platform, |command| {
        command.env("VAULT_DATA_DIR", data);
    });
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    (program, client)
}

/// Which root filesystem is booted; it is one of them, and all of it.
async fn version(client: &mut Client) -> String {
    let script =
        "cat /etc/version; for f in /etc/marked-*; do echo; cat $f; done; echo; cat /home/dev/mine";
    let ran = client.run(shell(script)).await;
    assert_eq!(ran.exit, code(0), "{}", ran.stderr);
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.pop(), Some("kept"), "/home is as it was");
    assert_eq!(lines.len(), 1 + MARKED);
    lines.dedup();
    assert_eq!(lines.len(), 1, "a mix");
    lines[0].to_owned()
}

/// Sends an archive to the end, or until the agent is gone.
async fn try_to_provision(client: &Client, archive: &[u8]) {
    let (mut stream, first) = ask(client, request(archive, true)).await;
    if matches!(first, Some(Message::SendFrom(_))) {
        assert_eq!(offset(first), 0);
        if stream.sender.write_all(archive).await.is_ok() && stream.sender.finish().is_ok() {
            drop(verdict(&mut stream.messages).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_at_any_moment_boots_the_old_root_or_the_new_one() {
    if !is_root() {
        return;
    }
    let rounds = match std::env::var("VAULT_PROVISION_KILLS") {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => 5_u32,
    };
    let (platform, data) = (Platform::start(Answer::Token), TempDir::new().expect("a folder"));
    let archives = ["one", "two"].map(|version| marked(version).archive());
    let (program, mut client) = start(&platform, data.path()).await;
    provision(&client, &archives[0], false).await.expect("provisioned");
    assert_eq!(client.run(shell("echo kept > /home/dev/mine")).await.exit, code(0));
    let began = Instant::now();
    provision(&client, &archives[1], true).await.expect("provisioned");
    // And a little more, for the old one's removal.
    let whole = began.elapsed() + Duration::from_millis(200);
    let mut running = Some((program, client));
    let mut seen = Vec::new();
    for round in 0..rounds {
        let (mut program, mut client) = match running.take() {
            Some(running) => running,
            None => start(&platform, data.path()).await,
        };
        let before = version(&mut client).await;
        let next = &archives[usize::from(before == "one")];
        let moment = whole * (2 * round + 1) / (2 * rounds);
        let sending = try_to_provision(&client, next);
        // Whichever is first: it may be over before.
        drop(tokio::time::timeout(moment, sending).await);
        program.signal(Signal::KILL);
        program.ended().await;
        let (program, mut client) = start(&platform, data.path()).await;
        let after = version(&mut client).await;
        let step = format!("killed after {moment:?}: {before}, then {after}");
        assert!(["one", "two"].contains(&after.as_str()), "{step}");
        seen.push(step);
        let roots = || {
            let entries = fs::read_dir(data.path().join("rootfs")).expect("readable").flatten();
            entries.filter(|entry| entry.path().is_dir()).count()
        };
        eventually("one root filesystem is left", || roots() == 1).await;
        running = Some((program, client));
    }
    let changed =
        seen.iter().filter(|step| step.contains("one, then two") || step.contains("two, then one"));
    assert!(changed.count() >= 1, "the last kills come when the new root is in use: {seen:?}");
    if let Some((program, client)) = running {
        drop(client);
        program.end().await;
    }
}
