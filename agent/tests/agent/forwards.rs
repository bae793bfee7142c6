//! Forwarded connections, at the semantics of `ssh -L`.
//!
//! fly-vault's defect W12: a forward ended when either half closed, which truncated responses; IPv6
//! addresses could not be written; a dial error was a silent reset; there were no unix sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio::time::timeout;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{Destination, Dial, DialFailed, DialFailedReason, Message};

use crate::program::Program;
use crate::support::{Answer, Client, Fixture, Messages, Platform, eventually, say, soon};

/// A stream after `Dialed`.
pub(crate) struct Forwarded {
    send: SendStream,
    receive: RecvStream,
    first: Vec<u8>,
}

impl Forwarded {
    /// Everything, to the end.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.first);
        bytes.extend(soon(self.receive.read_to_end(256 << 20)).await.expect("readable"));
        bytes
    }

    async fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.first);
        let known = bytes.len();
        bytes.resize(count, 0);
        soon(self.receive.read_exact(&mut bytes[known..])).await.expect("readable");
        bytes
    }

    /// Why reading fails.
    async fn read_error(&mut self) -> ReadError {
        loop {
            match soon(self.receive.read_chunk(64 << 10, true)).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an end, which nobody made"),
                Err(error) => return error,
            }
        }
    }
}

/// Asks for a connection; `early` is sent together with the request.
async fn ask(client: &Client, destination: Destination, early: &[u8]) -> (SendStream, Messages) {
    let (mut send, receive) = soon(client.connection.open_bi()).await.expect("a stream");
    say(&mut send, Dial { destination }).await;
    send.write_all(early).await.expect("sent");
    (send, Messages::new(receive))
}

pub(crate) async fn try_dial(
    client: &Client,
    destination: Destination,
) -> Result<Forwarded, DialFailed> {
    let (send, mut messages) = ask(client, destination, b"").await;
    match messages.next().await {
        Some(Message::Dialed(_)) => {
            let (receive, first) = messages.into_rest();
            Ok(Forwarded { send, receive, first })
        }
        Some(Message::DialFailed(failed)) => Err(failed),
        other => panic!("{other:?}"),
    }
}

async fn dial(client: &Client, destination: Destination) -> Forwarded {
    try_dial(client, destination).await.expect("dialed")
}

fn tcp(host: &str, port: u16) -> Destination {
    Destination::Tcp { host: host.to_owned(), port }
}

pub(crate) fn unix(path: &std::path::Path) -> Destination {
    Destination::Unix { path: path.to_str().expect("UTF-8").as_bytes().to_vec().into() }
}

/// A listener on loopback, and how to dial it.
async fn listener() -> (TcpListener, Destination) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let port = listener.local_addr().expect("bound").port();
    (listener, tcp("127.0.0.1", port))
}

/// A forwarded connection, and the program's end of it.
async fn pair(client: &Client) -> (Forwarded, TcpStream) {
    let (listener, destination) = listener().await;
    let (forwarded, accepted) = tokio::join!(dial(client, destination), listener.accept());
    (forwarded, accepted.expect("accepted").0)
}

/// Sends back what comes, to its end.
async fn echo(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite) {
    let (mut read, mut write) = tokio::io::split(stream);
    tokio::io::copy(&mut read, &mut write).await.expect("copied");
    write.shutdown().await.expect("open");
}

