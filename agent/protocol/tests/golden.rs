//! The bytes of every message, for ever: peers of other versions read and write these.
//!
//! A change here is a change of the protocol. A new optional field at the end of a message adds a
//! line and leaves the old one readable; anything else needs a new ALPN name.

use data_encoding::HEXLOWER;
use vault_protocol::frame::{Decoder, PAYLOAD_BYTES_MAX};
use vault_protocol::message::{
    Attach, AuditLog, AuditLogRequest, Channel, CopyDone, CopyEntry, CopyFailed, CopyFolderEnd,
    CopyFrom, CopyOptions, CopyPartial, CopyRequest, CopySent, Destination, Detach, Detached, Dial,
    DialFailed, DialFailedReason, Dialed, Direction, EntryKind, Evidence, Exec, ExecFailed,
    ExecFailedReason, Exit, Health, HealthRequest, Hello, Message, Proof, Provision,
    ProvisionFailed, ProvisionFailedReason, ProvisionProgress, Provisioned, Ready, Refused,
    RefusedReason, Resize, Resume, Resumed, SendFrom, SessionFailed, SessionSignal,
    SessionSignalled, SessionState, Sessions, SessionsRequest, Signal, Size, Started, Taken,
    Terminal, Variable, scheme,
};

fn session_state() -> SessionState {
    SessionState {
        session: [5; 16].into(),
        tag: Some("t".to_owned()),
        program: "sh".to_owned(),
        process_id: 7,
        terminal: true,
        attached: false,
        age_ms: 8,
        ended: false,
    }
}

fn samples() -> Vec<(&'static str, Message)> {
    let variable = Variable { name: b"TERM".to_vec().into(), value: b"dumb".to_vec().into() };
    vec![
        (
            "01000010816e7661756c7463746c20302e312e30",
            Hello { software: "vaultctl 0.1.0".to_owned() }.into(),
        ),
        (
            "020000198265652e792e6a717661756c742d6167656e7420302e312e30",
            Evidence { token: "e.y.j".to_owned(), software: "vault-agent 0.1.0".to_owned() }.into(),
        ),
        ("0300000180", HealthRequest {}.into()),
        (
            "040000198365302e312e3050ababababababababababababababababf5",
            Health {
                version: "0.1.0".to_owned(),
                boot_id: [0xab; 16].into(),
                ready: true,
                message: None,
            }
            .into(),
        ),
        (
            "040000238465302e312e3050ababababababababababababababababf4696e6f20736563726574",
            Health {
                version: "0.1.0".to_owned(),
                boot_id: [0xab; 16].into(),
                ready: false,
                message: Some("no secret".to_owned()),
            }
            .into(),
        ),
        (
            "0500002482015820cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
            Proof { scheme: scheme::HMAC_SHA256, value: vec![0xcd; 32].into() }.into(),
        ),
        ("0600000180", Ready { root: None }.into()),
        (
            "06000023815820\
             0707070707070707070707070707070707070707070707070707070707070707",
            Ready { root: Some([7; 32].into()) }.into(),
        ),
        (
            "30000025835820\
             0101010101010101010101010101010101010101010101010101010101010101\
             05f5",
            Provision { sha256: [1; 32].into(), bytes: 5, replace: true }.into(),
        ),
        ("310000028107", SendFrom { offset: 7 }.into()),
        ("3200000483010203", ProvisionProgress { received: 1, unpacked: 2, entries: 3 }.into()),
        ("3300000483f40203", Provisioned { unchanged: false, entries: 2, unpacked: 3 }.into()),
        (
            "340000048204616d",
            ProvisionFailed { reason: ProvisionFailedReason::Boot, message: "m".to_owned() }.into(),
        ),
        (
            "070000058200626e6f",
            Refused { reason: RefusedReason::Proof, message: "no".to_owned() }.into(),
        ),
        (
            "100000198482426c7341ff8182445445524d4464756d62442f737276f5",
            Exec {
                arguments: vec![b"ls".to_vec().into(), b"\xff".to_vec().into()],
                environment: vec![variable],
                directory: Some(b"/srv".to_vec().into()),
                stdin: true,
                terminal: None,
                user: None,
                timeout_ms: None,
                keep: None,
            }
            .into(),
        ),
        (
            "1000000a8481447472756580f6f4",
            Exec {
                arguments: vec![b"true".to_vec().into()],
                environment: Vec::new(),
                directory: None,
                stdin: false,
                terminal: None,
                user: None,
                timeout_ms: None,
                keep: None,
            }
            .into(),
        ),
        (
            "10000018878080f6f58245787465726d82185018186364657619ea60",
            Exec {
                arguments: Vec::new(),
                environment: Vec::new(),
                directory: None,
                stdin: true,
                terminal: Some(Terminal {
                    kind: b"xterm".to_vec().into(),
                    size: Size { columns: 80, rows: 24 },
                }),
                user: Some("dev".to_owned()),
                timeout_ms: Some(60_000),
                keep: None,
            }
            .into(),
        ),
        (
            "2100001382500505050505050505050505050505050501",
            Resume { session: [5; 16].into(), stdout: Some(1), stderr: None, size: None }.into(),
        ),
        (
            "220000068507010203f4",
            Resumed { process_id: 7, stdin: Some(1), stdout: 2, stderr: 3, terminal: false }.into(),
        ),
        ("23000003820109", Taken { channel: Channel::Stdout, bytes: 9 }.into()),
        ("2400000180", Detach {}.into()),
        ("2500000281f5", Detached { taken_over: true }.into()),
        ("2600000180", SessionsRequest {}.into()),
        (
            "2700001e8181885005050505050505050505050505050505617462736807f5f408f4",
            Sessions { sessions: vec![session_state()] }.into(),
        ),
        (
            "280000138250050505050505050505050505050505050f",
            SessionSignal { session: [5; 16].into(), number: 15 }.into(),
        ),
        ("2900000180", SessionSignalled {}.into()),
        ("2a00000381616d", SessionFailed { message: "m".to_owned() }.into()),
        ("11000006811a00011170", Started { process_id: 70_000, kept: None }.into()),
        (
            "120000088200656e6f206c73",
            ExecFailed { reason: ExecFailedReason::NotFound, message: "no ls".to_owned() }.into(),
        ),
        ("13000002810f", Signal { number: 15 }.into()),
        (
            "140000048307f6f4",
            Exit { code: Some(7), signal: None, core_dumped: false, timed_out: None }.into(),
        ),
        (
            "1400000483f609f5",
            Exit { code: None, signal: Some(9), core_dumped: true, timed_out: None }.into(),
        ),
        (
            "1400000584f60ff4f5",
            Exit { code: None, signal: Some(15), core_dumped: false, timed_out: Some(true) }.into(),
        ),
        ("15000006818218c81832", Resize { size: Size { columns: 200, rows: 50 } }.into()),
        (
            "1800001181820082696c6f63616c686f7374191f90",
            Dial { destination: Destination::Tcp { host: "localhost".to_owned(), port: 8080 } }
                .into(),
        ),
        (
            "1800000881820181432f61ff",
            Dial { destination: Destination::Unix { path: b"/a\xff".to_vec().into() } }.into(),
        ),
        ("1900000180", Dialed {}.into()),
        (
            "1a0000058200626e6f",
            DialFailed { reason: DialFailedReason::Refused, message: "no".to_owned() }.into(),
        ),
        ("20000003820402", Attach { command: 4, channel: Channel::Stderr }.into()),
        ("400000028107", AuditLogRequest { from: Some(7) }.into()),
        ("4000000180", AuditLogRequest { from: None }.into()),
        ("4100000481190100", AuditLog { bytes: 256, message: None }.into()),
        ("410000058200626e6f", AuditLog { bytes: 0, message: Some("no".into()) }.into()),
    ]
    .into_iter()
    .chain(files())
    .collect()
}

