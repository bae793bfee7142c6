//! What tests share: a platform that does as it is told, a clock that is moved by hand, and
//! documents.

mod storage;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use vault_api::check::{Document, check};
use vault_cloud::error::{
    Answer, CallError, NotSent, NotSentReason, Rejection, RequestLine, Unknown, UnknownCause,
};
use vault_cloud::logs::{LogLine, Tail};
use vault_cloud::machines::Exit;
use vault_plan::action::ActionKind;
use vault_plan::identity::ControllerId;
use vault_plan::observed::{ObservedMachine, ObservedSnapshot, ObservedVolume, PlatformState};
use vault_plan::time::UnixMillis;

pub(crate) use storage::FakeStorage;

use crate::accept::{Decision, Writer, decide};
use crate::clock::Clock;
use crate::identity::{MasterKey, TenantSecrets};
use crate::platform::{
    AppContents, AppList, AppOwner, Calls, DeployToken, Lease, MachineList, MachineUpdate,
    MintedToken, NewDeployToken, NewLease, NewMachine, NewVolume, Platform, SecretList, SecretSet,
    TokenList, VolumeList, WholeMachine, WrittenMachine,
};
use crate::source::Source;
use crate::store::{IntentState, SqliteStore, Store, StoredObject};

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
/// The organization of all tests.
pub(crate) const ORG: &str = "local";

pub(crate) fn controller() -> ControllerId {
    ControllerId::from_bytes([7; 16])
}

/// What derives secrets from a master key of sevens.
pub(crate) fn tenant_secrets() -> Arc<TenantSecrets> {
    Arc::new(MasterKey::from_bytes([7; 32]).tenant_secrets())
}

pub(crate) fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(&folder.join("controller.db"), NOW).unwrap()
}

pub(crate) fn document(value: &Value) -> Document {
    check(value).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A tenant with one machine and one volume.
pub(crate) fn tenant(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1",
        "kind": "Tenant",
        "metadata": { "name": name },
        "spec": {
            "machines": [{
                "name": "box",
                "region": "ord",
                "config": {
                    "image": image,
                    "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
                    "mounts": [{ "volume": "data", "path": "/data" }],
                },
            }],
            "volumes": [{ "name": "data", "sizeGb": 1 }],
        },
    })
}

/// A class with one machine.
pub(crate) fn class(name: &str) -> Value {
    let machine = json!({ "name": "box", "region": "ord", "config": { "image": "nginx:1" } });
    json!({
        "apiVersion": "vaultctl.dev/v1",
        "kind": "TenantClass",
        "metadata": { "name": name },
        "spec": { "machines": [machine] },
    })
}

/// Stores a document as its source would.
pub(crate) async fn put(store: &SqliteStore, value: &Value, source: Source) -> StoredObject {
    let writer = Writer { source: &source, take_ownership: false, rehearsal: false };
    match decide(&document(value), None, writer, &controller(), NOW).unwrap() {
        Decision::Create(object) => store.put_object(object, None).await.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW.0)))
    }

    pub(crate) fn advance(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(i64::try_from(duration.as_millis()).unwrap());
    }
}

/// A clock on which whoever sleeps waits until it is moved far enough.
#[derive(Clone)]
pub(crate) struct SteppedClock(tokio::sync::watch::Sender<i64>);

impl SteppedClock {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::watch::Sender::new(NOW.0))
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.0.send_modify(|now| *now += i64::try_from(duration.as_millis()).unwrap());
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(*self.0.borrow())
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.now().plus_ms(i64::try_from(duration.as_millis()).unwrap());
        let mut moved = self.0.subscribe();
        // The sender lives as long as this clock.
        moved.wait_for(|now| *now >= until.0).await.unwrap();
    }
}