/// Bytes without a period that a block could hide.
fn bytes(count: u32) -> Vec<u8> {
    (0..count).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a skipped part of a test says so")]
async fn bytes_go_there_and_back_by_address_by_name_and_by_path() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let mut echoes = JoinSet::new();
    let (four, address) = listener().await;
    let port = four.local_addr().expect("bound").port();
    let path = fixture.platform.folder().join("echo.sock");
    let local = UnixListener::bind(&path).expect("a socket");
    let mut destinations = vec![address, tcp("localhost", port), unix(&path)];
    echoes.spawn(async move {
        for _ in 0..2 {
            echo(four.accept().await.expect("accepted").0).await;
        }
    });
    echoes.spawn(async move { echo(local.accept().await.expect("accepted").0).await });
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await {
        Ok(six) => {
            destinations.push(tcp("::1", six.local_addr().expect("bound").port()));
            echoes.spawn(async move { echo(six.accept().await.expect("accepted").0).await });
        }
        Err(error) => eprintln!("SKIPPED: a dial over IPv6, which is not here: {error}"),
    }
    let count = destinations.len() as u64;
    for destination in destinations {
        let shown = destination.to_string();
        let mut forwarded = dial(&client, destination).await;
        let sent = bytes(300_000);
        let (write, read) = (&mut forwarded.send, &mut forwarded.receive);
        let send = async {
            write.write_all(&sent).await.expect("sent");
            write.finish().expect("open");
        };
        let ((), received) = soon(async { tokio::join!(send, read.read_to_end(1 << 20)) }).await;
        assert!(received.expect("readable") == sent, "{shown}");
    }
    soon(async { while echoes.join_next().await.is_some() {} }).await;
    let counts = || fixture.agent.counts();
    assert_eq!(counts().forwards, count);
    eventually("all have ended", || counts().open_forwards == 0).await;
}

#[tokio::test]
async fn a_request_that_has_ended_still_gets_its_whole_response() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (mut forwarded, mut program) = pair(&client).await;
    forwarded.send.write_all(b"request").await.expect("sent");
    forwarded.send.finish().expect("open");
    // The program answers only once it has seen the request's end.
    let mut request = Vec::new();
    soon(program.read_to_end(&mut request)).await.expect("readable");
    assert_eq!(request, b"request");
    let response = bytes(5_000_000);
    let answer = async {
        program.write_all(&response).await.expect("written");
        drop(program);
    };
    let ((), received) = tokio::join!(answer, forwarded.read_to_end());
    assert!(received == response, "{} of {} bytes", received.len(), response.len());
}

#[tokio::test]
async fn a_program_that_has_said_everything_still_hears_everything() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (mut forwarded, mut program) = pair(&client).await;
    program.write_all(b"all that I have to say").await.expect("written");
    program.shutdown().await.expect("open");
    assert_eq!(forwarded.read_to_end().await, b"all that I have to say");
    let sent = bytes(5_000_000);
    let send = async {
        forwarded.send.write_all(&sent).await.expect("sent");
        forwarded.send.finish().expect("open");
    };
    let mut received = Vec::new();
    let ((), read) = soon(async { tokio::join!(send, program.read_to_end(&mut received)) }).await;
    read.expect("readable");
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    drop(program);
    eventually("it has ended", || fixture.agent.counts().open_forwards == 0).await;
}

#[tokio::test]
async fn what_is_sent_before_the_answer_is_kept() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (listener, destination) = listener().await;
    let (_send, mut messages) = ask(&client, destination, b"early").await;
    let mut program = soon(listener.accept()).await.expect("accepted").0;
    assert!(matches!(messages.next().await, Some(Message::Dialed(_))));
    let mut early = [0; 5];
    soon(program.read_exact(&mut early)).await.expect("readable");
    assert_eq!(&early, b"early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_do_not_mix() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (listener, destination) = listener().await;
    let mut echoes = JoinSet::new();
    echoes.spawn(async move {
        let mut connections = JoinSet::new();
        for _ in 0..200 {
            connections.spawn(echo(listener.accept().await.expect("accepted").0));
        }
        while connections.join_next().await.is_some() {}
    });
    let mut all = Vec::new();
    for _ in 0..200 {
        all.push(dial(&client, destination.clone()).await);
    }
    assert_eq!(fixture.agent.counts().open_forwards, 200);
    for (number, forwarded) in all.iter_mut().enumerate() {
        forwarded.send.write_all(format!("{number:>8}").as_bytes()).await.expect("sent");
    }
    for (number, forwarded) in all.iter_mut().enumerate().rev() {
        assert_eq!(forwarded.read_exact(8).await, format!("{number:>8}").as_bytes());
        forwarded.send.finish().expect("open");
        assert_eq!(forwarded.read_to_end().await, b"");
    }
    soon(echoes.join_next()).await;
    eventually("all have ended", || fixture.agent.counts().open_forwards == 0).await;
}

