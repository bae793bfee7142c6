//! `vaultctl dev`: the whole system in one process.
//!
//! ```text
//!   emulator (the platform) ◀── controller ◀── folder of manifests
//!        └─ machines: this binary again, as `machine-init`, in namespaces of its own
//! ```

mod board;
mod display;
mod follow;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use vault_controller::StorageAccess;
use vault_controller::args::{days, duration};
use vault_controller::context::Tls;
use vault_controller::folder::FolderError;
use vault_controller::policy::Policy;
use vault_controller::run::{
    Controller, ControllerConfig, ControllerError, METRICS_TENANTS_MAX, USAGE_RETENTION,
    private_folder,
};
use vault_emulator::{AgentCommand, DEFAULT_ORG, Emulator, EmulatorConfig, MachinesMode};

use crate::error::{Exit, Failure};
use crate::output::Output;
use follow::{Ending, follow};

/// The hidden subcommand under which this binary prepares a machine's world.
pub(crate) const MACHINE_INIT: &str = "machine-init";

/// The hidden subcommand under which this binary is the agent inside a machine.
pub(crate) const AGENT: &str = "agent";

/// Run everything on this machine: platform, controller, and the tenants of a folder
///
/// Starts an emulator of Fly's Machines API and a controller, applies the manifests of the folder,
/// shows each change until every tenant is Ready, and then keeps watching the folder until Ctrl-C.
/// Machines are real processes: as root, each in namespaces of its own.
///
/// EXAMPLES:
///   vaultctl dev manifests/
///   vaultctl dev manifests/ --once
///   vaultctl dev manifests/ --data-dir /tmp/try --listen 127.0.0.1:0
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Folder of manifests (*.yaml, *.yml; not its subfolders)
    #[arg(value_name = "DIR")]
    manifests: PathBuf,

    /// Stop once every tenant is Ready: exit 0, or 10 if a document was bad, or 5 after --timeout
    #[arg(long)]
    once: bool,

    /// With --once: how long to wait for every tenant to be Ready
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = duration)]
    timeout: Duration,

    /// Folder that holds all state; started again with it, everything is as it was
    #[arg(long, value_name = "DIR", default_value = ".vaultctl")]
    data_dir: PathBuf,

    /// Address of the resource API (port 0: any free one)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8844")]
    listen: SocketAddr,

    /// Delete tenants whose manifest is gone (what becomes of their volumes, deletionPolicy says)
    #[arg(long)]
    prune: bool,

    /// Let --prune delete more tenants at once than it does by itself, once: all of a folder that
    /// is suddenly empty, or more than three and a fifth of them
    #[arg(long, requires = "prune")]
    allow_mass_delete: bool,

    /// How long what is to be deleted can be taken back: volumes whose policy is Snapshot or
    /// Delete, and the app and the object of a deleted tenant
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = days)]
    deletion_grace: Duration,

    /// Folder of files that secrets of manifests may name; nothing outside it is read
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,

    /// Run machines as processes, or only move their states by the clock
    #[arg(long, value_name = "process|none", default_value = "process", value_parser = ["process", "none"])]
    machines: String,

    /// How long a machine takes to boot
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = duration)]
    boot_delay: Duration,

    /// What goes wrong at the platform on purpose: a list of faults in YAML
    #[arg(long, value_name = "FILE", long_help = vault_emulator::faults::HELP)]
    faults: Option<PathBuf>,

    /// How often to compare if nothing happens
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = duration)]
    interval: Duration,
}

