//! Files through the agent: where they go, who is refused, and what is written down.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use vault_agent::limits::COPIES_MAX;
use vault_files::{Copied, CopyError, Meter, Streams, Target};
use vault_protocol::audit::{Event, Record};
use vault_protocol::message::{CopyEntry, CopyOptions, CopyRequest, Direction, EntryKind, Message};

use crate::support::{Answer, Client, Fixture, Messages, eventually, say, soon};

const RECURSIVE: CopyOptions =
    CopyOptions { recursive: true, preserve: false, resume: false, into_folder: false };

pub(crate) fn request(direction: Direction, path: &Path, name: Option<&str>) -> CopyRequest {
    use std::os::unix::ffi::OsStrExt;

    CopyRequest {
        direction,
        path: path.as_os_str().as_bytes().to_vec().into(),
        name: name.map(|name| name.as_bytes().to_vec().into()),
        options: RECURSIVE,
    }
}

async fn begin(client: &Client, request: CopyRequest) -> Streams {
    let (mut sender, receiver) = soon(client.connection.open_bi()).await.expect("a stream");
    say(&mut sender, request).await;
    Streams { sender, receiver, first: Vec::new() }
}

pub(crate) async fn upload(
    client: &Client,
    from: &Path,
    request: CopyRequest,
) -> Result<Copied, CopyError> {
    let (options, streams) = (request.options, begin(client, request).await);
    soon(vault_files::send(
        from.to_owned(),
        options,
        streams,
        Arc::new(Meter::default()),
        vault_files::here,
    ))
    .await
}

pub(crate) async fn download(
    client: &Client,
    request: CopyRequest,
    to: &Path,
) -> Result<Copied, CopyError> {
    let (options, streams) = (request.options, begin(client, request).await);
    let target = Target { path: to.to_owned(), name: Some(b"asked".to_vec()) };
    soon(vault_files::receive(
        target,
        options,
        streams,
        Arc::new(Meter::default()),
        vault_files::here,
    ))
    .await
}

/// The agent's word instead of a copy.
async fn refused(client: &Client, request: CopyRequest) -> String {
    let streams = begin(client, request).await;
    match Messages::new(streams.receiver).next().await {
        Some(Message::CopyFailed(failed)) => failed.message,
        other => panic!("{other:?}"),
    }
}

fn copies(volume: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    for file in fs::read_dir(volume.join("audit")).expect("a folder") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("readable");
        let whole = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
        events.extend(whole.map(|record| record.event));
    }
    events.retain(|event| matches!(event, Event::FilesCopied { .. }));
    events
}

#[tokio::test]
async fn files_go_both_ways_and_are_written_down() {
    let [volume, here, machine] = [(); 3].map(|()| TempDir::new().expect("a folder"));
    let fixture = Fixture::with(Answer::Token, |config| config.data_dir = volume.path().to_owned());
    let client = fixture.operator().await;
    let from = here.path().join("from");
    fs::create_dir(&from).expect("a folder");
    let content = vec![7; (2 << 20) + 1];
    fs::write(from.join("file"), &content).expect("writable");
    let up = request(Direction::Upload, machine.path(), Some("there"));
    let copied = upload(&client, &from, up).await.expect("uploaded");
    assert_eq!((copied.done.files, copied.done.folders), (1, 1));
    assert_eq!(fs::read(machine.path().join("there/file")).expect("there"), content);
    let down = request(Direction::Download, &machine.path().join("there"), None);
    download(&client, down, here.path()).await.expect("downloaded");
    assert_eq!(fs::read(here.path().join("asked/file")).expect("here"), content);
    let down = request(Direction::Download, Path::new("/nonexistent/file"), None);
    let error = download(&client, down, here.path()).await.expect_err("there is none").to_string();
    let expected = "/nonexistent/file: cannot be opened: No such file or directory (os error 2)";
    assert_eq!(error, expected);
    eventually("all are written down", || copies(volume.path()).len() == 3).await;
    let told: Vec<_> = copies(volume.path())
        .into_iter()
        .map(|event| match event {
            Event::FilesCopied { direction, path, files, bytes, reason, .. } => {
                (direction, path, files, bytes, reason.is_some())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let size = content.len() as u64;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let there = machine.path().join("there");
    let expected = [
        ("upload".to_owned(), path(machine.path()), 1, size, false),
        ("download".to_owned(), path(&there), 1, size, false),
        ("download".to_owned(), "/nonexistent/file".to_owned(), 0, 0, true),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_an_upload_may_not_write_is_told_while_it_is_sent() {
    let [here, machine] = [(); 2].map(|()| TempDir::new().expect("a folder"));
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let from = here.path().join("from");
    // More than all windows and chunks on the way hold.
    fs::write(&from, vec![7; 64 << 20]).expect("writable");
    fs::create_dir(machine.path().join("from")).expect("a folder in the way");
    let up = request(Direction::Upload, machine.path(), Some("from"));
    let error = upload(&client, &from, up).await.expect_err("it is in the way").to_string();
    assert!(error.ends_with("/from: is there, and is no file that could be replaced"), "{error}");
}

#[tokio::test]
async fn hostile_names_of_a_client_are_refused() {
    let machine = TempDir::new().expect("a folder");
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    for name in ["../out", "/tmp/out", "..", "a/b", ""] {
        let up = request(Direction::Upload, machine.path(), Some("in"));
        let mut streams = begin(&client, up).await;
        let entry = |kind, name: &str, size| CopyEntry {
            kind,
            name: name.as_bytes().to_vec().into(),
            mode: 0o755,
            modified_seconds: 0,
            modified_nanoseconds: 0,
            size,
        };
        say(&mut streams.sender, entry(EntryKind::Folder, "", 0)).await;
        say(&mut streams.sender, entry(EntryKind::File, name, 4)).await;
        match Messages::new(streams.receiver).next().await {
            Some(Message::CopyFailed(failed)) => {
                assert!(failed.message.contains("leads out of its folder"), "{}", failed.message);
            }
            other => panic!("{other:?}"),
        }
    }
    let left: Vec<_> = fs::read_dir(machine.path().join("in")).expect("made").collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!machine.path().join("out").exists());
    let home = request(Direction::Download, Path::new("~other/file"), None);
    assert!(refused(&client, home).await.contains("another user's home"));
}

#[tokio::test]
async fn copies_are_bounded_and_come_back() {
    let machine = TempDir::new().expect("a folder");
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let up = || request(Direction::Upload, machine.path(), Some("in"));
    let mut open = Vec::new();
    for _ in 0..COPIES_MAX {
        // Nothing is sent: each waits for its first entry.
        open.push(begin(&client, up()).await);
    }
    assert_eq!(refused(&client, up()).await, "too many copies are running");
    drop(open);
    let file = machine.path().join("file");
    fs::write(&file, b"x").expect("writable");
    let mut copied = false;
    for _ in 0..1_000 {
        if upload(&client, &file, up()).await.is_ok() {
            copied = true;
            break;
        }
    }
    assert!(copied, "places are given back");
}