#[tokio::test]
async fn each_dial_error_has_its_own_reason() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let closed = listener().await.1;
    let folder = fixture.platform.folder();
    let datagrams = folder.join("datagrams.sock");
    let _datagrams = UnixDatagram::bind(&datagrams).expect("a socket");
    let deserted = folder.join("deserted.sock");
    drop(UnixListener::bind(&deserted).expect("a socket"));
    let relative = Destination::Unix { path: b"app.sock".to_vec().into() };
    for (destination, reason, words) in [
        (closed, DialFailedReason::Refused, "connection refused"),
        (unix(&deserted), DialFailedReason::Refused, "connection refused"),
        (tcp("no-such-host.invalid", 80), DialFailedReason::NameNotFound, "cannot be resolved"),
        (unix(&folder.join("none")), DialFailedReason::NameNotFound, "no such socket"),
        // TCP to a multicast address has no route anywhere.
        (tcp("224.0.0.1", 80), DialFailedReason::Unreachable, "unreachable"),
        (tcp("127.0.0.1", 0), DialFailedReason::Invalid, "port 0"),
        (tcp("", 80), DialFailedReason::Invalid, "neither"),
        (tcp("a b", 80), DialFailedReason::Invalid, "neither"),
        (relative, DialFailedReason::Invalid, "absolute"),
        (unix(&datagrams), DialFailedReason::Invalid, "wrong type"),
    ] {
        let shown = destination.to_string();
        let Err(failed) = try_dial(&client, destination).await else {
            panic!("{shown} was dialed");
        };
        assert_eq!(failed.reason, reason, "{shown}: {}", failed.message);
        assert!(failed.message.contains(words), "{shown}: {}", failed.message);
    }
    // The connection is as good as before.
    pair(&client).await;
    assert_eq!(fixture.agent.counts().forwards, 1);
}

/// A listener on loopback that answers no more: its queue of one is full.
async fn full() -> (Vec<TcpStream>, tokio::net::TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("bound");
    let listener = socket.listen(0).expect("listens");
    let address = listener.local_addr().expect("bound");
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(connected.expect("connected"));
    }
    (waiting, listener, address)
}

#[tokio::test]
async fn a_dial_without_an_answer_times_out_and_may_be_given_up() {
    let (_waiting, _listener, address) = full().await;
    let hasty = Fixture::with(Answer::Token, |config| {
        config.dial_patience = Duration::from_millis(100);
    });
    let client = hasty.operator().await;
    let Err(failed) = try_dial(&client, tcp("127.0.0.1", address.port())).await else {
        panic!("it was dialed");
    };
    assert_eq!(failed.reason, DialFailedReason::TimedOut, "{}", failed.message);
    assert_eq!(failed.message, "no answer within 100ms");

    let patient = Fixture::with(Answer::Token, |config| {
        config.dial_patience = Duration::from_secs(3600);
    });
    let client = patient.operator().await;
    let (mut send, messages) = ask(&client, tcp("127.0.0.1", address.port()), b"").await;
    eventually("it dials", || patient.agent.counts().open_forwards == 1).await;
    send.reset(0_u32.into()).expect("open");
    drop(messages);
    eventually("it has given up", || patient.agent.counts().open_forwards == 0).await;
}

#[tokio::test]
async fn an_abort_of_the_program_resets_the_stream() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (mut forwarded, mut program) = pair(&client).await;
    program.write_all(b"half of an answer").await.expect("written");
    assert_eq!(forwarded.read_exact(17).await, b"half of an answer");
    program.set_zero_linger().expect("open");
    drop(program);
    let failed = StreamCode::Failed.number().into();
    assert_eq!(forwarded.read_error().await, ReadError::Reset(failed));
    assert_eq!(soon(forwarded.send.stopped()).await, Ok(Some(failed)));
    eventually("it has ended", || fixture.agent.counts().open_forwards == 0).await;
}

/// The program reads an abort, after what was sent.
async fn expect_abort(program: &mut TcpStream, sent: &[u8]) {
    let mut received = Vec::new();
    let error = soon(program.read_to_end(&mut received)).await.expect_err("half of a request");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(received, sent);
}

