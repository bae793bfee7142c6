//! The controller as a whole: starts everything, joins everything.
//!
//! ```text
//!   main loop ── folder.sync ─▶ pass ─▶ view ── waits for: timer | changed file | request | end
//!   HTTP server                                   (all of them wake the same pass)
//!   event keeper ─▶ store, log, listeners
//!   looks at agents ─▶ wake, if there is news
//!   feeds ─▶ watchers                             (one task per kind: what changed)
//! ```
//!
//! If one of the tasks ends, the controller ends: there is no half of it that goes on alone.

mod keeper;
mod main_loop;
pub mod pace;
mod server;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use thiserror::Error;
use tokio::sync::{Mutex, Notify, OnceCell, Semaphore, broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vault_cloud::machines::{ClientConfig, ClientError};
use vault_cloud::storage::StorageAccess;
use vault_plan::identity::ControllerId;
use vault_plan::policy::Policy;

use crate::agents::{self, AgentClient, Agents};
use crate::clock::{Clock, SystemClock};
use crate::context::{self, Tls, TlsError};
use crate::events::Event;
use crate::folder::{Folder, FolderError};
use crate::http::{App, DIAGNOSES_MAX, Feeds, Operators, PLANS_MAX, Writes, router};
use crate::identity::{IdentityError, MasterKey, SecretSources};
use crate::memory;
use crate::metrics::Metrics;
use crate::platform::FlyPlatform;
use crate::store::{ApiStore, Kind, PageQuery, SqliteStore, StoreError, StoredObject};
use crate::view::View;
use main_loop::MainLoop;

/// How many events may wait for the keeper: a first convergence of a thousand tenants makes some
/// thousands within seconds.
const EVENT_QUEUE_MAX: usize = 8_192;
/// How many tenants are looked at together at the start: some megabytes of documents.
const TENANTS_PER_PAGE: usize = 500;

/// How long deleted machines stay in the usage facts if nobody says otherwise: a quarter, and so
/// every bill that is made by the month or by the quarter.
pub const USAGE_RETENTION: Duration = Duration::from_secs(90 * 86_400);

/// For how many tenants `/metrics` has series of their own if nobody says otherwise: two series
/// each, which every collector of metrics takes.
pub const METRICS_TENANTS_MAX: usize = 1_000;

/// What a controller needs to know.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// Where the platform is: `https://api.machines.dev`, or an emulator.
    pub platform_url: String,
    /// The token to show it.
    pub platform_token: SecretString,
    /// Who signs machines' identities, without the organization; Fly if absent, or the emulator if
    /// the platform is on this machine.
    pub oidc_issuer: Option<String>,
    /// Where machines' logs are; the log API of Fly if absent, or the platform's own address if the
    /// platform is not Fly's public one.
    pub logs_url: Option<String>,
    /// Where deploy tokens are minted; Fly's GraphQL if absent, or the platform's own address if the
    /// platform is not Fly's.
    pub graphql_url: Option<String>,
    /// Object storage for tenants' buckets, and the key that may do everything there; none if absent.
    pub storage: Option<StorageAccess>,
    /// The organization of tenants that name none; the only one that the token sees if absent.
    pub organization: Option<String>,
    /// The folder to watch; none if absent.
    pub manifests: Option<PathBuf>,
    /// Delete tenants whose manifest is gone.
    pub prune: bool,
    /// Let the folder delete more tenants at once than it may by itself, once.
    pub allow_mass_delete: bool,
    /// Holds all state.
    pub data_dir: PathBuf,
    /// The master key; `DIR/master.key` if absent.
    pub master_key: Option<PathBuf>,
    /// Holds the files that `spec.secrets` may name; none if absent.
    pub secrets_dir: Option<PathBuf>,
    /// Take `spec.secrets` over the API too, not only from the folder.
    pub allow_api_secrets: bool,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// How the API is served.
    pub tls: Tls,
    /// How often to look if nothing happens.
    pub interval: Duration,
    /// How long a call whose answer was lost may still take effect.
    pub settle_after: Duration,
    /// The planner's limits.
    pub policy: Policy,
    /// How long deleted machines stay in the usage facts.
    pub usage_retention: Duration,
    /// The most tenants for which `/metrics` has series of their own.
    pub metrics_tenants_max: usize,
}