fn files() -> Vec<(&'static str, Message)> {
    let options =
        CopyOptions { recursive: true, preserve: false, resume: true, into_folder: false };
    vec![
        (
            "5000000d8400437e2fff416184f5f4f5f4",
            CopyRequest {
                direction: Direction::Upload,
                path: b"~/\xff".to_vec().into(),
                name: Some(b"a".to_vec().into()),
                options,
            }
            .into(),
        ),
        (
            "5000000b8401422f61f684f4f5f4f5",
            CopyRequest {
                direction: Direction::Download,
                path: b"/a".to_vec().into(),
                name: None,
                options: CopyOptions {
                    preserve: true,
                    into_folder: true,
                    ..CopyOptions::default()
                },
            }
            .into(),
        ),
        (
            "51000012860041611901a420051b0000000100000000",
            CopyEntry {
                kind: EntryKind::File,
                name: b"a".to_vec().into(),
                mode: 0o644,
                modified_seconds: -1,
                modified_nanoseconds: 5,
                size: 1 << 32,
            }
            .into(),
        ),
        (
            "510000098601401901ed000000",
            CopyEntry {
                kind: EntryKind::Folder,
                name: Vec::new().into(),
                mode: 0o755,
                modified_seconds: 0,
                modified_nanoseconds: 0,
                size: 0,
            }
            .into(),
        ),
        ("5200000180", CopyFolderEnd {}.into()),
        (
            "5300002482075820abababababababababababababababababababababababababababababababab",
            CopyPartial { bytes: 7, sha256: [0xab; 32].into() }.into(),
        ),
        ("540000028107", CopyFrom { offset: 7 }.into()),
        ("550000028100", CopySent { skipped: 0, first_skipped: None }.into()),
        (
            "550000058202422f61",
            CopySent { skipped: 2, first_skipped: Some(b"/a".to_vec().into()) }.into(),
        ),
        ("5600000483010203", CopyDone { files: 1, folders: 2, bytes: 3 }.into()),
        (
            "5700000782422f61626e6f",
            CopyFailed { path: b"/a".to_vec().into(), message: "no".to_owned() }.into(),
        ),
    ]
}

