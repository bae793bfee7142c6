//! The controller's flags, taken up field by field.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use secrecy::SecretString;
use vault_cloud::storage::StorageAccess;
use vault_plan::policy::Policy;

use crate::context::Tls;
use crate::memory;
use crate::run::{Controller, ControllerConfig, METRICS_TENANTS_MAX};
use crate::telemetry;

/// What the environment says of storage. No flags: every S3 client of the operator reads the same
/// variables, and a secret on a command line is seen by everybody on the machine.
const STORAGE_HELP: &str = "\
Object storage, for tenants' buckets (environment; without a key there is none):
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY  an admin's key: it makes buckets, keys and policies
  AWS_ENDPOINT_URL_S3                       address of S3 [default: https://fly.storage.tigris.dev]
  AWS_ENDPOINT_URL_IAM                      address of IAM [default: https://iam.storage.dev]
  AWS_REGION                                region of signatures [default: auto]";

/// Keep tenants on Fly.io as their manifests declare them.
///
/// The controller reads the manifests of a folder and the objects of its own API, compares them
/// with what the Machines API reports, and creates, updates, starts, stops and deletes machines
/// until they agree. It serves the resource API over TLS; `DIR/config.yaml` tells vaultctl, and
/// `DIR/kubeconfig` tells kubectl, how to reach it.
#[derive(Debug, Parser)]
#[command(name = "vault-controller", version, after_help = STORAGE_HELP)]
pub struct Args {
    /// Address of the Machines API
    #[arg(
        long,
        value_name = "URL",
        env = "FLY_API_BASE",
        default_value = "https://api.machines.dev"
    )]
    platform_url: String,
    /// Token for the Machines API
    #[arg(long, value_name = "TOKEN", env = "FLY_API_TOKEN", hide_env_values = true)]
    token: SecretString,
    /// Who signs machines' identities, without the organization [default: https://oidc.fly.io, or
    /// PLATFORM-URL/oidc if the platform is on this machine]
    #[arg(long, value_name = "URL")]
    oidc_issuer: Option<String>,
    /// Address of the log API [default: https://api.fly.io, or PLATFORM-URL if that is not
    /// https://api.machines.dev]
    #[arg(long, value_name = "URL", env = "FLY_LOGS_URL")]
    logs_url: Option<String>,
    /// Address of the GraphQL API, for deploy tokens [default: https://api.fly.io, or PLATFORM-URL if
    /// that is not Fly's]
    #[arg(long, value_name = "URL", env = "FLY_API_BASE_URL")]
    graphql_url: Option<String>,
    /// Organization of tenants that name none [default: the only one that the token sees]
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// Folder of manifests to watch
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Delete tenants whose manifest is gone (what becomes of their volumes, deletionPolicy says)
    #[arg(long, requires = "manifests")]
    prune: bool,
    /// Let --prune delete more tenants at once than it does by itself, once: all of a folder that
    /// is suddenly empty, or more than three and a fifth of them
    #[arg(long, requires = "prune")]
    allow_mass_delete: bool,
    /// How long what is to be deleted can be taken back: volumes whose policy is Snapshot or
    /// Delete, and the app and the object of a deleted tenant
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = days)]
    deletion_grace: Duration,
    /// Folder that holds all state
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Master key [default: DIR/master.key, made if absent]
    #[arg(long, value_name = "FILE", env = "VAULT_MASTER_KEY_FILE")]
    master_key: Option<PathBuf>,
    /// Folder of files that secrets of manifests may name; nothing outside it is read
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// Take secrets of tenants over the API too, not only from the folder of manifests
    #[arg(long)]
    allow_api_secrets: bool,
    /// Address of the resource API (port 0: any free one)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8844")]
    listen: SocketAddr,
    /// Certificate for the resource API, in PEM form [default: one of our own making]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of the certificate, in PEM form
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve TLS, or not: off only behind a proxy that speaks it
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = ["on", "off"])]
    tls: String,
    /// How often to compare if nothing happens
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    interval: Duration,
    /// How long a call whose answer was lost may still take effect: wait as long before you start on an
    /// older database
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    settle_after: Duration,
    /// How long deleted machines stay in the usage facts
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = days)]
    usage_retention: Duration,
    /// Give each tenant series of its own in /metrics if there are at most so many (0: never)
    #[arg(long, value_name = "COUNT", default_value_t = METRICS_TENANTS_MAX)]
    metrics_tenants: usize,
}

