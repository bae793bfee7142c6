//! The agent as a value: start it, ask it, end it.

use std::env;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vault_protocol::audit::Event;
use vault_protocol::code::CloseCode;
use vault_protocol::key::TenantSecret;
use vault_protocol::message::{Health, Ready};

use crate::access::{Access, HmacAccess};
use crate::admission::{Admission, Arrival};
use crate::audit::Audit;
use crate::clock::{Clock, SystemClock};
use crate::connection;
use crate::counts::{Counts, Totals};
use crate::evidence::EvidenceSource;
use crate::limits::{
    COMMANDS_MAX, COPIES_MAX, DELIVERY_PATIENCE, DIAL_PATIENCE, SOCKET_BUFFER_BYTES,
};
use crate::penalties::Penalties;
use crate::process::launch::MachineEnvironment;
use crate::process::spawner::Spawner;
use crate::provision::Provisioner;
use crate::reset::endpoint_config;
use crate::roots::Roots;
use crate::secret::SecretError;
use crate::sessions::Sessions;
use crate::source::Source;
use crate::streams::forward::dial::Forwards;
use crate::telemetry::Chain;
use crate::tls::{Identity, IdentityError};
use crate::workload::{Means, Workload};

/// What the agent is, for clients.
pub const SOFTWARE: &str = concat!("vault-agent ", env!("CARGO_PKG_VERSION"));

/// Where a machine's volume is mounted, unless the agent is told otherwise.
pub const DATA_DIR: &str = "/data";

/// What an agent needs to know.
pub struct AgentConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The platform's socket inside the machine.
    pub api_socket: PathBuf,
    /// Where the volume is mounted: what has to outlive a restart of the machine.
    pub data_dir: PathBuf,
    /// The machine's id: proofs are for one machine.
    pub machine_id: String,
    /// The tenant's secret, or why there is none.
    pub secret: Result<TenantSecret, SecretError>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// How long a dial may take.
    pub dial_patience: Duration,
    /// The program that becomes the command of another user; it has to begin with [`crate::stage`].
    pub stage_program: PathBuf,
}

impl AgentConfig {
    /// With the machine's clock, the patience of [`crate::limits`], and this program as stage.
    #[must_use]
    pub fn new(
        listen: SocketAddr,
        api_socket: PathBuf,
        machine_id: String,
        secret: Result<TenantSecret, SecretError>,
    ) -> Self {
        Self {
            listen,
            api_socket,
            data_dir: DATA_DIR.into(),
            machine_id,
            secret,
            clock: Arc::new(SystemClock::new()),
            dial_patience: DIAL_PATIENCE,
            stage_program: "/proc/self/exe".into(),
        }
    }
}

/// Why the agent does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no key to serve with.
    #[error("could not make the agent's identity")]
    Identity(#[source] IdentityError),
    /// The system gives no random numbers.
    #[error("could not draw a boot id")]
    Random(#[source] getrandom::Error),
    /// The address cannot be taken.
    #[error("could not listen on UDP {address}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread that starts commands does not start.
    #[error("could not start a thread")]
    Thread(#[source] io::Error),
}

/// A running agent. Dropping it closes all connections and hangs up all commands.
pub struct Agent {
    endpoint: Endpoint,
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) access: Box<dyn Access>,
    pub(crate) evidence: EvidenceSource,
    pub(crate) public_key: Vec<u8>,
    pub(crate) boot_id: [u8; 16],
    pub(crate) admission: Mutex<Admission<CancellationToken>>,
    pub(crate) penalties: Mutex<Penalties>,
    pub(crate) totals: Totals,
    pub(crate) audit: Audit,
    pub(crate) sessions: Sessions,
    /// One for each command that may run.
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) forwards: Forwards,
    /// One for each copy that may run.
    pub(crate) copies: Arc<Semaphore>,
    pub(crate) spawner: Spawner,
    pub(crate) workload: Workload,
    pub(crate) provisioner: Provisioner,
    pub(crate) environment: MachineEnvironment,
    pub(crate) clock: Arc<dyn Clock>,
    /// The agent is ending.
    pub(crate) draining: CancellationToken,
    grace: OnceLock<Duration>,
}