/// Runs the system until it is done or told to stop.
pub(crate) async fn run(args: Args, output: &mut Output) -> anyhow::Result<Exit> {
    vault_controller::telemetry::start("error");
    // Whoever installed a provider before us chose one that works.
    drop(rustls::crypto::ring::default_provider().install_default());
    if !args.manifests.is_dir() {
        let message = format!("{}: there is no such folder", args.manifests.display());
        return Err(Failure::new(Exit::BadInput, message)
            .hint("name the folder that holds your manifests, such as manifests/")
            .into());
    }
    private_folder(&args.data_dir)
        .with_context(|| format!("could not make the data folder {}", args.data_dir.display()))?;
    let data_dir = std::fs::canonicalize(&args.data_dir)
        .with_context(|| format!("could not use the data folder {}", args.data_dir.display()))?;
    let emulator = start_emulator(&args, &data_dir).await?;
    let started = start_controller(&args, &data_dir, &emulator).await;
    let mut controller = match started {
        Ok(controller) => controller,
        Err(error) => {
            emulator.shutdown().await;
            return Err(explain(error));
        }
    };
    if args.machines == "process" {
        output.line(&format!("platform  {} ({})", emulator.url(), emulator.isolation()))?;
    } else {
        output.line(&format!("platform  {} (no processes)", emulator.url()))?;
    }
    output.line(&format!(
        "API       {} ({}/config.yaml)",
        controller.url(),
        show(&args.data_dir)
    ))?;
    let ending = follow(&args, &mut controller, output).await;
    let stopped = controller.stop().await;
    emulator.shutdown().await;
    match ending? {
        Ending::Ready => {
            stopped?;
            Ok(Exit::Success)
        }
        Ending::ReadyButBad => Ok(Exit::Partly),
        Ending::TimedOut => Ok(Exit::Timeout),
    }
}

async fn start_emulator(args: &Args, data_dir: &Path) -> anyhow::Result<Emulator> {
    let machines = match args.machines.as_str() {
        "none" => MachinesMode::None,
        _ => {
            let this = std::env::current_exe().context("could not find this program's own file")?;
            MachinesMode::Process {
                launcher: this.clone(),
                launcher_args: vec![MACHINE_INIT.to_owned()],
                agent: Some(AgentCommand { program: this, args: vec![AGENT.to_owned()] }),
            }
        }
    };
    let read = args.faults.as_deref().map(vault_emulator::faults::Fault::read_file).transpose();
    let faults = read
        .map_err(|error| {
            Failure::new(Exit::BadInput, format!("{error:#}"))
                .hint("vaultctl dev --help says what a fault may be")
        })?
        .unwrap_or_default();
    let config = EmulatorConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        storage_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: data_dir.join("platform"),
        orgs: Vec::new(),
        machines,
        masked: vec![data_dir.to_owned()],
        rate_limits: true,
        boot_delay: args.boot_delay,
        faults,
        on_answer: None,
        on_request: None,
    };
    Emulator::start(config).await.context("the emulator did not start")
}

async fn start_controller(
    args: &Args,
    data_dir: &Path,
    emulator: &Emulator,
) -> Result<Controller, ControllerError> {
    Controller::start(ControllerConfig {
        platform_url: emulator.url(),
        platform_token: SecretString::from(emulator.operator_token()),
        oidc_issuer: None,
        logs_url: None,
        graphql_url: None,
        storage: storage_of(emulator),
        organization: None,
        manifests: Some(args.manifests.clone()),
        prune: args.prune,
        allow_mass_delete: args.allow_mass_delete,
        data_dir: data_dir.to_owned(),
        master_key: None,
        secrets_dir: args.secrets_dir.clone(),
        allow_api_secrets: false,
        listen: args.listen,
        tls: Tls::Own,
        interval: args.interval,
        // The emulator acts before it answers, so nothing is under way once a connection is gone.
        settle_after: Duration::from_secs(1),
        policy: Policy::with_grace(args.deletion_grace),
        usage_retention: USAGE_RETENTION,
        metrics_tenants_max: METRICS_TENANTS_MAX,
    })
    .await
}

/// The emulator's own storage, whatever this process's environment says of another one.
fn storage_of(emulator: &Emulator) -> Option<StorageAccess> {
    let access = emulator.storage(DEFAULT_ORG)?;
    Some(StorageAccess {
        s3: access.endpoint.clone(),
        iam: access.endpoint.clone(),
        region: access.region.to_owned(),
        access_key_id: access.access_key_id.clone(),
        secret_access_key: SecretString::from(access.secret_access_key.expose()),
    })
}

/// What is in the way, with the next step.
fn explain(error: ControllerError) -> anyhow::Error {
    let hint = match &error {
        ControllerError::Listen { .. } => "choose another address with --listen, or 127.0.0.1:0",
        ControllerError::Store(_) => "each data folder serves one controller; see --data-dir",
        ControllerError::Folder(FolderError::Read { .. }) => "see whether the folder can be read",
        _ => "see --help",
    };
    let message = format!("{:#}", anyhow::Error::from(error));
    Failure::new(Exit::BadInput, message).hint(hint).into()
}

fn show(data_dir: &Path) -> String {
    data_dir.display().to_string()
}
