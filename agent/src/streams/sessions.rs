//! What clients ask of sessions that they have not begun over this connection.

use quinn::SendStream;
use rustix::process::Signal;
use rustix_libc_wrappers::process::SignalExt;
use vault_protocol::audit::Event;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{
    Message, Resume, Resumed, SessionFailed, SessionSignal, SessionSignalled, Sessions,
};

use super::attachment::{Attachment, Place};
use super::{Context, deliver, input};
use crate::framed::{self, Receiver};
use crate::sessions::session::{Order, Presence};

/// Gives a session to this client, in the place of the one that has it.
pub(crate) async fn resume(
    context: Context,
    request: Resume,
    mut sender: SendStream,
    receiver: Receiver,
) {
    let mut receiver = receiver;
    let command = u64::from(receiver.stream().id());
    let Some(session) = context.shared.sessions.find(&request.session.into()) else {
        deliver(&mut sender, unknown()).await;
        return input::dismiss(&context.inputs, command);
    };
    let beginning = session.attach(request.stdout, request.stderr).await;
    let (process, program) = (session.about.process, session.about.program.clone());
    tracing::info!(target: "audit", process, program, source = %context.source, "session resumed");
    let resumed = Event::SessionResumed { source: context.who(), program, process };
    context.shared.audit.record(resumed);
    if let Some(size) = request.size {
        session.order(Order::Resize(size)).await;
    }
    let message = Resumed {
        process_id: process,
        stdin: beginning.stdin.filter(|written| !written.over).map(|written| written.bytes),
        stdout: beginning.stdout,
        stderr: beginning.stderr,
        terminal: session.about.terminal,
    };
    if framed::send(&mut sender, &message.into(), PAYLOAD_BYTES_MAX).await.is_err() {
        session.leave(Presence::Lost(beginning.attachment));
        return;
    }
    let place = Place { context, command, sender, receiver };
    Attachment::new(session, beginning, place).run().await;
}

/// Says which sessions there are.
pub(crate) async fn list(context: &Context, mut sender: SendStream) {
    let sessions = context.shared.sessions.list(context.shared.clock.now());
    deliver(&mut sender, Sessions { sessions }.into()).await;
}

/// Sends a signal to a session's command, whoever has it.
pub(crate) async fn signal(context: &Context, request: SessionSignal, mut sender: SendStream) {
    let Some(session) = context.shared.sessions.find(&request.session.into()) else {
        return deliver(&mut sender, unknown()).await;
    };
    let Some(signal) = Signal::from_raw(request.number.into()) else {
        let message = format!("there is no signal {}", request.number);
        return deliver(&mut sender, SessionFailed { message }.into()).await;
    };
    session.order(Order::Signal(signal)).await;
    let (process, program) = (session.about.process, session.about.program.clone());
    context.shared.audit.record(Event::SessionSignalled {
        source: context.who(),
        program,
        process,
        signal: request.number,
    });
    deliver(&mut sender, SessionSignalled {}.into()).await;
}

fn unknown() -> Message {
    let message = "there is no such session: it has ended, or waited too long for its client";
    SessionFailed { message: message.to_owned() }.into()
}
