//! Starting and ending an emulator.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api::hooks::{AnswerHook, Hooks, RequestHook};
use crate::api::{self, Api};
use crate::clock::{Clock, SystemClock};
use crate::effects::Host;
use crate::engine::Engine;
use crate::faults::Fault;
use crate::journal::Journal;
use crate::machine_socket::MachineSockets;
use crate::oidc::Issuer;
use crate::process::{Isolation, ProcessRunner, ProcessRunnerConfig};
use crate::runner::MachineRunner;
use crate::storage::{self, StorageAccess};
use crate::tokens::{self, Tokens};
use crate::world::{Addresses, Settings, World};

/// The organization that always exists.
pub const DEFAULT_ORG: &str = "local";
/// How long the last answers may take when the emulator ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// The program of machines whose image is `…/agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentCommand {
    /// Its file on this host; machines see it at the same path, wherever that is.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// How machines run.
#[derive(Clone, Debug)]
pub enum MachinesMode {
    /// As processes.
    Process {
        /// The binary that is re-executed inside a machine.
        launcher: PathBuf,
        /// Its hidden subcommand, for example `machine-init`.
        launcher_args: Vec<String>,
        /// The agent, for machines whose image is `…/agent`.
        agent: Option<AgentCommand>,
    },
    /// Not at all: states move by the clock alone.
    None,
}

/// What an emulator needs.
#[derive(Clone)]
pub struct EmulatorConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where S3 and IAM listen; port 0 takes a free one.
    pub storage_listen: SocketAddr,
    /// Holds all state; made if it is missing.
    pub data_dir: PathBuf,
    /// Organizations beside [`DEFAULT_ORG`].
    pub orgs: Vec<String>,
    /// How machines run.
    pub machines: MachinesMode,
    /// Folders of the host, beside `data_dir`, that no machine may see; each has to exist.
    pub masked: Vec<PathBuf>,
    /// Whether the documented rate limits hold.
    pub rate_limits: bool,
    /// From `starting` to `started`; a day at most.
    pub boot_delay: Duration,
    /// What goes wrong on purpose; other faults can be set while it runs.
    pub faults: Vec<Fault>,
    /// Called before each answer of an interface leaves.
    pub on_answer: Option<AnswerHook>,
    /// Called on each request to an interface before it acts.
    pub on_request: Option<RequestHook>,
}

/// A running emulator. Dropped without [`Emulator::shutdown`] it ends its machines too, and blocks
/// while it does.
pub struct Emulator {
    address: SocketAddr,
    engine: Arc<Engine>,
    tokens: Arc<Tokens>,
    storage: BTreeMap<String, StorageAccess>,
    runner: Option<Arc<dyn MachineRunner>>,
    isolation: String,
    tasks: JoinSet<()>,
    effects: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Starts an emulator; the machines that ran when its folder was last used start again.
    ///
    /// # Errors
    /// An address or a folder that is in use, a corrupt journal, a folder that cannot be written,
    /// a launcher that cannot run machines.
    pub async fn start(config: EmulatorConfig) -> anyhow::Result<Self> {
        anyhow::ensure!(
            config.boot_delay <= Duration::from_secs(24 * 60 * 60),
            "the boot delay is longer than a day"
        );
        let orgs = organizations(&config.orgs)?;
        let data_dir = prepare(&config.data_dir)?;
        let (journal, records) =
            Journal::open(&data_dir).context("opening the emulator's world")?;
        let tokens = Arc::new(Tokens::open(&data_dir, &orgs)?);
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("listening on {}", config.listen))?;
        let address = listener.local_addr()?;
        let digest_key = tokens::digest_key(&data_dir)?;
        let issuer = Issuer::new(format!("http://{address}"), orgs.clone(), data_dir.clone());
        let issuer = Arc::new(issuer);
        let runner = runner(&config, &data_dir)?;
        let settings = Settings {
            seed: seed()?,
            orgs: orgs.clone(),
            boot_delay: config.boot_delay,
            processes: runner.is_some(),
            addresses: addresses(runner.as_ref().map(|runner| runner.isolation())),
            digest_key,
        };
        let isolation = said_of(runner.as_ref());
        let runner = runner.map(|runner| Arc::new(runner) as Arc<dyn MachineRunner>);
        let world = World::restore(settings, records);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let engine = Engine::new(world, journal, clock);
        engine.change(|world, now| {
            world.resume(now);
            world.set_faults(now, config.faults.clone());
            Ok(())
        })?;

