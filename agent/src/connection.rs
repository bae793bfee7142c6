//! One connection: let it prove itself in time, then serve its streams.
//!
//! ```text
//!   Incoming ─▶ TLS ─▶ Hello ─▶ Evidence ─▶ Proof ─▶ Ready ─▶ commands ─▶ the end
//!   └────── PROOF_PATIENCE, may be evicted ───────┘
//! ```

use std::sync::Arc;

use quinn::{Connecting, Connection, SendStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use vault_protocol::code::CloseCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX_BEFORE_PROOF;
use vault_protocol::message::Message;

use crate::admission::ConnectionNumber;
use crate::agent::Shared;
use crate::framed::{self, Receiver};
use crate::limits::{
    CHANNELS_PER_CONNECTION_MAX, COMMANDS_PER_CONNECTION_MAX, DELIVERY_PATIENCE,
    FORWARDS_PER_CONNECTION_MAX, PROOF_PATIENCE, STREAMS_BEFORE_PROOF, WINDOW_BYTES,
};
use crate::source::Source;
use crate::streams::input::{self, Inputs};
use crate::streams::{self, Context};
use crate::telemetry::Chain;

mod proving;

/// A connection that was let in.
pub(crate) struct Newcomer {
    pub(crate) number: ConnectionNumber,
    pub(crate) source: Source,
    /// It has to make room.
    pub(crate) evict: CancellationToken,
}

/// The first stream, after the proof.
struct Control {
    sender: SendStream,
    receiver: Receiver,
}

/// A right proof, and what to answer it.
struct Proven {
    control: Control,
    answer: Message,
}

/// Serves a connection to its end.
pub(crate) async fn run(shared: Arc<Shared>, connecting: Connecting, newcomer: Newcomer) {
    let deadline = Instant::now() + PROOF_PATIENCE;
    let Newcomer { number, source, evict } = newcomer;
    // Dropping a half-made connection closes it. All arms are cancel-safe in that sense.
    let connection = tokio::select! {
        () = evict.cancelled() => None,
        () = shared.draining.cancelled() => None,
        connected = timeout_at(deadline, connecting) => match connected {
            Ok(connected) => connected.ok(),
            Err(_) => {
                shared.totals.too_slow.add_one();
                None
            }
        },
    };
    let Some(connection) = connection else {
        return shared.admission().leave_unproven(number);
    };
    shared.admission().validate(number);
    // All arms are cancel-safe in that the others end the connection.
    let proven = tokio::select! {
        () = evict.cancelled() => Err(CloseCode::Busy),
        () = shared.draining.cancelled() => Err(CloseCode::ShuttingDown),
        proven = timeout_at(deadline, proving::run(&shared, &connection, source)) => {
            proven.unwrap_or(Err(CloseCode::TooSlow))
        }
    };
    match proven {
        Ok(proven) if shared.admission().prove(number) => {
            serve(&shared, connection, proven, source).await;
            shared.admission().leave_proven();
        }
        // Evicted a moment ago.
        Ok(_) => close(&connection, CloseCode::Busy),
        Err(code) => {
            match code {
                CloseCode::TooSlow => shared.totals.too_slow.add_one(),
                CloseCode::Protocol => shared.totals.protocol_errors.add_one(),
                _ => {}
            }
            close(&connection, code);
            shared.admission().leave_unproven(number);
        }
    }
}

/// Closes a connection that is still open: QUIC would forget why one has ended that is closed again, and
/// sessions ask whether their client said goodbye.
fn close(connection: &Connection, code: CloseCode) {
    if connection.close_reason().is_none() {
        connection.close(code.number().into(), b"");
    }
}

/// Lifts the bounds that hold before the proof. The window of a single stream is as it was.
fn lift_bounds(connection: &Connection) {
    let streams = STREAMS_BEFORE_PROOF + COMMANDS_PER_CONNECTION_MAX + FORWARDS_PER_CONNECTION_MAX;
    connection.set_max_concurrent_bi_streams(streams.into());
    connection.set_max_concurrent_uni_streams(CHANNELS_PER_CONNECTION_MAX.into());
    connection.set_receive_window(WINDOW_BYTES.into());
}

/// Serves a proven client.
async fn serve(shared: &Arc<Shared>, connection: Connection, proven: Proven, source: Source) {
    let Proven { mut control, answer } = proven;
    // Before the answer, so that the client may use what it allows.
    lift_bounds(&connection);
    let sent = framed::send(&mut control.sender, &answer, PAYLOAD_BYTES_MAX_BEFORE_PROOF);
    if !timeout(DELIVERY_PATIENCE, sent).await.is_ok_and(|sent| sent.is_ok()) {
        return close(&connection, CloseCode::TooSlow);
    }
    shared.totals.accepted_proofs.add_one();
    tracing::debug!(%source, "a client has proved itself");
    let inputs = Arc::new(Inputs::new());
    let context =
        Context { shared: Arc::clone(shared), connection: connection.clone(), inputs, source };
    let mut commands = JoinSet::new();
    let code = take_streams(&context, control, &mut commands).await;
    close(&connection, code);
    // Commands see that the connection is gone, and end by themselves in bounded time.
    while commands.join_next().await.is_some() {}
}

/// Takes streams until the connection ends, which needs no close, or has to be closed. When the
/// agent is ending, new commands are refused, and the connection is closed once no command is left.
async fn take_streams(
    context: &Context,
    mut control: Control,
    commands: &mut JoinSet<()>,
) -> CloseCode {
    let Context { shared, connection, inputs, source } = context;
    let (mut listening, mut draining) = (true, false);
    // Bounded by the streams that the client may open; the rest end with this function.
    let mut attaching = JoinSet::new();
    while !draining || !commands.is_empty() {
        // All arms are cancel-safe: streams stay in the connection, tasks in their set, and a
        // message is kept until it is whole.
        tokio::select! {
            opened = connection.accept_bi() => match opened {
                Ok((sender, receiver)) => {
                    commands.spawn(streams::run(context.clone(), sender, receiver));
                }
                Err(_) => return CloseCode::Done,
            },
            opened = connection.accept_uni() => match opened {
                Ok(stream) => {
                    let inputs = Arc::clone(inputs);
                    attaching.spawn(async move { input::attach(&inputs, stream).await });
                }
                Err(_) => return CloseCode::Done,
            },
            said = control.receiver.next(), if listening => match said {
                // The client has nothing more to say there, which is its right.
                Ok(None) => listening = false,
                Ok(Some(message)) => {
                    tracing::debug!(%source, message = message.name(), "said after the proof");
                    return CloseCode::Protocol;
                }
                Err(error) => {
                    tracing::debug!(%source, error = %Chain(&error), "the control stream failed");
                    return CloseCode::Protocol;
                }
            },
            Some(_) = commands.join_next() => {}
            Some(_) = attaching.join_next() => {}
            () = shared.draining.cancelled(), if !draining => draining = true,
        }
    }
    CloseCode::ShuttingDown
}
