//! A relay: an agent to the client, a client to the agent, and everything forwarded word by word.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::task::JoinSet;
use vault_client::protocol::ALPN;
use vault_client::protocol::frame::{Decoder, PAYLOAD_BYTES_MAX};

use crate::agent::{certificate, server};

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    from_client: Mutex<Vec<u8>>,
    from_agent: Mutex<Vec<u8>>,
}

impl Relay {
    /// Relays one connection.
    pub(crate) fn start(agent: SocketAddr) -> Self {
        let (certificate, key) = certificate();
        let endpoint = server(certificate, &key, ALPN);
        let address = endpoint.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        let seen = shared.clone();
        tasks.spawn(async move {
            let client = endpoint.accept().await.expect("a client").await.expect("a handshake");
            let agent = connect(agent).await;
            let (to_client, from_client) = client.accept_bi().await.expect("a stream");
            let (to_agent, from_agent) = agent.open_bi().await.expect("a stream");
            tokio::join!(
                forward(from_client, to_agent, &seen.from_client),
                forward(from_agent, to_client, &seen.from_agent),
                async {
                    client.closed().await;
                    agent.close(0_u32.into(), b"");
                },
            );
        });
        Self { address, shared, tasks }
    }

    /// Ends when the client has closed the connection: the tags of the client's frames, and of the
    /// agent's.
    pub(crate) async fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        self.tasks.join_next().await.expect("a task").expect("no panic");
        let taken = |tags: &Mutex<Vec<u8>>| tags.lock().expect("not poisoned").clone();
        (taken(&self.shared.from_client), taken(&self.shared.from_agent))
    }
}

async fn forward(mut from: RecvStream, mut to: SendStream, tags: &Mutex<Vec<u8>>) {
    let mut decoder = Decoder::new(PAYLOAD_BYTES_MAX);
    while let Ok(Some(chunk)) = from.read_chunk(1 << 16, true).await {
        decoder.push(&chunk.bytes);
        while let Some(frame) = decoder.next_frame().expect("a frame") {
            tags.lock().expect("not poisoned").push(frame.tag);
        }
        if to.write_all(&chunk.bytes).await.is_err() {
            return;
        }
    }
}

async fn connect(agent: SocketAddr) -> Connection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_no_client_auth();
    tls.alpn_protocols = vec![vault_client::protocol::ALPN.to_vec()];
    let tls = QuicClientConfig::try_from(tls).expect("a suite for QUIC");
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let connecting = endpoint.connect_with(config, agent, "agent.vaultctl").expect("begins");
    connecting.await.expect("connects")
}

/// Believes everything.
#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
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
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}
