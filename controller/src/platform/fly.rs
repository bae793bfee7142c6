//! The platform that is Fly: the Machines API's answers in the planner's words.

mod buckets;
mod deletion;
mod storage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value};
use vault_cloud::counts::{Attempt, CallCounts, CallObserver};
use vault_cloud::error::CallError;
use vault_cloud::logs::{LogsClient, Tail};
use vault_cloud::machines::wire::{
    CreateApp, CreateMachine, CreateVolume, Machine, MachineRow, UpdateMachine, Volume,
};
use vault_cloud::machines::{ClientConfig, ClientError, Exit, MachinesClient, OrgMachines};
use vault_cloud::storage::StorageClient;
use vault_cloud::tokens::{NewToken, TokensClient};
use vault_plan::observed::{ObservedMachine, ObservedSnapshot, ObservedVolume, PlatformState};
use vault_plan::time::UnixMillis;

use super::{
    AppContents, AppList, AppOwner, Calls, DeployToken, Lease, MachineList, MachineUpdate,
    MintedToken, NewDeployToken, NewLease, NewMachine, NewVolume, Platform, SecretList, SecretSet,
    TokenList, VolumeList, WholeMachine, WrittenMachine,
};
use crate::record;

/// States of a volume that is on its way out: it counts as gone.
const DEPARTING_VOLUME_STATES: &[&str] = &[
    "scheduling_destroy",
    "pending_destroy",
    "waiting_for_detach",
    "destroying",
    "destroyed",
    "fork_cleanup",
];

/// Time for one attempt at reading a log: somebody waits for it, and nothing depends on it.
const LOGS_TIMEOUT: Duration = Duration::from_secs(5);

/// Fly, or an emulator of it, over HTTP.
pub struct FlyPlatform {
    client: MachinesClient,
    logs: LogsClient,
    tokens: TokensClient,
    storage: Option<StorageClient>,
    told: Arc<dyn CallObserver>,
    counts: Arc<CallCounts>,
}

impl FlyPlatform {
    /// Makes the clients, the second one for machines' logs at `logs_url`, the third one for deploy
    /// tokens at `graphql_url`; nothing is sent yet. An observer in `config` is told of the calls of
    /// all.
    ///
    /// # Errors
    /// If the address or the token cannot be used.
    pub fn new(
        mut config: ClientConfig,
        logs_url: String,
        graphql_url: String,
    ) -> Result<Self, ClientError> {
        let counts = Arc::new(CallCounts::default());
        let also = config.observer.take();
        let told: Arc<dyn CallObserver> = Arc::new(Told { counts: Arc::clone(&counts), also });
        config.observer = Some(Arc::clone(&told));
        let logs = ClientConfig { base_url: logs_url, timeout: LOGS_TIMEOUT, ..config.clone() };
        let tokens = ClientConfig { base_url: graphql_url, ..config.clone() };
        let (logs, tokens) = (LogsClient::new(logs)?, TokensClient::new(tokens)?);
        let client = MachinesClient::new(config)?;
        Ok(Self { client, logs, tokens, storage: None, told, counts })
    }
}

impl Platform for FlyPlatform {
    async fn organizations(&self) -> Result<Vec<String>, CallError> {
        self.client.token_organizations().await
    }

    async fn apps(&self, organization: &str) -> Result<AppList, CallError> {
        let list = self.client.list_apps(organization).await?;
        let mut apps = AppList { partial: list.is_partial(), ..AppList::default() };
        for app in list.apps {
            if let Some(number) = app.number {
                apps.ids.insert(app.name.clone(), number.to_string());
            }
            if let Some(count) = app.volume_count.filter(|&count| count > 0) {
                apps.volume_counts.insert(app.name.clone(), count);
            }
            let owner = app.organization.and_then(|organization| organization.number);
            apps.organization_id =
                apps.organization_id.or_else(|| owner.map(|number| number.to_string()));
            apps.names.push(app.name);
        }
        Ok(apps)
    }