#[tokio::test]
async fn an_abort_of_the_client_aborts_the_connection() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (mut forwarded, mut program) = pair(&client).await;
    forwarded.send.write_all(b"half").await.expect("sent");
    let mut half = [0; 4];
    soon(program.read_exact(&mut half)).await.expect("readable");
    forwarded.send.reset(StreamCode::Failed.number().into()).expect("open");
    expect_abort(&mut program, b"").await;

    // And so does a client that is lost.
    let (_forwarded, mut program) = pair(&client).await;
    client.connection.close(0_u32.into(), b"");
    expect_abort(&mut program, b"").await;
    eventually("both have ended", || fixture.agent.counts().open_forwards == 0).await;
}

#[tokio::test]
async fn an_abort_is_seen_while_the_program_takes_nothing() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (mut forwarded, mut program) = pair(&client).await;
    // The program's half has ended, so that only the other one can learn of the abort.
    program.shutdown().await.expect("open");
    assert_eq!(forwarded.read_to_end().await, b"");
    let block = vec![0; 1 << 20];
    // Until nothing more is taken.
    while let Ok(sent) = timeout(Duration::from_millis(300), forwarded.send.write_all(&block)).await
    {
        sent.expect("open");
    }
    forwarded.send.reset(StreamCode::Failed.number().into()).expect("open");
    eventually("it has ended", || fixture.agent.counts().open_forwards == 0).await;
    let mut received = Vec::new();
    let error = soon(program.read_to_end(&mut received)).await.expect_err("half of it");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reader_that_has_left_ends_the_writer_alone() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;

    // The program reads no more: it has closed its end, and what comes is answered with an abort.
    let (mut forwarded, program) = pair(&client).await;
    drop(program);
    assert_eq!(forwarded.read_to_end().await, b"");
    let writing = async {
        loop {
            match forwarded.send.write_all(b"unwanted").await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    let broken = WriteError::Stopped(StreamCode::BrokenPipe.number().into());
    assert_eq!(soon(writing).await, broken);

    // The client reads no more: a program that goes on writing learns it, once it has its request.
    let (mut forwarded, mut program) = pair(&client).await;
    let broken_pipe = StreamCode::BrokenPipe.number().into();
    forwarded.receive.stop(broken_pipe).expect("open");
    forwarded.send.write_all(b"request").await.expect("sent");
    forwarded.send.finish().expect("open");
    let mut request = Vec::new();
    // The request's end, or the abort that follows it at once.
    drop(soon(program.read_to_end(&mut request)).await);
    assert_eq!(request, b"request");
    let writing = async { while program.write_all(&[0; 4096]).await.is_ok() {} };
    soon(writing).await;

    // A unix socket is told at once, and the other direction goes on.
    let path = fixture.platform.folder().join("app.sock");
    let local = UnixListener::bind(&path).expect("a socket");
    let mut forwarded = dial(&client, unix(&path)).await;
    let mut program = soon(local.accept()).await.expect("accepted").0;
    forwarded.receive.stop(broken_pipe).expect("open");
    let error = soon(async {
        loop {
            if let Err(error) = program.write_all(&[0; 4096]).await {
                return error;
            }
        }
    });
    assert_eq!(error.await.kind(), io::ErrorKind::BrokenPipe);
    forwarded.send.write_all(b"request").await.expect("sent");
    forwarded.send.finish().expect("open");
    let mut request = Vec::new();
    soon(program.read_to_end(&mut request)).await.expect("readable");
    assert_eq!(request, b"request");
    eventually("all have ended", || fixture.agent.counts().open_forwards == 0).await;
}

/// What the two tests below send: far more than all buffers on the way may hold.
const MUCH: usize = 192 << 20;

/// What they may hold: windows of QUIC, buffers of TCP sockets, which grow to some 10 MiB.
const BUFFERED_MAX: usize = 48 << 20;

/// What the agent may need for it.
const MEMORY_MAX_KIB: u64 = 40 << 10;

/// Writes until nothing is taken for a while; how much was taken.
async fn until_stalled(write: &mut (impl AsyncWriteExt + Unpin), block: &[u8]) -> usize {
    let mut taken = 0;
    while taken < MUCH {
        match timeout(Duration::from_millis(500), write.write(block)).await {
            Ok(written) => taken += written.expect("open"),
            Err(_) => return taken,
        }
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_up_its_writer_and_costs_the_agent_no_memory() {
    let platform = Platform::start(Answer::Token);
    let program = Program::start(&platform, |_| {});
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    let block = bytes(64 << 10);

    // A client that does not read.
    let before = program.memory_kib("VmRSS");
    let (mut forwarded, mut server) = pair(&client).await;
    let taken = until_stalled(&mut server, &block).await;
    assert!(taken < BUFFERED_MAX, "{taken} bytes are on their way");
    let grown = program.memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < MEMORY_MAX_KIB, "{grown} KiB more");
    // All of it is there once somebody reads.
    drop(server);
    assert_eq!(forwarded.read_to_end().await.len(), taken);

    // A program that does not read.
    let (mut forwarded, mut server) = pair(&client).await;
    let taken = until_stalled(&mut forwarded.send, &block).await;
    assert!(taken < BUFFERED_MAX, "{taken} bytes are on their way");
    let grown = program.memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < MEMORY_MAX_KIB, "{grown} KiB more");
    forwarded.send.finish().expect("open");
    let mut received = Vec::new();
    soon(server.read_to_end(&mut received)).await.expect("readable");
    assert_eq!(received.len(), taken);
    drop(server);
    client.connection.close(0_u32.into(), b"");
    program.end().await;
}

#[tokio::test]
async fn what_went_through_is_in_the_audit_log() {
    let platform = Platform::start(Answer::Token);
    let program = Program::start(&platform, |_| {});
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    let (listener, destination) = listener().await;
    let shown = destination.to_string();
    let (forwarded, accepted) = tokio::join!(dial(&client, destination.clone()), listener.accept());
    let (mut forwarded, mut server) = (forwarded, accepted.expect("accepted").0);
    server.write_all(b"four").await.expect("written");
    drop(server);
    drop(listener);
    forwarded.send.finish().expect("open");
    assert_eq!(forwarded.read_to_end().await, b"four");
    try_dial(&client, destination).await.err().expect("nobody listens any more");
    let line = |words: &str| {
        let log = program.log();
        let mut lines = log.lines().filter(|line| line.contains(r#""target":"audit""#));
        lines.find(|line| line.contains(words) && line.contains(&shown)).map(str::to_owned)
    };
    eventually("both are told", || {
        line("forwarded connection ended").is_some() && line("connection not forwarded").is_some()
    })
    .await;
    assert!(line(r#""message":"connection forwarded""#).is_some(), "{}", program.log());
    let ended = line("forwarded connection ended").unwrap_or_default();
    for part in [r#""bytes_in":0"#, r#""bytes_out":4"#, r#""milliseconds":"#, r#""aborted":false"#]
    {
        assert!(ended.contains(part), "{part}: {ended}");
    }
    let failed = line("connection not forwarded").unwrap_or_default();
    assert!(failed.contains("connection refused"), "{failed}");
    program.end().await;
}

#[tokio::test]
async fn an_agent_that_ends_refuses_new_connections_and_ends_old_ones_in_bounded_time() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (mut forwarded, mut program) = pair(&client).await;
    let mut ending = JoinSet::new();
    let agent = fixture.agent;
    ending.spawn(agent.shutdown(Duration::from_secs(1)));
    // Refused once the agent has begun to end, which is not yet now perhaps.
    let refused = async {
        loop {
            let (listener, destination) = listener().await;
            match try_dial(&client, destination).await {
                Ok(_) => drop(listener),
                Err(failed) => return failed,
            }
        }
    };
    assert_eq!(soon(refused).await.reason, DialFailedReason::ShuttingDown);
    // What is there goes on for the grace.
    forwarded.send.write_all(b"still").await.expect("sent");
    let mut still = [0; 5];
    soon(program.read_exact(&mut still)).await.expect("readable");
    expect_abort(&mut program, b"").await;
    // A reset, or the end of the connection, which follows at once: never an end.
    forwarded.read_error().await;
    soon(ending.join_next()).await;
}
