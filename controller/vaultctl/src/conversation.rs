//! One command in a machine, from here: its input, outputs, signals and terminal.
//!
//! ```text
//!   standard input ──▶ feed ──▶ ┌─────────┐ ──▶ print ──▶ standard output, standard error
//!   signals, another size ────▶ │ command │ ──▶ how it ended ──▶ exit code
//!   (a terminal is made raw)    └─────────┘
//! ```

mod escape;
mod session;

use std::io::{self, Read as _, Write};
use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use vault_client::exec::shell_code;
use vault_client::protocol::message::ExecFailedReason;
use vault_client::{Command, Control, ControlError, Exec, ExecError, Output as Channel, Stdin};

use self::escape::{Escapes, HELP, Wish};
pub(crate) use self::session::keep;
use self::session::{ATTACHED_LINGER, Line};
use crate::cli::Globals;
use crate::commands::sessions;
use crate::error::describe;
use crate::output::Output;
use crate::poll::Deadline;
use crate::provisioning::{self, When};
use crate::reach::{FAREWELL, MachineName, Reached, Way};
use crate::terminal::{self, Raw};

/// What this program's own failures exit with, as ssh's do: any smaller number may be the command's.
pub(crate) const OWN_FAILURE: u8 = 255;

/// What a shell adds to the number of the signal that ended a command.
const SIGNALLED: u8 = 128;

/// How much of standard input is read at once: what a Linux pipe holds.
const STDIN_CHUNK_BYTES: usize = 64 << 10;

/// How much of an output is passed on at once: many packets, so that a fast output does not cost a
/// system call for each.
const OUTPUT_CHUNK_BYTES: usize = 256 << 10;

/// How long our own reader may take for what is left, once a command has ended to which we passed
/// on a signal.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// The signal of Ctrl-C.
const SIGINT: u8 = 2;

/// How often Ctrl-C is passed on before it is meant for us.
const PATIENT_INTERRUPTS: usize = 2;

/// What is wanted of a machine.
pub(crate) enum Wanted {
    /// A new command.
    Run(Command),
    /// A session that there is, by the beginning of its id, or by its tag.
    Attach(String),
}

/// Runs a command in a machine, or comes back to one, and answers with its exit code.
pub(crate) async fn run(
    machine: &MachineName,
    wanted: Wanted,
    when: When,
    connect_timeout: Duration,
    globals: &Globals,
    output: &mut Output,
) -> ExitCode {
    match exec(machine, wanted, when, connect_timeout, globals, output).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output.note(&describe(&error));
            ExitCode::from(OWN_FAILURE)
        }
    }
}

