//! One forwarded connection: dial, say how that went, carry bytes both ways, tell what went through.
//!
//! ```text
//!   stream ── Dial ──▶ dial ── connected ──▶ Dialed ──▶ relay, until both directions have ended
//!                       └──── else ────────▶ DialFailed
//!   client lost, stream reset:  the connection is aborted
//!   agent ending:               no new ones; those that are there are aborted after the grace
//! ```

use std::time::Duration;

use quinn::SendStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use vault_protocol::audit::Event;
use vault_protocol::code::StreamCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Destination, Dial, DialFailed, Dialed};
use vault_relay::{Relay, Socket};

use super::{Context, abandon, deliver};
use crate::audit::{milliseconds, shortened};
use crate::framed::{self, Receiver};
use crate::limits::DELIVERY_PATIENCE;
use crate::telemetry::Chain;

pub(crate) mod dial;

use self::dial::DialError;

/// Serves one forwarded connection, for the stream that asked for it.
pub(crate) async fn run(
    context: Context,
    dial: Dial,
    mut sender: SendStream,
    mut receiver: Receiver,
) {
    let started = context.shared.clock.now();
    let destination = dial.destination;
    // All arms are cancel-safe: a connection that is not there yet is given up.
    let opened = tokio::select! {
        // A client that has given up, or is gone, wants no answer.
        _ = sender.stopped() => return abandon(&mut sender, &mut receiver),
        () = context.shared.draining.cancelled() => Err(DialError::ShuttingDown),
        opened = open(&context, &destination) => opened,
    };
    match opened {
        Ok((socket, turn)) => {
            carry(&context, &destination, socket, started, sender, receiver).await;
            drop(turn);
        }
        Err(error) => {
            tracing::info!(
                target: "audit",
                %destination,
                source = %context.source,
                error = %Chain(&error),
                "connection not forwarded"
            );
            let message = Chain(&error).to_string();
            context.shared.audit.record(Event::ForwardRefused {
                source: context.who(),
                destination: shortened(&destination.to_string()),
                reason: shortened(&message),
            });
            deliver(&mut sender, DialFailed { reason: error.reason(), message }.into()).await;
            // Bytes that were sent in the hope of a connection.
            drop(receiver.stream().stop(StreamCode::BrokenPipe.number().into()));
        }
    }
}

async fn open(
    context: &Context,
    destination: &Destination,
) -> Result<(Socket, OwnedSemaphorePermit), DialError> {
    let (forwards, workload) = (&context.shared.forwards, &context.shared.workload);
    let turn = forwards.turn()?;
    let socket = forwards.connect(destination, workload).await?;
    Ok((socket, turn))
}

async fn carry(
    context: &Context,
    destination: &Destination,
    socket: Socket,
    started: Duration,
    mut sender: SendStream,
    mut receiver: Receiver,
) {
    let shared = &context.shared;
    shared.totals.forwards.add_one();
    tracing::info!(
        target: "audit",
        %destination,
        source = %context.source,
        "connection forwarded"
    );
    let written = || (context.who(), shortened(&destination.to_string()));
    let (source, target) = written();
    shared.audit.record(Event::ForwardOpened { source, destination: target });
    if framed::send(&mut sender, &Dialed {}.into(), PAYLOAD_BYTES_MAX).await.is_err() {
        return abandon(&mut sender, &mut receiver);
    }
    let delivered = sender.stopped();
    let (receiver, first) = receiver.into_rest();
    let relay = Relay::new(socket, (sender, receiver), first);
    let relayed = relay
        .run(async {
            shared.draining.cancelled().await;
            sleep(shared.grace()).await;
        })
        .await;
    tracing::info!(
        target: "audit",
        %destination,
        source = %context.source,
        bytes_in = relayed.to_socket,
        bytes_out = relayed.from_socket,
        milliseconds = (shared.clock.now() - started).as_millis(),
        aborted = !relayed.whole,
        "forwarded connection ended"
    );
    let (source, target) = written();
    shared.audit.record(Event::ForwardEnded {
        source,
        destination: target,
        bytes_in: relayed.to_socket,
        bytes_out: relayed.from_socket,
        milliseconds: milliseconds(shared.clock.now() - started),
        aborted: !relayed.whole,
    });
    if relayed.whole {
        // If it is not delivered by then, nobody is there who would miss it.
        drop(timeout(DELIVERY_PATIENCE, delivered).await);
    }
}
