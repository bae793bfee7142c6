//! A platform that hands out tokens, a client that says what it is told to, and patience.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use vault_agent::{Agent, AgentConfig};
use vault_protocol::binding::{Exporter, PROOF_LABEL};
use vault_protocol::code::CloseCode;
use vault_protocol::frame::{Decoder, PAYLOAD_BYTES_MAX};
use vault_protocol::key::TenantSecret;
use vault_protocol::message::{
    Attach, Channel, Exec, Exit, Hello, Message, Proof, Signal, Variable, scheme,
};
use vault_protocol::{ALPN, SERVER_NAME};

/// The machine of these tests.
pub(crate) const MACHINE: &str = "7811d2b4c90e38";

/// How long anything may take here before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn secret() -> TenantSecret {
    TenantSecret::new([7; 32])
}

/// Fails the test if it takes too long.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        let mut turns = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            turns.tick().await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}

/// What the platform answers.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// A token with the audience as its middle part.
    Token,
    /// An error with internals in it.
    Error,
    /// More than any token.
    TooLong,
}

/// The platform's socket inside the machine.
pub(crate) struct Platform {
    pub(crate) socket: PathBuf,
    folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Platform {
    pub(crate) fn start(answer: Answer) -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("api");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut requests = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                requests.spawn(serve(stream, answer));
            }
        });
        Self { socket, folder, _tasks: tasks }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

async fn serve(stream: UnixStream, answer: Answer) {
    let mut stream = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while stream.read_line(&mut line).await.expect("readable") > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a body");
    let body = String::from_utf8(body).expect("UTF-8");
    let audience = body.split('"').nth(3).expect("an audience").to_owned();
    let (status, text) = match answer {
        Answer::Token => ("200 OK", format!("header.{audience}.signature")),
        Answer::Error => ("500 Internal Server Error", "internals of the platform".to_owned()),
        Answer::TooLong => ("200 OK", "x".repeat(1 << 20)),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", text.len());
    // The agent may have hung up on a long answer.
    let _sent = stream.get_mut().write_all([head, text].concat().as_bytes()).await;
}

/// An agent with a platform.
pub(crate) struct Fixture {
    pub(crate) agent: Agent,
    pub(crate) platform: Platform,
}

impl Fixture {
    pub(crate) fn start() -> Self {
        Self::with(Answer::Token, |_| {})
    }

    pub(crate) fn with(answer: Answer, change: impl FnOnce(&mut AgentConfig)) -> Self {
        let platform = Platform::start(answer);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = platform.socket.clone();
        let mut config = AgentConfig::new(listen, socket, MACHINE.to_owned(), Ok(secret()));
        config.stage_program = env!("CARGO_BIN_EXE_vault-agent").into();
        change(&mut config);
        let agent = Agent::start(config).expect("starts");
        Self { agent, platform }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.agent.local_address()).await
    }

    /// A client that has proved itself.
    pub(crate) async fn operator(&self) -> Client {
        let mut client = self.client().await;
        client.prove().await;
        client
    }
}

/// Checks signatures, as it must for the exporter to mean anything, and believes all names.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS of a client that believes any certificate.
pub(crate) fn client_tls() -> rustls::ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls
}

pub(crate) fn client_config(tls: rustls::ClientConfig) -> quinn::ClientConfig {
    let tls = QuicClientConfig::try_from(tls).expect("QUIC");
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    let mut transport = quinn::TransportConfig::default();
    // Two outputs of each command.
    transport.max_concurrent_uni_streams(1024_u32.into());
    config.transport_config(Arc::new(transport));
    config
}

pub(crate) fn client_endpoint() -> Endpoint {
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("an endpoint");
    endpoint.set_default_client_config(client_config(client_tls()));
    endpoint
}

/// Messages of a stream.
pub(crate) struct Messages {
    pub(crate) stream: RecvStream,
    decoder: Decoder,
}

