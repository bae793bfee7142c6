//! Commands that outlive their connections.

use std::sync::Arc;
use std::time::Duration;

use vault_agent::limits::{ENDED_SESSION_KEPT, ENDED_SESSIONS_MAX};
use vault_protocol::message::{
    Channel, Detach, Detached, Exec, Keep, Message, Resume, Resumed, SessionSignal, SessionState,
    SessionsRequest, Size, Taken, Terminal,
};

use crate::support::{
    Answer, Client, Command, Fixture, ManualClock, code, eventually, is_alive, killed_by, say,
    shell, soon,
};

const SESSION: [u8; 16] = [9; 16];

const LINGER: Duration = Duration::from_secs(600);

fn kept(exec: Exec) -> Exec {
    kept_as(SESSION, exec)
}

fn kept_as(session: [u8; 16], exec: Exec) -> Exec {
    let linger_ms = u64::try_from(LINGER.as_millis()).expect("short");
    let tag = Some("nightly".to_owned());
    Exec { keep: Some(Keep { session: session.into(), tag, linger_ms }), ..exec }
}

async fn resume(
    client: &mut Client,
    stdout: Option<u64>,
    stderr: Option<u64>,
) -> (Command, Resumed) {
    let mut command =
        client.ask(Resume { session: SESSION.into(), stdout, stderr, size: None }).await;
    match command.messages.next().await {
        Some(Message::Resumed(resumed)) => (command, resumed),
        other => panic!("{other:?}"),
    }
}

async fn sessions(client: &mut Client) -> Vec<SessionState> {
    match client.ask(SessionsRequest {}).await.messages.next().await {
        Some(Message::Sessions(sessions)) => sessions.sessions,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_comes_twice_when_a_connection_is_lost() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let script = "head -c 5; echo end >&2; cat; exit 3";
    let mut command = client.start(kept(Exec { stdin: true, ..shell(script) })).await;
    let mut stdin = client.stdin(command.id).await;
    command.started().await;
    stdin.write_all(b"12345678").await.expect("sent");
    let (mut stdout, mut read) = client.output(command.id, Channel::Stdout).await;
    while read.len() < 8 {
        let chunk = soon(stdout.read_chunk(64, true)).await.expect("readable").expect("more");
        read.extend_from_slice(&chunk.bytes);
    }
    client.vanish();
    let mut client = fixture.operator().await;
    // This client says that it has three bytes only, and of the other output none.
    let (mut command, resumed) = resume(&mut client, Some(3), Some(0)).await;
    assert_eq!((resumed.stdin, resumed.stdout, resumed.stderr), (Some(8), 3, 0));
    let mut stdin = client.stdin(command.id).await;
    stdin.write_all(b"9").await.expect("sent");
    stdin.finish().expect("open");
    assert_eq!(client.read(command.id, Channel::Stdout).await, b"456789");
    assert_eq!(client.read(command.id, Channel::Stderr).await, b"end\n");
    assert_eq!(command.exit().await, code(3));
    eventually_none(&mut client).await;
}

async fn eventually_none(client: &mut Client) {
    for _ in 0..1000 {
        if sessions(client).await.is_empty() {
            return;
        }
    }
    panic!("a session is left");
}

#[tokio::test]
async fn the_end_is_kept_for_a_client_that_was_lost() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut command = client.start(kept(shell("head -c 3000000 /dev/zero; exit 7"))).await;
    let process = command.started().await;
    client.vanish();
    eventually("it ends without a client", || !is_alive(process)).await;
    let mut client = fixture.operator().await;
    let (mut command, resumed) = resume(&mut client, Some(0), Some(0)).await;
    assert_eq!(resumed.stdout, 0);
    assert_eq!(client.read(command.id, Channel::Stdout).await, vec![0; 3_000_000]);
    assert_eq!(command.exit().await, code(7));
}

#[tokio::test]
async fn who_is_lost_for_too_long_gets_a_hang_up() {
    let clock = Arc::new(ManualClock::default());
    let given = clock.clone();
    let fixture = Fixture::with(Answer::Token, |config| config.clock = given);
    let address = fixture.agent.local_address();
    let mut client = Client::forgotten_after(address, Duration::from_secs(2)).await;
    let mut command = client.start(kept(shell("sleep 0.3; exec sleep 1000"))).await;
    let process = command.started().await;
    client.vanish();
    let mut client = fixture.operator().await;
    while sessions(&mut client).await.iter().any(|session| session.attached) {}
    assert!(is_alive(process));
    clock.advance(LINGER + ENDED_SESSION_KEPT);
    // Whoever waits looks at the clock when something happens; a signal that does nothing will do.
    let mut signal = client.ask(SessionSignal { session: SESSION.into(), number: 28 }).await;
    assert!(matches!(signal.messages.next().await, Some(Message::SessionSignalled(_))));
    eventually("the hang-up ends it", || !is_alive(process)).await;
}