impl Agent {
    /// Starts serving. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What keeps it from serving. A missing secret does not.
    pub fn start(config: AgentConfig) -> Result<Self, StartError> {
        let identity = Identity::new().map_err(StartError::Identity)?;
        let mut boot_id = [0; 16];
        getrandom::fill(&mut boot_id).map_err(StartError::Random)?;
        let endpoint = endpoint_config(config.secret.as_ref().ok(), &config.machine_id);
        let access = HmacAccess::new(config.secret, &config.machine_id);
        if let Err(error) = access.ready() {
            tracing::error!(%error, "no caller can prove itself; evidence and health are served");
        }
        // Commands may change the working folder; see `process::spawner`.
        let socket = std::path::absolute(&config.api_socket).unwrap_or(config.api_socket);
        let spawner = Spawner::start(&config.stage_program).map_err(StartError::Thread)?;
        let environment = MachineEnvironment::new(env::vars_os());
        let means = Means {
            spawner: spawner.clone(),
            environment: environment.lines(),
            clock: Arc::clone(&config.clock),
        };
        let shared = Arc::new(Shared {
            access: Box::new(access),
            evidence: EvidenceSource::new(socket),
            public_key: identity.public_key,
            boot_id,
            admission: Mutex::default(),
            penalties: Mutex::default(),
            totals: Totals::default(),
            audit: Audit::start(&config.data_dir, Arc::clone(&config.clock)),
            sessions: Sessions::default(),
            turns: Arc::new(Semaphore::new(COMMANDS_MAX)),
            forwards: Forwards::new(config.dial_patience),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
            spawner,
            workload: Workload::start(Roots::open(&config.data_dir), means),
            provisioner: Provisioner::default(),
            environment,
            clock: config.clock,
            draining: CancellationToken::new(),
            grace: OnceLock::new(),
        });
        let (endpoint, address) = listen(config.listen, endpoint, identity.config)
            .map_err(|source| StartError::Listen { address: config.listen, source })?;
        let tasks = TaskTracker::new();
        tasks.spawn(accept(Arc::clone(&shared), endpoint.clone(), tasks.clone()));
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "the agent listens");
        Ok(Self { endpoint, address, shared, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Reaps children that are not commands; for PID 1, at each SIGCHLD.
    pub async fn reap_orphans(&self) {
        self.shared.spawner.reap_orphans().await;
    }

    /// Takes nothing new, sends SIGTERM to all commands, SIGKILL after `grace`, tells clients how
    /// their commands ended, and closes all connections.
    pub async fn shutdown(self, grace: Duration) {
        self.shared.audit.record(Event::AgentEnding);
        self.shared.drain(grace);
        self.endpoint.set_server_config(None);
        self.tasks.close();
        // Each of the steps after the grace has its own bound; this one is for all of them.
        let patience = grace + 3 * DELIVERY_PATIENCE;
        let ended = async { tokio::join!(self.tasks.wait(), self.shared.sessions.ended()) };
        if timeout(patience, ended).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "connections are cut off");
        }
        self.shared.workload.stop(grace).await;
        // What the workload has written, too.
        drop(spawn_blocking(rustix::fs::sync).await);
        self.shared.audit.flush().await;
        self.endpoint.close(CloseCode::ShuttingDown.number().into(), b"");
        // Last packets are sent once; who has lost them finds out by itself.
        drop(timeout(DELIVERY_PATIENCE, self.endpoint.wait_idle()).await);
        tracing::info!(counts = ?self.counts(), "the agent has ended");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.drain(Duration::ZERO);
        self.endpoint.close(CloseCode::ShuttingDown.number().into(), b"");
    }
}