/// What exists, and what the lists show of it.
#[derive(Default)]
pub(crate) struct World {
    /// The first one has the id 1.
    pub(crate) apps: Vec<String>,
    /// Rows of the list of apps cannot be read.
    pub(crate) partial_apps: bool,
    /// How many certificates each app has.
    pub(crate) certificates: u64,
    pub(crate) machines: Vec<ObservedMachine>,
    /// Machines that are gone, as lists of changes still show them.
    pub(crate) destroyed: Vec<ObservedMachine>,
    pub(crate) volumes: Vec<ObservedVolume>,
    /// Ids that exist and that the organization's lists leave out.
    pub(crate) unlisted: BTreeSet<String>,
    /// Ids of volumes that the lists of their apps leave out as well.
    pub(crate) unlisted_in_app: BTreeSet<String>,
    pub(crate) error_regions: BTreeSet<String>,
    pub(crate) unreadable: usize,
    pub(crate) owner: Option<AppOwner>,
    /// Snapshots by the volumes' ids.
    pub(crate) snapshots: BTreeMap<String, Vec<ObservedSnapshot>>,
    /// Whether machines have to start anew to see that their volumes grew.
    pub(crate) extend_needs_restart: bool,
    /// What the platform's clock says when something is made; [`NOW`] at first.
    pub(crate) made_after_ms: i64,
    /// The snapshots that volumes were made from, by the volumes' ids.
    pub(crate) restored: BTreeMap<String, String>,
    /// Values and digests of secrets, by app and name.
    pub(crate) secrets: BTreeMap<(String, String), (String, String)>,
    /// Grows with every write of a secret.
    pub(crate) secrets_version: u64,
    /// How many rows of lists of secrets cannot be read.
    pub(crate) unreadable_secrets: usize,
    /// What machines that were made or updated had to wait for, in order.
    pub(crate) min_secrets_versions: Vec<Option<u64>>,
    /// How many volumes the list of apps counts, by app.
    pub(crate) volume_counts: BTreeMap<String, u64>,
    /// How programs ended, by the machines' ids, newest first.
    pub(crate) exits: HashMap<String, Vec<Exit>>,
    /// Whole configs, by the machines' ids.
    pub(crate) configs: BTreeMap<String, serde_json::Map<String, Value>>,
    /// What machines printed, by their ids, oldest first.
    pub(crate) logs: HashMap<String, Vec<LogLine>>,
    /// The log API takes requests and answers none.
    pub(crate) silent_logs: bool,
    /// Deploy tokens, revoked and ended ones too. The value of one is `FlyV1 fm2_ID`.
    pub(crate) tokens: Vec<DeployToken>,
    /// The list of tokens shows none, as lists have done.
    pub(crate) hides_tokens: bool,
    /// Object storage.
    pub(crate) storage: FakeStorage,
    /// The next write of this verb never ends; whether it acts all the same.
    pub(crate) hang: Option<(&'static str, bool)>,
    /// Writes of this verb wait for a permit each before they act.
    pub(crate) gate: Option<(&'static str, Arc<tokio::sync::Semaphore>)>,
    /// Errors that the next calls of a verb meet; the bool says whether the call acts all the same.
    failures: HashMap<&'static str, VecDeque<(CallError, bool)>>,
    /// Every call, as `verb name`.
    pub(crate) calls: Vec<String>,
    /// The calls about leases, and what was done under them.
    pub(crate) leases: Vec<String>,
    /// The open intents at the moment of each write.
    pub(crate) journal: Vec<Vec<(ActionKind, IntentState)>>,
}

impl World {
    /// What the platform's clock says.
    pub(crate) fn now(&self) -> UnixMillis {
        NOW.plus_ms(self.made_after_ms)
    }

    /// Destroys a machine, as anybody can who has the right to.
    pub(crate) fn destroy(&mut self, id: &str) {
        let now = self.now();
        for mut machine in self.machines.extract_if(.., |machine| machine.id == id) {
            machine.state = PlatformState::Destroyed;
            machine.updated_at = Some(now);
            self.destroyed.push(machine);
        }
        for volume in &mut self.volumes {
            volume.attached_machine.take_if(|holder| holder == id);
        }
    }

    /// All snapshots that were begun are done.
    pub(crate) fn finish_snapshots(&mut self) {
        for snapshot in self.snapshots.values_mut().flatten() {
            "created".clone_into(&mut snapshot.status);
        }
    }

    /// Sets a secret, as anybody can who has the right to.
    pub(crate) fn set_secret(&mut self, app: &str, name: &str, value: &str) -> SecretSet {
        self.secrets_version += 1;
        let digest = format!("digest-{}", self.secrets_version);
        let key = (app.to_owned(), name.to_owned());
        self.secrets.insert(key, (value.to_owned(), digest.clone()));
        SecretSet { digest: Some(digest), version: Some(self.secrets_version) }
    }
}

/// A platform in memory.
#[derive(Default)]
pub(crate) struct FakePlatform {
    world: Mutex<World>,
    store: Option<SqliteStore>,
    reads: AtomicU64,
    secret_reads: AtomicU64,
    writes: AtomicU64,
    /// Told when a write hangs.
    pub(crate) hung: tokio::sync::Notify,
}

impl FakePlatform {
    /// A platform that looks into the journal at each write.
    pub(crate) fn watching(store: &SqliteStore) -> Self {
        Self { store: Some(store.clone()), ..Self::default() }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Makes the next call of a verb fail. `acts` is whether it takes effect all the same.
    pub(crate) fn fail(&self, verb: &'static str, error: CallError, acts: bool) {
        self.world().failures.entry(verb).or_default().push_back((error, acts));
    }

    fn read(&self, call: String) -> Result<MutexGuard<'_, World>, CallError> {
        let verb = call.split(' ').next().unwrap_or_default().to_owned();
        let is_amortised = matches!(
            verb.as_str(),
            "secrets"
                | "tokens"
                | "buckets"
                | "access_keys"
                | "bucket"
                | "policy"
                | "attached_policies"
        );
        let counter = if is_amortised { &self.secret_reads } else { &self.reads };
        counter.fetch_add(1, Ordering::SeqCst);
        let mut world = self.world();
        world.calls.push(call);
        match world.failures.get_mut(verb.as_str()).and_then(VecDeque::pop_front) {
            Some((error, _)) => Err(error),
            None => Ok(world),
        }
    }

    async fn write<T>(
        &self,
        verb: &'static str,
        name: &str,
        act: impl FnOnce(&mut World) -> T,
    ) -> Result<T, CallError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let open = match &self.store {
            Some(store) => store.open_intents().await.unwrap(),
            None => Vec::new(),
        };
        let hangs = self.world().hang.take_if(|(hanging, _)| *hanging == verb);
        if let Some((_, acts)) = hangs {
            if acts {
                act(&mut self.world());
            }
            self.hung.notify_one();
            std::future::pending::<()>().await;
            unreachable!("what is pending never ends");
        }
        let gate = self.world().gate.clone().filter(|(gated, _)| *gated == verb);
        if let Some((_, gate)) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let mut world = self.world();
        world.journal.push(open.iter().map(|intent| (intent.kind, intent.state)).collect());
        world.calls.push(format!("{verb} {name}"));
        match world.failures.get_mut(verb).and_then(VecDeque::pop_front) {
            Some((error, acts)) => {
                if acts {
                    act(&mut world);
                }
                Err(error)
            }
            None => Ok(act(&mut world)),
        }
    }

    fn set_state(world: &mut World, id: &str, state: PlatformState) {
        let now = world.now();
        for machine in world.machines.iter_mut().filter(|machine| machine.id == id) {
            machine.state = state.clone();
            machine.updated_at = Some(now);
        }
    }
}

impl Platform for FakePlatform {
    async fn organizations(&self) -> Result<Vec<String>, CallError> {
        self.read("organizations".to_owned()).map(|_| vec![ORG.to_owned()])
    }

