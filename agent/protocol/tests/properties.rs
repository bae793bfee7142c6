//! What holds for all bytes and all messages.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use vault_protocol::frame::{Decoder, HEADER_BYTES, PAYLOAD_BYTES_MAX};
use vault_protocol::handshake::{
    AgentEvent, AgentHandshake, ClientEvent, ClientHandshake, HEALTH_REQUESTS_MAX,
};
use vault_protocol::message::{
    Attach, AuditLog, AuditLogRequest, Channel, CopyDone, CopyEntry, CopyFailed, CopyFolderEnd,
    CopyFrom, CopyOptions, CopyPartial, CopyRequest, CopySent, Destination, Detach, Detached, Dial,
    DialFailed, DialFailedReason, Dialed, Direction, EntryKind, Evidence, Exec, ExecFailed,
    ExecFailedReason, Exit, Health, HealthRequest, Hello, Keep, Message, Proof, Provision,
    ProvisionFailed, ProvisionFailedReason, ProvisionProgress, Provisioned, Ready, Refused,
    RefusedReason, Resize, Resume, Resumed, SendFrom, SessionFailed, SessionSignal,
    SessionSignalled, SessionState, Sessions, SessionsRequest, Signal, Size, Started, Taken,
    Terminal, Variable,
};

/// The verdict on a machine without a root filesystem.
const READY: Ready = Ready { root: None };

fn bytes() -> impl Strategy<Value = minicbor::bytes::ByteVec> {
    vec(any::<u8>(), 0..64).prop_map(Into::into)
}

fn variable() -> impl Strategy<Value = Variable> {
    (bytes(), bytes()).prop_map(|(name, value)| Variable { name, value })
}

fn refused_reason() -> impl Strategy<Value = RefusedReason> {
    prop_oneof![
        Just(RefusedReason::Proof),
        Just(RefusedReason::NoEvidence),
        Just(RefusedReason::NotReady),
    ]
}

fn failed_reason() -> impl Strategy<Value = ExecFailedReason> {
    prop_oneof![
        Just(ExecFailedReason::NotFound),
        Just(ExecFailedReason::NotExecutable),
        Just(ExecFailedReason::Directory),
        Just(ExecFailedReason::Invalid),
        Just(ExecFailedReason::Resources),
        Just(ExecFailedReason::ShuttingDown),
        Just(ExecFailedReason::User),
    ]
}

fn size() -> impl Strategy<Value = Size> {
    any::<(u16, u16)>().prop_map(|(columns, rows)| Size { columns, rows })
}

fn destination() -> impl Strategy<Value = Destination> {
    prop_oneof![
        (".*", any::<u16>()).prop_map(|(host, port)| Destination::Tcp { host, port }),
        bytes().prop_map(|path| Destination::Unix { path }),
    ]
}

fn dial_failed() -> impl Strategy<Value = DialFailed> {
    let reason = prop_oneof![Just(DialFailedReason::Refused), Just(DialFailedReason::ShuttingDown)];
    (reason, ".*").prop_map(|(reason, message)| DialFailed { reason, message })
}

fn exec() -> impl Strategy<Value = Exec> {
    let terminal = (bytes(), size()).prop_map(|(kind, size)| Terminal { kind, size });
    let old = (vec(bytes(), 0..8), vec(variable(), 0..8), option::of(bytes()), any::<bool>());
    let new =
        (option::of(terminal), option::of(".*"), option::of(any::<u64>()), option::of(keep()));
    (old, new).prop_map(|(old, (terminal, user, timeout_ms, keep))| {
        let (arguments, environment, directory, stdin) = old;
        Exec { arguments, environment, directory, stdin, terminal, user, timeout_ms, keep }
    })
}

fn exit() -> impl Strategy<Value = Exit> {
    let (number, word) = (option::of(any::<u8>()), option::of(any::<bool>()));
    (number.clone(), number, any::<bool>(), word).prop_map(
        |(code, signal, core_dumped, timed_out)| Exit { code, signal, core_dumped, timed_out },
    )
}

fn health() -> impl Strategy<Value = Health> {
    (".*", any::<[u8; 16]>(), any::<bool>(), option::of(".*")).prop_map(
        |(version, boot_id, ready, message)| Health {
            version,
            boot_id: boot_id.into(),
            ready,
            message,
        },
    )
}

