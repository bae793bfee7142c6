//! What PID 1 has to do, tried as a subreaper: orphans come to this process in the same way.
//!
//! A test binary of its own, because all children of the process that are not commands are reaped.

#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "agent/support.rs"]
mod support;

use support::{Fixture, code, eventually, shell};
use vault_protocol::message::Channel;

/// Our children that have ended and are not reaped.
fn zombies() -> usize {
    let own = std::process::id().to_string();
    let folder = std::fs::read_dir("/proc").expect("readable");
    let stats = folder.flatten().map(|entry| entry.path().join("stat"));
    let stats = stats.filter_map(|path| std::fs::read_to_string(path).ok());
    stats
        .filter(|stat| {
            let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
            let mut fields = rest.split(' ');
            fields.next() == Some("Z") && fields.next() == Some(own.as_str())
        })
        .count()
}

#[tokio::test]
async fn orphans_are_reaped_and_commands_keep_their_exit_codes() {
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).expect("allowed to everybody");
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    // One leaves two orphans behind; the other has ended, but holds on through its output.
    assert_eq!(client.run(shell("true & true & exit 3")).await.exit, code(3));
    let mut held = client.start(shell("(read line; echo done) & exit 4")).await;
    held.started().await;
    let mut holder = client.start(shell("sleep 1000")).await;
    holder.started().await;
    eventually("orphans have ended", || zombies() >= 1).await;
    fixture.agent.reap_orphans().await;
    assert_eq!(client.read(held.id, Channel::Stdout).await, b"done\n");
    assert_eq!(held.exit().await, code(4));
    holder.signal(15).await;
    assert_eq!(holder.exit().await.signal, Some(15));
    let mut turns = tokio::time::interval(std::time::Duration::from_millis(10));
    let clean = async {
        while zombies() > 0 {
            fixture.agent.reap_orphans().await;
            turns.tick().await;
        }
    };
    support::soon(clean).await;
}