    async fn apps(&self, organization: &str) -> Result<AppList, CallError> {
        let world = self.read(format!("apps {organization}"))?;
        let ids = world.apps.iter().cloned().zip((1..).map(|number: u32| number.to_string()));
        Ok(AppList {
            names: world.apps.clone(),
            ids: ids.collect(),
            organization_id: Some("9".to_owned()),
            volume_counts: world.volume_counts.clone(),
            partial: world.partial_apps,
        })
    }

    async fn machines(&self, organization: &str) -> Result<MachineList, CallError> {
        let world = self.read(format!("machines {organization}"))?;
        let is_shown = |machine: &&ObservedMachine| {
            !world.unlisted.contains(&machine.id) && !world.error_regions.contains(&machine.region)
        };
        Ok(MachineList {
            machines: world.machines.iter().filter(is_shown).cloned().collect(),
            error_regions: world.error_regions.clone(),
            unreadable: world.unreadable,
        })
    }

    async fn machines_since(
        &self,
        organization: &str,
        since: UnixMillis,
    ) -> Result<MachineList, CallError> {
        let world = self.read(format!("machines_since {organization}"))?;
        let machines = world.machines.iter().chain(&world.destroyed);
        let moved = machines.filter(|machine| machine.updated_at.is_some_and(|at| at > since));
        Ok(MachineList {
            machines: moved.cloned().collect(),
            error_regions: world.error_regions.clone(),
            unreadable: world.unreadable,
        })
    }