#[tokio::test]
async fn a_detached_session_goes_on_and_forgets_its_oldest_bytes() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut command = client.start(kept(shell("head -c 20000000 /dev/zero; sleep 1000"))).await;
    let process = command.started().await;
    say(&mut command.sender, Detach {}).await;
    let parted = command.messages.next().await;
    assert_eq!(parted, Some(Detached { taken_over: false }.into()));
    // A goodbye is no hang-up then.
    client.connection.close(0_u32.into(), b"");
    let mut client = fixture.operator().await;
    let listed = sessions(&mut client).await;
    assert_eq!(listed.len(), 1);
    assert!(!listed[0].attached && !listed[0].ended && !listed[0].terminal);
    assert_eq!((listed[0].tag.as_deref(), listed[0].process_id), (Some("nightly"), process));
    let missed = loop {
        let (mut command, resumed) = resume(&mut client, None, None).await;
        say(&mut command.sender, Detach {}).await;
        while command.messages.next().await.is_some() {}
        if resumed.stdout >= 18_000_000 {
            break resumed.stdout;
        }
    };
    assert!(missed <= 20_000_000, "{missed}");
    let mut signal = client.ask(SessionSignal { session: SESSION.into(), number: 9 }).await;
    assert!(matches!(signal.messages.next().await, Some(Message::SessionSignalled(_))));
    eventually("it is killed", || !is_alive(process)).await;
    let (mut command, _) = resume(&mut client, None, None).await;
    assert_eq!(command.exit().await, killed_by(9));
}

#[tokio::test]
async fn a_second_client_takes_the_session_over() {
    let fixture = Fixture::start();
    let mut first = fixture.operator().await;
    let terminal = Terminal { kind: b"dumb".to_vec().into(), size: Size { columns: 80, rows: 24 } };
    let cat = Exec { terminal: Some(terminal), stdin: true, ..shell("exec cat") };
    let mut command = first.start(kept(cat)).await;
    let mut stale = first.stdin(command.id).await;
    command.started().await;
    stale.write_all(b"one\n").await.expect("sent");
    let (mut stdout, mut read) = first.output(command.id, Channel::Stdout).await;
    while read != b"one\r\none\r\n" {
        let chunk = soon(stdout.read_chunk(64, true)).await.expect("readable").expect("more");
        read.extend_from_slice(&chunk.bytes);
    }
    let mut second = fixture.operator().await;
    let (mut taken, resumed) = resume(&mut second, None, None).await;
    assert!(resumed.terminal);
    let parted = command.messages.next().await;
    assert_eq!(parted, Some(Detached { taken_over: true }.into()));
    soon(stdout.read_chunk(64, true)).await.expect_err("it is no end of the output");
    // What the first one types now goes nowhere.
    drop(stale.write_all(b"stale\n").await);
    let mut stdin = second.stdin(taken.id).await;
    stdin.write_all(b"two\n").await.expect("sent");
    stdin.finish().expect("open");
    let all = second.read(taken.id, Channel::Stdout).await;
    assert_eq!(String::from_utf8(all).expect("UTF-8"), "one\r\none\r\ntwo\r\ntwo\r\n");
    assert_eq!(taken.exit().await, code(0));
}

#[tokio::test]
async fn a_command_that_is_not_taken_waits_and_is_told_of() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut command = client.start(kept(shell("head -c 30000000 /dev/zero"))).await;
    command.started().await;
    let (mut stdout, read) = client.output(command.id, Channel::Stdout).await;
    let mut count = u64::try_from(read.len()).expect("short");
    let mut told = 0;
    while let Some(chunk) = soon(stdout.read_chunk(1 << 20, true)).await.expect("readable") {
        count += u64::try_from(chunk.bytes.len()).expect("short");
        if count >= told + (1 << 20) {
            told = count;
            say(&mut command.sender, Taken { channel: Channel::Stdout, bytes: count }).await;
        }
    }
    assert_eq!(count, 30_000_000);
    assert_eq!(command.exit().await, code(0));
}

#[tokio::test]
async fn a_session_that_does_not_exist_is_refused() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut answer = client
        .ask(Resume { session: [1; 16].into(), stdout: None, stderr: None, size: None })
        .await;
    assert!(matches!(answer.messages.next().await, Some(Message::SessionFailed(_))));
    let mut command = client.start(kept(shell("exec sleep 1000"))).await;
    command.started().await;
    let mut again = client.start(kept(shell("true"))).await;
    assert!(matches!(again.messages.next().await, Some(Message::ExecFailed(_))));
}

#[tokio::test]
async fn ended_sessions_make_room_and_take_no_orders() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    for number in 0..70 {
        let mut command = client.start(kept_as([number; 16], shell("exec sleep 1000"))).await;
        command.started().await;
        say(&mut command.sender, Detach {}).await;
        while command.messages.next().await.is_some() {}
        let kill = SessionSignal { session: [number; 16].into(), number: 9 };
        let mut signal = client.ask(kill).await;
        assert!(matches!(signal.messages.next().await, Some(Message::SessionSignalled(_))));
    }
    let left = loop {
        let left = sessions(&mut client).await;
        if left.len() <= ENDED_SESSIONS_MAX && left.iter().all(|session| session.ended) {
            break left;
        }
    };
    assert_eq!(left.len(), ENDED_SESSIONS_MAX, "no more had to go");
    // More than would fit into a queue that nobody empties.
    for _ in 0..50 {
        let mut signal = client.ask(SessionSignal { session: left[0].session, number: 15 }).await;
        assert!(matches!(signal.messages.next().await, Some(Message::SessionSignalled(_))));
    }
    let mut signal = client.ask(SessionSignal { session: left[0].session, number: 200 }).await;
    let Some(Message::SessionFailed(failed)) = signal.messages.next().await else {
        panic!("there is no such signal");
    };
    assert_eq!(failed.message, "there is no signal 200");
}