async fn exec(
    machine: &MachineName,
    wanted: Wanted,
    when: When,
    connect_timeout: Duration,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<u8> {
    // Before anything is started, so that no signal is missed.
    let mut signals = Signals::new()?;
    let way = Way::new(machine, globals)?;
    let progress = output.progress(&format!("connecting to {machine}"));
    let deadline = Deadline::after(connect_timeout);
    let reached = tokio::select! {
        reached = way.connection(deadline, &progress) => reached?,
        number = signals.next() => return Ok(SIGNALLED + number),
    };
    drop(progress);
    let Reached { connection, note } = reached;
    if let Some(note) = note {
        output.note(&note);
    }
    let provisioned = provisioning::as_profiled(&way, connection, when, connect_timeout, output);
    let connection = tokio::select! {
        connection = provisioned => connection?,
        // The connection is closed, and what was unpacked is removed.
        number = signals.next() => {
            drop(timeout(FAREWELL, way.wait_idle()).await);
            return Ok(SIGNALLED + number);
        }
    };
    let mut line = Line::new(&way, connection, machine);
    let outcome = match wanted {
        Wanted::Run(command) => converse(&mut line, command, &mut signals, output).await,
        Wanted::Attach(name) => come_back(&mut line, &name, &mut signals, output).await,
    };
    let connection = line.connection;
    // The agent is told that we are done; should the word be lost, it notices the silence.
    let farewell = async {
        match outcome {
            Ok(Outcome::Over(_)) => connection.leave().await,
            // A command may still run, so the word is repeated.
            Ok(Outcome::Left(_)) | Err(_) => {
                connection.close();
                way.wait_idle().await;
            }
        }
    };
    drop(timeout(FAREWELL, farewell).await);
    match outcome? {
        Outcome::Over(code) | Outcome::Left(code) => Ok(code),
    }
}

/// What to exit with.
enum Outcome {
    /// The command has ended, or never ran.
    Over(u8),
    /// A signal made us leave, whatever becomes of the command.
    Left(u8),
}

async fn converse(
    line: &mut Line<'_>,
    command: Command,
    signals: &mut Signals,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    line.on_terminal = command.terminal.is_some();
    line.linger = command.keep.as_ref().map_or(Duration::ZERO, |keep| keep.linger);
    let started = tokio::select! {
        started = line.connection.exec(command) => started,
        number = signals.next() => return Ok(Outcome::Left(SIGNALLED + number)),
    };
    match started {
        Ok(running) => attend(running, line, signals).await,
        Err(ExecError::NotRun { reason, message }) if not_started(reason).is_some() => {
            output.note(&format!("error: {message}"));
            Ok(Outcome::Over(not_started(reason).unwrap_or(OWN_FAILURE)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn come_back(
    line: &mut Line<'_>,
    name: &str,
    signals: &mut Signals,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let session = sessions::find(line.connection.sessions().await?, name)?;
    let size = terminal::size();
    let (running, has_terminal, missed) = tokio::select! {
        attached = line.connection.attach(session.session.into(), Some(size)) => attached?,
        number = signals.next() => return Ok(Outcome::Left(SIGNALLED + number)),
    };
    if missed.stdout + missed.stderr > 0 {
        let bytes = missed.stdout + missed.stderr;
        output.note(&format!("{bytes} bytes of earlier output are not kept any more"));
    }
    (line.on_terminal, line.linger) = (has_terminal, ATTACHED_LINGER);
    attend(running, line, signals).await
}

/// What a shell exits with for a program that it cannot start; `None` if it is not the program's
/// fault.
fn not_started(reason: ExecFailedReason) -> Option<u8> {
    match reason {
        ExecFailedReason::NotFound => Some(127),
        ExecFailedReason::NotExecutable => Some(126),
        _ => None,
    }
}

/// Carries the streams to and fro until the command has ended and all its output is written.
async fn attend(
    running: Exec,
    line: &mut Line<'_>,
    signals: &mut Signals,
) -> anyhow::Result<Outcome> {
    let on_terminal = line.on_terminal;
    let Exec { stdin, stdout, stderr, mut control, .. } = running;
    // Until this is dropped, what is typed goes to the command as it is.
    let raw = (on_terminal && stdin.is_some()).then(Raw::begin).flatten();
    // Somebody sits there, whose every key goes to the machine otherwise.
    let escapes = raw.is_some().then(Escapes::default);
    let mut resized = signal(SignalKind::window_change())?;
    // Not waited for: reading standard input cannot be given up, and a command may end without it.
    let mut feeding = JoinSet::new();
    if let Some(stdin) = stdin {
        feeding.spawn(feed(stdin, escapes));
    }
    let outputs = async { tokio::try_join!(print(stdout, io::stdout), print(stderr, io::stderr)) };
    tokio::pin!(outputs);
    let (mut printed, mut exit, mut interrupts, mut passed_on) = (false, None, 0, None);
    while !printed || exit.is_none() {
        // All arms are cancel-safe, or stay.
        tokio::select! {
            result = &mut outputs, if !printed => match result {
                Ok(_) => printed = true,
                Err(error) => return Err(lost(control, error).await),
            },
            Some(fed) = feeding.join_next(), if exit.is_none() => {
                match fed?.context("could not read standard input")? {
                    Fed::Over => {}
                    Fed::Left => return Ok(Outcome::Left(OWN_FAILURE)),
                    // An agent that keeps no session can only end it.
                    Fed::Detach(_) if control.session().is_none() => {
                        return Ok(Outcome::Left(OWN_FAILURE));
                    }
                    Fed::Detach(stdin) => {
                        control.detach().await?;
                        let parted = control.wait().await;
                        // Only now: its end would have been the end of the command's input.
                        drop(stdin);
                        return line.part(parted, &control);
                    }
                }
            }
            ended = control.wait(), if exit.is_none() => match ended {
                Ok(ended) => exit = Some(ended),
                parted @ Err(ControlError::Detached { .. }) => {
                    return line.part(parted, &control);
                }
                Err(error) if error.is_lost() && control.session().is_some() => {
                    // Whoever does not want to wait leaves, by a signal or by what they type.
                    let left = tokio::select! {
                        resumed = line.resume(&mut control) => {
                            resumed.context(error)?;
                            continue;
                        }
                        number = signals.next() => SIGNALLED + number,
                        Some(Ok(Ok(Fed::Left | Fed::Detach(_)))) = feeding.join_next() => OWN_FAILURE,
                    };
                    line.leave_waiting(&control);
                    return Ok(Outcome::Left(left));
                }
                Err(error) => return Err(error.into()),
            },
            _ = resized.recv(), if on_terminal && exit.is_none() => {
                // It fails if the command has just ended, or the connection, and we are told which.
                drop(control.resize(terminal::size()).await);
            }
            number = signals.next() => {
                interrupts += usize::from(number == SIGINT);
                // Without a command it can only be meant for us, who wait for our own reader.
                if exit.is_some() || interrupts > PATIENT_INTERRUPTS {
                    return Ok(Outcome::Left(SIGNALLED + number));
                }
                // It fails if the command has just ended, or the connection, and we are told which.
                drop(control.signal(number).await);
                passed_on = Some(number);
            }
            // Whoever ended the command did not mean to wait for a reader that takes nothing.
            () = sleep(READER_PATIENCE), if exit.is_some() && passed_on.is_some() => {
                let number = passed_on.unwrap_or_default();
                return Ok(Outcome::Left(SIGNALLED + number));
            }
        }
    }
    Ok(Outcome::Over(exit.map_or(OWN_FAILURE, |exit| shell_code(&exit))))
}

/// Why the command's output ended too early: with the whole connection, or by itself.
async fn lost(mut control: Control, error: anyhow::Error) -> anyhow::Error {
    match timeout(FAREWELL, control.wait()).await {
        Ok(Err(connection)) => connection.into(),
        _ => error.context("could not pass on the command's output"),
    }
}

/// How the passing on of standard input ended.
enum Fed {
    /// There is no more, or nobody who reads it.
    Over,
    /// Somebody typed that they want to leave.
    Left,
    /// Somebody typed that they want to leave, and the session is to go on.
    Detach(Stdin),
}

/// Passes on standard input to its end. A command that reads no more of it is no error.
async fn feed(mut stdin: Stdin, mut escapes: Option<Escapes>) -> io::Result<Fed> {
    let mut buffer = vec![0; STDIN_CHUNK_BYTES];
    loop {
        let reading = spawn_blocking(move || {
            let count = io::stdin().read(&mut buffer);
            (buffer, count)
        });
        match reading.await {
            Ok((_, Ok(0))) => {
                stdin.finish();
                return Ok(Fed::Over);
            }
            Ok((read, Ok(count))) => {
                let keys = escapes.as_mut().map(|escapes| escapes.typed(&read[..count]));
                let (typed, wish) = keys.unwrap_or_default();
                match wish {
                    Some(Wish::Leave) => return Ok(Fed::Left),
                    Some(Wish::Detach) => {
                        // What was typed before it still goes to the command.
                        drop(stdin.write_all(&typed).await);
                        return Ok(Fed::Detach(stdin));
                    }
                    Some(Wish::Help) => tell(HELP),
                    None => {}
                }
                let passed = if escapes.is_some() { &typed } else { &read[..count] };
                if stdin.write_all(passed).await.is_err() {
                    return Ok(Fed::Over);
                }
                buffer = read;
            }
            // The command must not take half of its input for all of it.
            Ok((_, Err(error))) => {
                stdin.abort();
                return Err(error);
            }
            Err(error) => {
                stdin.abort();
                return Err(error.into());
            }
        }
    }
}

/// Says something to somebody whose terminal is raw, which does not return to the first column by itself.
pub(crate) fn tell(line: &str) {
    // A person who has no standard error does not want to know.
    write!(io::stderr(), "\r\n{line}\r\n").ok();
}

/// Passes on one output to its end. If our own reader leaves, the command learns it as it would in
/// a pipe.
async fn print<W: Write + 'static>(mut from: Channel, to: fn() -> W) -> anyhow::Result<()> {
    let mut buffer = vec![0; OUTPUT_CHUNK_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let writing = spawn_blocking(move || {
            let mut to = to();
            let written = to.write_all(&buffer[..count]).and_then(|()| to.flush());
            (buffer, written)
        });
        let (written, result) = writing.await?;
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                from.stop();
                return Ok(());
            }
            result => result?,
        }
        buffer = written;
    }
}

/// The signals that are passed on.
struct Signals([(u8, Signal); 4]);

impl Signals {
    fn new() -> io::Result<Self> {
        let listen = |number, kind| Ok::<_, io::Error>((number, signal(kind)?));
        Ok(Self([
            listen(1, SignalKind::hangup())?,
            listen(SIGINT, SignalKind::interrupt())?,
            listen(3, SignalKind::quit())?,
            listen(15, SignalKind::terminate())?,
        ]))
    }

    /// The number of the next one; the four have the same numbers on every Unix.
    async fn next(&mut self) -> u8 {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}
