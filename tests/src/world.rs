//! One emulator, one controller, one folder: a whole system of its own for each story.

pub mod calls;
pub mod controller;
pub mod faults;
pub mod integrity;
pub mod looks;
pub mod storage;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rusqlite::OpenFlags;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vault_emulator::{AgentCommand, DEFAULT_ORG, Emulator, EmulatorConfig, MachinesMode};

use crate::binaries::binaries;
use crate::client::Client;
use crate::eventually::eventually;
use crate::inventory::Lists;
use crate::program::{self, Output};
use crate::proxy::Proxy;
use calls::Calls;
use controller::{ControllerProcess, Crash, Moment};

/// How many worlds exist at once: more would only make each other miss deadlines.
const WORLDS_MAX: usize = 6;

/// How a world is to be.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Machines as real processes; else their states move by the clock alone.
    pub processes: bool,
    /// Organizations of the platform beside `local`, which the controller works in.
    pub organizations: Vec<String>,
    /// `--interval` of the controller.
    pub interval: Duration,
    /// `--settle-after` of the controller.
    pub settle_after: Duration,
    /// `--prune` of the controller.
    pub prune: bool,
    /// The controller reaches the platform through a proxy, which counts and loses answers.
    pub proxied: bool,
    /// The controller's master key, for worlds that are to give things the same names.
    pub master_key: Option<Vec<u8>>,
    /// Variables of the controller's environment.
    pub environment: Vec<(String, String)>,
    /// Further arguments of the controller.
    pub arguments: Vec<String>,
    /// Whether the platform's documented rate limits hold.
    pub rate_limits: bool,
    /// How long a machine without a process takes from `starting` to `started`.
    pub boot_delay: Duration,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            processes: false,
            organizations: Vec::new(),
            interval: Duration::from_millis(200),
            settle_after: Duration::from_millis(200),
            prune: false,
            proxied: false,
            master_key: None,
            environment: Vec::new(),
            arguments: Vec::new(),
            rate_limits: false,
            boot_delay: Duration::ZERO,
        }
    }
}

/// A system under test.
///
/// Dropped without [`World::finish`] it ends all processes, keeps its folder and prints where.
pub struct World {
    options: WorldOptions,
    address: SocketAddr,
    emulator: Option<Emulator>,
    proxy: Option<Proxy>,
    controller: Arc<ControllerProcess>,
    calls: Arc<Calls>,
    tokens: Tokens,
    client: Option<Client>,
    folder: Option<TempDir>,
    _permit: OwnedSemaphorePermit,
}

struct Tokens {
    /// Sees every organization.
    operator: String,
    /// Sees `local` alone; the controller has it.
    local: String,
}

impl World {
    /// Starts platform and controller, and waits until the controller answers.
    ///
    /// # Errors
    /// If one of them does not start.
    pub async fn start(options: WorldOptions) -> anyhow::Result<Self> {
        let mut world = Self::with_platform(options).await?;
        world.start_controller().await?;
        Ok(world)
    }

    /// Starts the platform alone.
    ///
    /// # Errors
    /// If it does not start, or the programs cannot be built.
    pub async fn with_platform(options: WorldOptions) -> anyhow::Result<Self> {
        static WORLDS: std::sync::LazyLock<Arc<Semaphore>> =
            std::sync::LazyLock::new(|| Arc::new(Semaphore::new(WORLDS_MAX)));
        let permit = Arc::clone(&WORLDS).acquire_owned().await?;
        let folder = tempfile::Builder::new().prefix("vault-world-").tempdir()?;
        fs::create_dir(folder.path().join("manifests"))?;
        fs::create_dir(folder.path().join("controller"))?;
        fs::create_dir(folder.path().join("secrets"))?;
        if let Some(key) = &options.master_key {
            write_private(&folder.path().join("controller/master.key"), key)?;
        }
        let controller = ControllerProcess::new(folder.path().join("controller.log"));
        let mut world = Self {
            options,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            emulator: None,
            proxy: None,
            controller: Arc::new(controller),
            calls: Arc::default(),
            tokens: Tokens { operator: String::new(), local: String::new() },
            client: None,
            folder: Some(folder),
            _permit: permit,
        };
        world.start_platform().await?;
        Ok(world)
    }

