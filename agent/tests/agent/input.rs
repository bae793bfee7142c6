//! Standard inputs that break off, or come late: never the end of one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quinn::SendStream;
use tokio::time::sleep;
use vault_protocol::message::{Channel, Exec};

use crate::support::{Client, Command, Fixture, code, eventually, exec, is_alive, shell};

/// Moves a file into its place once it has all of its input.
async fn taking(fixture: &Fixture, client: &mut Client) -> (Command, u32, PathBuf) {
    let whole = fixture.platform.folder().join("whole");
    let part = fixture.platform.folder().join("part");
    let script = format!("cat > {} && mv {0} {}", part.display(), whole.display());
    let mut command = client.start(Exec { stdin: true, ..shell(&script) }).await;
    let process = command.started().await;
    (command, process, whole)
}

/// Sends half of an input, and waits until it is taken.
async fn half(client: &mut Client, command: &Command, whole: &Path) -> SendStream {
    let mut stdin = client.stdin(command.id).await;
    stdin.write_all(b"half of it").await.expect("sent");
    let part = whole.with_file_name("part");
    let is_taken = || std::fs::read(&part).is_ok_and(|bytes| bytes == b"half of it");
    eventually("it is taken", is_taken).await;
    stdin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_client_is_no_end_of_standard_input() {
    let fixture = Fixture::start();
    for _ in 0..50 {
        let mut client = fixture.operator().await;
        let (command, process, whole) = taking(&fixture, &mut client).await;
        let _stdin = half(&mut client, &command, &whole).await;
        client.connection.close(0_u32.into(), b"");
        eventually("SIGHUP ends it", || !is_alive(process)).await;
        assert!(!whole.exists(), "half of the input was taken for all of it");
        std::fs::remove_file(whole.with_file_name("part")).expect("written by the command");
    }
}

#[tokio::test]
async fn a_reset_is_no_end_of_standard_input() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let (mut command, process, whole) = taking(&fixture, &mut client).await;
    let mut stdin = half(&mut client, &command, &whole).await;
    stdin.reset(0_u32.into()).expect("open");
    sleep(Duration::from_millis(300)).await;
    assert!(is_alive(process) && !whole.exists(), "half of the input was taken for all of it");
    command.sender.reset(0_u32.into()).expect("open");
    eventually("SIGHUP ends it", || !is_alive(process)).await;
    assert!(!whole.exists());
}

#[tokio::test]
async fn an_input_may_come_long_after_its_command_and_long_before() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut first = client.start(Exec { stdin: true, ..exec(&["cat"]) }).await;
    first.started().await;
    // The id of the stream that is opened next.
    let mut early = client.stdin(first.id + 4).await;
    early.write_all(b"early").await.expect("sent");
    early.finish().expect("open");
    sleep(Duration::from_secs(6)).await;
    let mut second = client.start(Exec { stdin: true, ..exec(&["cat"]) }).await;
    let mut late = client.stdin(first.id).await;
    late.write_all(b"late").await.expect("sent");
    late.finish().expect("open");
    second.started().await;
    assert_eq!(client.read(first.id, Channel::Stdout).await, b"late");
    assert_eq!(client.read(second.id, Channel::Stdout).await, b"early");
    assert_eq!((first.exit().await, second.exit().await), (code(0), code(0)));
}
