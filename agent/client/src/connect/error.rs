//! Why there is no connection that could be used, and whether to try again.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{ConnectionError, TransportErrorCode};
use thiserror::Error;
use vault_protocol::code::CloseCode;
use vault_protocol::handshake::HandshakeError;

use crate::evidence::EvidenceError;
use crate::frames::FramesError;
use crate::issuer::{IssuerError, KeysError};
use crate::tls::TlsError;

/// The codes of TLS alerts within QUIC (RFC 9001 §4.8).
const TLS_ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

/// The alert `no_application_protocol` (RFC 7301 §3.2).
const NO_COMMON_VERSION: u64 = 0x100 + 120;

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] TlsError),
    /// There is no UDP socket.
    #[error("no UDP socket can be opened")]
    Socket(#[source] std::io::Error),
}

/// Why there is no connection that could be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The issuer of the expected evidence is not accepted. Nothing was sent.
    #[error("the issuer of the evidence is not accepted")]
    Issuer(#[source] IssuerError),
    /// No connection could be begun. Nothing was sent.
    #[error("no connection to {address} can be begun")]
    Begin {
        /// The agent's address.
        address: SocketAddr,
        /// What the transport says.
        #[source]
        source: quinn::ConnectError,
    },
    /// The agent did not answer in time.
    #[error("the agent at {address} did not answer within {} s while {doing}", after.as_secs())]
    Timeout {
        /// The agent's address.
        address: SocketAddr,
        /// What was awaited.
        doing: Doing,
        /// For how long.
        after: Duration,
    },
    /// The connection ended.
    #[error("the connection to {address} was lost while {doing}")]
    Lost {
        /// The agent's address.
        address: SocketAddr,
        /// What was awaited.
        doing: Doing,
        /// What the transport says.
        #[source]
        source: ConnectionError,
    },
    /// The agent closed the connection, and said why.
    #[error("the agent at {address} closed the connection while {doing}: {code}")]
    Closed {
        /// The agent's address.
        address: SocketAddr,
        /// What was awaited.
        doing: Doing,
        /// What the agent says.
        code: CloseCode,
    },
    /// The agent speaks versions of the protocol, and none that this client does
    /// ([`vault_protocol::ALPN`]): one of the two is too old. Nothing was said.
    #[error(
        "the agent at {address} has no version of the protocol in common with this client, which speaks {}",
        String::from_utf8_lossy(vault_protocol::ALPN)
    )]
    Version {
        /// The agent's address.
        address: SocketAddr,
    },
    /// TLS failed: the other end is no agent, or does not hold the key of the certificate that it shows.
    #[error("no TLS with {address}")]
    Tls {
        /// The agent's address.
        address: SocketAddr,
        /// What TLS says.
        #[source]
        source: ConnectionError,
    },
    /// The agent's certificate cannot be read.
    #[error("the agent's certificate cannot be read")]
    Certificate(#[source] Option<rustls::Error>),
    /// TLS gave no exporter's value.
    #[error("TLS gives no value for binding the evidence to this connection")]
    Exporter,
    /// What the agent sent does not follow the protocol.
    #[error("the agent does not follow the protocol")]
    Protocol(#[source] FramesError),
    /// A message came out of turn, or was asked for out of turn.
    #[error("a message is out of turn")]
    Turn(#[source] HandshakeError),
    /// The issuer's keys are not known, so the evidence cannot be verified.
    #[error("the keys that verify the agent's evidence are not known")]
    Keys(#[source] KeysError),
    /// The agent's evidence is not believed. Nothing was proved to it.
    #[error("the agent's evidence is not believed")]
    Evidence(#[source] EvidenceError),
    /// The agent got no token from the platform.
    #[error("the agent has no evidence: {0}")]
    NoEvidence(String),
    /// The agent cannot serve yet.
    #[error("the agent is not ready: {0}")]
    NotReady(String),
    /// The agent does not accept the proof: the key is not the one of the tenant's secret.
    #[error("the agent refused the proof")]
    ProofRefused,
    /// The agent refuses for a reason that this version does not know.
    #[error("the agent refused: {0}")]
    Refused(String),
}

/// What was going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// The QUIC and TLS handshake.
    Connecting,
    /// From hello to evidence.
    AwaitingEvidence,
    /// The agent's health was asked for.
    AwaitingHealth,
    /// The proof was sent.
    AwaitingVerdict,
}

impl std::fmt::Display for Doing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Connecting => "connecting",
            Self::AwaitingEvidence => "its evidence was awaited",
            Self::AwaitingHealth => "its health was awaited",
            Self::AwaitingVerdict => "its verdict on the proof was awaited",
        })
    }
}

impl ConnectError {
    /// The connection's end, by what it means.
    pub(crate) fn lost(address: SocketAddr, doing: Doing, source: ConnectionError) -> Self {
        match transport_code(&source) {
            Some(NO_COMMON_VERSION) => return Self::Version { address },
            Some(code) if TLS_ALERTS.contains(&code) => return Self::Tls { address, source },
            _ => {}
        }
        match close_code(&source) {
            // The agent says it in a frame, too, which the close may have overtaken.
            Some(CloseCode::Refused) if doing == Doing::AwaitingVerdict => Self::ProofRefused,
            Some(code) => Self::Closed { address, doing, code },
            None => Self::Lost { address, doing, source },
        }
    }

    /// The same attempt may succeed a little later: the machine or its agent is coming up, going
    /// down, being updated or busy, or the network failed. Everything else is final: the other end
    /// is not the machine that was meant, or does not accept our key.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::NoEvidence(_) | Self::NotReady(_) => true,
            Self::Lost { source, .. } => is_passing(source),
            // No proof was refused here (that is `ProofRefused`): the agent had no evidence.
            Self::Closed { code, .. } => matches!(
                code,
                CloseCode::Busy | CloseCode::ShuttingDown | CloseCode::TooSlow | CloseCode::Refused
            ),
            Self::Keys(error) => error.is_retryable(),
            Self::Evidence(error) => error.is_retryable(),
            Self::Begin { .. }
            | Self::Issuer(_)
            | Self::Version { .. }
            | Self::Tls { .. }
            | Self::Certificate(_)
            | Self::Exporter
            | Self::Protocol(_)
            | Self::Turn(_)
            | Self::ProofRefused
            | Self::Refused(_) => false,
        }
    }
}

/// What the agent said when it closed the connection.
fn close_code(error: &ConnectionError) -> Option<CloseCode> {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseCode::read(close.error_code.into_inner()),
        _ => None,
    }
}

/// The transport's own code (RFC 9000 §20.1), by whichever end.
fn transport_code(error: &ConnectionError) -> Option<u64> {
    match error {
        ConnectionError::TransportError(error) => Some(error.code.into()),
        ConnectionError::ConnectionClosed(close) => Some(close.error_code.into()),
        _ => None,
    }
}

/// Whether a connection's end says nothing against a next one.
fn is_passing(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::TimedOut | ConnectionError::Reset => true,
        // A server that has its hands full refuses; one that goes away has no error.
        ConnectionError::ConnectionClosed(close) => matches!(
            close.error_code,
            TransportErrorCode::CONNECTION_REFUSED | TransportErrorCode::NO_ERROR
        ),
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => false,
    }
}
