//! `vaultctl exec`

use std::ffi::OsString;
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::OsStringExt;
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
use vault_client::{
    Client as AgentClient, Command, Connection, Control, Exec, ExecError, Output as Channel, Stdin,
};

use crate::cli::Globals;
use crate::error::describe;
use crate::output::Output;
use crate::poll::{Deadline, parse_limit};
use crate::reach::{self, MachineName};

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

/// How long the last word to the agent may take: it is a courtesy.
const FAREWELL: Duration = Duration::from_millis(200);

/// Run a command in a tenant's machine
///
/// The command gets the machine's environment, this program's standard input, and its signals
/// (Ctrl-C too; the third one leaves without waiting). Output and errors come back apart. The exit
/// code is the command's own, 128+n if signal n ended it, and 255 if vaultctl itself failed.
///
/// Before anything secret is used, the machine proves with a token of the platform which machine it
/// is. A machine that is just starting, or comes back after a crash, is tried again until
/// --connect-timeout.
///
/// EXAMPLES:
///   vaultctl exec acme -- uname -a
///   vaultctl exec globex/web-1 -- sh -c 'cat /data/*.log' > logs
///   tar cz src | vaultctl exec acme -w /data -- tar xz
///   vaultctl exec acme -n -e DEBUG=1 -- ./job
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The tenant, if it has one machine; else TENANT/GROUP-INDEX
    #[arg(value_name = "TENANT[/GROUP-INDEX]")]
    machine: MachineName,

    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Give the command no standard input
    #[arg(short = 'n', long)]
    no_stdin: bool,

    /// Set an environment variable of the command; may be repeated
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,

    /// The folder to run it in [default: the home folder]
    #[arg(short = 'w', long, value_name = "DIR")]
    workdir: Option<OsString>,

    /// How long to try to reach the machine; 0 tries once
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_limit)]
    connect_timeout: Duration,
}

/// Runs the command and answers with its exit code.
pub(crate) async fn run(args: Args, globals: &Globals, output: &mut Output) -> ExitCode {
    match exec(args, globals, output).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output.note(&describe(&error));
            ExitCode::from(OWN_FAILURE)
        }
    }
}

async fn exec(args: Args, globals: &Globals, output: &mut Output) -> anyhow::Result<u8> {
    // Before anything is started, so that no signal is missed.
    let mut signals = Signals::new()?;
    let controller = globals.client()?;
    let agents = AgentClient::new().context("could not prepare to connect")?;
    let progress = output.progress(&format!("connecting to {}", args.machine));
    let deadline = Deadline::after(args.connect_timeout);
    let reached = reach::connection(&controller, &agents, &args.machine, deadline, &progress);
    let connection = tokio::select! {
        connection = reached => connection?,
        number = signals.next() => return Ok(SIGNALLED + number),
    };
    drop(progress);
    let outcome = converse(&connection, args.command(), &mut signals, output).await;
    // The agent is told that we are done; should the word be lost, it notices the silence.
    let farewell = async {
        match outcome {
            Ok(Outcome::Over(_)) => connection.leave().await,
            // A command may still run, so the word is repeated.
            Ok(Outcome::Left(_)) | Err(_) => {
                connection.close();
                agents.wait_idle().await;
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
    connection: &Connection,
    command: Command,
    signals: &mut Signals,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let started = tokio::select! {
        started = connection.exec(command) => started,
        number = signals.next() => return Ok(Outcome::Left(SIGNALLED + number)),
    };
    match started {
        Ok(running) => attend(running, signals).await,
        Err(ExecError::NotRun { reason, message }) if not_started(reason).is_some() => {
            output.note(&format!("error: {message}"));
            Ok(Outcome::Over(not_started(reason).unwrap_or(OWN_FAILURE)))
        }
        Err(error) => Err(error.into()),
    }
}

impl Args {
    fn command(self) -> Command {
        let bytes = |text: String| text.into_bytes();
        let variables = self.environment.into_iter();
        Command {
            environment: variables.map(|(name, value)| (bytes(name), bytes(value))).collect(),
            directory: self.workdir.map(OsStringExt::into_vec),
            stdin: !self.no_stdin,
            ..Command::new(self.command.into_iter().map(OsStringExt::into_vec))
        }
    }
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
async fn attend(running: Exec, signals: &mut Signals) -> anyhow::Result<Outcome> {
    let Exec { stdin, stdout, stderr, mut control, .. } = running;
    // Not waited for: reading standard input cannot be given up, and a command may end without it.
    let mut feeding = JoinSet::new();
    if let Some(stdin) = stdin {
        feeding.spawn(feed(stdin));
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
                fed?.context("could not read standard input")?;
            }
            ended = control.wait(), if exit.is_none() => exit = Some(ended?),
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

/// Passes on standard input to its end. A command that reads no more of it is no error.
async fn feed(mut stdin: Stdin) -> io::Result<()> {
    let mut buffer = vec![0; STDIN_CHUNK_BYTES];
    loop {
        let reading = spawn_blocking(move || {
            let count = io::stdin().read(&mut buffer);
            (buffer, count)
        });
        match reading.await {
            Ok((_, Ok(0))) => {
                stdin.finish();
                return Ok(());
            }
            Ok((read, Ok(count))) => {
                if stdin.write_all(&read[..count]).await.is_err() {
                    return Ok(());
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

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_a_name() {
        let owned = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(variable("A=b=c"), owned("A", "b=c"));
        assert_eq!(variable("A="), owned("A", ""));
        for bad in ["", "A", "=b"] {
            variable(bad).expect_err(bad);
        }
    }
}