        let api = Api::new(
            Arc::clone(&engine),
            Arc::clone(&tokens),
            Arc::clone(&issuer),
            config.rate_limits,
            runner.clone(),
        );
        let faulted = api.faulted();
        let opened =
            storage::open(&engine, faulted.clone(), &data_dir, config.storage_listen, orgs).await?;
        let hooks = Hooks::new(config.on_request, config.on_answer);
        let storage_hooks = from_fn_with_state(hooks.clone(), api::hooks::observe_storage);
        let (routes, storage_routes) =
            (api::routes(api, hooks), opened.routes.layer(storage_hooks));
        let mut tasks = JoinSet::new();
        let host = host(&config.machines, data_dir, runner.clone(), &engine, &issuer);
        if runner.is_some() {
            tasks.spawn(make_key(Arc::clone(&engine), issuer));
        }
        let effects = {
            let engine = Arc::clone(&engine);
            let work = move || host.run(&engine);
            std::thread::Builder::new().name("machine-effects".to_owned()).spawn(work)?
        };
        tasks.spawn(Arc::clone(&engine).run_timer());
        let ending = engine.closing().clone();
        tasks.spawn(async move {
            ending.cancelled().await;
            faulted.close();
            faulted.wait().await;
        });
        serve(&mut tasks, &engine, [(listener, routes), (opened.listener, storage_routes)]);
        let (storage, effects) = (opened.access, Some(effects));
        Ok(Self { address, engine, tokens, storage, runner, isolation, tasks, effects })
    }

    /// The base of all URLs, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token that opens every organization; it also lies in `operator.token`.
    pub fn operator_token(&self) -> String {
        self.tokens.operator().to_owned()
    }

    /// The token that opens one organization; it also lies in `tokens/ORG.token`.
    pub fn org_token(&self, org: &str) -> Option<String> {
        self.tokens.of_org(org).map(str::to_owned)
    }

    /// Where S3 and IAM are, and the key that may do everything in an organization there. That of the
    /// default organization also lies in `storage.json`, others in `storage/ORG.json`.
    pub fn storage(&self, org: &str) -> Option<&StorageAccess> {
        self.storage.get(org)
    }

    /// In words, what separates machines from the host and from each other.
    pub fn isolation(&self) -> String {
        self.isolation.clone()
    }

    /// Ends all machines and stops serving; what is stored stays, and starts again from it.
    pub async fn shutdown(mut self) {
        self.engine.close();
        let tasks = &mut self.tasks;
        let ended = tokio::time::timeout(LAST_ANSWERS, async {
            while tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tracing::warn!("some clients did not take their answers; their connections are cut");
            self.tasks.shutdown().await;
        }
        let (effects, runner) = (self.effects.take(), self.runner.take());
        // The drop at the end of this function then finds nothing left but the folder to release.
        let ended = tokio::task::spawn_blocking(move || end_machines(effects, runner)).await;
        if let Err(error) = ended {
            tracing::error!(%error, "ending the machines failed");
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.engine.close();
        end_machines(self.effects.take(), self.runner.take());
        // Last, so that no other emulator starts machines while ours still run. Connections may
        // outlive us for a moment; they hold the world, but no longer the folder.
        self.engine.release();
    }
}

/// Serves until the emulator ends; the last answers are given then.
fn serve(tasks: &mut JoinSet<()>, engine: &Engine, listeners: [(TcpListener, Router); 2]) {
    for (listener, routes) in listeners {
        let closing = engine.closing().clone();
        tasks.spawn(async move {
            let serving =
                axum::serve(listener, routes).with_graceful_shutdown(closing.cancelled_owned());
            if let Err(error) = serving.await {
                tracing::error!(%error, "serving ended");
            }
        });
    }
}

fn end_machines(effects: Option<JoinHandle<()>>, runner: Option<Arc<dyn MachineRunner>>) {
    // First the thread that starts machines, then the machines.
    if effects.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("the thread that starts and stops machines had panicked");
    }
    if let Some(runner) = runner {
        runner.shutdown();
    }
}

