//! A kube-rs controller that does in a resync what our controller does in a pass with nothing to do.
//!
//! ```text
//!   resource API ── list, watch ──▶ reflector (tenants, stripped) ─┐
//!                                                                  ├─▶ reconcile, once per tenant ─▶ same?
//!   platform ── 3 lists, once per resync ──▶ view (by tenant) ─────┘        vault_plan::plan
//! ```
//!
//! It is tuned as its documentation advises: a type without a status, metadata stripped before it is
//! cached, one list of the platform for all tenants instead of calls per tenant, one trigger that
//! requeues all tenants instead of a timer for each, a single-threaded runtime, no subscriber of
//! spans, and our own controller's allocator. It writes nothing.

mod reconcile;
mod tenant;
mod view;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use futures_util::{StreamExt, stream};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::reflector::{Store, store};
use kube::runtime::{Controller, WatchStreamExt, controller, watcher};
use kube::{Api, Client};
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;
use vault_cloud::machines::{ClientConfig, MachinesClient, RateLimits};
use vault_plan::identity::ControllerId;

use reconcile::{Context, failed, reconcile};
use tenant::{Class, Tenant};
use view::View;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Objects per page of the first list: what kube-rs asks for by default.
const PAGE: u32 = 500;
/// Reconciles at once. They never wait, so more would only take memory.
const CONCURRENCY: u16 = 16;

/// A kube-rs controller to compare ours with.
#[derive(Debug, Parser)]
struct Args {
    /// How to reach the resource API
    #[arg(long, value_name = "FILE")]
    kubeconfig: String,
    /// Address of the Machines API
    #[arg(long, value_name = "URL")]
    platform_url: String,
    /// Token for the Machines API
    #[arg(long, value_name = "TOKEN", env = "FLY_API_TOKEN", hide_env_values = true)]
    token: SecretString,
    /// Organization of the tenants
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// The id of the controller whose machines these are
    #[arg(long, value_name = "UUID")]
    controller: Uuid,
    /// Seconds from one resync to the next
    #[arg(long, value_name = "SECONDS")]
    interval: f64,
    /// What a reconcile does
    #[arg(long, value_enum)]
    compare: Compare,
}

/// What a reconcile does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compare {
    /// Plans for the tenant, as our controller does.
    Plan,
    /// Nothing: what is left is the price of the framework and of the lists.
    Nothing,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    drop(rustls::crypto::ring::default_provider().install_default());
    let kubeconfig = Kubeconfig::read_from(&args.kubeconfig).context("reading the kubeconfig")?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let client = Client::try_from(config)?;

    let classes = reflected_classes(client.clone());
    let (reader, writer) = store();
    let tenants = watcher(Api::<Tenant>::all(client), watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .map(|event| event.map(|event| event.modify(Tenant::strip)))
        .reflect(writer)
        .touched_objects();
    let context =
        Arc::new(Context::new(ControllerId::from_bytes(args.controller.into_bytes()), &args.org));
    let (resync, wake) = mpsc::channel(1);
    let wakes = stream::unfold(wake, async |mut wake| wake.recv().await.map(|()| ((), wake)));
    let controller = Controller::for_stream(tenants, reader.clone())
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_all_on(wakes)
        .run(reconcile, failed, Arc::clone(&context))
        .for_each(async |_| ());
    tokio::select! {
        () = controller => anyhow::bail!("the controller has ended"),
        ended = resyncs(&args, &context, &reader, classes, resync) => ended,
    }
}

/// The classes, kept up to date.
fn reflected_classes(client: Client) -> Store<Class> {
    let (reader, writer) = store();
    let events = watcher(Api::<Class>::all(client), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .touched_objects();
    // It ends with the program, as everything here.
    tokio::task::spawn(events.for_each(async |_| ()));
    reader
}

/// Looks at the platform and has all tenants reconciled, once per interval; prints what came of it.
async fn resyncs(
    args: &Args,
    context: &Context,
    tenants: &Store<Tenant>,
    classes: Store<Class>,
    resync: mpsc::Sender<()>,
) -> anyhow::Result<()> {
    let platform = MachinesClient::new(ClientConfig {
        rate_limits: RateLimits::Off,
        ..ClientConfig::new(&args.platform_url, args.token.clone())
    })?;
    tenants.wait_until_ready().await?;
    classes.wait_until_ready().await?;
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(args.interval));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        context.tell();
        let view = match args.compare {
            Compare::Plan => View::look(&platform, &args.org, &classes).await?,
            Compare::Nothing => View::look(&platform, &args.org, &classes).await?.blind(),
        };
        context.see(view);
        resync.send(()).await?;
    }
}
