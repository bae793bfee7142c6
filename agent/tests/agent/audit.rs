//! What the agent writes down on the volume about its clients.
//!
//! fly-vault's defect W20: there was no audit record anywhere.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpListener;
use vault_agent::limits::{AUDIT_REFUSED_BURST, PENALTY_PER_FAILURE};
use vault_protocol::audit::{Chain, Event, Record};
use vault_protocol::message::{AuditLogRequest, Destination, Dial, Message, Proof, scheme};

use crate::program::Program;
use crate::support::{
    Answer, Client, Fixture, ManualClock, Messages, Platform, eventually, exec, say, shell, soon,
};

/// An agent with a volume.
fn with_volume(volume: &Path) -> Fixture {
    Fixture::with(Answer::Token, |config| config.data_dir = volume.to_owned())
}

/// What the agent sends, or why it sends nothing.
async fn fetch(client: &Client) -> Result<Vec<u8>, String> {
    let (mut send, receive) = soon(client.connection.open_bi()).await.expect("a stream");
    say(&mut send, AuditLogRequest { from: None }).await;
    let mut messages = Messages::new(receive);
    match messages.next().await {
        Some(Message::AuditLog(log)) => match log.message {
            Some(message) => Err(message),
            None => {
                let (mut stream, mut bytes) = messages.into_rest();
                bytes.extend(soon(stream.read_to_end(64 << 20)).await.expect("readable"));
                assert_eq!(bytes.len() as u64, log.bytes);
                Ok(bytes)
            }
        },
        other => panic!("{other:?}"),
    }
}

/// The records, each of which follows the one before.
fn followed(bytes: &[u8]) -> Vec<Record> {
    let mut chain = Chain::default();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\n").expect("a whole line"));
    lines.map(|line| chain.follow(line).expect("it follows")).collect()
}

async fn events(client: &Client) -> Vec<Event> {
    let records = followed(&fetch(client).await.expect("a log"));
    records.into_iter().map(|record| record.event).collect()
}

#[tokio::test]
async fn who_came_and_what_was_done_is_told_and_no_argument() {
    let volume = TempDir::new().expect("a folder");
    let fixture = with_volume(volume.path());
    let mut client = fixture.operator().await;
    client.run(exec(&["sh", "-c", "exit 7 # a-secret"])).await;
    let mut refused = client.start(exec(&["absent-program"])).await;
    assert!(matches!(refused.messages.next().await, Some(Message::ExecFailed(_))));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let port = listener.local_addr().expect("bound").port();
    let destination = Destination::Tcp { host: "127.0.0.1".to_owned(), port };
    let (mut send, receive) = soon(client.connection.open_bi()).await.expect("a stream");
    say(&mut send, Dial { destination }).await;
    let mut messages = Messages::new(receive);
    assert!(matches!(messages.next().await, Some(Message::Dialed(_))));
    send.write_all(b"ping").await.expect("sent");
    send.finish().expect("open");
    let (accepted, _) = listener.accept().await.expect("accepted");
    drop(tokio::io::copy(&mut { accepted }, &mut tokio::io::sink()).await);
    let (mut stream, _) = messages.into_rest();
    soon(stream.read_to_end(1)).await.expect("the end");

    let mut told = Vec::new();
    while !told.iter().any(|event| matches!(event, Event::ForwardEnded { .. })) {
        told = events(&client).await;
    }
    let from = told.iter().find_map(|event| match event {
        Event::ProofAccepted { source } => Some(source.clone()),
        _ => None,
    });
    let from = from.expect("who came");
    assert!(from.starts_with("127.0.0.1:"), "{from}");
    assert!(matches!(&told[0], Event::AgentStarted { torn_bytes: 0, .. }), "{told:?}");
    // `printf 'sh\0-c\0exit 7 # a-secret\0' | sha256sum`
    let digest = "180c9d479a47c287e91d5124d2175d88a4ce24b02405354312aaa683c35775dc";
    assert!(
        told.iter().any(|event| matches!(event,
            Event::CommandStarted { source, program, arguments: 2, arguments_sha256, .. }
                if *source == from && program == "sh" && arguments_sha256 == digest)),
        "{told:?}"
    );
    assert!(told.iter().any(|event| matches!(event,
        Event::CommandEnded { program, code: Some(7), signal: None, .. } if program == "sh")));
    assert!(told.iter().any(|event| matches!(event,
        Event::CommandRefused { reason, .. } if reason.contains("absent-program"))));
    assert!(told.iter().any(|event| matches!(event,
        Event::ForwardEnded { bytes_in: 4, bytes_out: 0, destination, .. }
            if destination.ends_with(&port.to_string()))));
    assert!(told.iter().any(|event| matches!(event, Event::LogRead { .. })));
    let bytes = fetch(&client).await.expect("a log");
    assert!(!String::from_utf8_lossy(&bytes).contains("a-secret"));
}