impl Args {
    /// Parses the command line, runs the controller until it is told to stop, and prints what went
    /// wrong.
    #[must_use]
    pub fn parse_and_run() -> ExitCode {
        let args = Self::parse();
        telemetry::start("info");
        // Before there is much memory, which would stay in the pages it is in.
        memory::do_without_huge_pages();
        memory::keep_one_arena();
        // Whoever installed a provider before us chose one that works.
        drop(rustls::crypto::ring::default_provider().install_default());
        match args.into_config().and_then(run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::from(2)
            }
        }
    }

    fn into_config(self) -> anyhow::Result<ControllerConfig> {
        let Self {
            platform_url,
            token,
            oidc_issuer,
            logs_url,
            graphql_url,
            org,
            manifests,
            prune,
            allow_mass_delete,
            deletion_grace,
            data_dir,
            master_key,
            secrets_dir,
            allow_api_secrets,
            listen,
            tls_cert,
            tls_key,
            tls,
            interval,
            settle_after,
            usage_retention,
            metrics_tenants,
        } = self;
        let tls = match (tls.as_str(), tls_cert, tls_key) {
            ("off", _, _) => Tls::Off,
            (_, Some(certificate), Some(key)) => Tls::Given { certificate, key },
            _ => Tls::Own,
        };
        let storage = StorageAccess::from_environment(|name| std::env::var(name).ok())
            .context("the key for object storage cannot be used")?;
        Ok(ControllerConfig {
            platform_url,
            platform_token: token,
            oidc_issuer,
            logs_url,
            graphql_url,
            storage,
            organization: org,
            manifests,
            prune,
            allow_mass_delete,
            data_dir,
            master_key,
            secrets_dir,
            allow_api_secrets,
            listen,
            tls,
            interval,
            settle_after,
            policy: Policy::with_grace(deletion_grace),
            usage_retention,
            metrics_tenants_max: metrics_tenants,
        })
    }
}

/// How long a thread that reads from the store is kept for the next read. A page of a pass comes
/// after the other within milliseconds; between passes, an idle thread would keep the memory that
/// it read into.
const IDLE_READER_KEPT: Duration = Duration::from_millis(500);

fn run(config: ControllerConfig) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_keep_alive(IDLE_READER_KEPT);
    runtime.on_thread_park(memory::collect_if_pass_ended);
    runtime.build().context("could not start threads")?.block_on(serve(config))
}

async fn serve(config: ControllerConfig) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("could not listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for signals")?;
    let mut controller = Controller::start(config).await?;
    tracing::info!(url = controller.url(), "the resource API listens");
    // All arms are cancel-safe: signals and ended tasks are not lost when another arm wins.
    tokio::select! {
        ended = controller.ended() => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    controller.stop().await?;
    Ok(())
}

/// The longest retention: ten years. More is a slip of the pen, and would outlast any law.
const DAYS_MAX: u64 = 3_650;
/// The seconds of a day, as bills count them.
const DAY_SECONDS: u64 = 86_400;

/// Reads a long duration: days such as `90d`, or what [`duration`] reads.
///
/// # Errors
/// If it is neither, or longer than ten years.
pub fn days(text: &str) -> Result<Duration, String> {
    let read = match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days)) => Ok(Duration::from_secs(days.saturating_mul(DAY_SECONDS))),
        _ => duration(text).map_err(|_| format!("{text:?} is no duration such as 90d or 12h")),
    }?;
    match read <= Duration::from_secs(DAYS_MAX * DAY_SECONDS) {
        true => Ok(read),
        false => Err(format!("{text:?} is longer than {DAYS_MAX}d")),
    }
}

/// Reads a duration such as `10s`, `500ms` or `2m`.
///
/// # Errors
/// If it is not one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 500ms, 10s or 2m");
    let span = jiff::SignedDuration::from_str(text).map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use vault_cloud::storage::VARIABLES;

    use super::*;

    #[test]
    fn the_help_names_every_variable_of_storage() {
        let help = Args::command().render_long_help().to_string();
        for variable in VARIABLES {
            assert!(help.contains(variable), "{variable}");
        }
    }

    #[test]
    fn a_retention_is_days_or_a_duration_and_has_an_end() {
        assert_eq!(days("90d"), Ok(crate::run::USAGE_RETENTION), "the flag's default");
        for (text, seconds) in [("90d", 7_776_000), ("0d", 0), ("12h", 43_200), ("30s", 30)] {
            assert_eq!(days(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "-1d", "1.5d", "90", "3651d", "18446744073709551615d", "90 days ago"]
        {
            assert!(days(text).is_err(), "{text}");
        }
    }
}