    async fn volumes(&self, organization: &str) -> Result<VolumeList, CallError> {
        let world = self.read(format!("volumes {organization}"))?;
        let is_shown = |volume: &&ObservedVolume| !world.unlisted.contains(&volume.id);
        let volumes = world.volumes.iter().filter(is_shown).cloned().collect();
        Ok(VolumeList { volumes, ..VolumeList::default() })
    }

    async fn machine(&self, _: &str, id: &str) -> Result<Option<ObservedMachine>, CallError> {
        let world = self.read(format!("machine {id}"))?;
        Ok(world.machines.iter().find(|machine| machine.id == id).cloned())
    }

    async fn whole_machine(&self, _: &str, id: &str) -> Result<Option<WholeMachine>, CallError> {
        let world = self.read(format!("whole_machine {id}"))?;
        let machine = world.machines.iter().find(|machine| machine.id == id).cloned();
        let config = world.configs.get(id).cloned();
        Ok(machine.map(|machine| WholeMachine { machine, config }))
    }

    async fn app_volumes(&self, app: &str) -> Result<VolumeList, CallError> {
        let world = self.read(format!("app_volumes {app}"))?;
        let is_shown = |volume: &&ObservedVolume| {
            volume.app == app && !world.unlisted_in_app.contains(&volume.id)
        };
        let volumes = world.volumes.iter().filter(is_shown).cloned().collect();
        Ok(VolumeList { volumes, ..VolumeList::default() })
    }

    async fn volume(&self, _: &str, id: &str) -> Result<Option<ObservedVolume>, CallError> {
        let world = self.read(format!("volume {id}"))?;
        Ok(world.volumes.iter().find(|volume| volume.id == id).cloned())
    }

    async fn app_owner(&self, app: &str) -> Result<AppOwner, CallError> {
        let world = self.read(format!("app_owner {app}"))?;
        Ok(world.owner.clone().unwrap_or(AppOwner::Nobody))
    }

    async fn secrets(&self, app: &str) -> Result<SecretList, CallError> {
        let world = self.read(format!("secrets {app}"))?;
        let of_app = world.secrets.iter().filter(|((of, _), _)| of == app);
        let digests = of_app.map(|((_, name), (_, digest))| (name.clone(), digest.clone()));
        Ok(SecretList { digests: digests.collect(), unreadable: world.unreadable_secrets })
    }

    async fn set_secret(
        &self,
        app: &str,
        name: &str,
        value: &SecretString,
    ) -> Result<SecretSet, CallError> {
        let act = |world: &mut World| world.set_secret(app, name, value.expose_secret());
        self.write("set_secret", name, act).await
    }

    async fn create_app(&self, _: &str, app: &str) -> Result<(), CallError> {
        self.write("create_app", app, |world| world.apps.push(app.to_owned())).await
    }

