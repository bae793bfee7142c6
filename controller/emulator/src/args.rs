//! The command line of `vault-emulator`.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::emulator::{AgentCommand, DEFAULT_ORG, Emulator, EmulatorConfig, MachinesMode};
use crate::faults::Fault;

/// The hidden subcommand with which this binary re-executes itself inside a machine.
pub const MACHINE_INIT: &str = "machine-init";

/// Fly's Machines API on this computer.
///
/// Serves apps, machines with their leases, volumes with their snapshots, secrets, addresses,
/// certificates and the lists of organizations under /v1, with the states, errors and rate limits of
/// the platform, machines' logs under /api/v1, and at /graphql what REST clients need of it. A machine
/// is a real process in namespaces of its own, its volume a folder; all state lies in the data folder
/// and survives a restart. Kept and shown, but not enforced: network policies, memory limits, cordons;
/// no certificate is issued and no public address is routed.
///
/// Inside a machine, /.fly/api gives out tokens that say which machine it is (POST /v1/tokens/oidc);
/// their issuer, http://ADDR/oidc/ORG, publishes its key for whoever checks them.
///
/// Storage is an endpoint of its own: buckets over S3 with paths, and access keys and policies over IAM,
/// as Tigris serves them. DIR/storage.json has its address and a key that may do everything in `local`.
///
/// The organization `local` always exists. Calls need a token: DIR/operator.token opens every
/// organization, DIR/tokens/ORG.token one. Point any client of the Machines API at it:
///
///   vault-emulator --data-dir ./platform &
///   curl -H "Authorization: Bearer $(cat ./platform/operator.token)" \
///     'http://127.0.0.1:4280/v1/apps?org_slug=local'
#[derive(Debug, Parser)]
#[command(name = "vault-emulator", version, verbatim_doc_comment)]
pub struct Args {
    /// Where to listen, in plain http; port 0 takes a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4280")]
    listen: SocketAddr,
    /// Where S3 and IAM listen, in plain http; port 0 takes a free port, which DIR/storage.json names
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    storage_listen: SocketAddr,
    /// Holds all state: the world with its secrets, the tokens, the keys, the volumes
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// An organization to have beside `local`; may be repeated
    #[arg(long = "org", value_name = "SLUG")]
    orgs: Vec<String>,
    /// How machines run
    #[arg(long, value_enum, default_value_t = Machines::Process)]
    machines: Machines,
    /// The agent, run by machines whose image is named `agent` [default: `vault-agent` beside this binary]
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
    /// A folder of this computer that no machine may see, beside the data folder; may be repeated
    #[arg(long = "mask", value_name = "DIR")]
    masked: Vec<PathBuf>,
    /// Whether the documented rate limits hold
    #[arg(long, value_enum, default_value_t = Switch::On)]
    rate_limits: Switch,
    /// What goes wrong on purpose: a list of faults in YAML; GET /_emulator/faults shows them
    #[arg(long, value_name = "FILE", long_help = crate::faults::HELP)]
    faults: Option<PathBuf>,
    /// How long a machine takes from `starting` to `started`, for example 250ms or 2s
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    boot_delay: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Machines {
    /// Each machine is a process, isolated as far as this computer allows
    Process,
    /// No processes: states move by the clock alone
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Parses the command line, serves until SIGTERM or SIGINT, and ends cleanly.
///
/// # Errors
/// Whatever keeps the emulator from starting.
pub fn run() -> anyhow::Result<()> {
    let config = Args::parse().config()?;
    start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the start, so that no signal is missed while machines come up.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = config.data_dir.join("operator.token");
        let storage = config.data_dir.join("storage.json");
        let emulator = Emulator::start(config).await?;
        let mut out = std::io::stdout();
        writeln!(out, "listening on {}", emulator.url())?;
        writeln!(out, "operator token in {}", token.display())?;
        if let Some(access) = emulator.storage(DEFAULT_ORG) {
            writeln!(out, "storage on {}, its key in {}", access.endpoint, storage.display())?;
        }
        writeln!(out, "{}", emulator.isolation())?;
        out.flush()?;
        // Both arms are cancel-safe: the first signal ends the program.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending; machines that run now start again with the next start");
        emulator.shutdown().await;
        Ok(())
    })
}

impl Args {
    fn config(self) -> anyhow::Result<EmulatorConfig> {
        let binary = std::env::current_exe().context("finding this binary")?;
        let machines = match self.machines {
            Machines::None => MachinesMode::None,
            Machines::Process => MachinesMode::Process {
                agent: self
                    .agent
                    .or_else(|| Some(binary.parent()?.join("vault-agent")))
                    .map(|program| AgentCommand { program, args: Vec::new() }),
                launcher: binary,
                launcher_args: vec![MACHINE_INIT.to_owned()],
            },
        };
        Ok(EmulatorConfig {
            listen: self.listen,
            storage_listen: self.storage_listen,
            data_dir: self.data_dir,
            orgs: self.orgs,
            machines,
            masked: self.masked,
            rate_limits: self.rate_limits == Switch::On,
            boot_delay: self.boot_delay,
            faults: self.faults.as_deref().map(Fault::read_file).transpose()?.unwrap_or_default(),
            on_answer: None,
            on_request: None,
        })
    }
}

/// One JSON object per line, unless a person is watching.
fn start_logging() {
    let filter = EnvFilter::try_from_env("VAULT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colours).init();
    } else {
        builder.json().init();
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from(parsed).map_err(|_| "a delay cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_defaults_are_the_documented_ones() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["vault-emulator", "--data-dir", "d"]).expect("parses");
        let config = args.config().expect("a config");
        assert_eq!(config.boot_delay, Duration::ZERO);
        assert!(config.rate_limits);
        let MachinesMode::Process { agent: Some(agent), launcher_args, .. } = config.machines
        else {
            panic!("machines are processes by default");
        };
        assert!(agent.args.is_empty());
        assert_eq!(agent.program.file_name().and_then(|name| name.to_str()), Some("vault-agent"));
        assert_eq!(launcher_args, [MACHINE_INIT]);
        for bad in ["--boot-delay=-1s", "--boot-delay=soon", "--machines=vm", "--rate-limits=maybe"]
        {
            assert!(
                Args::try_parse_from(["vault-emulator", "--data-dir", "d", bad]).is_err(),
                "{bad}"
            );
        }
    }
}