    async fn machines(&self, organization: &str) -> Result<MachineList, CallError> {
        self.client.list_org_machines(organization).await.map(machine_list)
    }

    async fn machines_since(
        &self,
        organization: &str,
        since: UnixMillis,
    ) -> Result<MachineList, CallError> {
        // Before the calendar's beginning is before every change.
        let since = Timestamp::from_millisecond(since.0).unwrap_or(Timestamp::MIN);
        self.client.list_org_machines_since(organization, since).await.map(machine_list)
    }

    async fn volumes(&self, organization: &str) -> Result<VolumeList, CallError> {
        let list = self.client.list_org_volumes(organization).await?;
        let rows = list.volumes.into_iter().map(|row| (row.app_name, row.volume));
        Ok(volume_list(rows, list.undecodable.len()))
    }

    async fn machine(&self, app: &str, id: &str) -> Result<Option<ObservedMachine>, CallError> {
        match self.client.machine(app, id).await {
            Ok(machine) => {
                let machine = machine_of(app, machine);
                Ok((machine.state != PlatformState::Destroyed).then_some(machine))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn whole_machine(&self, app: &str, id: &str) -> Result<Option<WholeMachine>, CallError> {
        match self.client.machine(app, id).await {
            Ok(machine) => {
                let reached = machine.host_status.as_deref().is_none_or(|status| status == "ok");
                let config = machine.config.clone().filter(|_| reached);
                let machine = machine_of(app, machine);
                let exists = machine.state != PlatformState::Destroyed;
                Ok(exists.then_some(WholeMachine { machine, config }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn app_volumes(&self, app: &str) -> Result<VolumeList, CallError> {
        match self.client.list_app_volumes(app).await {
            Ok(list) => {
                let rows = list.volumes.into_iter().map(|volume| (app.to_owned(), volume));
                Ok(volume_list(rows, list.undecodable.len()))
            }
            Err(error) if error.is_not_found() => Ok(VolumeList::default()),
            Err(error) => Err(error),
        }
    }

    async fn volume(&self, app: &str, id: &str) -> Result<Option<ObservedVolume>, CallError> {
        match self.client.volume(app, id).await {
            Ok(volume) => Ok((!departing(&volume)).then(|| volume_of(app.to_owned(), volume))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn app_owner(&self, app: &str) -> Result<AppOwner, CallError> {
        match self.client.app(app).await {
            Ok(found) => Ok(found.organization.map_or(AppOwner::SomebodyElse, |organization| {
                AppOwner::Organization(organization.slug)
            })),
            Err(error) if error.is_not_found() => Ok(AppOwner::Nobody),
            Err(error) if error.is_forbidden() => Ok(AppOwner::SomebodyElse),
            Err(error) => Err(error),
        }
    }

    async fn secrets(&self, app: &str) -> Result<SecretList, CallError> {
        let list = self.client.secrets(app).await?;
        let digests = list.secrets.into_iter().map(|secret| (secret.name, secret.digest));
        Ok(SecretList { digests: digests.collect(), unreadable: list.undecodable.len() })
    }

    async fn set_secret(
        &self,
        app: &str,
        name: &str,
        value: &SecretString,
    ) -> Result<SecretSet, CallError> {
        let set = self.client.set_secret(app, name, value).await?;
        Ok(SecretSet { digest: set.digest, version: set.version })
    }

    async fn create_app(&self, organization: &str, app: &str) -> Result<(), CallError> {
        let create = CreateApp {
            name: app.to_owned(),
            org: organization.to_owned(),
            network: None,
            idempotency_key: None,
        };
        self.client.create_app(&create).await.map(|_| ())
    }

    async fn create_volume(&self, app: &str, volume: NewVolume) -> Result<String, CallError> {
        let create = CreateVolume {
            name: volume.name,
            region: volume.region,
            size_gb: u64::from(volume.size_gb),
            snapshot_id: volume.snapshot_id,
            ..CreateVolume::default()
        };
        self.client.create_volume(app, &create).await.map(|volume| volume.id)
    }

    async fn create_machine(
        &self,
        app: &str,
        machine: NewMachine,
    ) -> Result<WrittenMachine, CallError> {
        let create = CreateMachine {
            name: machine.name,
            region: machine.region,
            config: machine.config,
            skip_launch: machine.skip_launch,
            min_secrets_version: machine.min_secrets_version,
        };
        self.client.create_machine(app, &create).await.map(written)
    }

    async fn update_machine(
        &self,
        app: &str,
        id: &str,
        update: MachineUpdate,
    ) -> Result<WrittenMachine, CallError> {
        let update = UpdateMachine {
            config: update.config,
            current_version: update.current_version,
            skip_launch: update.skip_launch,
            min_secrets_version: update.min_secrets_version,
        };
        self.client.update_machine(app, id, &update).await.map(written)
    }

    async fn start_machine(&self, app: &str, id: &str) -> Result<(), CallError> {
        self.client.start_machine(app, id).await
    }

    async fn stop_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        self.client.stop_machine(app, id, lease).await
    }

    async fn suspend_machine(&self, app: &str, id: &str) -> Result<(), CallError> {
        self.client.suspend_machine(app, id).await
    }

    async fn set_metadata(
        &self,
        app: &str,
        id: &str,
        key: &str,
        value: &str,
    ) -> Result<(), CallError> {
        self.client.set_metadata(app, id, key, value).await
    }

    async fn extend_volume(&self, app: &str, id: &str, size_gb: u32) -> Result<bool, CallError> {
        let extended = self.client.extend_volume(app, id, u64::from(size_gb)).await?;
        Ok(extended.needs_restart)
    }

    async fn snapshots(&self, app: &str, volume: &str) -> Result<Vec<ObservedSnapshot>, CallError> {
        let list = self.client.volume_snapshots(app, volume).await?;
        let snapshots = list.snapshots.into_iter().map(|snapshot| ObservedSnapshot {
            id: snapshot.id,
            status: snapshot.status.unwrap_or_default(),
            created_at: snapshot.created_at.map(millis),
        });
        Ok(snapshots.collect())
    }

    async fn create_snapshot(&self, app: &str, volume: &str) -> Result<(), CallError> {
        self.client.create_snapshot(app, volume).await
    }

    async fn delete_secret(&self, app: &str, name: &str) -> Result<Option<u64>, CallError> {
        Ok(self.client.delete_secret(app, name).await?.version)
    }

    async fn delete_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        self.client.delete_machine(app, id, false, lease).await
    }

    async fn delete_volume(&self, app: &str, id: &str) -> Result<(), CallError> {
        self.client.delete_volume(app, id).await
    }

    async fn app_contents(&self, app: &str) -> Result<Option<AppContents>, CallError> {
        deletion::app_contents(&self.client, app).await
    }

    async fn delete_app(&self, app: &str) -> Result<(), CallError> {
        self.client.delete_app(app).await
    }

    async fn exits(&self, app: &str, id: &str) -> Result<Vec<Exit>, CallError> {
        let events = self.client.machine_events(app, id).await?;
        Ok(events.iter().filter_map(Exit::of_event).collect())
    }

    async fn log_tail(
        &self,
        app: &str,
        id: &str,
        region: &str,
        count: usize,
    ) -> Result<Tail, CallError> {
        self.logs.tail(app, id, region, count).await
    }

    async fn tokens(&self, organization: &str) -> Result<TokenList, CallError> {
        let list = self.tokens.list(organization).await?;
        let tokens = list.tokens.into_iter().map(|token| DeployToken {
            id: token.id,
            name: token.name,
            expires_at: token.expires_at.map(millis),
            revoked: token.revoked,
        });
        Ok(TokenList { tokens: tokens.collect(), unreadable: list.undecodable })
    }

    async fn mint_token(&self, app: &str, new: NewDeployToken) -> Result<MintedToken, CallError> {
        let new = NewToken { name: new.name, lifetime: new.lifetime };
        let minted = self.tokens.mint(app, &new).await?;
        let expires_at = minted.expires_at.map(millis);
        Ok(MintedToken { id: minted.id, value: minted.value, expires_at })
    }

    async fn revoke_token(&self, id: &str) -> Result<(), CallError> {
        self.tokens.revoke(id).await
    }

    fn calls(&self) -> Calls {
        Calls {
            reads: self.counts.reads(),
            secret_reads: self.counts.secret_reads(),
            writes: self.counts.writes(),
        }
    }

    async fn acquire_lease(
        &self,
        app: &str,
        id: &str,
        lease: NewLease,
    ) -> Result<Lease, CallError> {
        self.client.acquire_lease(app, id, &lease).await
    }

    async fn release_lease(&self, app: &str, id: &str, nonce: &str) -> Result<(), CallError> {
        self.client.release_lease(app, id, nonce).await
    }
}

/// Our own counters, and whoever else wants to be told.
struct Told {
    counts: Arc<CallCounts>,
    also: Option<Arc<dyn CallObserver>>,
}

impl CallObserver for Told {
    fn call(&self, attempt: &Attempt<'_>) {
        self.counts.call(attempt);
        record::note(attempt);
        if let Some(also) = &self.also {
            also.call(attempt);
        }
    }
}

fn written(machine: Machine) -> WrittenMachine {
    let version = machine.version().map(str::to_owned);
    WrittenMachine { id: machine.id, version }
}

fn machine_list(list: OrgMachines) -> MachineList {
    MachineList {
        machines: list.machines.into_iter().map(machine_of_row).collect(),
        error_regions: list.error_regions.into_iter().collect(),
        unreadable: list.undecodable.len(),
    }
}

fn machine_of_row(row: MachineRow) -> ObservedMachine {
    let config = row.config.unwrap_or_default();
    ObservedMachine {
        id: row.id,
        name: row.name,
        app: row.app_name,
        state: PlatformState::read(&row.state),
        region: row.region,
        version: row.version,
        private_ip: row.private_ip,
        image: config.image,
        guest: config.guest,
        metadata: config.metadata,
        updated_at: row.updated_at.map(millis),
    }
}

fn machine_of(app: &str, machine: Machine) -> ObservedMachine {
    let version = machine.version().map(str::to_owned);
    let config = machine.config.or(machine.incomplete_config).unwrap_or_default();
    ObservedMachine {
        id: machine.id,
        name: machine.name,
        app: app.to_owned(),
        state: PlatformState::read(&machine.state),
        region: machine.region,
        version,
        private_ip: machine.private_ip,
        image: config.get("image").and_then(Value::as_str).map(str::to_owned),
        guest: object(&config, "guest"),
        metadata: strings(&object(&config, "metadata")),
        updated_at: machine.updated_at.map(millis),
    }
}

fn object(config: &Map<String, Value>, name: &str) -> Map<String, Value> {
    config.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn strings(members: &Map<String, Value>) -> BTreeMap<String, String> {
    members
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn volume_of(app: String, volume: Volume) -> ObservedVolume {
    ObservedVolume {
        id: volume.id,
        name: volume.name,
        app,
        region: volume.region,
        size_gb: u32::try_from(volume.size_gb).unwrap_or(u32::MAX),
        state: volume.state,
        attached_machine: volume.attached_machine_id,
        created_at: volume.created_at.map(millis),
    }
}

fn volume_list(rows: impl Iterator<Item = (String, Volume)>, unreadable: usize) -> VolumeList {
    let mut list = VolumeList { unreadable, ..VolumeList::default() };
    for (app, volume) in rows {
        if departing(&volume) {
            list.departing.push(app);
        } else {
            list.volumes.push(volume_of(app, volume));
        }
    }
    list
}

fn departing(volume: &Volume) -> bool {
    DEPARTING_VOLUME_STATES.contains(&volume.state.as_str())
}

fn millis(timestamp: Timestamp) -> UnixMillis {
    UnixMillis(timestamp.as_millisecond())
}