    async fn create_volume(&self, app: &str, new: NewVolume) -> Result<String, CallError> {
        let name = new.name.clone();
        self.write("create_volume", &name, |world| {
            let id = format!("vol_{}", world.volumes.len());
            let mut made = volume(&id, &new.name, app);
            made.size_gb = new.size_gb;
            made.region = new.region;
            made.created_at = Some(world.now());
            world.restored.extend(new.snapshot_id.map(|snapshot| (id.clone(), snapshot)));
            world.volumes.push(made);
            id
        })
        .await
    }

    async fn create_machine(
        &self,
        app: &str,
        new: NewMachine,
    ) -> Result<WrittenMachine, CallError> {
        let name = new.name.clone();
        self.write("create_machine", &name, |world| {
            world.min_secrets_versions.push(new.min_secrets_version);
            let id = format!("{:014x}", world.machines.len() + 1);
            let mut made = machine(&id, &new.name, app);
            made.region = new.region;
            world.configs.insert(id.clone(), new.config.clone());
            let config = Value::Object(new.config);
            made.image = config["image"].as_str().map(str::to_owned);
            made.guest = config["guest"].as_object().cloned().unwrap_or_default();
            made.metadata = serde_json::from_value(config["metadata"].clone()).unwrap();
            if let Some(mounted) = config["mounts"][0]["volume"].as_str() {
                for volume in world.volumes.iter_mut().filter(|volume| volume.id == mounted) {
                    volume.attached_machine = Some(id.clone());
                }
            }
            let version = made.version.clone();
            world.machines.push(made);
            WrittenMachine { id, version }
        })
        .await
    }

    async fn update_machine(
        &self,
        _: &str,
        id: &str,
        new: MachineUpdate,
    ) -> Result<WrittenMachine, CallError> {
        self.write("update_machine", id, |world| {
            world.min_secrets_versions.push(new.min_secrets_version);
            let version = Some(format!("01V{}", world.calls.len()));
            world.configs.insert(id.to_owned(), new.config.clone());
            for machine in world.machines.iter_mut().filter(|machine| machine.id == id) {
                let config = Value::Object(new.config.clone());
                machine.version.clone_from(&version);
                machine.image = config["image"].as_str().map(str::to_owned);
                machine.metadata = serde_json::from_value(config["metadata"].clone()).unwrap();
            }
            WrittenMachine { id: id.to_owned(), version }
        })
        .await
    }

    async fn start_machine(&self, _: &str, id: &str) -> Result<(), CallError> {
        let act = |world: &mut World| Self::set_state(world, id, PlatformState::Started);
        self.write("start_machine", id, act).await
    }

    async fn stop_machine(&self, _: &str, id: &str, lease: Option<&str>) -> Result<(), CallError> {
        self.world().leases.push(format!("stop {id} {}", lease.unwrap_or("without")));
        let act = |world: &mut World| Self::set_state(world, id, PlatformState::Stopped);
        self.write("stop_machine", id, act).await
    }

    async fn suspend_machine(&self, _: &str, id: &str) -> Result<(), CallError> {
        let act = |world: &mut World| Self::set_state(world, id, PlatformState::Suspended);
        self.write("suspend_machine", id, act).await
    }

    async fn set_metadata(
        &self,
        _: &str,
        id: &str,
        key: &str,
        value: &str,
    ) -> Result<(), CallError> {
        self.write("set_metadata", &format!("{id} {key}={value}"), |world| {
            for machine in world.machines.iter_mut().filter(|machine| machine.id == id) {
                machine.metadata.insert(key.to_owned(), value.to_owned());
            }
        })
        .await
    }

    async fn extend_volume(&self, _: &str, id: &str, size_gb: u32) -> Result<bool, CallError> {
        self.write("extend_volume", id, |world| {
            for volume in world.volumes.iter_mut().filter(|volume| volume.id == id) {
                assert!(volume.size_gb < size_gb, "volumes only grow");
                volume.size_gb = size_gb;
            }
            world.extend_needs_restart
        })
        .await
    }