#[tokio::test]
async fn an_agent_that_was_killed_goes_on_behind_its_last_record() {
    let volume = TempDir::new().expect("a folder");
    let platform = Platform::start(Answer::Token);
    let start = || {
        Program::start(&platform, |command| {
            command.env("VAULT_DATA_DIR", volume.path());
        })
    };
    let mut counts = Vec::new();
    for round in 0..3 {
        let mut program = start();
        let mut client = Client::connect(program.address).await;
        client.prove().await;
        client.run(shell("true")).await;
        let records = followed(&fetch(&client).await.expect("a log"));
        let starts =
            records.iter().filter(|record| matches!(record.event, Event::AgentStarted { .. }));
        assert_eq!(starts.count(), round + 1);
        counts.push(records.len());
        program.signal(if round == 1 { Signal::TERM } else { Signal::KILL });
        assert_eq!(program.ended().await, round == 1);
    }
    assert!(counts.is_sorted_by(|before, after| before < after), "{counts:?}");
    let records = followed(&fs::read(one_file(volume.path())).expect("readable"));
    assert!(records.iter().any(|record| record.event == Event::AgentEnding));
}

fn one_file(volume: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(volume.join("audit")).expect("a folder");
    files.next().expect("a file").expect("readable").path()
}

#[tokio::test]
async fn half_a_record_is_taken_out_and_told() {
    let volume = TempDir::new().expect("a folder");
    drop(with_volume(volume.path()));
    let file = one_file(volume.path());
    let mut whole = Vec::new();
    eventually("the first record is there", || {
        whole = fs::read(&file).expect("readable");
        whole.ends_with(b"\n")
    })
    .await;
    whole.extend_from_slice(b"{\"sequence\":2,\"a");
    fs::write(&file, whole).expect("writable");
    let fixture = with_volume(volume.path());
    let client = fixture.operator().await;
    let told = events(&client).await;
    assert!(matches!(told[1], Event::AgentStarted { torn_bytes: 16, .. }), "{told:?}");
}

#[tokio::test]
async fn strangers_cannot_push_records_out() {
    let volume = TempDir::new().expect("a folder");
    let clock = Arc::new(ManualClock::default());
    let fixture = Fixture::with(Answer::Token, |config| {
        config.data_dir = volume.path().to_owned();
        config.clock = clock.clone();
    });
    let wrong = 2 * u64::from(AUDIT_REFUSED_BURST);
    for _ in 0..wrong {
        // Long enough to be let in again, and too short to make room for a record.
        clock.advance(PENALTY_PER_FAILURE);
        let mut client = fixture.client().await;
        client.hello().await;
        let value = vec![0; 32].into();
        say(&mut client.control, Proof { scheme: scheme::HMAC_SHA256, value }).await;
        assert!(matches!(client.messages.next().await, Some(Message::Refused(_))));
    }
    assert_eq!(fixture.agent.counts().refused_proofs, wrong);
    let client = fixture.operator().await;
    let told = events(&client).await;
    let refused = told.iter().filter(|event| matches!(event, Event::ProofRefused { .. })).count();
    let lost: u64 = told
        .iter()
        .map(|event| match event {
            Event::RecordsLost { records } => *records,
            _ => 0,
        })
        .sum();
    assert_eq!(refused as u64 + lost, wrong, "{told:?}");
    assert!(refused < usize::try_from(wrong).expect("small"), "{refused}");
}

#[tokio::test]
async fn without_a_volume_the_reason_is_told() {
    let fixture = with_volume(Path::new("/nonexistent/volume"));
    let client = fixture.operator().await;
    let message = fetch(&client).await.expect_err("no volume");
    assert!(message.starts_with("no audit log is kept: /nonexistent/volume: "), "{message}");
}