fn copy_message() -> impl Strategy<Value = Message> {
    let direction = prop_oneof![Just(Direction::Upload), Just(Direction::Download)];
    let kind = prop_oneof![Just(EntryKind::File), Just(EntryKind::Folder)];
    let request = (direction, bytes(), option::of(bytes()), any::<[bool; 4]>());
    let entry = (kind, bytes(), any::<u32>(), any::<i64>(), any::<u32>(), any::<u64>());
    prop_oneof![
        request.prop_map(|(direction, path, name, [recursive, preserve, resume, into_folder])| {
            let options = CopyOptions { recursive, preserve, resume, into_folder };
            CopyRequest { direction, path, name, options }.into()
        }),
        entry.prop_map(|(kind, name, mode, modified_seconds, modified_nanoseconds, size)| {
            CopyEntry { kind, name, mode, modified_seconds, modified_nanoseconds, size }.into()
        }),
        Just(CopyFolderEnd {}.into()),
        any::<(u64, [u8; 32])>().prop_map(|(bytes, sha256)| CopyPartial {
            bytes,
            sha256: sha256.into()
        }
        .into()),
        any::<u64>().prop_map(|offset| CopyFrom { offset }.into()),
        (any::<u64>(), option::of(bytes())).prop_map(|(skipped, first_skipped)| CopySent {
            skipped,
            first_skipped
        }
        .into()),
        any::<(u64, u64, u64)>().prop_map(|(files, folders, bytes)| CopyDone {
            files,
            folders,
            bytes
        }
        .into()),
        (bytes(), ".*").prop_map(|(path, message)| CopyFailed { path, message }.into()),
    ]
}

fn keep() -> impl Strategy<Value = Keep> {
    (any::<[u8; 16]>(), option::of(".*"), any::<u64>()).prop_map(|(session, tag, linger_ms)| Keep {
        session: session.into(),
        tag,
        linger_ms,
    })
}