impl Messages {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: Decoder::new(PAYLOAD_BYTES_MAX) }
    }

    /// The stream, and what came after the last message.
    pub(crate) fn into_rest(self) -> (RecvStream, Vec<u8>) {
        (self.stream, self.decoder.into_rest())
    }

    /// The next message; `None` at the end, and if the stream fails.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let next = async {
            loop {
                if let Some(frame) = self.decoder.next_frame().expect("a frame") {
                    return Some(Message::read(&frame).expect("a message"));
                }
                let chunk = self.stream.read_chunk(64 << 10, true).await.ok()??;
                self.decoder.push(&chunk.bytes);
            }
        };
        soon(next).await
    }
}

pub(crate) async fn say(stream: &mut SendStream, message: impl Into<Message>) {
    let mut bytes = Vec::new();
    message.into().frame().encode(PAYLOAD_BYTES_MAX, &mut bytes).expect("short enough");
    stream.write_all(&bytes).await.expect("sent");
}

/// A client, connected and with its control stream.
pub(crate) struct Client {
    /// Kept, so that the socket stays open.
    endpoint: Endpoint,
    pub(crate) connection: Connection,
    pub(crate) control: SendStream,
    pub(crate) messages: Messages,
    channels: HashMap<(u64, Channel), (RecvStream, Vec<u8>)>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let endpoint = client_endpoint();
        let connecting = endpoint.connect(address, SERVER_NAME).expect("an address");
        let connection = soon(connecting).await.expect("connected");
        Self::on(endpoint, connection).await
    }

    pub(crate) async fn on(endpoint: Endpoint, connection: Connection) -> Self {
        let (control, receiver) = connection.open_bi().await.expect("a stream");
        let messages = Messages::new(receiver);
        Self { endpoint, connection, control, messages, channels: HashMap::new() }
    }

    pub(crate) async fn hello(&mut self) -> Option<Message> {
        say(&mut self.control, Hello { software: "test".to_owned() }).await;
        self.messages.next().await
    }

    pub(crate) fn exporter(&self, label: &[u8]) -> Exporter {
        let mut exporter = [0; 32];
        self.connection.export_keying_material(&mut exporter, label, b"").expect("an exporter");
        exporter
    }

    pub(crate) fn right_proof(&self) -> Proof {
        let value = secret().proof_key(MACHINE).prove(&self.exporter(PROOF_LABEL));
        Proof { scheme: scheme::HMAC_SHA256, value: value.to_vec().into() }
    }

    /// The whole handshake, with a right proof.
    pub(crate) async fn prove(&mut self) {
        let evidence = self.hello().await;
        assert!(matches!(evidence, Some(Message::Evidence(_))), "{evidence:?}");
        let proof = self.right_proof();
        say(&mut self.control, proof).await;
        let ready = self.messages.next().await;
        assert!(matches!(ready, Some(Message::Ready(_))), "{ready:?}");
    }

    /// Why the agent closes the connection.
    pub(crate) async fn closed(&self) -> Option<CloseCode> {
        match soon(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                CloseCode::read(close.error_code.into_inner())
            }
            error => panic!("{error:?}"),
        }
    }

    pub(crate) async fn start(&mut self, exec: Exec) -> Command {
        let (mut sender, receiver) = soon(self.connection.open_bi()).await.expect("a stream");
        say(&mut sender, exec).await;
        Command { id: sender.id().into(), sender, messages: Messages::new(receiver) }
    }

    /// Opens a stream with this message.
    pub(crate) async fn ask(&mut self, message: impl Into<Message>) -> Command {
        let (mut sender, receiver) = soon(self.connection.open_bi()).await.expect("a stream");
        say(&mut sender, message).await;
        Command { id: sender.id().into(), sender, messages: Messages::new(receiver) }
    }

    /// Is gone without a word: its packets go nowhere from now on, and none reaches it.
    pub(crate) fn vanish(self) {
        let nowhere = std::net::UdpSocket::bind("[::1]:0").expect("a socket");
        self.endpoint.rebind(nowhere).expect("another socket");
        std::mem::forget(self);
    }

    /// One whose connection the agent takes for lost after that time without a word.
    pub(crate) async fn forgotten_after(address: SocketAddr, idle: Duration) -> Self {
        let endpoint = client_endpoint();
        let mut transport = quinn::TransportConfig::default();
        transport.max_idle_timeout(Some(idle.try_into().expect("short")));
        let mut config = client_config(client_tls());
        config.transport_config(Arc::new(transport));
        let connecting = endpoint.connect_with(config, address, SERVER_NAME).expect("an address");
        let connection = soon(connecting).await.expect("connected");
        let mut client = Self::on(endpoint, connection).await;
        client.prove().await;
        client
    }

    /// Opens a command's standard input.
    pub(crate) async fn stdin(&mut self, command: u64) -> SendStream {
        let mut stream = soon(self.connection.open_uni()).await.expect("a stream");
        say(&mut stream, Attach { command, channel: Channel::Stdin }).await;
        stream
    }

    /// An output of a command, after its first frame, and what came with that.
    pub(crate) async fn output(&mut self, command: u64, channel: Channel) -> (RecvStream, Vec<u8>) {
        loop {
            if let Some(found) = self.channels.remove(&(command, channel)) {
                return found;
            }
            let stream = soon(self.connection.accept_uni()).await.expect("a stream");
            let mut messages = Messages::new(stream);
            let attach = match messages.next().await {
                Some(Message::Attach(attach)) => attach,
                // It was given up before it began, with its command.
                None => continue,
                Some(other) => panic!("{other:?}"),
            };
            self.channels.insert((attach.command, attach.channel), messages.into_rest());
        }
    }

    /// Gives an output back that is to be read on later.
    pub(crate) fn put_back(&mut self, command: u64, channel: Channel, stream: RecvStream) {
        self.channels.insert((command, channel), (stream, Vec::new()));
    }

    /// All of an output, to its end.
    pub(crate) async fn read(&mut self, command: u64, channel: Channel) -> Vec<u8> {
        let (mut stream, mut bytes) = self.output(command, channel).await;
        bytes.extend(soon(stream.read_to_end(64 << 20)).await.expect("readable"));
        bytes
    }

    /// Runs a command without input to its end.
    pub(crate) async fn run(&mut self, exec: Exec) -> Ran {
        let mut command = self.start(exec).await;
        command.started().await;
        let stdout = self.read(command.id, Channel::Stdout).await;
        let stderr = self.read(command.id, Channel::Stderr).await;
        let exit = command.exit().await;
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran { stdout: text(stdout), stderr: text(stderr), exit }
    }
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Exit,
}

