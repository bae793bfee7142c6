//! A small agent: the protocol as it should be, with evidence as a test wants it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::Value;
use tokio::task::JoinSet;
use vault_client::protocol::ALPN;
use vault_client::protocol::binding::{self, Exporter};
use vault_client::protocol::code::CloseCode;
use vault_client::protocol::frame::{Decoder, PAYLOAD_BYTES_MAX};
use vault_client::protocol::handshake::{AgentEvent, AgentHandshake};
use vault_client::protocol::key::TenantSecret;
use vault_client::protocol::message::{Evidence, Health, Message, Ready, RefusedReason};
use vault_client::{ExpectedIdentity, Target};

use crate::process;
use crate::signer::{ISSUERS, claims, identity};

/// The secret that this agent and its honest callers share.
pub(crate) fn secret() -> TenantSecret {
    TenantSecret::new([7; 32])
}

/// How the agent behaves.
#[derive(Clone)]
pub(crate) struct Behaviour {
    /// Makes the token for an audience.
    pub(crate) mint: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// What it says to `Hello`, if not evidence.
    pub(crate) refusal: Option<(RefusedReason, &'static str)>,
    /// Closes the connection at once.
    pub(crate) close: Option<CloseCode>,
    /// Says this instead of its evidence.
    pub(crate) raw: Option<Vec<u8>>,
    /// The version of the protocol that it speaks.
    pub(crate) version: &'static [u8],
}

/// Mints the machine's token, after a change to its claims.
pub(crate) fn honest_but(
    issuer: &str,
    change: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Behaviour {
    let issuer = issuer.to_owned();
    minting(move |audience| {
        let mut claims = claims(&issuer, audience);
        change(&mut claims);
        ISSUERS.sign(&claims)
    })
}

pub(crate) fn honest(issuer: &str) -> Behaviour {
    honest_but(issuer, |_| {})
}

/// Mints as the test says.
pub(crate) fn minting(mint: impl Fn(&str) -> String + Send + Sync + 'static) -> Behaviour {
    Behaviour { mint: Arc::new(mint), refusal: None, close: None, raw: None, version: ALPN }
}

pub(crate) struct TestAgent {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<&'static str>>>,
    _task: JoinSet<()>,
}

impl TestAgent {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let (certificate, key) = certificate();
        Self::start_with(behaviour, certificate, key)
    }

    /// With this certificate, whether or not the key is its own.
    pub(crate) fn start_with(
        behaviour: Behaviour,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let endpoint = server(certificate.clone(), &key, behaviour.version);
        let address = endpoint.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        let names = seen.clone();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                let (behaviour, certificate) = (behaviour.clone(), certificate.clone());
                let names = names.clone();
                connections.spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(connection, &behaviour, &certificate, &names).await;
                    }
                });
            }
        });
        Self { address, seen, _task: task }
    }

    pub(crate) fn target(&self, issuer: &str) -> Target {
        self.target_as(identity(issuer))
    }

    pub(crate) fn target_as(&self, identity: ExpectedIdentity) -> Target {
        Target { address: self.address, identity }
    }

    /// The names of the handshake's messages that it got.
    pub(crate) fn seen(&self) -> Vec<&'static str> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

pub(crate) fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["agent.vaultctl".to_owned()]).expect("made");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    (made.cert.der().clone(), key.into())
}

pub(crate) fn server(
    certificate: CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
    version: &[u8],
) -> Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider.key_provider.load_private_key(key.clone_key()).expect("a key");
    let certified = CertifiedKey::new(vec![certificate], key);
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(certified))));
    tls.alpn_protocols = vec![version.to_vec()];
    let tls = QuicServerConfig::try_from(tls).expect("a suite for QUIC");
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).expect("a socket")
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Messages over the two directions of a stream.
pub(crate) struct Talk {
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
    pub(crate) decoder: Decoder,
}

impl Talk {
    pub(crate) fn new((send, receive): (SendStream, RecvStream)) -> Self {
        Self { send, receive, decoder: Decoder::new(PAYLOAD_BYTES_MAX) }
    }

    /// The next message; `None` if there is none any more.
    pub(crate) async fn hear(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("a frame") {
                return Some(Message::read(&frame).expect("a message"));
            }
            let chunk = self.receive.read_chunk(1 << 20, true).await.ok()??;
            self.decoder.push(&chunk.bytes);
        }
    }

    /// Says something; whoever does not listen any more does not hear it.
    pub(crate) async fn say(&mut self, message: impl Into<Message>) {
        drop(self.send.write_all(&bytes(message)).await);
    }
}

pub(crate) fn bytes(message: impl Into<Message>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.into().frame().encode(PAYLOAD_BYTES_MAX, &mut bytes).expect("short enough");
    bytes
}

async fn serve(
    connection: Connection,
    behaviour: &Behaviour,
    certificate: &CertificateDer<'static>,
    seen: &Mutex<Vec<&'static str>>,
) {
    if let Some(code) = behaviour.close {
        connection.close(VarInt::from_u32(code.number()), b"");
        return;
    }
    let Ok(streams) = connection.accept_bi().await else { return };
    let mut talk = Talk::new(streams);
    let mut handshake = AgentHandshake::new();
    while let Some(message) = talk.hear().await {
        seen.lock().expect("not poisoned").push(message.name());
        let answer = match handshake.receive(message).expect("its turn") {
            AgentEvent::MakeEvidence(_) if behaviour.raw.is_some() => {
                drop(talk.send.write_all(behaviour.raw.as_deref().unwrap_or_default()).await);
                continue;
            }
            AgentEvent::MakeEvidence(_) => match behaviour.refusal {
                Some((reason, text)) => handshake.refuse(reason, text),
                None => {
                    let token = (behaviour.mint)(&audience(&connection, certificate));
                    handshake.present(Evidence { token, software: "test \u{7}agent".to_owned() })
                }
            },
            AgentEvent::AnswerHealth => handshake.health(Health {
                version: "9.9.9".to_owned(),
                boot_id: [3; 16].into(),
                ready: false,
                message: Some("still \u{1b}[31munpacking".to_owned()),
            }),
            AgentEvent::CheckProof(proof) => {
                let key = secret().proof_key("7811d2b4c90e38");
                let exporter = exporter(&connection, binding::PROOF_LABEL);
                if key.accepts(&exporter, &proof.value) {
                    handshake.accept(Ready { root: None })
                } else {
                    handshake.refuse(RefusedReason::Proof, "no")
                }
            }
        };
        let answer = answer.expect("its turn");
        let accepted = matches!(answer, Message::Ready(_));
        talk.say(answer).await;
        if accepted {
            return process::run_commands(&connection).await;
        }
    }
}

fn audience(connection: &Connection, certificate: &CertificateDer<'static>) -> String {
    let certificate = ParsedCertificate::try_from(certificate).expect("a certificate");
    let exporter = exporter(connection, binding::EVIDENCE_LABEL);
    binding::audience(&exporter, &certificate.subject_public_key_info())
}

fn exporter(connection: &Connection, label: &[u8]) -> Exporter {
    let mut value = Exporter::default();
    connection.export_keying_material(&mut value, label, b"").expect("an exporter");
    value
}
