//! A root filesystem as it comes: into the helper's pipe, and what the helper says back to the client.
//!
//! ```text
//!   stream ── Provision ──▶ SendFrom ──▶ archive ──▶ pipe ──▶ helper
//!     ◀─ ProvisionProgress ─────────────────────────────────────┤
//!     ◀─ ProvisionFailed ─────── refused, or another digest ────┤
//!     ◀─ Provisioned ◀── booted, and worked ◀── installed ◀─────┘ unpacked
//!   connection lost:  parked, for the next one
//!   stream reset:     given up
//! ```

use std::io;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use vault_protocol::audit::Event;
use vault_protocol::code::StreamCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{
    Provision, ProvisionFailed, ProvisionFailedReason, ProvisionProgress, Provisioned, SendFrom,
};

use super::{Context, abandon, deliver};
use crate::audit::shortened;
use crate::framed::{self, Receiver};
use crate::limits::{ARCHIVE_BYTES_MAX, READ_BYTES};
use crate::provision::unpacking::{Done, Report};
use crate::provision::{Arrival, Hold, Refusal};
use crate::telemetry::Chain;

/// Serves one archive, for the stream that brings it.
pub(crate) async fn run(
    context: Context,
    request: Provision,
    mut sender: SendStream,
    mut receiver: Receiver,
) {
    let sha256 = HEXLOWER.encode(&*request.sha256);
    match provision(&context, &request, &mut sender, &mut receiver).await {
        Ok(Outcome::Works(provisioned)) => {
            tracing::info!(target: "audit", sha256, source = %context.source, "root filesystem provisioned");
            if !provisioned.unchanged {
                context.shared.audit.record(Event::RootProvisioned {
                    source: context.who(),
                    sha256,
                    entries: provisioned.entries,
                    bytes: provisioned.unpacked,
                });
            }
            deliver(&mut sender, provisioned.into()).await;
        }
        Err(Refusal { reason, message }) => {
            tracing::info!(target: "audit", sha256, source = %context.source, message, "root filesystem refused");
            let source = context.who();
            let event = Event::RootRefused { source, sha256, reason: shortened(&message) };
            context.shared.audit.record(event);
            deliver(&mut sender, ProvisionFailed { reason, message }.into()).await;
            // What is still on its way is not wanted.
            drop(receiver.stream().stop(StreamCode::Failed.number().into()));
        }
        Ok(Outcome::Gone) => abandon(&mut sender, &mut receiver),
    }
}

/// How it went, as far as somebody is there to be told.
enum Outcome {
    Works(Provisioned),
    Gone,
}

async fn provision(
    context: &Context,
    request: &Provision,
    sender: &mut SendStream,
    receiver: &mut Receiver,
) -> Result<Outcome, Refusal> {
    let shared = &context.shared;
    let refuse = |reason, message: &str| Refusal::new(reason, message);
    if request.bytes > ARCHIVE_BYTES_MAX {
        let message = format!("the archive has more than {ARCHIVE_BYTES_MAX} bytes");
        return Err(refuse(ProvisionFailedReason::Archive, &message));
    }
    if shared.draining.is_cancelled() {
        return Err(refuse(ProvisionFailedReason::ShuttingDown, "the agent is ending"));
    }
    let unsupported = |why: &str| refuse(ProvisionFailedReason::Unsupported, why);
    let roots = shared.workload.roots().map_err(unsupported)?;
    match shared.workload.root() {
        Some(_) if request.replace => {}
        Some(root) if root == *request.sha256 => {
            let provisioned = Provisioned { unchanged: true, entries: 0, unpacked: 0 };
            return Ok(Outcome::Works(provisioned));
        }
        Some(_) => {
            let message =
                "the machine has another root filesystem, and was not asked to replace it";
            return Err(refuse(ProvisionFailedReason::InUse, message));
        }
        None => {}
    }
    let begun = shared.provisioner.begin(*request.sha256, roots, &shared.spawner).await;
    let (mut arrival, hold) = begun?;
    let offset = SendFrom { offset: arrival.received };
    let said = framed::send(sender, &offset.into(), PAYLOAD_BYTES_MAX).await;
    let followed = match said {
        Ok(()) => follow(context, request, &mut arrival, &hold, sender, receiver).await,
        Err(_) => Followed::Lost,
    };
    match followed {
        Followed::Unpacked(done) => install(context, arrival, done).await,
        Followed::Refused(refusal) => Err(refusal),
        Followed::GivenUp => Ok(Outcome::Gone),
        Followed::Lost => {
            hold.park(arrival);
            Ok(Outcome::Gone)
        }
        Followed::TakenOver => {
            hold.park(arrival);
            let message = "another connection goes on with this archive";
            Err(refuse(ProvisionFailedReason::TakenOver, message))
        }
    }
}

/// What has become of the stream.
enum Followed {
    Unpacked(Done),
    Refused(Refusal),
    /// The client does not want it any more.
    GivenUp,
    /// The connection is lost.
    Lost,
    TakenOver,
}

