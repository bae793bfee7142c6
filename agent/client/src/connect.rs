//! From an address to an agent that is believed, and to one that believes us.

mod error;

use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quinn::{Endpoint, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use tokio::time::timeout;
use vault_protocol::SERVER_NAME;
use vault_protocol::binding::{self, Exporter};
use vault_protocol::code::CloseCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX_BEFORE_PROOF;
use vault_protocol::handshake::{ClientEvent, ClientHandshake};
use vault_protocol::key::ProofKey;
use vault_protocol::message::{
    Evidence, Health, Message, Proof, Ready, Refused, RefusedReason, scheme,
};

pub use error::{ClientError, ConnectError, Doing};

use crate::connection::Connection;
use crate::evidence::{self, EvidenceError, ExpectedIdentity};
use crate::frames::{Frames, FramesError};
use crate::issuer::{Issuer, IssuerKeys};
use crate::text::printable;
use crate::transport;

/// How long the QUIC and TLS handshake may take: a first packet that is sent again three times.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the agent may take to show evidence. It asks the platform for it, and gives up within
/// 5 s.
pub const EVIDENCE_TIMEOUT: Duration = Duration::from_secs(6);

/// How long the agent may take to say how it is, or what it thinks of the proof. It has nothing to
/// wait for.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What this client calls itself, in the agent's log.
const SOFTWARE: &str = concat!("vault-client ", env!("CARGO_PKG_VERSION"));

/// A client of agents: one UDP socket for all its connections. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
}

/// A machine's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens (UDP).
    pub address: SocketAddr,
    /// What its evidence has to say.
    pub identity: ExpectedIdentity,
}

impl Client {
    /// Opens a socket for IPv6 and IPv4, or for IPv4 alone where there is no IPv6. Inside a tokio
    /// runtime, which it uses from then on.
    ///
    /// # Errors
    /// [`ClientError`], see there.
    pub fn new() -> Result<Self, ClientError> {
        let config = transport::client_config().map_err(ClientError::Tls)?;
        let any_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let endpoint = transport::endpoint(any_v6).or_else(|_| transport::endpoint(any_v4));
        let mut endpoint = endpoint.map_err(ClientError::Socket)?;
        endpoint.set_default_client_config(config);
        Ok(Self { endpoint })
    }

    /// Connects, and verifies the agent's evidence for this very connection at `now`, in Unix
    /// seconds. Nothing secret is sent. The time is bounded: [`HANDSHAKE_TIMEOUT`],
    /// [`EVIDENCE_TIMEOUT`], and what reading the issuer's keys takes if they are not known.
    ///
    /// # Errors
    /// [`ConnectError`]; ask it whether to try again.
    pub async fn connect(
        &self,
        target: &Target,
        keys: &IssuerKeys,
        now: impl Fn() -> i64 + Send + Sync,
    ) -> Result<Attested, ConnectError> {
        let address = target.address;
        let issuer = Issuer::read(&target.identity.issuer).map_err(ConnectError::Issuer)?;
        let connecting = self
            .endpoint
            .connect(address, SERVER_NAME)
            .map_err(|source| ConnectError::Begin { address, source })?;
        let connection = within(address, Doing::Connecting, HANDSHAKE_TIMEOUT, async {
            connecting.await.map_err(|lost| ConnectError::lost(address, Doing::Connecting, lost))
        })
        .await?;
        let result = attest(&connection, target, &issuer, keys, now).await;
        close_on_error(&connection, &result);
        let (frames, handshake, software) = result?;
        Ok(Attested { connection, frames, handshake, software })
    }

    /// Ends when all connections have told their agents that they are over: a few round trips. A
    /// program that ends right after closing a connection may lose that word, and the agent then
    /// learns it by the silence.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// An agent whose evidence was verified. Nothing was proved to it yet; it closes the connection if
/// that takes more than a few seconds.
pub struct Attested {
    connection: quinn::Connection,
    frames: Frames,
    handshake: ClientHandshake,
    software: String,
}

impl Attested {
    /// What the agent calls itself. Its own claim, not the platform's.
    #[must_use]
    pub fn software(&self) -> &str {
        &self.software
    }