/// What runs machines as processes, if they are to be.
fn runner(config: &EmulatorConfig, data_dir: &Path) -> anyhow::Result<Option<ProcessRunner>> {
    let MachinesMode::Process { launcher, launcher_args, .. } = &config.machines else {
        return Ok(None);
    };
    let mut masked = vec![data_dir.to_owned()];
    for folder in &config.masked {
        // A folder that cannot be found cannot be hidden, and must not be taken for hidden.
        let found = folder.canonicalize();
        masked.push(found.with_context(|| format!("masking {}", folder.display()))?);
    }
    let config = ProcessRunnerConfig {
        data_dir: data_dir.to_owned(),
        launcher: launcher.clone(),
        launcher_args: launcher_args.clone(),
        masked,
    };
    ProcessRunner::new(config).context("preparing to run machines").map(Some)
}

/// In words, what separates machines.
fn said_of(runner: Option<&ProcessRunner>) -> String {
    let nothing = || "machines are not run: states move by the clock alone".to_owned();
    runner.map_or_else(nothing, |runner| runner.isolation().to_string())
}

/// Only where this host lets us can an address of the private network be a machine's own.
fn addresses(isolation: Option<Isolation>) -> Addresses {
    match isolation {
        None => Addresses::PrivateNetwork,
        Some(Isolation::Namespaces) if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() => {
            Addresses::PrivateNetwork
        }
        Some(Isolation::Namespaces) => {
            tracing::warn!("this host has no IPv6; machines have addresses in 127.0.0.0/8");
            Addresses::Loopback
        }
        Some(Isolation::UserNamespaces | Isolation::PlainProcess) => Addresses::Loopback,
    }
}

fn host(
    machines: &MachinesMode,
    data_dir: PathBuf,
    runner: Option<Arc<dyn MachineRunner>>,
    engine: &Arc<Engine>,
    issuer: &Arc<Issuer>,
) -> Host {
    let MachinesMode::Process { agent, .. } = machines else {
        return Host { data_dir, agent: None, runner: None, sockets: None };
    };
    let sockets = MachineSockets {
        data_dir: data_dir.clone(),
        runtime: tokio::runtime::Handle::current(),
        engine: Arc::clone(engine),
        issuer: Arc::clone(issuer),
    };
    Host { data_dir, agent: agent.clone(), runner, sockets: Some(sockets) }
}

/// Has the key ready before the first machine asks; whoever asks earlier waits for it.
async fn make_key(engine: Arc<Engine>, issuer: Arc<Issuer>) {
    if let Some(Err(error)) = engine.closing().run_until_cancelled(issuer.key()).await {
        let error = anyhow::Error::from(error);
        tracing::error!(error = format!("{error:#}"), "machines will get no tokens");
    }
}

fn organizations(more: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let mut orgs = BTreeSet::from([DEFAULT_ORG.to_owned()]);
    for slug in more {
        let shape = slug.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        anyhow::ensure!(
            shape && !slug.is_empty() && slug.len() <= 63,
            "organization {slug:?}: 1 to 63 lower-case letters, digits and dashes"
        );
        orgs.insert(slug.clone());
    }
    Ok(orgs)
}

/// Makes the data folder, readable by its owner alone because tokens lie in it.
fn prepare(data_dir: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(data_dir).with_context(|| format!("making {}", data_dir.display()))?;
    data_dir.canonicalize().with_context(|| format!("opening {}", data_dir.display()))
}

fn seed() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("drawing a seed")?;
    Ok(u64::from_be_bytes(bytes))
}