    async fn snapshots(&self, _: &str, volume: &str) -> Result<Vec<ObservedSnapshot>, CallError> {
        let world = self.read(format!("snapshots {volume}"))?;
        Ok(world.snapshots.get(volume).cloned().unwrap_or_default())
    }

    async fn create_snapshot(&self, _: &str, volume: &str) -> Result<(), CallError> {
        self.write("create_snapshot", volume, |world| {
            let created_at = Some(world.now());
            let snapshots = world.snapshots.entry(volume.to_owned()).or_default();
            let id = format!("vs_{}", snapshots.len());
            snapshots.push(ObservedSnapshot { id, status: "pending".to_owned(), created_at });
        })
        .await
    }

    async fn delete_secret(&self, app: &str, name: &str) -> Result<Option<u64>, CallError> {
        let key = (app.to_owned(), name.to_owned());
        self.write("delete_secret", name, |world| {
            world.secrets.remove(&key);
            world.secrets_version += 1;
            Some(world.secrets_version)
        })
        .await
    }

    async fn delete_machine(
        &self,
        _: &str,
        id: &str,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        self.world().leases.push(format!("destroy {id} {}", lease.unwrap_or("without")));
        self.write("delete_machine", id, |world| world.destroy(id)).await
    }

    async fn acquire_lease(&self, _: &str, id: &str, new: NewLease) -> Result<Lease, CallError> {
        let mut world = self.world();
        assert!(new.ttl <= 15 && new.description.len() == 26, "{new:?}");
        world.leases.push(format!("acquire {id}"));
        if let Some((error, _)) =
            world.failures.get_mut("acquire_lease").and_then(VecDeque::pop_front)
        {
            return Err(error);
        }
        let machine = world.machines.iter().find(|machine| machine.id == id);
        let version = machine.and_then(|machine| machine.version.clone());
        Ok(Lease { nonce: "n1".to_owned(), version })
    }

    async fn release_lease(&self, _: &str, id: &str, nonce: &str) -> Result<(), CallError> {
        let mut world = self.world();
        world.leases.push(format!("release {id} {nonce}"));
        match world.failures.get_mut("release_lease").and_then(VecDeque::pop_front) {
            Some((error, _)) => Err(error),
            None => Ok(()),
        }
    }

    async fn tokens(&self, organization: &str) -> Result<TokenList, CallError> {
        let world = self.read(format!("tokens {organization}"))?;
        let tokens = if world.hides_tokens { Vec::new() } else { world.tokens.clone() };
        Ok(TokenList { tokens, unreadable: 0 })
    }

    async fn mint_token(&self, app: &str, new: NewDeployToken) -> Result<MintedToken, CallError> {
        if !self.world().apps.iter().any(|known| known == app) {
            return Err(rejected(404, "Could not find App"));
        }
        let name = new.name.clone();
        self.write("mint_token", &name, |world| {
            let id = format!("lat_{}", world.tokens.len() + 1);
            let life = i64::try_from(new.lifetime.as_millis()).unwrap();
            let expires_at = Some(world.now().plus_ms(life));
            let token = DeployToken { id: id.clone(), name: new.name, expires_at, revoked: false };
            world.tokens.push(token);
            let value = SecretString::from(format!("FlyV1 fm2_{id}"));
            MintedToken { id, value, expires_at }
        })
        .await
    }

    async fn revoke_token(&self, id: &str) -> Result<(), CallError> {
        self.write("revoke_token", id, |world| {
            for token in world.tokens.iter_mut().filter(|token| token.id == id) {
                token.revoked = true;
            }
        })
        .await
    }

    async fn delete_volume(&self, _: &str, id: &str) -> Result<(), CallError> {
        let is_held =
            |volume: &ObservedVolume| volume.id == id && volume.attached_machine.is_some();
        if self.world().volumes.iter().any(is_held) {
            return Err(rejected(412, "volume is attached to a machine"));
        }
        let act = |world: &mut World| world.volumes.retain(|volume| volume.id != id);
        self.write("delete_volume", id, act).await
    }