/// Until the helper has unpacked it, or does not, or the client is gone.
async fn follow(
    context: &Context,
    request: &Provision,
    arrival: &mut Arrival,
    hold: &Hold,
    sender: &mut SendStream,
    receiver: &mut Receiver,
) -> Followed {
    let Arrival { received, unpacking, .. } = arrival;
    let (pipe, reports) = (&mut unpacking.archive, &mut unpacking.reports);
    let feeding = feed(pipe, received, request.bytes, receiver.stream());
    tokio::pin!(feeding);
    let mut is_fed = false;
    loop {
        // All arms are cancel-safe: what was written to the pipe is counted, reports are kept until
        // they are whole.
        tokio::select! {
            fed = &mut feeding, if !is_fed => match fed {
                Ok(()) => is_fed = true,
                Err(followed) => return followed,
            },
            report = reports.next() => match understood(report, request) {
                Ok(Told::Progress(done)) => {
                    let Done { received, unpacked, entries } = done;
                    let progress = ProvisionProgress { received, unpacked, entries };
                    if framed::send(sender, &progress.into(), PAYLOAD_BYTES_MAX).await.is_err() {
                        return Followed::Lost;
                    }
                }
                Ok(Told::Unpacked(done)) => return Followed::Unpacked(done),
                Err(refusal) => return Followed::Refused(refusal),
            },
            () = hold.take_over.cancelled() => return Followed::TakenOver,
            () = context.shared.draining.cancelled() => {
                let message = "the agent is ending";
                return Followed::Refused(Refusal::new(ProvisionFailedReason::ShuttingDown, message));
            }
        }
    }
}

/// Copies the archive into the helper's pipe, and closes that at its end. Cancel-safe: `received` counts
/// what was written.
async fn feed(
    pipe: &mut Option<pipe::Sender>,
    received: &mut u64,
    announced: u64,
    stream: &mut RecvStream,
) -> Result<(), Followed> {
    let too_many = || {
        let message = "more bytes came than were announced";
        Followed::Refused(Refusal::new(ProvisionFailedReason::Digest, message))
    };
    while pipe.is_some() {
        match stream.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => {
                pour(pipe, received, chunk.bytes).await;
                if *received > announced {
                    return Err(too_many());
                }
            }
            Ok(None) => *pipe = None,
            Err(error) => return Err(broken_off(&error)),
        }
    }
    Ok(())
}

/// Writes a piece of the archive. A helper that has ended closes the pipe; its report says why.
async fn pour(pipe: &mut Option<pipe::Sender>, received: &mut u64, mut bytes: Bytes) {
    while let Some(helper) = pipe.as_mut().filter(|_| !bytes.is_empty()) {
        match helper.write(&bytes).await {
            Ok(written) => {
                *received += written as u64;
                drop(bytes.split_to(written));
            }
            Err(_) => *pipe = None,
        }
    }
}

/// Whoever resets a stream or closes a connection does not come back for this.
fn broken_off(error: &ReadError) -> Followed {
    tracing::info!(error = %Chain(error), "a root filesystem broke off");
    match error {
        ReadError::Reset(_) | ReadError::ConnectionLost(ConnectionError::ApplicationClosed(_)) => {
            Followed::GivenUp
        }
        _ => Followed::Lost,
    }
}

/// What the helper says, understood.
enum Told {
    Progress(Done),
    Unpacked(Done),
}

fn understood(report: io::Result<Option<Report>>, request: &Provision) -> Result<Told, Refusal> {
    let refuse = |reason, message: String| Err(Refusal { reason, message });
    match report {
        Ok(Some(Report::Progress(done))) => Ok(Told::Progress(done)),
        Ok(Some(Report::Unpacked { sha256, done })) if sha256 == request.sha256 => {
            Ok(Told::Unpacked(done))
        }
        Ok(Some(Report::Unpacked { sha256, .. })) => {
            let came = HEXLOWER.encode(&*sha256);
            let message = format!("the bytes that came have the SHA-256 {came}");
            refuse(ProvisionFailedReason::Digest, message)
        }
        Ok(Some(Report::Refused(message))) => refuse(ProvisionFailedReason::Archive, message),
        Ok(Some(Report::Unconfined(failed))) => {
            let message = format!(
                "the process that unpacks cannot be confined, which needs root: {}: {}",
                failed.doing,
                failed.error()
            );
            refuse(ProvisionFailedReason::Unsupported, message)
        }
        Ok(None) => {
            let message =
                "the process that unpacks has ended without a word; it may have been killed";
            refuse(ProvisionFailedReason::Internal, message.to_owned())
        }
        Err(error) => {
            let message = format!("the process that unpacks makes no sense: {error}");
            refuse(ProvisionFailedReason::Internal, message)
        }
    }
}

/// It is unpacked and on the disk: boots it.
async fn install(context: &Context, arrival: Arrival, done: Done) -> Result<Outcome, Refusal> {
    let Arrival { digest, unpacking, tree, .. } = arrival;
    // It has ended.
    drop(unpacking);
    let missing = || Refusal::new(ProvisionFailedReason::Internal, "the tree is gone");
    let staging = tree.keep().ok_or_else(missing)?;
    let installed = context.shared.workload.install(staging, digest).await;
    installed.map_err(|why| Refusal::new(ProvisionFailedReason::Boot, why))?;
    let Done { unpacked, entries, .. } = done;
    Ok(Outcome::Works(Provisioned { unchanged: false, entries, unpacked }))
}
