//! The controller's flags, taken up field by field.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use secrecy::SecretString;
use vault_plan::policy::Policy;

use crate::context::Tls;
use crate::run::{Controller, ControllerConfig};
use crate::telemetry;

/// Keep tenants on Fly.io as their manifests declare them.
///
/// The controller reads the manifests of a folder and the objects of its own API, compares them
/// with what the Machines API reports, and creates, updates, starts, stops and deletes machines
/// until they agree. It serves the resource API over TLS; `DIR/config.yaml` tells vaultctl, and
/// `DIR/kubeconfig` tells kubectl, how to reach it.
#[derive(Debug, Parser)]
#[command(name = "vault-controller", version)]
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
    /// Organization of tenants that name none [default: the only one that the token sees]
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// Folder of manifests to watch
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Delete tenants whose manifest is gone (their volumes are kept)
    #[arg(long, requires = "manifests")]
    prune: bool,
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
    /// How long a call whose answer was lost may still take effect
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    settle_after: Duration,
}

impl Args {
    /// Parses the command line, runs the controller until it is told to stop, and prints what went
    /// wrong.
    #[must_use]
    pub fn parse_and_run() -> ExitCode {
        let args = Self::parse();
        telemetry::start("info");
        // Whoever installed a provider before us chose one that works.
        drop(rustls::crypto::ring::default_provider().install_default());
        match run(args.into_config()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::from(2)
            }
        }
    }

    fn into_config(self) -> ControllerConfig {
        let Self {
            platform_url,
            token,
            oidc_issuer,
            org,
            manifests,
            prune,
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
        } = self;
        let tls = match (tls.as_str(), tls_cert, tls_key) {
            ("off", _, _) => Tls::Off,
            (_, Some(certificate), Some(key)) => Tls::Given { certificate, key },
            _ => Tls::Own,
        };
        ControllerConfig {
            platform_url,
            platform_token: token,
            oidc_issuer,
            organization: org,
            manifests,
            prune,
            data_dir,
            master_key,
            secrets_dir,
            allow_api_secrets,
            listen,
            tls,
            interval,
            settle_after,
            policy: Policy::default(),
        }
    }
}

#[tokio::main]
async fn run(config: ControllerConfig) -> anyhow::Result<()> {
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

/// Reads a duration such as `10s`, `500ms` or `2m`.
///
/// # Errors
/// If it is not one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 500ms, 10s or 2m");
    let span = jiff::SignedDuration::from_str(text).map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}
