//! The command line of `vault-agent`, and its life from start to signal.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use jiff::SignedDuration;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::agent::{Agent, AgentConfig, DATA_DIR};
use crate::process::memory;
use crate::{secret, telemetry};

/// Serve the tenant's operators inside a machine.
///
/// Runs in a machine on Fly.io as its main program, or beside it. Clients connect over QUIC. The
/// agent proves to them which machine it is, by a token that the platform gives out for that one
/// connection; clients prove that they know the tenant's secret, without sending it; then they run
/// commands.
///
/// The secret is the app secret VAULT_TENANT_SECRET, which the platform puts into the environment.
/// The agent takes it out of sight at once, by executing itself again without it. If it is missing
/// or malformed, the agent still shows its evidence and says in its health what is wrong.
///
/// SIGTERM and SIGINT end the agent: nothing new is taken, running commands get SIGTERM and, after
/// --grace, SIGKILL, and clients are told how they ended. A second signal ends it at once.
///
/// Logs go to standard error, one JSON object per line unless a person is watching; VAULT_LOG
/// filters them (for example `debug`, or `warn,audit=info`).
#[derive(Debug, Parser)]
#[command(name = "vault-agent", version, verbatim_doc_comment)]
pub struct Args {
    /// UDP address to listen on
    #[arg(long, value_name = "ADDR", env = "VAULT_LISTEN", default_value = "[::]:8443")]
    listen: SocketAddr,
    /// The platform's socket inside the machine, which gives out evidence
    #[arg(long, value_name = "PATH", env = "FLY_API_SOCKET", default_value = "/.fly/api")]
    api_socket: PathBuf,
    /// Where the machine's volume is mounted: the audit log is kept there
    #[arg(long, value_name = "DIR", env = "VAULT_DATA_DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// The machine's id, as the platform knows it: proofs are made for one machine
    #[arg(long, value_name = "ID", env = "FLY_MACHINE_ID")]
    machine_id: String,
    /// How long commands get to end when the agent does, for example 30s
    #[arg(long, value_name = "DURATION", env = "VAULT_GRACE", default_value = "5s", value_parser = duration)]
    grace: Duration,
}

/// The whole program: `arguments` begin with the program's name.
///
/// Call it before any thread exists. It executes the program again, with the arguments of the
/// process as they are, if it finds the secret in the environment.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    // Without threads so far, hence without logs.
    match secret::take().context("putting the secret out of sight") {
        Err(error) => {
            telemetry::start();
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
        Ok(secret) => {
            telemetry::start();
            // After the second execution the kernel's name for us is `exe`.
            if let Err(error) = rustix::thread::set_name(c"vault-agent") {
                tracing::debug!(%error, "the process keeps its name");
            }
            if let Err(error) = memory::spare() {
                tracing::info!(%error, "when memory runs out, the agent may be killed like any other");
            }
            let Args { listen, api_socket, data_dir, machine_id, grace } = args;
            let config = AgentConfig {
                data_dir,
                ..AgentConfig::new(listen, api_socket, machine_id, secret)
            };
            run(config, grace).unwrap_or_else(|error| {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            })
        }
    }
}

#[tokio::main]
async fn run(config: AgentConfig, grace: Duration) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("could not listen for signals")?;
    let agent = Agent::start(config)?;
    let is_init = rustix::process::getpid().is_init();
    loop {
        // All arms are cancel-safe: a signal is not lost when another arm wins.
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.child.recv(), if is_init => agent.reap_orphans().await,
            // A daemon has no terminal to be hung up.
            _ = signals.hang_up.recv() => {}
        }
    }
    tracing::info!("ending");
    // Whoever loses ends with the process.
    tokio::select! {
        () = agent.shutdown(grace) => Ok(ExitCode::SUCCESS),
        () = signals.end() => {
            tracing::warn!("a second signal: ending at once");
            Ok(ExitCode::FAILURE)
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    child: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            child: signal(SignalKind::child())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn end(&mut self) {
        // Both arms are cancel-safe.
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from(parsed).map_err(|_| "a grace cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::limits::TERMINATION_GRACE;

    #[test]
    fn the_command_line_is_sound_and_its_defaults_are_the_documented_ones() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["vault-agent", "--machine-id", "m"]).expect("parses");
        assert_eq!(args.grace, TERMINATION_GRACE);
        assert_eq!(args.listen.port(), vault_protocol::DEFAULT_PORT);
        assert!(args.listen.ip().is_unspecified() && args.listen.is_ipv6());
        for bad in ["--grace=-1s", "--grace=soon", "--listen=nowhere"] {
            let arguments = ["vault-agent", "--machine-id", "m", bad];
            assert!(Args::try_parse_from(arguments).is_err(), "{bad}");
        }
    }
}
