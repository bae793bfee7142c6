//! One command: start it, and give it to the client that asked for it.
//!
//! ```text
//!   control stream ── Exec ──▶ launch ──▶ a session ──▶ Started ──▶ attachment
//!                                └─▶ ExecFailed
//! ```

use std::sync::Arc;
use std::time::Duration;

use quinn::SendStream;
use vault_protocol::audit::Event;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Exec, ExecFailed, Keep, Started as StartedMessage};

use super::attachment::{Attachment, Place};
use super::{Context, deliver, input};
use crate::audit::shortened;
use crate::framed::{self, Receiver};
use crate::limits::TAG_BYTES_MAX;
use crate::process::account::Account;
use crate::process::launch::{Launch, LaunchError};
use crate::process::spawner::Spawner;
use crate::sessions::session::{Beginning, Presence};
use crate::sessions::{About, Session, Sessions, Started};
use crate::telemetry::Chain;

/// Runs one command, for the stream that asked for it.
pub(crate) async fn run(
    context: Context,
    exec: Exec,
    mut sender: SendStream,
    mut receiver: Receiver,
) {
    let command = u64::from(receiver.stream().id());
    match launch(&context, exec).await {
        Ok(session) => {
            let kept = session.about.keep.is_some().then_some(true);
            let message = StartedMessage { process_id: session.about.process, kept }.into();
            let stdin = session.inlet.as_ref().map(|inlet| *inlet.written().borrow());
            let beginning = Beginning { attachment: 0, stdin, stdout: 0, stderr: 0 };
            if framed::send(&mut sender, &message, PAYLOAD_BYTES_MAX).await.is_err() {
                // The client does not know yet that it runs; it may ask.
                session.leave(Presence::Lost(0));
                return;
            }
            let place = Place { context, command, sender, receiver };
            Attachment::new(session, beginning, place).run().await;
        }
        Err(error) => {
            tracing::info!(source = %context.source, error = %Chain(&error), "command not started");
            let message = Chain(&error).to_string();
            let refused =
                Event::CommandRefused { source: context.who(), reason: shortened(&message) };
            context.shared.audit.record(refused);
            let failed = ExecFailed { reason: error.reason(), message };
            deliver(&mut sender, failed.into()).await;
            input::dismiss(&context.inputs, command);
        }
    }
}

async fn launch(context: &Context, mut exec: Exec) -> Result<Arc<Session>, LaunchError> {
    let shared = &context.shared;
    if shared.draining.is_cancelled() {
        return Err(LaunchError::ShuttingDown);
    }
    let keep = exec.keep.take();
    check(keep.as_ref(), &shared.sessions)?;
    let turn = Arc::clone(&shared.turns).try_acquire_owned();
    let turn = turn.map_err(|_| LaunchError::TooMany)?;
    let spawner = shared.workload.spawner().await.map_err(LaunchError::NotBooted)?;
    let account = account(&exec, &spawner).await?;
    let timeout = exec.timeout_ms.map(Duration::from_millis);
    let launch = Launch::new(exec, &shared.environment, account)?;
    let (name, arguments) = (launch.name(), launch.arguments.len());
    let digest = launch.digest();
    let user = launch.account.as_ref().map(|account| account.name.clone());
    let started = shared.clock.now();
    let deadline = timeout.and_then(|timeout| started.checked_add(timeout));
    let (process, pipes) = spawner.launch(launch).await?;
    shared.totals.commands.add_one();
    tracing::info!(
        target: "audit",
        program = name,
        arguments,
        user,
        process = process.id(),
        source = %context.source,
        "command started"
    );
    shared.audit.record(Event::CommandStarted {
        source: context.who(),
        program: shortened(&name),
        // The program is no argument of its own.
        arguments: arguments.saturating_sub(1),
        arguments_sha256: digest,
        user: user.as_deref().map(shortened),
        process: process.id(),
    });
    let about = About {
        program: shortened(&name),
        process: process.id(),
        terminal: pipes.screen.is_some(),
        began: started,
        keep,
    };
    let started = Started { process, pipes, about, who: context.who(), deadline, turn };
    Ok(Sessions::begin(shared, started))
}

/// Whether a session can be made.
fn check(keep: Option<&Keep>, sessions: &Sessions) -> Result<(), LaunchError> {
    let Some(keep) = keep else { return Ok(()) };
    if keep.tag.as_ref().is_some_and(|tag| tag.len() > TAG_BYTES_MAX) {
        return Err(LaunchError::Invalid("the session's tag is too long"));
    }
    match sessions.has(&keep.session.into()) {
        true => Err(LaunchError::Invalid("there is a session with this id already")),
        false => Ok(()),
    }
}

/// Whom a command is to run as, or a login shell is to be for.
async fn account(exec: &Exec, spawner: &Spawner) -> Result<Option<Account>, LaunchError> {
    let own = || rustix::process::geteuid().as_raw().to_string();
    let user = match &exec.user {
        Some(user) => user.clone(),
        None if exec.arguments.is_empty() => own(),
        None => return Ok(None),
    };
    let found = spawner.find(user.clone()).await.map_err(LaunchError::Resources)?;
    found.map(Some).ok_or(LaunchError::User { name: user, source: None })
}
