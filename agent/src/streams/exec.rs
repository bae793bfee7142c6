//! One command: start it, carry its streams, tell its end.
//!
//! ```text
//!   control stream ── Exec ──▶ launch ──▶ Started ──▶ ┌─ Signal ──▶ group
//!                                                     │  outputs ──▶ streams (tasks)
//!                                                     │  stdin stream ──▶ pipe (task)
//!                                                     └─ end of process and both outputs ──▶ Exit
//!   client lost, control stream reset:  SIGHUP, pipes closed, later SIGKILL
//!   agent ending:                       SIGTERM, later SIGKILL, Exit is told all the same
//! ```

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ReadError, SendStream};
use rustix::process::Signal;
use rustix_libc_wrappers::process::SignalExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vault_protocol::audit::Event;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{Channel, Exec, ExecFailed, Exit, Message, Size, Started};

use super::{Context, abandon, deliver, delivered, input, output};
use crate::audit::{milliseconds, shortened};
use crate::clock::Clock;
use crate::framed::{self, ReceiveError, Receiver};
use crate::limits::GROUP_POLL;
use crate::process::account::Account;
use crate::process::launch::{Launch, LaunchError};
use crate::process::spawner::Spawner;
use crate::process::terminal::Screen;
use crate::process::{Pipes, Process};
use crate::telemetry::Chain;

mod ending;

use self::ending::{Ending, Step};