/// The environment, as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Why a controller did not start, or ended.
#[derive(Debug, Error)]
pub enum ControllerError {
    /// The data folder could not be made.
    #[error("could not make the data folder {path}")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no master key.
    #[error("no master key")]
    Identity(#[from] IdentityError),
    /// The database did not open.
    #[error("the database did not open")]
    Store(#[from] StoreError),
    /// The database was made under another master key.
    #[error(
        "the database was made under another master key: with this one every tenant would be made \
         anew; give back the old key, or start with an empty database"
    )]
    OtherKey,
    /// The folder of manifests cannot be read.
    #[error("the manifests cannot be read")]
    Folder(#[from] FolderError),
    /// The address is taken, or not ours.
    #[error("could not listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no certificate.
    #[error("no TLS")]
    Tls(#[from] TlsError),
    /// The platform's address or token cannot be used.
    #[error("the platform cannot be used")]
    Client(#[from] ClientError),
    /// The address of object storage cannot be used.
    #[error("object storage cannot be used")]
    Storage(#[source] ClientError),
    /// Agents cannot be asked.
    #[error("agents cannot be asked how they are")]
    Agents(#[from] vault_client::ClientError),
    /// The token sees several organizations.
    #[error("the token sees several organizations ({}): choose one with --org", .0.join(", "))]
    SeveralOrganizations(Vec<String>),
    /// The token sees none.
    #[error("the token sees no organization")]
    NoOrganization,
    /// The API ended.
    #[error("the API ended")]
    Serve(#[source] io::Error),
    /// The files for clients could not be written.
    #[error("could not write config.yaml and kubeconfig")]
    Clients(#[source] io::Error),
    /// A pass could not come to its end.
    #[error("a pass failed")]
    Pass(#[from] crate::reconcile::PassError),
}

/// A running controller.
pub struct Controller {
    url: String,
    view: watch::Receiver<View>,
    events: broadcast::Sender<Event>,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), ControllerError>>,
}

impl Controller {
    /// Starts a controller. It answers requests at once; it waits for the platform if it has to.
    ///
    /// # Errors
    /// If something on this machine is in the way: files, the address, the folder of manifests.
    pub async fn start(config: ControllerConfig) -> Result<Self, ControllerError> {
        memory::give_back_at_once();
        private_folder(&config.data_dir)
            .map_err(|source| ControllerError::DataDir { path: config.data_dir.clone(), source })?;
        let clock = SystemClock;
        let store = SqliteStore::open(&config.data_dir.join("controller.db"), clock.now())?;
        // After the database and its lock: two controllers must not make a key each.
        let key_path =
            config.master_key.clone().unwrap_or_else(|| config.data_dir.join("master.key"));
        let key = MasterKey::load_or_create(&key_path)?;
        must_be_ours(&store, &key.controller_id()).await?;
        let folder = config.manifests.clone().map(|path| {
            Folder::new(path, config.prune).allow_mass_delete(config.allow_mass_delete)
        });
        if let Some(folder) = &folder {
            folder.must_exist()?;
        }
        let mut client =
            ClientConfig::new(config.platform_url.clone(), config.platform_token.clone());
        client.user_agent = concat!("vaultctl/", env!("CARGO_PKG_VERSION")).to_owned();
        let logs_url = config.logs_url.clone().unwrap_or_else(|| logs_url(&config.platform_url));
        let metrics = Arc::new(Metrics::default());
        client.observer = Some(Arc::clone(&metrics) as _);
        let graphql_url =
            config.graphql_url.clone().unwrap_or_else(|| graphql_url(&config.platform_url));
        let mut platform = FlyPlatform::new(client, logs_url, graphql_url)?;
        if let Some(access) = config.storage.clone() {
            platform = platform.with_storage(access).map_err(ControllerError::Storage)?;
        }
        let platform = Arc::new(platform);
        let listener = listen(config.listen)?;
        let address = listener
            .local_addr()
            .map_err(|source| ControllerError::Listen { address: config.listen, source })?;
        let serving = context::serving(&config.tls, &config.data_dir, address)?;
        let url = context::url(address, serving.config.is_some());

        let stop = CancellationToken::new();
        let wake = Arc::new(Notify::new());
        let (publish, view) = watch::channel(View::default());
        let (events, _) = broadcast::channel(EVENT_QUEUE_MAX);
        let finished = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let tell = keeper::start(&mut tasks, store.clone(), events.clone(), finished.clone());
        let reconciler = Arc::new(OnceCell::new());
        let token = key.operator_token();
        let writing = Arc::new(Mutex::new(()));
        let feeds = Feeds::new(stop.clone());
        for task in feeds.tasks(&store, key.controller_id()) {
            tasks.spawn(async move {
                task.await;
                Ok(())
            });
        }
        let app = Arc::new(App {
            store: store.clone(),
            clock,
            controller: key.controller_id(),
            reconciler: Arc::clone(&reconciler),
            operators: Operators::load(&token, &store).await?,
            wake: Arc::clone(&wake),
            view: view.clone(),
            stale_after_ms: stale_after_ms(config.interval),
            writing: Arc::clone(&writing),
            allow_api_secrets: config.allow_api_secrets,
            watches_folder: folder.is_some(),
            prunes_folder: folder.is_some() && config.prune,
            feeds,
            usage_retention: config.usage_retention,
            diagnoses: Semaphore::new(DIAGNOSES_MAX),
            plans: Semaphore::new(PLANS_MAX),
            writes: Writes::default(),
            metrics: Arc::clone(&metrics),
            metrics_tenants_max: config.metrics_tenants_max,
            started_at: clock.now(),
        });
        tasks.spawn(server::serve(listener, serving.config, router(app), stop.clone()));
        let (agents, requests) = Agents::new();
        let looks = agents::serve(
            Arc::clone(&agents),
            AgentClient::new(clock)?,
            requests,
            Arc::clone(&wake),
            stop.clone(),
        );
        tasks.spawn(async move {
            looks.await;
            Ok(())
        });
        let sources = SecretSources::new(config.secrets_dir.clone(), environment());
        let mut secrets = key.tenant_secrets().with_sources(sources);
        if let Some(access) = &config.storage {
            secrets = secrets.with_storage(access.s3.clone(), access.region.clone());
        }
        let main_loop = MainLoop {
            platform,
            store,
            clock,
            folder,
            reconciler,
            writing,
            controller: key.controller_id(),
            secrets: Arc::new(secrets),
            agents,
            oidc_issuer: config
                .oidc_issuer
                .clone()
                .unwrap_or_else(|| oidc_issuer(&config.platform_url)),
            metrics,
            wake,
            publish,
            tell,
            stop: stop.clone(),
            clients: main_loop::Clients { url: url.clone(), authority: serving.authority, token },
            config,
        };
        tasks.spawn(async move {
            let _finished = finished.drop_guard();
            main_loop.run().await
        });
        Ok(Self { url, view, events, stop, tasks })
    }

    /// Where the API is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the controller says of itself, after each pass.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Events as they happen. A listener that falls far behind misses some.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Waits until a task ends, which happens only if something is broken.
    ///
    /// # Errors
    /// What was broken.
    pub async fn ended(&mut self) -> Result<(), ControllerError> {
        match self.tasks.join_next().await {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Ends all tasks: the pass that runs is finished first, because a call that was sent has an
    /// answer worth keeping.
    ///
    /// # Errors
    /// If one of them was broken.
    pub async fn stop(mut self) -> Result<(), ControllerError> {
        self.stop.cancel();
        while !self.tasks.is_empty() {
            self.ended().await?;
        }
        Ok(())
    }
}

/// Whoever comes with another key has another identity, and would take all that exists for
/// somebody else's.
async fn must_be_ours(
    store: &SqliteStore,
    controller: &ControllerId,
) -> Result<(), ControllerError> {
    let mut query = PageQuery { limit: TENANTS_PER_PAGE, ..PageQuery::default() };
    loop {
        let page = store.page(Kind::Tenant, query.clone()).await?;
        let is_ours =
            |tenant: &StoredObject| tenant.uid == controller.tenant_uid(&tenant.name).to_string();
        if !page.objects.iter().all(is_ours) {
            return Err(ControllerError::OtherKey);
        }
        match page.objects.last() {
            Some(last) if page.more => query.after = Some(last.name.clone()),
            _ => return Ok(()),
        }
    }
}

/// Makes a folder that only its owner may look into; one that is there is left as it is.
///
/// # Errors
/// If it cannot be made.
pub fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Who issues machines' identities, without the organization: Fly does, or the emulator on this
/// machine that stands in for it.
fn oidc_issuer(platform_url: &str) -> String {
    let is_here = platform_url.parse::<http::Uri>().ok().is_some_and(|url| {
        let host = url.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.map_or(host == "localhost", |address| address.is_loopback())
    });
    match is_here {
        true => format!("{}/oidc", platform_url.trim_end_matches('/')),
        false => "https://oidc.fly.io".to_owned(),
    }
}

/// Where machines' logs are: Fly serves them from another host than machines, everybody else who
/// stands in for it from the same.
fn logs_url(platform_url: &str) -> String {
    match platform_url.trim_end_matches('/') {
        "https://api.machines.dev" => "https://api.fly.io".to_owned(),
        elsewhere => elsewhere.to_owned(),
    }
}

/// Where deploy tokens are minted: Fly serves GraphQL from one host, wherever its Machines API was
/// reached; whoever stands in for Fly serves it beside it. The token is shown to nobody else.
fn graphql_url(platform_url: &str) -> String {
    match platform_url.trim_end_matches('/') {
        "https://api.machines.dev" | "http://_api.internal:4280" => "https://api.fly.io".to_owned(),
        elsewhere => elsewhere.to_owned(),
    }
}

/// Three intervals without a pass, and at least half a minute: one slow pass is no outage.
fn stale_after_ms(interval: Duration) -> i64 {
    i64::try_from((interval * 3).as_millis()).unwrap_or(i64::MAX).max(30_000)
}

fn listen(address: SocketAddr) -> Result<TcpListener, ControllerError> {
    let failed = |source| ControllerError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_at_fly_only_if_the_platform_is_flys_public_one() {
        for (platform, logs) in [
            ("https://api.machines.dev", "https://api.fly.io"),
            ("https://api.machines.dev/", "https://api.fly.io"),
            ("http://127.0.0.1:4280", "http://127.0.0.1:4280"),
            ("https://api.machines.dev.example", "https://api.machines.dev.example"),
        ] {
            assert_eq!(logs_url(platform), logs);
        }
    }

    #[test]
    fn tokens_are_minted_at_fly_only_if_the_platform_is_flys() {
        for (platform, graphql) in [
            ("https://api.machines.dev/", "https://api.fly.io"),
            ("http://_api.internal:4280", "https://api.fly.io"),
            ("http://127.0.0.1:4280", "http://127.0.0.1:4280"),
            ("https://api.machines.dev.example", "https://api.machines.dev.example"),
        ] {
            assert_eq!(graphql_url(platform), graphql);
        }
    }

    #[test]
    fn the_issuer_is_flys_unless_the_platform_is_on_this_machine() {
        for here in ["http://127.0.0.1:4280", "http://[::1]:4280/", "http://localhost:4280"] {
            let expected = format!("{}/oidc", here.trim_end_matches('/'));
            assert_eq!(oidc_issuer(here), expected);
        }
        for elsewhere in
            ["https://api.machines.dev", "http://_api.internal:4280", "http://10.0.0.1"]
        {
            assert_eq!(oidc_issuer(elsewhere), "https://oidc.fly.io");
        }
    }
}
