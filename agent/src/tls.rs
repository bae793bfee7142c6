//! The agent's key and certificate, new with each start, and the configuration of QUIC and TLS.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::NoServerSessionStorage;
use thiserror::Error;
use vault_protocol::{ALPN, SERVER_NAME};

use crate::limits;

/// Why there is no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Making the key and its certificate failed.
    #[error("could not make a key and a certificate")]
    Certificate(#[source] rcgen::Error),
    /// TLS does not take them.
    #[error("could not configure TLS")]
    Tls(#[source] rustls::Error),
    /// QUIC does not take the configuration of TLS.
    #[error("could not configure QUIC")]
    Quic(#[source] NoInitialCipherSuite),
}

/// What the agent shows to clients.
pub struct Identity {
    /// How it serves.
    pub config: quinn::ServerConfig,
    /// The SubjectPublicKeyInfo of its certificate, in DER.
    pub public_key: Vec<u8>,
}

impl Identity {
    /// A new key, and a certificate that it signs itself.
    ///
    /// # Errors
    /// Cryptography failed.
    pub fn new() -> Result<Self, IdentityError> {
        // P-256: every TLS library checks it, and ring has it in assembly.
        let key =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Certificate)?;
        let certificate = CertificateParams::new([SERVER_NAME.to_owned()])
            .and_then(|parameters| parameters.self_signed(&key))
            .map_err(IdentityError::Certificate)?;
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(IdentityError::Tls)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private.into())
            .map_err(IdentityError::Tls)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // Commands must never be replayed, and each connection is to show evidence of its own: no
        // early data, and nothing to resume from.
        tls.max_early_data_size = 0;
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        let quic = QuicServerConfig::try_from(tls).map_err(IdentityError::Quic)?;
        let config = server_config(quic);
        Ok(Self { config, public_key: key.subject_public_key_info() })
    }
}

/// AES-128 first: it is a quarter faster than AES-256, and the exchange of keys is not stronger.
fn provider() -> CryptoProvider {
    let cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..ring::default_provider() }
}

fn server_config(quic: QuicServerConfig) -> quinn::ServerConfig {
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    let mut no_tokens = quinn::ValidationTokenConfig::default();
    no_tokens.sent(0);
    config
        .max_incoming(limits::INCOMING_MAX)
        .incoming_buffer_size(limits::INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(limits::INCOMING_BUFFERS_BYTES)
        .validation_token_config(no_tokens)
        .transport_config(Arc::new(transport()));
    config
}

/// What holds before the proof; see [`crate::connection`] for what changes with it. The window of one
/// stream is fixed for the life of a connection: before the proof the connection's own window is
/// the tighter one.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = VarInt::from_u32(
        u32::try_from(limits::IDLE_TIMEOUT.as_millis()).expect("two minutes in milliseconds"),
    );
    transport
        .max_concurrent_bidi_streams(limits::STREAMS_BEFORE_PROOF.into())
        .max_concurrent_uni_streams(0_u32.into())
        .receive_window(limits::WINDOW_BYTES_BEFORE_PROOF.into())
        .stream_receive_window(limits::STREAM_WINDOW_BYTES.into())
        .send_window(limits::SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .initial_mtu(limits::INITIAL_MTU);
    transport
}