/// Runs one command, for the stream that asked for it.
pub(crate) async fn run(
    context: Context,
    exec: Exec,
    mut sender: SendStream,
    mut receiver: Receiver,
) {
    let command = u64::from(receiver.stream().id());
    match launch(&context, exec).await {
        Ok(started) => follow(&context, command, started, sender, receiver).await,
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

/// A command that was started.
struct Running {
    process: Process,
    pipes: Pipes,
    name: String,
    started: Duration,
    /// When it has run for as long as it may.
    deadline: Option<Duration>,
    /// Gives its place among the running commands back.
    _turn: OwnedSemaphorePermit,
}

async fn launch(context: &Context, exec: Exec) -> Result<Running, LaunchError> {
    let shared = &context.shared;
    if shared.draining.is_cancelled() {
        return Err(LaunchError::ShuttingDown);
    }
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
    Ok(Running { process, pipes, name, started, deadline, _turn: turn })
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

async fn follow(
    context: &Context,
    command: u64,
    running: Running,
    mut sender: SendStream,
    mut receiver: Receiver,
) {
    let Running { mut process, pipes, name, started, deadline, _turn } = running;
    let over = CancellationToken::new();
    let _ends_input = over.clone().drop_guard();
    let mut channels = Channels::start(context, command, pipes, &over);
    let message = Started { process_id: process.id() }.into();
    let mut ending = Ending::new(deadline);
    if framed::send(&mut sender, &message, PAYLOAD_BYTES_MAX).await.is_err() {
        hang_up(&process, &mut channels, &mut ending, context);
    }
    let exit = watch(context, &process, &mut channels, &mut receiver, &mut ending).await;
    over.cancel();
    process.reap();
    tracing::info!(
        target: "audit",
        program = name,
        process = process.id(),
        source = %context.source,
        milliseconds = (context.shared.clock.now() - started).as_millis(),
        code = exit.code,
        signal = exit.signal,
        client_lost = ending.is_hung_up(),
        "command ended"
    );
    context.shared.audit.record(Event::CommandEnded {
        source: context.who(),
        program: shortened(&name),
        process: process.id(),
        code: exit.code,
        signal: exit.signal,
        milliseconds: milliseconds(context.shared.clock.now() - started),
    });
    if ending.is_hung_up() {
        abandon(&mut sender, &mut receiver);
    } else {
        deliver(&mut sender, exit.into()).await;
        channels.delivered().await;
    }
    clear(&ending, &process, &*context.shared.clock).await;
}

/// Until the process and both outputs have ended.
async fn watch(
    context: &Context,
    process: &Process,
    channels: &mut Channels,
    receiver: &mut Receiver,
    ending: &mut Ending,
) -> Exit {
    let shared = &context.shared;
    let (mut exit, mut listening) = (None, true);
    while exit.is_none() || !channels.outputs.is_empty() {
        // All arms are cancel-safe: an end stays an end, tasks stay in their set, and a message is
        // kept until it is whole.
        tokio::select! {
            ended = process.ended(), if exit.is_none() => {
                exit = Some(ended.unwrap_or_else(|error| {
                    tracing::error!(%error, "a process cannot be watched; it is killed");
                    process.signal(Signal::KILL);
                    Exit { signal: Some(signal_number(Signal::KILL)), ..NO_EXIT }
                }));
            }
            Some(ended) = channels.outputs.join_next() => channels.finished.extend(ended.ok().flatten()),
            message = receiver.next(), if listening => match said(message) {
                Ok(Said::Signal(signal)) => process.signal(signal),
                Ok(Said::Resize(size)) => channels.resize(size),
                // Which is its right.
                Ok(Said::NothingMore) => listening = false,
                Err(Gone) => {
                    listening = false;
                    hang_up(process, channels, ending, context);
                }
            },
            _ = context.connection.closed(), if !ending.is_hung_up() => {
                listening = false;
                hang_up(process, channels, ending, context);
            }
            () = shared.draining.cancelled(), if !ending.is_terminated() => {
                process.signal(ending.terminate(shared.clock.now(), shared.grace()));
            }
            step = next_step(ending, &*shared.clock) => match step {
                Step::TimeOut => process.signal(Signal::TERM),
                Step::Kill => process.signal(Signal::KILL),
                Step::CloseOutputs => channels.close(),
            },
        }
    }
    let timed_out = ending.is_timed_out().then_some(true);
    Exit { timed_out, ..exit.unwrap_or(NO_EXIT) }
}

/// How a command ended of which nothing is known.
const NO_EXIT: Exit = Exit { code: None, signal: None, core_dumped: false, timed_out: None };

/// The client is gone. The signal comes first: a closed standard input alone looks like its end.
fn hang_up(process: &Process, channels: &mut Channels, ending: &mut Ending, context: &Context) {
    process.signal(ending.hang_up(context.shared.clock.now()));
    channels.close();
}

/// Waits for the next step, if one is planned. Cancel-safe: a step is taken only as it is answered.
async fn next_step(ending: &mut Ending, clock: &dyn Clock) -> Step {
    loop {
        let now = clock.now();
        if let Some(step) = ending.advance(now) {
            return step;
        }
        match ending.due() {
            Some(due) => sleep(due.saturating_sub(now)).await,
            None => pending().await,
        }
    }
}

/// When a command had to end, so has whoever it left in its group; they get the same time for it.
async fn clear(ending: &Ending, process: &Process, clock: &dyn Clock) {
    let Some(due) = ending.due().filter(|_| ending.is_asked()) else {
        return;
    };
    while process.group_is_left() {
        if due <= clock.now() {
            return process.signal(Signal::KILL);
        }
        sleep(GROUP_POLL).await;
    }
}

/// The tasks that copy.
struct Channels {
    outputs: JoinSet<Option<SendStream>>,
    /// Outputs that are finished, and perhaps not delivered yet.
    finished: Vec<SendStream>,
    input: JoinSet<()>,
    /// Of its terminal, if it has one.
    screen: Option<Screen>,
}

impl Channels {
    fn start(context: &Context, command: u64, pipes: Pipes, over: &CancellationToken) -> Self {
        let mut outputs = JoinSet::new();
        for (channel, pipe) in [(Channel::Stdout, pipes.stdout), (Channel::Stderr, pipes.stderr)] {
            outputs.spawn(output::run(context.connection.clone(), command, channel, pipe));
        }
        let mut input = JoinSet::new();
        if let Some(pipe) = pipes.stdin {
            let (inputs, over) = (Arc::clone(&context.inputs), over.clone());
            input.spawn(async move { input::run(&inputs, command, pipe, &over).await });
        }
        Self { outputs, finished: Vec::new(), input, screen: pipes.screen }
    }

    /// The client's terminal has another size.
    fn resize(&self, size: Size) {
        if let Some(Err(error)) = self.screen.as_ref().map(|screen| screen.resize(size)) {
            tracing::debug!(%error, "a terminal keeps its size");
        }
    }

    /// Closes our ends of all channels. For a terminal that is a hang-up.
    fn close(&mut self) {
        self.screen = None;
        self.outputs.abort_all();
        self.input.abort_all();
    }

    /// Waits until the client has everything, as long as that is bearable.
    async fn delivered(&mut self) {
        for stream in self.finished.drain(..) {
            delivered(&stream).await;
        }
    }
}

/// The client does not want the command any more.
struct Gone;

/// What a client says about its command.
enum Said {
    Signal(Signal),
    Resize(Size),
    NothingMore,
}

fn said(message: Result<Option<Message>, ReceiveError>) -> Result<Said, Gone> {
    match message {
        Ok(Some(Message::Signal(signal))) => {
            Signal::from_raw(signal.number.into()).map(Said::Signal).ok_or(Gone)
        }
        Ok(Some(Message::Resize(resize))) => Ok(Said::Resize(resize.size)),
        Ok(None) => Ok(Said::NothingMore),
        Ok(Some(_)) => Err(Gone),
        Err(ReceiveError::Stream(ReadError::Reset(_))) => Err(Gone),
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "a command's stream failed");
            Err(Gone)
        }
    }
}

fn signal_number(signal: Signal) -> u8 {
    u8::try_from(signal.as_raw()).unwrap_or_default()
}
