//! How long `true` takes while 10,000 connections are made, a thousand a second, that never prove themselves.
//!
//! ```text
//!   a client:   warm, cold, warm, cold …           from the same address as the strangers: the agent
//!   strangers:  QUIC and TLS, and then nothing     cannot tell them apart before the proof
//! ```

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::task::JoinSet;
use vault_client::Client;
use vault_client::protocol::{ALPN, SERVER_NAME};

use crate::acme;
use crate::exec::{command, phases};
use crate::figures::{Figures, now};
use crate::place::place;

/// Connections of strangers.
const STRANGERS: usize = 10_000;

/// How many of them are being made at once.
const AT_ONCE: usize = 32;

/// One of these makes one so often: all together a thousand a second. Without a pace they would take both
/// cores of a small computer for themselves, and that would be what is measured.
const PACE: Duration = Duration::from_millis(32);

/// Rounds without them.
const QUIET: usize = 300;

/// Measures, and prints.
pub(crate) async fn run() -> anyhow::Result<()> {
    let world = acme().await?;
    let place = place(&world).await?;
    let agents = Client::new()?;
    let connection = phases(&agents, &place).await?.connection;
    let mut figures = Figures::default();
    figures.counts = true;
    for _ in 0..QUIET {
        let began = now();
        command(&connection).await?;
        figures.add("warm, quiet", began.elapsed());
        let began = now();
        phases(&agents, &place).await?;
        figures.add("cold, quiet", began.elapsed());
    }
    let made = Arc::new(AtomicUsize::new(0));
    let mut strangers = JoinSet::new();
    for _ in 0..AT_ONCE {
        strangers.spawn(come(place.target.address, Arc::clone(&made)));
    }
    let mut refused = 0;
    while strangers.try_join_next().is_none() {
        let began = now();
        command(&connection).await?;
        figures.add("warm, 10,000 half-open connections", began.elapsed());
        let began = now();
        match phases(&agents, &place).await {
            Ok(_) => figures.add("cold, 10,000 half-open connections", began.elapsed()),
            Err(_) => refused += 1,
        }
    }
    while let Some(joined) = strangers.join_next().await {
        joined??;
    }
    figures.print();
    println!(
        "{} strangers were let in; {refused} cold attempts were refused",
        made.load(Ordering::Relaxed)
    );
    world.finish().await
}

/// Makes its part of the strangers' connections, and keeps them until all are made.
async fn come(address: SocketAddr, made: Arc<AtomicUsize>) -> anyhow::Result<()> {
    let mut endpoint = Endpoint::client((Ipv6Addr::UNSPECIFIED, 0).into())?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(tls()?)));
    let mut kept = Vec::new();
    let mut turns = tokio::time::interval(PACE);
    for _ in 0..STRANGERS / AT_ONCE {
        turns.tick().await;
        // Some are refused, which is what the agent does under a flood.
        if let Ok(connection) = endpoint.connect(address, SERVER_NAME)?.await {
            made.fetch_add(1, Ordering::Relaxed);
            kept.push(connection);
        }
    }
    Ok(())
}

fn tls() -> anyhow::Result<QuicClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    Ok(tls.try_into()?)
}

/// A stranger does not care whom it keeps busy.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