    /// How the agent is. It answers a few times
    /// ([`vault_protocol::handshake::HEALTH_REQUESTS_MAX`]).
    ///
    /// # Errors
    /// [`ConnectError`]; the connection is of no further use.
    pub async fn health(&mut self) -> Result<Health, ConnectError> {
        let result = self.ask_for_health().await;
        close_on_error(&self.connection, &result);
        result
    }

    /// Proves to the agent that the caller holds the key of the tenant and this machine, by a value
    /// that is good on this connection only.
    ///
    /// # Errors
    /// [`ConnectError`]: [`ConnectError::ProofRefused`] for a wrong key.
    pub async fn prove(mut self, key: &ProofKey) -> Result<Connection, ConnectError> {
        let result = self.send_proof(key).await;
        close_on_error(&self.connection, &result);
        let ready = result?;
        let Self { connection, frames, .. } = self;
        transport::open_up(&connection);
        Ok(Connection::begin(connection, frames, ready))
    }

    async fn ask_for_health(&mut self) -> Result<Health, ConnectError> {
        let request = self.handshake.ask_for_health().map_err(ConnectError::Turn)?;
        match self.exchange(&request, Doing::AwaitingHealth).await? {
            ClientEvent::Health(Health { version, boot_id, ready, message }) => Ok(Health {
                version: printable(&version),
                boot_id,
                ready,
                message: message.as_deref().map(printable),
            }),
            ClientEvent::Refused(refused) => Err(refusal(&refused)),
            ClientEvent::CheckEvidence(_) | ClientEvent::Ready(_) => Err(out_of_place()),
        }
    }

    async fn send_proof(&mut self, key: &ProofKey) -> Result<Ready, ConnectError> {
        let exporter = exporter(&self.connection, binding::PROOF_LABEL)?;
        let value = key.prove(&exporter).to_vec().into();
        let proof = Proof { scheme: scheme::HMAC_SHA256, value };
        let proof = self.handshake.prove(proof).map_err(ConnectError::Turn)?;
        match self.exchange(&proof, Doing::AwaitingVerdict).await? {
            ClientEvent::Ready(ready) => Ok(ready),
            ClientEvent::Refused(refused) => Err(refusal(&refused)),
            ClientEvent::CheckEvidence(_) | ClientEvent::Health(_) => Err(out_of_place()),
        }
    }

    async fn exchange(
        &mut self,
        request: &Message,
        doing: Doing,
    ) -> Result<ClientEvent, ConnectError> {
        let address = self.connection.remote_address();
        let Self { frames, handshake, .. } = self;
        within(address, doing, ANSWER_TIMEOUT, async {
            exchange(frames, handshake, request).await.map_err(|error| error.at(address, doing))
        })
        .await
    }
}

impl fmt::Debug for Attested {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Attested")
            .field("address", &self.connection.remote_address())
            .field("software", &self.software)
            .finish_non_exhaustive()
    }
}

/// From hello to verified evidence.
async fn attest(
    connection: &quinn::Connection,
    target: &Target,
    issuer: &Issuer,
    keys: &IssuerKeys,
    now: impl Fn() -> i64 + Send + Sync,
) -> Result<(Frames, ClientHandshake, String), ConnectError> {
    let (address, doing) = (target.address, Doing::AwaitingEvidence);
    let audience = audience(connection)?;
    let (mut handshake, hello) = ClientHandshake::begin(SOFTWARE);
    let (event, frames) = within(address, doing, EVIDENCE_TIMEOUT, async {
        let streams = connection.open_bi().await;
        let streams = streams.map_err(|lost| ConnectError::lost(address, doing, lost))?;
        let mut frames = Frames::new(streams, PAYLOAD_BYTES_MAX_BEFORE_PROOF);
        let event = exchange(&mut frames, &mut handshake, &hello).await;
        event.map(|event| (event, frames)).map_err(|error| error.at(address, doing))
    })
    .await?;
    let evidence = match event {
        ClientEvent::CheckEvidence(evidence) => evidence,
        ClientEvent::Refused(refused) => return Err(refusal(&refused)),
        ClientEvent::Health(_) | ClientEvent::Ready(_) => return Err(out_of_place()),
    };
    believe(&evidence, target, issuer, keys, &audience, now).await?;
    handshake.evidence_verified().map_err(ConnectError::Turn)?;
    Ok((frames, handshake, printable(&evidence.software)))
}