#[test]
fn every_message_has_its_bytes() {
    let mut wrong = Vec::new();
    for (golden, message) in samples() {
        let mut bytes = Vec::new();
        message.frame().encode(PAYLOAD_BYTES_MAX, &mut bytes).expect("short enough");
        if HEXLOWER.encode(&bytes) != golden {
            wrong.push(format!("{}: {}", message.name(), HEXLOWER.encode(&bytes)));
        }
        let mut decoder = Decoder::new(PAYLOAD_BYTES_MAX);
        decoder.push(&HEXLOWER.decode(golden.as_bytes()).unwrap_or_default());
        match decoder.next_frame().expect("a frame").map(|frame| Message::read(&frame)) {
            Some(Ok(read)) if read == message => {}
            other => wrong.push(format!("{} reads as {other:?}", message.name())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_of_a_reason_has_its_number() {
    let numbers = |messages: Vec<Message>| -> Vec<u8> {
        messages.iter().map(|message| message.frame().payload[1]).collect()
    };
    let message = String::new;
    let refused = [RefusedReason::Proof, RefusedReason::NoEvidence, RefusedReason::NotReady];
    let refused = refused.map(|reason| Refused { reason, message: message() }.into());
    assert_eq!(numbers(refused.to_vec()), [0, 1, 2]);
    let failed = [
        ExecFailedReason::NotFound,
        ExecFailedReason::NotExecutable,
        ExecFailedReason::Directory,
        ExecFailedReason::Invalid,
        ExecFailedReason::Resources,
        ExecFailedReason::ShuttingDown,
        ExecFailedReason::User,
    ];
    let failed = failed.map(|reason| ExecFailed { reason, message: message() }.into());
    assert_eq!(numbers(failed.to_vec()), [0, 1, 2, 3, 4, 5, 6]);
    let failed = [
        DialFailedReason::Refused,
        DialFailedReason::NameNotFound,
        DialFailedReason::Denied,
        DialFailedReason::TimedOut,
        DialFailedReason::Unreachable,
        DialFailedReason::Invalid,
        DialFailedReason::Resources,
        DialFailedReason::ShuttingDown,
    ];
    let failed = failed.map(|reason| DialFailed { reason, message: message() }.into());
    assert_eq!(numbers(failed.to_vec()), [0, 1, 2, 3, 4, 5, 6, 7]);
    let channels = [Channel::Stdin, Channel::Stdout, Channel::Stderr];
    let attached: Vec<Message> =
        channels.iter().map(|channel| Attach { command: 0, channel: *channel }.into()).collect();
    let last: Vec<_> = attached.iter().map(|message| message.frame().payload[2]).collect();
    assert_eq!(last, [0, 1, 2]);
}

#[test]
fn a_destination_is_shown_as_people_write_it_and_cannot_steer_a_terminal() {
    let tcp = |host: &str| Destination::Tcp { host: host.to_owned(), port: 80 };
    let unix = |path: &[u8]| Destination::Unix { path: path.to_vec().into() };
    for (destination, shown) in [
        (tcp("localhost"), "localhost:80"),
        (tcp("::1"), "[::1]:80"),
        (tcp("a\u{1b}[2J"), "a\\u{1b}[2J:80"),
        (unix(b"/run/app.sock"), "/run/app.sock"),
        (unix(b"/\xff\n"), "/\\xff\\n"),
    ] {
        assert_eq!(destination.to_string(), shown);
    }
}

#[test]
fn a_field_of_a_later_version_is_skipped() {
    // Started, as today, with one more field at the end.
    let frame =
        vault_protocol::frame::Frame { tag: 0x11, payload: vec![0x83, 0x07, 0xf6, 0x61, b'x'] };
    let read = Message::read(&frame).expect("reads");
    assert_eq!(read, Started { process_id: 7, kept: None }.into());
}

#[test]
fn a_reason_of_a_later_version_is_read() {
    let frame = vault_protocol::frame::Frame { tag: 0x07, payload: vec![0x82, 0x18, 0x63, 0x60] };
    let read = Message::read(&frame).expect("reads");
    let message = String::new();
    assert_eq!(read, Refused { reason: RefusedReason::Other(99), message }.into());
}

#[test]
fn a_message_has_nothing_after_it() {
    let frame = vault_protocol::frame::Frame { tag: 0x11, payload: vec![0x81, 0x07, 0x00] };
    let error = Message::read(&frame).expect_err("a byte too many");
    assert_eq!(error.to_string(), "bytes after a Started message, in the same frame");
    let frame = vault_protocol::frame::Frame { tag: 0x99, payload: Vec::new() };
    let error = Message::read(&frame).expect_err("no such tag");
    assert_eq!(error.to_string(), "a frame with the unknown tag 0x99");
}
