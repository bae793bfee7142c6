//! From a client's `Hello` to a right proof.

use quinn::{Connection, SendStream};
use thiserror::Error;
use vault_protocol::audit::Event;
use vault_protocol::binding::{self, EVIDENCE_LABEL, Exporter, PROOF_LABEL};
use vault_protocol::code::CloseCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX_BEFORE_PROOF;
use vault_protocol::handshake::{AgentEvent, AgentHandshake, HandshakeError};
use vault_protocol::message::{Evidence, Message, Proof, RefusedReason};

use super::{Control, Proven};
use crate::access::Denial;
use crate::agent::{SOFTWARE, Shared};
use crate::audit::who;
use crate::framed::{self, ReceiveError, Receiver, SendError};
use crate::source::Source;
use crate::telemetry::Chain;

/// Why a connection goes no further.
#[derive(Debug, Error)]
enum ProvingError {
    #[error("the connection ended")]
    Gone,
    #[error("could not read a message")]
    Receive(#[source] ReceiveError),
    #[error("could not send a message")]
    Send(#[source] SendError),
    #[error("out of turn")]
    Turn(#[source] HandshakeError),
    #[error("TLS has no exporter")]
    Exporter,
    /// The client was told.
    #[error("refused")]
    Refused,
}

/// Carries the handshake to a right proof, or to the code to close the connection with.
pub(super) async fn run(
    shared: &Shared,
    connection: &Connection,
    source: Source,
) -> Result<Proven, CloseCode> {
    prove(shared, connection, source).await.map_err(|error| {
        tracing::debug!(%source, error = %Chain(&error), "a connection goes no further");
        match error {
            ProvingError::Gone => CloseCode::Done,
            ProvingError::Refused => CloseCode::Refused,
            _ => CloseCode::Protocol,
        }
    })
}

async fn prove(
    shared: &Shared,
    connection: &Connection,
    source: Source,
) -> Result<Proven, ProvingError> {
    let (mut sender, receiver) = connection.accept_bi().await.map_err(|_| ProvingError::Gone)?;
    let mut receiver = Receiver::new(receiver, PAYLOAD_BYTES_MAX_BEFORE_PROOF);
    let mut handshake = AgentHandshake::new();
    loop {
        let message = receiver.next().await.map_err(ProvingError::Receive)?;
        let message = message.ok_or(ProvingError::Gone)?;
        let answer = match handshake.receive(message).map_err(ProvingError::Turn)? {
            AgentEvent::MakeEvidence(hello) => {
                tracing::debug!(%source, software = ?hello.software, "a client says hello");
                match evidence(shared, connection).await? {
                    Some(evidence) => handshake.present(evidence),
                    None => {
                        let message = "the platform gave this machine no evidence";
                        let refusal = handshake.refuse(RefusedReason::NoEvidence, message);
                        return refuse(sender, refusal).await;
                    }
                }
            }
            AgentEvent::AnswerHealth => handshake.health(shared.health()),
            AgentEvent::CheckProof(proof) => match check(shared, connection, source, &proof)? {
                Ok(()) => {
                    let answer = handshake.accept(shared.ready()).map_err(ProvingError::Turn)?;
                    return Ok(Proven { control: Control { sender, receiver }, answer });
                }
                Err((reason, message)) => {
                    let refusal = handshake.refuse(reason, &message);
                    return refuse(sender, refusal).await;
                }
            },
        };
        let answer = answer.map_err(ProvingError::Turn)?;
        framed::send(&mut sender, &answer, PAYLOAD_BYTES_MAX_BEFORE_PROOF)
            .await
            .map_err(ProvingError::Send)?;
    }
}

/// Evidence for this connection; `None` if the platform gives none, which the log tells more of.
async fn evidence(
    shared: &Shared,
    connection: &Connection,
) -> Result<Option<Evidence>, ProvingError> {
    let exporter = exporter(connection, EVIDENCE_LABEL)?;
    let audience = binding::audience(&exporter, &shared.public_key);
    match shared.evidence.token(&audience).await {
        Ok(token) => Ok(Some(Evidence { token, software: SOFTWARE.to_owned() })),
        Err(error) => {
            shared.totals.evidence_failures.add_one();
            tracing::error!(error = %Chain(&error), "no evidence for a client");
            Ok(None)
        }
    }
}

/// Whether the proof is right; if not, what to tell.
fn check(
    shared: &Shared,
    connection: &Connection,
    source: Source,
    proof: &Proof,
) -> Result<Result<(), (RefusedReason, String)>, ProvingError> {
    let exporter = exporter(connection, PROOF_LABEL)?;
    Ok(match shared.access.check(&exporter, proof) {
        Ok(_) => {
            shared.penalties().succeed(source, shared.clock.now());
            let source = who(connection.remote_address());
            shared.audit.record(Event::ProofAccepted { source });
            Ok(())
        }
        Err(denial @ Denial::Wrong) => {
            let failures = shared.penalties().fail(source, shared.clock.now());
            shared.totals.refused_proofs.add_one();
            tracing::warn!(%source, failures, "a wrong proof");
            let source = who(connection.remote_address());
            shared.audit.record(Event::ProofRefused { source });
            Err((RefusedReason::Proof, denial.to_string()))
        }
        Err(Denial::NotReady(error)) => Err((RefusedReason::NotReady, error.to_string())),
    })
}

fn exporter(connection: &Connection, label: &[u8]) -> Result<Exporter, ProvingError> {
    let mut exporter = [0; 32];
    let exported = connection.export_keying_material(&mut exporter, label, b"");
    exported.map(|()| exporter).map_err(|_| ProvingError::Exporter)
}

/// Tells the client, and waits until it knows: closing a connection throws away what is on the way.
async fn refuse<T>(
    mut sender: SendStream,
    refusal: Result<Message, HandshakeError>,
) -> Result<T, ProvingError> {
    let refusal = refusal.map_err(ProvingError::Turn)?;
    framed::send(&mut sender, &refusal, PAYLOAD_BYTES_MAX_BEFORE_PROOF)
        .await
        .map_err(ProvingError::Send)?;
    if sender.finish().is_ok() {
        // The client may have closed the connection, which also means that it knows.
        drop(sender.stopped().await);
    }
    Err(ProvingError::Refused)
}