impl Shared {
    fn drain(&self, grace: Duration) {
        // The first one decides.
        let _earlier = self.grace.set(grace);
        self.draining.cancel();
    }

    /// How long commands get to end, once the agent is ending.
    pub(crate) fn grace(&self) -> Duration {
        self.grace.get().copied().unwrap_or_default()
    }

    /// How the agent is.
    pub(crate) fn health(&self) -> Health {
        let ready = self.access.ready();
        Health {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.boot_id.into(),
            ready: ready.is_ok(),
            message: ready.err().map(|error| error.to_string()),
        }
    }

    /// What there is for a client that has proved itself.
    pub(crate) fn ready(&self) -> Ready {
        Ready { root: self.workload.root().map(Into::into) }
    }

    /// The table of connections.
    pub(crate) fn admission(&self) -> MutexGuard<'_, Admission<CancellationToken>> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table of penalties.
    pub(crate) fn penalties(&self) -> MutexGuard<'_, Penalties> {
        self.penalties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> Counts {
        let running = COMMANDS_MAX - self.turns.available_permits();
        let admission = self.admission();
        self.totals.counts(admission.proven() + admission.unproven(), running, self.forwards.open())
    }
}

fn listen(
    address: SocketAddr,
    endpoint: EndpointConfig,
    config: quinn::ServerConfig,
) -> io::Result<(Endpoint, SocketAddr)> {
    let socket = UdpSocket::bind(address)?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    // The kernel doubles what it takes, for its own bookkeeping (socket(7)).
    let bytes = rustix::net::sockopt::socket_recv_buffer_size(&socket)? / 2;
    if bytes < SOCKET_BUFFER_BYTES {
        let wanted = SOCKET_BUFFER_BYTES;
        tracing::info!(bytes, wanted, "the kernel's net.core.rmem_max limits the socket's buffer");
    }
    let endpoint = Endpoint::new(endpoint, Some(config), socket, Arc::new(TokioRuntime))?;
    let address = endpoint.local_addr()?;
    Ok((endpoint, address))
}

async fn accept(shared: Arc<Shared>, endpoint: Endpoint, tasks: TaskTracker) {
    loop {
        // Both arms are cancel-safe: an attempt stays in the endpoint's queue.
        let incoming = tokio::select! {
            () = shared.draining.cancelled() => None,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else {
            return;
        };
        admit(&shared, &tasks, incoming);
    }
}

/// Decides about a newcomer, before anything is computed for it.
fn admit(shared: &Arc<Shared>, tasks: &TaskTracker, incoming: Incoming) {
    let source = Source::of(incoming.remote_address().ip());
    if shared.penalties().refuses(source, shared.clock.now()) {
        shared.totals.turned_away.add_one();
        return incoming.refuse();
    }
    let evict = CancellationToken::new();
    let validated = incoming.remote_address_validated();
    let arrival = shared.admission().arrive(source, validated, evict.clone());
    match arrival {
        Arrival::Admitted { number, evicted } => {
            if let Some(evicted) = evicted {
                shared.totals.evicted.add_one();
                evicted.cancel();
            }
            match incoming.accept() {
                Ok(connecting) => {
                    shared.totals.connections.add_one();
                    let newcomer = connection::Newcomer { number, source, evict };
                    tasks.spawn(connection::run(Arc::clone(shared), connecting, newcomer));
                }
                Err(error) => {
                    tracing::debug!(%source, error = %Chain(&error), "a malformed attempt");
                    shared.admission().leave_unproven(number);
                }
            }
        }
        Arrival::Retry => {
            shared.totals.retries.add_one();
            if let Err(error) = incoming.retry() {
                tracing::debug!(%source, error = %Chain(&error), "no retry was possible");
            }
        }
        Arrival::Full => {
            shared.totals.refused_full.add_one();
            tracing::warn!(%source, "all connections are taken by proven clients");
            incoming.refuse();
        }
    }
}