    /// Starts the platform, at the address that it had before if it had one.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_platform(&mut self) -> anyhow::Result<()> {
        let machines = match self.options.processes {
            false => MachinesMode::None,
            true => MachinesMode::Process {
                launcher: binaries()?.emulator.clone(),
                launcher_args: vec!["machine-init".to_owned()],
                agent: Some(AgentCommand { program: binaries()?.agent.clone(), args: Vec::new() }),
            },
        };
        // Of two that count, only the one beside the controller may kill it.
        let direct = (!self.options.proxied).then(|| Arc::clone(&self.controller));
        let (calls, controller) = (Arc::clone(&self.calls), direct.clone());
        let on_answer = Arc::new(move |answer: &vault_emulator::AnswerInfo| {
            if let Some(controller) = &controller {
                controller.crash_at(Moment::Answered, answer.sequence);
            }
            calls.add(answer);
        });
        let on_request = Arc::new(move |request: &vault_emulator::RequestInfo| {
            if let Some(controller) = &direct {
                controller.crash_at(Moment::Requested, request.answers);
            }
        });
        let emulator = Emulator::start(EmulatorConfig {
            listen: self.address,
            storage_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: self.path("platform"),
            orgs: self.options.organizations.clone(),
            machines,
            masked: vec![self.path("controller")],
            rate_limits: self.options.rate_limits,
            boot_delay: self.options.boot_delay,
            faults: Vec::new(),
            on_answer: Some(on_answer),
            on_request: Some(on_request),
        })
        .await?;
        let url = emulator.url();
        self.address = url.trim_start_matches("http://").parse()?;
        let local = emulator.org_token(DEFAULT_ORG).context("the organization has a token")?;
        self.tokens = Tokens { operator: emulator.operator_token(), local };
        self.emulator = Some(emulator);
        if self.options.proxied && self.proxy.is_none() {
            let controller = Arc::clone(&self.controller);
            let hook = Arc::new(move |moment, answers| controller.crash_at(moment, answers));
            self.proxy = Some(Proxy::start(self.address, hook).await?);
        }
        Ok(())
    }

    /// Ends the platform; connections to it are refused from now on.
    pub async fn stop_platform(&mut self) {
        if let Some(emulator) = self.emulator.take() {
            emulator.shutdown().await;
        }
    }

    /// The platform, as long as it runs.
    ///
    /// # Errors
    /// If it does not run.
    pub fn platform(&self) -> anyhow::Result<&Emulator> {
        self.emulator.as_ref().context("the platform does not run")
    }

    /// What stands between controller and platform.
    ///
    /// # Errors
    /// If the world's options asked for none.
    pub fn proxy(&self) -> anyhow::Result<&Proxy> {
        self.proxy.as_ref().context("this world has no proxy")
    }

    /// The answers of the platform so far.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The token that sees every organization of the platform.
    #[must_use]
    pub fn operator_token(&self) -> &str {
        &self.tokens.operator
    }

    /// What exists in the controller's organization.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub async fn lists(&self) -> anyhow::Result<Lists> {
        Lists::read(&self.platform()?.url(), &self.tokens.operator, DEFAULT_ORG).await
    }

    /// Starts the controller and waits until it answers.
    ///
    /// # Errors
    /// If it ends instead.
    pub async fn start_controller(&mut self) -> anyhow::Result<()> {
        self.spawn_controller(None)?;
        let path = self.context_file();
        let controller = Arc::clone(&self.controller);
        let client = eventually("the controller answers", async || {
            controller.must_run()?;
            let client = Client::from_context(&path).map_err(|error| format!("{error:#}"))?;
            let live = client.get("/livez").await.map_err(|error| format!("{error:#}"))?;
            (live.status == 200).then_some(client).ok_or_else(|| format!("{live:?}"))
        })
        .await?;
        self.client = Some(client);
        Ok(())
    }

    /// Starts the controller without waiting for anything; a crash kills it at a chosen moment.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn_controller(&mut self, crash: Option<Crash>) -> anyhow::Result<()> {
        self.client = None;
        let data_dir = self.path("controller");
        for file in ["config.yaml", "kubeconfig"] {
            // Else the address of an earlier run would be taken for that of this one.
            remove_if_there(&data_dir.join(file))?;
        }
        let direct = || format!("http://{}", self.address);
        let platform = self.proxy.as_ref().map_or_else(direct, Proxy::url);
        let span = |span: Duration| format!("{}ms", span.as_millis());
        let mut command = std::process::Command::new(&binaries()?.controller);
        command
            .args(["--platform-url", &platform])
            .args(["--listen", "127.0.0.1:0"])
            .args(["--interval", &span(self.options.interval)])
            .args(["--settle-after", &span(self.options.settle_after)])
            .arg("--manifests")
            .arg(self.path("manifests"))
            .arg("--data-dir")
            .arg(data_dir)
            .arg("--secrets-dir")
            .arg(self.path("secrets"))
            .args(self.options.prune.then_some("--prune"))
            .args(&self.options.arguments)
            .envs(self.storage_environment())
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)))
            .env("FLY_API_TOKEN", &self.tokens.local)
            .env_remove("FLY_API_BASE")
            .env_remove("VAULT_MASTER_KEY_FILE");
        self.controller.start(&mut command, crash)
    }

    /// Starts the controller again.
    ///
    /// # Errors
    /// If it ends instead of answering.
    pub async fn restart_controller(&mut self) -> anyhow::Result<()> {
        self.controller.kill();
        self.start_controller().await
    }

    /// Gives the controller one more argument when it is started again.
    pub fn add_argument(&mut self, argument: &str) {
        self.options.arguments.push(argument.to_owned());
    }

    /// The process id of the controller.
    ///
    /// # Errors
    /// If it does not run.
    pub fn controller_id(&self) -> anyhow::Result<u32> {
        self.controller.id().context("the controller does not run")
    }

    /// The organization token that the controller was given.
    #[must_use]
    pub fn controller_token(&self) -> &str {
        &self.tokens.local
    }

    /// Kills the controller with SIGKILL.
    pub fn kill_controller(&mut self) {
        self.controller.kill();
    }

    /// Waits until the crash that [`World::spawn_controller`] was given has happened.
    ///
    /// # Errors
    /// If the controller does not come that far.
    pub async fn crashed(&self) -> anyhow::Result<()> {
        eventually("the controller is killed at the chosen moment", async || {
            self.controller.crashed()
        })
        .await
    }

    /// Removes the controller's database; its master key stays.
    ///
    /// # Errors
    /// If there is none, or a file cannot be removed.
    pub fn remove_database(&self) -> anyhow::Result<()> {
        let mut removed = 0;
        for entry in fs::read_dir(self.path("controller"))? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b"controller.db") {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        ensure!(removed > 0, "there was no database");
        Ok(())
    }

    /// A connection to the controller's database that only reads.
    ///
    /// # Errors
    /// If it does not open.
    pub fn database(&self) -> anyhow::Result<rusqlite::Connection> {
        let path = self.path("controller/controller.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(rusqlite::Connection::open_with_flags(path, flags)?)
    }

    /// How many intents of the journal are open.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn open_intents(&self) -> anyhow::Result<i64> {
        let question = "SELECT count(*) FROM intent WHERE state NOT IN ('verified', 'aborted')";
        Ok(self.database()?.query_row(question, [], |row| row.get(0))?)
    }

    /// A path inside the world's folder.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.as_ref().map_or_else(PathBuf::new, |folder| folder.path().join(inside))
    }

    /// The profiles of this world's operators.
    #[must_use]
    pub fn profiles_file(&self) -> PathBuf {
        self.path("profiles.toml")
    }

    /// The context file for `vaultctl`.
    #[must_use]
    pub fn context_file(&self) -> PathBuf {
        self.path("controller/config.yaml")
    }

    /// Everything that the controller logged.
    ///
    /// # Errors
    /// If there is no log.
    pub fn controller_log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.path("controller.log"))?)
    }

    /// Writes a manifest into the watched folder, at once.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_manifest(&self, name: &str, text: impl AsRef<[u8]>) -> anyhow::Result<PathBuf> {
        let path = self.path("manifests").join(name);
        let draft = self.path("manifests").join(format!(".{name}.draft"));
        fs::write(&draft, text)?;
        fs::rename(&draft, &path)?;
        Ok(path)
    }

    /// Removes a manifest from the watched folder.
    ///
    /// # Errors
    /// If it is not there.
    pub fn remove_manifest(&self, name: &str) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path("manifests").join(name))?)
    }

    /// Writes a file that nobody watches.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_file(&self, name: &str, text: impl AsRef<[u8]>) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Runs `vaultctl` against the controller.
    ///
    /// # Errors
    /// If it cannot be run, or does not end.
    pub async fn vaultctl(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        program::run(&mut self.vaultctl_command(arguments)?).await
    }

    /// `vaultctl` against the controller, for stories that hold its streams; killed when dropped.
    ///
    /// # Errors
    /// If the programs cannot be built.
    pub fn vaultctl_command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(&binaries()?.vaultctl);
        command
            .args(arguments)
            .current_dir(self.path(""))
            .env("VAULTCTL_CONFIG", self.context_file())
            .env("VAULTCTL_PROFILES", self.profiles_file())
            .env("NO_COLOR", "1")
            .kill_on_drop(true);
        Ok(command)
    }

    /// A client of the resource API.
    ///
    /// # Errors
    /// If the controller was not started.
    pub fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the controller was not started")
    }

    /// Ends everything and removes the folder: to be called when all went well.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.controller.kill();
        self.stop_platform().await;
        match self.folder.take() {
            Some(folder) => Ok(folder.close()?),
            None => Ok(()),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.controller.kill();
        if let Some(folder) = self.folder.take() {
            let kept = folder.keep();
            #[allow(clippy::print_stderr, reason = "the way to a failed test's logs")]
            {
                eprintln!("not finished: its logs and state are kept in {}", kept.display());
            }
        }
    }
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}