/// Verifies evidence, with the issuer's keys read again if it names one that is not known.
async fn believe(
    evidence: &Evidence,
    target: &Target,
    issuer: &Issuer,
    keys: &IssuerKeys,
    audience: &str,
    now: impl Fn() -> i64 + Send + Sync,
) -> Result<(), ConnectError> {
    let verify = |keys: &_| {
        evidence::verify(&evidence.token, keys, &target.identity, audience, now())
            .map_err(ConnectError::Evidence)
    };
    let known = keys.keys(issuer, now()).await.map_err(ConnectError::Keys)?;
    let unknown = match verify(&known) {
        Err(ConnectError::Evidence(error @ EvidenceError::UnknownKey { .. })) => error,
        result => return result,
    };
    match keys.newer(issuer, &known, now()).await.map_err(ConnectError::Keys)? {
        Some(newer) => verify(&newer),
        None => Err(ConnectError::Evidence(unknown)),
    }
}

/// The audience that evidence for this connection has.
fn audience(connection: &quinn::Connection) -> Result<String, ConnectError> {
    let identity = connection.peer_identity().and_then(|any| any.downcast().ok());
    let certificates: Box<Vec<CertificateDer<'static>>> =
        identity.ok_or(ConnectError::Certificate(None))?;
    let certificate = certificates.first().ok_or(ConnectError::Certificate(None))?;
    let certificate = ParsedCertificate::try_from(certificate)
        .map_err(|error| ConnectError::Certificate(Some(error)))?;
    let exporter = exporter(connection, binding::EVIDENCE_LABEL)?;
    Ok(binding::audience(&exporter, &certificate.subject_public_key_info()))
}

fn exporter(connection: &quinn::Connection, label: &[u8]) -> Result<Exporter, ConnectError> {
    let mut value = Exporter::default();
    connection
        .export_keying_material(&mut value, label, b"")
        .map_err(|_| ConnectError::Exporter)?;
    Ok(value)
}

/// Why an exchange of messages failed.
enum ExchangeError {
    Frames(FramesError),
    Turn(vault_protocol::handshake::HandshakeError),
}

impl ExchangeError {
    fn at(self, address: SocketAddr, doing: Doing) -> ConnectError {
        match self {
            Self::Turn(error) => ConnectError::Turn(error),
            Self::Frames(error) => match error.connection_lost() {
                Some(lost) => ConnectError::lost(address, doing, lost.clone()),
                None => ConnectError::Protocol(error),
            },
        }
    }
}

async fn exchange(
    frames: &mut Frames,
    handshake: &mut ClientHandshake,
    request: &Message,
) -> Result<ClientEvent, ExchangeError> {
    frames.send(request).await.map_err(ExchangeError::Frames)?;
    let answer = frames.receive().await.map_err(ExchangeError::Frames)?;
    handshake.receive(answer).map_err(ExchangeError::Turn)
}

/// The handshake's state machine lets no such event through; were it changed, this says so.
fn out_of_place() -> ConnectError {
    ConnectError::Protocol(FramesError::Unexpected("handshake"))
}

fn refusal(refused: &Refused) -> ConnectError {
    let message = printable(&refused.message);
    match refused.reason {
        RefusedReason::Proof => ConnectError::ProofRefused,
        RefusedReason::NoEvidence => ConnectError::NoEvidence(message),
        RefusedReason::NotReady => ConnectError::NotReady(message),
        RefusedReason::Other(_) => ConnectError::Refused(message),
    }
}

async fn within<T>(
    address: SocketAddr,
    doing: Doing,
    after: Duration,
    work: impl Future<Output = Result<T, ConnectError>> + Send,
) -> Result<T, ConnectError> {
    match timeout(after, work).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Timeout { address, doing, after }),
    }
}

/// Tells the agent why nothing comes of the connection, if nothing does.
fn close_on_error<T>(connection: &quinn::Connection, result: &Result<T, ConnectError>) {
    let Err(error) = result else { return };
    let code = match error {
        ConnectError::Evidence(_) | ConnectError::Keys(_) => CloseCode::EvidenceRefused,
        ConnectError::Protocol(error) if error.is_violation() => CloseCode::Protocol,
        ConnectError::Turn(_) => CloseCode::Protocol,
        _ => CloseCode::Done,
    };
    close(connection, code);
}

/// Closes a connection.
pub(crate) fn close(connection: &quinn::Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code.number()), code.to_string().as_bytes());
}
