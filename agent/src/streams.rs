//! What clients may do once they have proved themselves, a stream each.
//!
//! ```text
//!   bidirectional stream ─▶ its first frame says what it is for ─┬─ Exec ─▶ exec ─▶ attachment
//!                                                                ├─ Resume, … ─▶ sessions
//!                                                                ├─ Dial ─▶ forward
//!                                                                ├─ Provision ─▶ provision
//!                                                                ├─ CopyRequest ─▶ files
//!                                                                ├─ AuditLogRequest ─▶ audit_log
//!                                                                └─ else ─▶ reset
//!   one-way stream ───────▶ an Attach frame ─▶ input
//! ```

use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;
use vault_protocol::code::StreamCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::Message;

use self::input::Inputs;
use crate::agent::Shared;
use crate::audit::who;
use crate::framed::{self, Receiver};
use crate::limits::{DELIVERY_PATIENCE, FIRST_FRAME_PATIENCE};
use crate::source::Source;

pub(crate) mod attachment;

pub(crate) mod audit_log;

pub(crate) mod exec;

pub(crate) mod files;

pub(crate) mod forward;

pub(crate) mod output;

pub(crate) mod input;

pub(crate) mod provision;

pub(crate) mod rendezvous;

pub(crate) mod sessions;

/// What a stream needs to know about where it comes from.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) inputs: Arc<Inputs>,
    pub(crate) source: Source,
}

impl Context {
    /// The client, as it is written down.
    fn who(&self) -> String {
        who(self.connection.remote_address())
    }
}

/// Serves one bidirectional stream from its first frame to its end.
pub(crate) async fn run(context: Context, mut sender: SendStream, stream: RecvStream) {
    let mut receiver = Receiver::new(stream, PAYLOAD_BYTES_MAX);
    match timeout(FIRST_FRAME_PATIENCE, receiver.next()).await {
        Ok(Ok(Some(Message::Exec(exec)))) => exec::run(context, exec, sender, receiver).await,
        Ok(Ok(Some(Message::Dial(dial)))) => forward::run(context, dial, sender, receiver).await,
        Ok(Ok(Some(Message::CopyRequest(request)))) => {
            files::run(context, request, sender, receiver).await;
        }
        Ok(Ok(Some(Message::AuditLogRequest(request)))) => {
            audit_log::run(context, request, sender).await;
        }
        Ok(Ok(Some(Message::Provision(request)))) => {
            provision::run(context, request, sender, receiver).await;
        }
        Ok(Ok(Some(Message::Resume(resume)))) => {
            sessions::resume(context, resume, sender, receiver).await;
        }
        Ok(Ok(Some(Message::SessionsRequest(_)))) => sessions::list(&context, sender).await,
        Ok(Ok(Some(Message::SessionSignal(request)))) => {
            sessions::signal(&context, request, sender).await;
        }
        _ => abandon(&mut sender, &mut receiver),
    }
}

/// Sends the last message of a stream, and waits until the client has it, as long as that is
/// bearable.
async fn deliver(sender: &mut SendStream, message: Message) {
    if framed::send(sender, &message, PAYLOAD_BYTES_MAX).await.is_ok() && sender.finish().is_ok() {
        delivered(sender).await;
    }
}

/// Waits until the client has all of a finished stream, as long as that is bearable.
async fn delivered(stream: &SendStream) {
    // If it is not delivered by then, nobody is there who would miss it.
    drop(timeout(DELIVERY_PATIENCE, stream.stopped()).await);
}

/// Gives a stream up that says what makes no sense.
fn abandon(sender: &mut SendStream, receiver: &mut Receiver) {
    // Streams that have ended by themselves need no end.
    drop(sender.reset(StreamCode::Protocol.number().into()));
    drop(receiver.stream().stop(StreamCode::Protocol.number().into()));
}