    async fn app_contents(&self, app: &str) -> Result<Option<AppContents>, CallError> {
        let world = self.read(format!("app_contents {app}"))?;
        let count = |places: Vec<&str>| places.into_iter().filter(|place| *place == app).count();
        let machines = count(world.machines.iter().map(|machine| machine.app.as_str()).collect());
        let volumes = count(world.volumes.iter().map(|volume| volume.app.as_str()).collect());
        let is_there = world.apps.iter().any(|known| known == app);
        Ok(is_there.then(|| AppContents {
            organization: ORG.to_owned(),
            machines: machines as u64,
            volumes: volumes as u64,
            certificates: world.certificates,
            addresses: 0,
        }))
    }

    async fn delete_app(&self, app: &str) -> Result<(), CallError> {
        let act = |world: &mut World| {
            let is_in = |place: &str| place == app;
            assert!(!world.machines.iter().any(|machine| is_in(&machine.app)), "cascades");
            assert!(!world.volumes.iter().any(|volume| is_in(&volume.app)), "cascades");
            world.apps.retain(|known| known != app);
        };
        self.write("delete_app", app, act).await
    }

    async fn exits(&self, _: &str, id: &str) -> Result<Vec<Exit>, CallError> {
        let world = self.read(format!("exits {id}"))?;
        Ok(world.exits.get(id).cloned().unwrap_or_default())
    }

    async fn log_tail(&self, _: &str, id: &str, _: &str, count: usize) -> Result<Tail, CallError> {
        if self.world().silent_logs {
            self.read(format!("log {id}")).map(drop)?;
            std::future::pending::<()>().await;
        }
        let world = self.read(format!("log {id}"))?;
        let lines: Vec<_> = world.logs.get(id).into_iter().flatten().cloned().collect();
        let from = lines.len().saturating_sub(count);
        Ok(Tail { lines: lines[from..].to_vec(), is_longer: false })
    }

    fn calls(&self) -> Calls {
        Calls {
            reads: self.reads.load(Ordering::SeqCst),
            secret_reads: self.secret_reads.load(Ordering::SeqCst),
            writes: self.writes.load(Ordering::SeqCst),
        }
    }
}

/// A started machine without marks.
pub(crate) fn machine(id: &str, name: &str, app: &str) -> ObservedMachine {
    ObservedMachine {
        id: id.to_owned(),
        name: name.to_owned(),
        app: app.to_owned(),
        state: PlatformState::Started,
        region: "ord".to_owned(),
        version: Some("01V".to_owned()),
        private_ip: None,
        image: None,
        guest: serde_json::Map::new(),
        metadata: BTreeMap::new(),
        updated_at: Some(NOW),
    }
}

/// A free volume.
pub(crate) fn volume(id: &str, name: &str, app: &str) -> ObservedVolume {
    ObservedVolume {
        id: id.to_owned(),
        name: name.to_owned(),
        app: app.to_owned(),
        region: "ord".to_owned(),
        size_gb: 1,
        state: "created".to_owned(),
        attached_machine: None,
        created_at: None,
    }
}

fn request() -> RequestLine {
    RequestLine { method: Method::POST, path: "/v1/apps".to_owned() }
}

fn answer(status: u16, message: &str) -> Box<Answer> {
    Box::new(Answer {
        status: StatusCode::from_u16(status).unwrap(),
        fly_request_id: None,
        message: message.to_owned(),
        code: None,
        retry_after: None,
    })
}

/// The platform says no.
pub(crate) fn rejected(status: u16, message: &str) -> CallError {
    CallError::Rejected(Rejection { request: request(), answer: answer(status, message) })
}

/// The answer was lost.
pub(crate) fn unknown() -> CallError {
    let cause = UnknownCause::Timeout("30 s".into());
    CallError::Unknown(Unknown { request: request(), answer: None, cause })
}

/// The platform cannot be reached.
pub(crate) fn not_sent() -> CallError {
    let reason = NotSentReason::Connect("refused".into());
    CallError::NotSent(NotSent { request: request(), reason })
}
