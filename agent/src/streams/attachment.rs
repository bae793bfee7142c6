//! One client at one session: what both say to each other, until one of them has no more to say.
//!
//! ```text
//!   client ── Signal, Resize, Taken ──▶ session            its input stream ──▶ inlet
//!   client ◀── Taken (of its input)     session            outlets ──▶ its output streams
//!   client ◀── Exit, once both outputs are sent            Detach ──▶ Detached
//! ```

use std::sync::Arc;

use quinn::{ConnectionError, ReadError, SendStream};
use rustix::process::Signal;
use rustix_libc_wrappers::process::SignalExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Channel, Detached, Exit, Message, Size, Taken};

use super::{Context, abandon, deliver, delivered, output};
use crate::framed::{self, ReceiveError, Receiver};
use crate::sessions::inlet::{Written, is_news};
use crate::sessions::session::{Beginning, Order, Presence, Session};
use crate::telemetry::Chain;

/// Where the client is.
pub(super) struct Place {
    pub(super) context: Context,
    /// The number of its stream, by which its one-way streams name the command.
    pub(super) command: u64,
    pub(super) sender: SendStream,
    pub(super) receiver: Receiver,
}

/// A client that has a session.
pub(super) struct Attachment {
    session: Arc<Session>,
    number: u64,
    place: Place,
    outputs: JoinSet<Option<SendStream>>,
    /// Outputs that are finished, and perhaps not delivered yet.
    finished: Vec<SendStream>,
    /// Waits for the client's input, to hand it over.
    _input: JoinSet<()>,
    /// What was written of that input.
    written: Option<watch::Receiver<Written>>,
    told: Written,
}

/// Why a client has the session no more.
enum Parting {
    Ended(Option<Exit>),
    Detached,
    TakenOver,
    /// It said goodbye, or something that makes no sense.
    Gone,
    Lost,
}

impl Attachment {
    /// Begins to send and to take.
    pub(super) fn new(session: Arc<Session>, beginning: Beginning, place: Place) -> Self {
        let (context, command, number) = (&place.context, place.command, beginning.attachment);
        let mut outputs = JoinSet::new();
        for (channel, outlet, from) in [
            (Channel::Stdout, &session.stdout, beginning.stdout),
            (Channel::Stderr, &session.stderr, beginning.stderr),
        ] {
            let (connection, outlet) = (context.connection.clone(), Arc::clone(outlet));
            outputs.spawn(
                async move { output::run(connection, command, channel, &outlet, from).await },
            );
        }
        let mut input = JoinSet::new();
        if beginning.stdin.is_some() {
            let (inputs, session) = (Arc::clone(&context.inputs), Arc::clone(&session));
            input.spawn(async move {
                // An input that comes late is waited for: its absence must not be taken for its end.
                if let (Some(inlet), Some(stream)) = (&session.inlet, inputs.want(command).await) {
                    inlet.bring(number, stream).await;
                }
            });
        }
        let keeps = session.about.keep.is_some();
        let written = session.inlet.as_ref().filter(|_| keeps).map(|inlet| inlet.written());
        let told = beginning.stdin.unwrap_or_default();
        Self { session, number, place, outputs, finished: Vec::new(), _input: input, written, told }
    }

    /// Serves the client until it has the session no more.
    pub(super) async fn run(mut self) {
        let parting = self.serve().await;
        let number = self.number;
        let Place { context, sender, receiver, .. } = &mut self.place;
        match parting {
            Parting::Ended(Some(exit)) => {
                deliver(sender, exit.into()).await;
                let outputs: Vec<_> = self.finished.drain(..).collect();
                for stream in &outputs {
                    delivered(stream).await;
                }
                if self.session.about.keep.is_some() {
                    // However long it takes: the connection ends it, if nothing else does.
                    for stream in outputs.iter().chain([&*sender]) {
                        drop(stream.stopped().await);
                    }
                }
                // Who is lost while it is told may come back and ask.
                let lost = context.connection.close_reason().is_some_and(|reason| is_lost(&reason));
                let left = if lost { Presence::Lost(number) } else { Presence::Told(number) };
                self.session.leave(left);
            }
            Parting::Ended(None) | Parting::Gone => {
                self.session.leave(Presence::Abandoned(number));
                abandon(sender, receiver);
            }
            Parting::Lost => {
                self.session.leave(Presence::Lost(number));
            }
            Parting::Detached | Parting::TakenOver => {
                // Nobody reads the streams any more, which is not a broken pipe.
                self.outputs.shutdown().await;
                if let (Parting::Detached, Some(inlet)) = (&parting, &self.session.inlet) {
                    // The end of this client's stream is not the end of the input.
                    inlet.let_go().await;
                }
                let taken_over = !self.session.leave(Presence::Detached(number));
                deliver(sender, Detached { taken_over }.into()).await;
            }
        }
    }