fn session_message() -> impl Strategy<Value = Message> {
    let session = || any::<[u8; 16]>();
    let bytes = || option::of(any::<u64>());
    let state = (session(), option::of(".*"), ".*", any::<(u32, bool, bool, u64, bool)>())
        .prop_map(|(session, tag, program, (process_id, terminal, attached, age_ms, ended))| {
            SessionState {
                session: session.into(),
                tag,
                program,
                process_id,
                terminal,
                attached,
                age_ms,
                ended,
            }
        });
    prop_oneof![
        (session(), bytes(), bytes(), option::of(size())).prop_map(
            |(session, stdout, stderr, size)| {
                Resume { session: session.into(), stdout, stderr, size }.into()
            }
        ),
        (any::<(u32, u64, u64, bool)>(), bytes()).prop_map(
            |((process_id, stdout, stderr, terminal), stdin)| {
                Resumed { process_id, stdin, stdout, stderr, terminal }.into()
            }
        ),
        any::<u64>().prop_map(|bytes| Taken { channel: Channel::Stdin, bytes }.into()),
        Just(Detach {}.into()),
        any::<bool>().prop_map(|taken_over| Detached { taken_over }.into()),
        Just(SessionsRequest {}.into()),
        vec(state, 0..3).prop_map(|sessions| Sessions { sessions }.into()),
        (session(), any::<u8>()).prop_map(|(session, number)| SessionSignal {
            session: session.into(),
            number
        }
        .into()),
        Just(SessionSignalled {}.into()),
        ".*".prop_map(|message| SessionFailed { message }.into()),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let channel = prop_oneof![Just(Channel::Stdin), Just(Channel::Stdout), Just(Channel::Stderr)];
    prop_oneof![
        copy_message(),
        session_message(),
        ".*".prop_map(|software| Hello { software }.into()),
        (".*", ".*").prop_map(|(token, software)| Evidence { token, software }.into()),
        Just(HealthRequest {}.into()),
        health().prop_map(Into::into),
        (any::<u8>(), bytes()).prop_map(|(scheme, value)| Proof { scheme, value }.into()),
        Just(READY.into()),
        (any::<[u8; 32]>(), any::<u64>(), any::<bool>()).prop_map(|(sha256, bytes, replace)| {
            Provision { sha256: sha256.into(), bytes, replace }.into()
        }),
        any::<u64>().prop_map(|offset| SendFrom { offset }.into()),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(received, unpacked, entries)| {
            ProvisionProgress { received, unpacked, entries }.into()
        }),
        (any::<bool>(), any::<u64>(), any::<u64>()).prop_map(|(unchanged, entries, unpacked)| {
            Provisioned { unchanged, entries, unpacked }.into()
        }),
        ((9_u8..).prop_map(ProvisionFailedReason::Other), ".*")
            .prop_map(|(reason, message)| { ProvisionFailed { reason, message }.into() }),
        (refused_reason(), ".*").prop_map(|(reason, message)| Refused { reason, message }.into()),
        exec().prop_map(Into::into),
        (any::<u32>(), option::of(any::<bool>())).prop_map(|(process_id, kept)| Started {
            process_id,
            kept
        }
        .into()),
        (failed_reason(), ".*").prop_map(|(reason, message)| ExecFailed { reason, message }.into()),
        any::<u8>().prop_map(|number| Signal { number }.into()),
        exit().prop_map(Into::into),
        size().prop_map(|size| Resize { size }.into()),
        destination().prop_map(|destination| Dial { destination }.into()),
        Just(Dialed {}.into()),
        dial_failed().prop_map(Into::into),
        (any::<u64>(), channel).prop_map(|(command, channel)| Attach { command, channel }.into()),
        option::of(any::<u64>()).prop_map(|from| AuditLogRequest { from }.into()),
        (any::<u64>(), option::of(".*"))
            .prop_map(|(bytes, message)| AuditLog { bytes, message }.into()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(messages in vec(message(), 0..6), cut in 1_usize..50) {
        let mut stream = Vec::new();
        for message in &messages {
            message.frame().encode(PAYLOAD_BYTES_MAX, &mut stream).expect("short enough");
        }
        let mut decoder = Decoder::new(PAYLOAD_BYTES_MAX);
        let mut read = Vec::new();
        for chunk in stream.chunks(cut) {
            decoder.push(chunk);
            while let Some(frame) = decoder.next_frame().expect("in bounds") {
                read.push(Message::read(&frame).expect("a message"));
            }
        }
        decoder.finish().expect("nothing is left");
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        stream in vec(any::<u8>(), 0..4096),
        allowed in 0_usize..2048,
        cut in 1_usize..512,
    ) {
        let mut decoder = Decoder::new(allowed);
        'stream: for chunk in stream.chunks(cut) {
            decoder.push(chunk);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => {
                        prop_assert!(frame.payload.len() <= allowed);
                        drop(Message::read(&frame));
                    }
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
            // What is kept is less than one frame.
            prop_assert!(decoder.unread() < HEADER_BYTES + allowed.max(1));
        }
    }

    #[test]
    fn a_client_proves_nothing_before_it_believes(messages in vec(message(), 0..8)) {
        let (mut handshake, _) = ClientHandshake::begin("test");
        let proof = || Proof { scheme: 1, value: vec![0; 32].into() };
        for message in messages {
            prop_assert!(handshake.clone().prove(proof()).is_err());
            prop_assert!(handshake.clone().ask_for_health().is_err());
            match handshake.receive(message) {
                Ok(ClientEvent::CheckEvidence(_)) => {
                    prop_assert!(handshake.clone().prove(proof()).is_err());
                    handshake.evidence_verified().expect("there is evidence");
                    prop_assert!(handshake.clone().prove(proof()).is_ok());
                    break;
                }
                Ok(ClientEvent::Refused(_)) | Err(_) => {}
                Ok(event) => prop_assert!(false, "{event:?} before any evidence"),
            }
        }
    }

    #[test]
    fn an_agent_accepts_nobody_without_a_proof(messages in vec(message(), 0..24)) {
        let mut handshake = AgentHandshake::new();
        let mut health_requests = 0;
        for message in messages {
            prop_assert!(handshake.clone().accept(READY).is_err());
            match handshake.receive(message) {
                Ok(AgentEvent::MakeEvidence(_)) => {
                    let evidence = Evidence { token: String::new(), software: String::new() };
                    handshake.present(evidence).expect("it was asked for");
                }
                Ok(AgentEvent::AnswerHealth) => health_requests += 1,
                Ok(AgentEvent::CheckProof(_)) => {
                    prop_assert!(handshake.clone().accept(READY).is_ok());
                    handshake.refuse(RefusedReason::Proof, "no").expect("there is a proof");
                    prop_assert!(handshake.clone().accept(READY).is_err());
                    break;
                }
                Err(_) => break,
            }
        }
        prop_assert!(health_requests <= HEALTH_REQUESTS_MAX);
    }
}

#[test]
fn the_two_ends_understand_each_other() {
    let (mut client, hello) = ClientHandshake::begin("test");
    let mut agent = AgentHandshake::new();
    assert!(matches!(agent.receive(hello), Ok(AgentEvent::MakeEvidence(_))));
    let evidence = Evidence { token: "t".to_owned(), software: "a".to_owned() };
    let evidence = agent.present(evidence).expect("asked for");
    assert!(matches!(client.receive(evidence), Ok(ClientEvent::CheckEvidence(_))));
    client.evidence_verified().expect("there is evidence");
    let health =
        Health { version: "1".to_owned(), boot_id: [0; 16].into(), ready: true, message: None };
    for _ in 0..HEALTH_REQUESTS_MAX {
        let request = client.ask_for_health().expect("verified");
        assert_eq!(agent.receive(request), Ok(AgentEvent::AnswerHealth));
        let answer = agent.health(health.clone()).expect("asked for");
        assert_eq!(client.receive(answer), Ok(ClientEvent::Health(health.clone())));
    }
    let request = client.clone().ask_for_health().expect("the client does not count");
    agent.clone().receive(request).expect_err("one too many");
    let proof = client.prove(Proof { scheme: 1, value: vec![1; 32].into() }).expect("verified");
    assert!(matches!(agent.receive(proof), Ok(AgentEvent::CheckProof(_))));
    let ready = agent.accept(READY).expect("proved");
    assert_eq!(client.receive(ready), Ok(ClientEvent::Ready(READY)));
    // It is over: neither end says or takes anything more.
    client.receive(READY.into()).expect_err("over");
    agent.receive(HealthRequest {}.into()).expect_err("over");
    client.prove(Proof { scheme: 1, value: vec![1; 32].into() }).expect_err("over");
}