pub(crate) struct Command {
    pub(crate) id: u64,
    pub(crate) sender: SendStream,
    pub(crate) messages: Messages,
}

impl Command {
    pub(crate) async fn started(&mut self) -> u32 {
        match self.messages.next().await {
            Some(Message::Started(started)) => started.process_id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn exit(&mut self) -> Exit {
        match self.messages.next().await {
            Some(Message::Exit(exit)) => exit,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn signal(&mut self, number: u8) {
        say(&mut self.sender, Signal { number }).await;
    }
}

/// A shell command.
pub(crate) fn shell(script: &str) -> Exec {
    exec(&["sh", "-c", script])
}

pub(crate) fn exec(arguments: &[&str]) -> Exec {
    Exec {
        arguments: arguments.iter().map(|text| text.as_bytes().to_vec().into()).collect(),
        environment: Vec::new(),
        directory: None,
        stdin: false,
        terminal: None,
        user: None,
        timeout_ms: None,
        keep: None,
    }
}

pub(crate) fn variable(name: &str, value: &str) -> Variable {
    Variable { name: name.as_bytes().to_vec().into(), value: value.as_bytes().to_vec().into() }
}

pub(crate) fn code(code: u8) -> Exit {
    Exit { code: Some(code), signal: None, core_dumped: false, timed_out: None }
}

pub(crate) fn killed_by(signal: u8) -> Exit {
    Exit { code: None, signal: Some(signal), core_dumped: false, timed_out: None }
}

/// Whether the process is there and has not ended.
pub(crate) fn is_alive(process_id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A clock that moves when it is told to.
#[derive(Default)]
pub(crate) struct ManualClock(Mutex<Duration>);

impl ManualClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().expect("unpoisoned") += by;
    }
}

impl vault_agent::clock::Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.0.lock().expect("unpoisoned")
    }

    fn wall(&self) -> jiff::Timestamp {
        let since = jiff::SignedDuration::try_from(self.now()).expect("short");
        jiff::Timestamp::UNIX_EPOCH + since
    }
}