    async fn serve(&mut self) -> Parting {
        let session = Arc::clone(&self.session);
        let mut listening = true;
        loop {
            // All arms are cancel-safe: an end stays an end, tasks stay in their set, and a message is
            // kept until it is whole.
            tokio::select! {
                exit = session.ended(), if self.outputs.is_empty() => return Parting::Ended(exit),
                Some(ended) = self.outputs.join_next() => {
                    self.finished.extend(ended.ok().flatten());
                }
                message = self.place.receiver.next(), if listening => match said(message) {
                    Ok(Said::Signal(signal)) => session.order(Order::Signal(signal)).await,
                    Ok(Said::Resize(size)) => session.order(Order::Resize(size)).await,
                    Ok(Said::Taken(channel, bytes)) => match session.outlet(channel) {
                        Some(outlet) => outlet.take(bytes),
                        None => return Parting::Gone,
                    },
                    Ok(Said::Detach) if session.about.keep.is_some() => return Parting::Detached,
                    // Which is its right.
                    Ok(Said::NothingMore) => listening = false,
                    // The connection says how it ended.
                    Err(Gone::WithItsConnection) => listening = false,
                    Ok(Said::Detach) | Err(Gone::ByItself) => return Parting::Gone,
                },
                reason = self.place.context.connection.closed() => {
                    return if is_lost(&reason) { Parting::Lost } else { Parting::Gone };
                }
                () = session.taken_over(self.number) => return Parting::TakenOver,
                written = news(&mut self.written, self.told) => {
                    self.told = written;
                    let taken = Taken { channel: Channel::Stdin, bytes: written.bytes };
                    // If it cannot be sent, we learn in a moment why.
                    drop(framed::send(&mut self.place.sender, &taken.into(), PAYLOAD_BYTES_MAX).await);
                }
            }
        }
    }
}

/// Whether a connection ended without a word: its client may come back.
fn is_lost(reason: &ConnectionError) -> bool {
    !matches!(reason, ConnectionError::ApplicationClosed(_) | ConnectionError::LocallyClosed)
}

/// Ends when so much more of the input was written that the client is to know. Cancel-safe.
async fn news(written: &mut Option<watch::Receiver<Written>>, told: Written) -> Written {
    if let Some(written) = written
        && let Ok(now) = written.wait_for(|now| is_news(told, *now)).await
    {
        return *now;
    }
    std::future::pending().await
}

/// The client does not want the command any more.
enum Gone {
    ByItself,
    WithItsConnection,
}

/// What a client says about its command.
enum Said {
    Signal(Signal),
    Resize(Size),
    Taken(Channel, u64),
    Detach,
    NothingMore,
}

fn said(message: Result<Option<Message>, ReceiveError>) -> Result<Said, Gone> {
    match message {
        Ok(Some(Message::Signal(signal))) => {
            Signal::from_raw(signal.number.into()).map(Said::Signal).ok_or(Gone::ByItself)
        }
        Ok(Some(Message::Resize(resize))) => Ok(Said::Resize(resize.size)),
        Ok(Some(Message::Taken(Taken { channel, bytes }))) => Ok(Said::Taken(channel, bytes)),
        Ok(Some(Message::Detach(_))) => Ok(Said::Detach),
        Ok(None) => Ok(Said::NothingMore),
        Ok(Some(_)) | Err(ReceiveError::Stream(ReadError::Reset(_))) => Err(Gone::ByItself),
        Err(ReceiveError::Stream(ReadError::ConnectionLost(_))) => Err(Gone::WithItsConnection),
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "a command's stream failed");
            Err(Gone::ByItself)
        }
    }
}
