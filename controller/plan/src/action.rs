//! What a plan asks for: each action is one call to the platform, complete in itself.

mod kind;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault_api::tenant::SecretFrom;

pub use crate::bucket::{
    BucketRef, CreateAccessKey, PutBucketPolicy, RemoveBucketPolicy, RevokeAccessKey,
};
use crate::config::{HASH_VERSION, SpecHash};
use crate::desired::{DesiredSecret, StorageValue};
use crate::identity::TenantUid;
use crate::metadata::{self, OwnMarks};
use crate::report::Report;
pub use crate::token::{MintToken, RevokeToken};
use crate::tombstone::TombstoneChanges;
pub use kind::ActionKind;

/// What to do, in order, and what is left undone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The actions of one tenant stand together and are carried out one after the other; those of
    /// different tenants may run side by side.
    pub actions: Vec<PlannedAction>,
    /// What would be done for tenants whose `reconcile` is `Paused`, and what would correct others'
    /// changes where `driftPolicy` is `Report`. Never carried out.
    pub withheld: Vec<PlannedAction>,
    /// Apps that were there before and are about to get a volume, or would if it were certain that
    /// they have none of that name. Whoever carries the plan out first asks each for its own list
    /// of volumes, and plans again with what it says.
    pub to_confirm: BTreeSet<AppPlace>,
    /// Why each tenant is not there yet.
    pub report: Report,
    /// What is to be written of tombstones, durably, before any action is carried out.
    pub tombstones: TombstoneChanges,
    /// Tenants that nobody knows any more and whose credentials are left, by their names.
    pub leftovers: BTreeSet<String>,
}

/// An app, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppPlace {
    /// The organization's slug.
    pub organization: Arc<str>,
    /// The app's name.
    pub app: String,
}

/// One action, for whom, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedAction {
    /// The tenant that it serves.
    pub tenant: Arc<str>,
    /// The organization's slug.
    pub organization: Arc<str>,
    /// The app that it happens in.
    pub app: String,
    /// What to do.
    pub action: Action,
    /// Why, as a sentence.
    pub reason: String,
}

/// One call to the platform.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create the tenant's app.
    CreateApp,
    /// Set an app secret of the tenant.
    SetSecret(SetSecret),
    /// Remove an app secret that we set.
    RemoveSecret(RemoveSecret),
    /// Create a volume that nothing is attached to yet.
    CreateVolume(CreateVolume),
    /// Make a volume larger.
    ExtendVolume(ExtendVolume),
    /// Begin a snapshot of a volume.
    SnapshotVolume(SnapshotVolume),
    /// Create a machine.
    CreateMachine(CreateMachine),
    /// Give a machine a new config; a running machine restarts.
    UpdateMachine(UpdateMachine),
    /// Start a machine that is not running.
    StartMachine(MachineRef),
    /// Stop a machine, with time for its programs to end.
    StopMachine(MachineRef),
    /// Suspend a machine: its memory is kept, and it starts where it left off.
    SuspendMachine(MachineRef),
    /// Destroy a machine. Its volume stays.
    DeleteMachine(MachineRef),
    /// Mint a deploy token, whose value is shown once.
    MintToken(MintToken),
    /// Revoke a deploy token.
    RevokeToken(RevokeToken),
    /// Delete a volume whose tombstone has matured.
    DeleteVolume(DeleteVolume),
    /// Delete an app that holds nothing, and whose tenant's tombstone has matured.
    DeleteApp,
    /// Create a bucket.
    CreateBucket(BucketRef),
    /// Make the tenant's access key, whose secret is shown once.
    CreateAccessKey(CreateAccessKey),
    /// Delete an access key.
    RevokeAccessKey(RevokeAccessKey),
    /// Say what an access key opens.
    PutBucketPolicy(PutBucketPolicy),
    /// Let the tenant's access keys open nothing.
    RemoveBucketPolicy(RemoveBucketPolicy),
    /// Delete objects of a bucket whose tombstone has matured, a bounded number.
    EmptyBucket(BucketRef),
    /// Delete a bucket whose tombstone has matured, and that is empty.
    DeleteBucket(BucketRef),
}

/// A volume to be deleted for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteVolume {
    /// Fly's id.
    pub id: String,
    /// The derived name, which it must still have.
    pub name: String,
}

/// An app secret to be set. The value is derived when the call is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSecret {
    /// Its name in the app.
    pub name: Arc<str>,
    /// The environment variable in the machines.
    pub variable: Arc<str>,
    /// The hash of its value; see [`crate::desired::DesiredSecret::hash`].
    pub hash: String,
    /// Whose secret it is.
    pub tenant_uid: TenantUid,
    /// Where its value comes from, if the manifest says; else it is derived.
    pub from: Option<SecretFrom>,
    /// What of the tenant's storage it holds, if it does.
    pub storage: Option<StorageValue>,
}

/// An app secret that the manifest no longer names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveSecret {
    /// Its name in the app.
    pub name: Arc<str>,
}

/// A volume to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateVolume {
    /// The derived name.
    pub name: String,
    /// The region code.
    pub region: Arc<str>,
    /// Size in gigabytes.
    pub size_gb: u32,
    /// The machine that it is for.
    pub machine: String,
    /// The snapshot whose data it begins with.
    pub snapshot: Option<String>,
    /// A volume of the same name in another app, which the tenant leaves behind with its data.
    pub left_behind: Option<LeftBehind>,
}

/// A volume that a tenant had in an app that its manifest no longer names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// Fly's id.
    pub id: String,
    /// The app that it is in.
    pub app: String,
}

/// A volume to be made larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendVolume {
    /// Fly's id.
    pub id: String,
    /// The derived name.
    pub name: String,
    /// Its size now, in gigabytes.
    pub from_gb: u32,
    /// Its size to be, in gigabytes.
    pub size_gb: u32,
    /// The machine that holds it.
    pub machine: MachineRef,
    /// Whether the machine says with what size it started; see [`metadata::VOLUME_GB`].
    pub is_marked: bool,
}

impl ExtendVolume {
    /// What the machine's [`metadata::VOLUME_GB`] is to say afterwards, if it has to change: it
    /// differs from the volume's size for as long as the machine has to start anew.
    #[must_use]
    pub fn mark(&self, needs_restart: bool) -> Option<u32> {
        match (needs_restart, self.is_marked) {
            (false, _) => Some(self.size_gb),
            (true, false) => Some(self.from_gb),
            (true, true) => None,
        }
    }
}

/// A volume of which a snapshot is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotVolume {
    /// Fly's id.
    pub id: String,
    /// The derived name.
    pub name: String,
    /// The name of the machine that holds it.
    pub machine: String,
}

/// A machine to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateMachine {
    /// `TENANT-GROUP-INDEX`.
    pub name: String,
    /// The region code.
    pub region: Arc<str>,
    /// Its config, but for the volume's id and the intent.
    pub config: MachineConfig,
    /// Leave it stopped.
    pub skip_launch: bool,
    /// The version of the app's secrets that its host has to know; `None` if it is not known yet,
    /// which an earlier action of the same plan may change.
    pub min_secrets_version: Option<u64>,
}

/// A machine's new config.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateMachine {
    /// Which machine.
    pub machine: MachineRef,
    /// Its config, but for the intent.
    pub config: MachineConfig,
    /// The `instance_id` that the plan was made for: the platform refuses the update if it is no
    /// longer the machine's.
    pub current_version: Option<String>,
    /// Leave it stopped.
    pub skip_launch: bool,
    /// As for a machine that is created.
    pub min_secrets_version: Option<u64>,
}

/// An existing machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineRef {
    /// Fly's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The `instance_id` that the plan was made for, if it was seen.
    pub version: Option<String>,
}

/// Where a machine's volume comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// It exists; this is its id.
    Existing(String),
    /// The same plan creates it under this name, before the machine.
    Planned(String),
}

/// The config of a machine, whole but for what is known only when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineConfig {
    config: Map<String, Value>,
    /// The volume to put into `mounts[0].volume`.
    pub volume: Option<VolumeSource>,
}

impl MachineConfig {
    /// Adds our marks to a rendered config.
    pub(crate) fn new(
        mut config: Map<String, Value>,
        own: OwnMarks<'_>,
        hash: SpecHash,
        volume: Option<VolumeSource>,
        volume_gb: Option<u32>,
    ) -> Self {
        let keys: Vec<String> = match config.get("metadata") {
            Some(Value::Object(members)) => members.keys().cloned().collect(),
            _ => Vec::new(),
        };
        if !keys.is_empty() {
            set_metadata(&mut config, metadata::METADATA_KEYS, json!(keys).to_string());
        }
        for (key, value) in [
            (metadata::CONTROLLER, own.controller.to_owned()),
            (metadata::TENANT, own.tenant.to_owned()),
            (metadata::SPEC_HASH, hash.to_string()),
            (metadata::HASH_VERSION, HASH_VERSION.to_owned()),
        ] {
            set_metadata(&mut config, key, value);
        }
        if !own.secret_hash.is_empty() {
            set_metadata(&mut config, metadata::SECRET_HASH, own.secret_hash.to_owned());
        }
        if let Some(volume_gb) = volume_gb {
            set_metadata(&mut config, metadata::VOLUME_GB, volume_gb.to_string());
        }
        Self { config, volume }
    }

    /// Lets the machine's process see the tenant's own secrets, and none of the others of the app.
    /// What `init` runs is moved into the process, of which the platform does not say that it runs
    /// what stands there.
    pub(crate) fn see_only(&mut self, secrets: &[DesiredSecret]) {
        see_only(&mut self.config, secrets);
    }

    /// Keeps a metadata entry that somebody else wrote on the machine.
    pub(crate) fn keep_metadata(&mut self, key: &str, value: &str) {
        set_metadata(&mut self.config, key, value.to_owned());
    }

    /// The hash of the rendered config, as the machine will carry it.
    #[must_use]
    pub fn spec_hash(&self) -> Option<&str> {
        self.config.get("metadata")?.get(metadata::SPEC_HASH)?.as_str()
    }

    /// The config to send: with the intent that writes it and the id of the volume to mount.
    #[must_use]
    pub fn complete(mut self, intent: &str, volume_id: Option<&str>) -> Map<String, Value> {
        set_metadata(&mut self.config, metadata::INTENT, intent.to_owned());
        let mount = self
            .config
            .get_mut("mounts")
            .and_then(|mounts| mounts.get_mut(0))
            .and_then(Value::as_object_mut);
        if let (Some(mount), Some(id)) = (mount, volume_id) {
            mount.insert("volume".to_owned(), Value::String(id.to_owned()));
        }
        self.config
    }
}

/// See [`MachineConfig::see_only`].
pub(crate) fn see_only(config: &mut Map<String, Value>, secrets: &[DesiredSecret]) {
    let mut process = Map::new();
    if let Some(Value::Object(init)) = config.get_mut("init") {
        for member in ["exec", "entrypoint", "cmd"] {
            process.extend(init.remove_entry(member));
        }
    }
    let secrets: Vec<Value> = secrets
        .iter()
        .map(|secret| json!({ "env_var": &*secret.variable, "name": &*secret.name }))
        .collect();
    process.insert("ignore_app_secrets".to_owned(), true.into());
    process.insert("secrets".to_owned(), secrets.into());
    config.insert("processes".to_owned(), json!([process]));
}

fn set_metadata(config: &mut Map<String, Value>, key: &str, value: String) {
    let metadata = config.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert(key.to_owned(), Value::String(value));
    }
}

impl Action {
    /// The action's name, as people and programs read it.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::CreateApp => ActionKind::CreateApp,
            Self::SetSecret(_) => ActionKind::SetSecret,
            Self::RemoveSecret(_) => ActionKind::RemoveSecret,
            Self::CreateVolume(_) => ActionKind::CreateVolume,
            Self::ExtendVolume(_) => ActionKind::ExtendVolume,
            Self::SnapshotVolume(_) => ActionKind::SnapshotVolume,
            Self::CreateMachine(_) => ActionKind::CreateMachine,
            Self::UpdateMachine(_) => ActionKind::UpdateMachine,
            Self::StartMachine(_) => ActionKind::StartMachine,
            Self::StopMachine(_) => ActionKind::StopMachine,
            Self::SuspendMachine(_) => ActionKind::SuspendMachine,
            Self::DeleteMachine(_) => ActionKind::DeleteMachine,
            Self::MintToken(_) => ActionKind::MintToken,
            Self::RevokeToken(_) => ActionKind::RevokeToken,
            Self::DeleteVolume(_) => ActionKind::DeleteVolume,
            Self::DeleteApp => ActionKind::DeleteApp,
            Self::CreateBucket(_) => ActionKind::CreateBucket,
            Self::CreateAccessKey(_) => ActionKind::CreateAccessKey,
            Self::RevokeAccessKey(_) => ActionKind::RevokeAccessKey,
            Self::PutBucketPolicy(_) => ActionKind::PutBucketPolicy,
            Self::RemoveBucketPolicy(_) => ActionKind::RemoveBucketPolicy,
            Self::EmptyBucket(_) => ActionKind::EmptyBucket,
            Self::DeleteBucket(_) => ActionKind::DeleteBucket,
        }
    }
}

impl PlannedAction {
    /// What is acted on, by kind and name: `machine acme-box-0`.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.action {
            Action::CreateApp | Action::DeleteApp => format!("app {}", self.app),
            Action::DeleteVolume(volume) => format!("volume {} ({})", volume.name, volume.id),
            Action::SetSecret(secret) => format!("secret {} of app {}", secret.name, self.app),
            Action::RemoveSecret(secret) => format!("secret {} of app {}", secret.name, self.app),
            Action::CreateVolume(volume) => {
                format!("volume {} of {}", volume.name, volume.machine)
            }
            Action::ExtendVolume(volume) => {
                format!("volume {} of {}", volume.name, volume.machine.name)
            }
            Action::SnapshotVolume(volume) => {
                format!("snapshot of volume {} of {}", volume.name, volume.machine)
            }
            Action::MintToken(token) => token.target(),
            Action::RevokeToken(token) => token.target(),
            Action::CreateBucket(bucket)
            | Action::EmptyBucket(bucket)
            | Action::DeleteBucket(bucket) => format!("bucket {}", bucket.bucket),
            Action::CreateAccessKey(key) => format!("access key {}", key.platform_name),
            Action::RevokeAccessKey(key) => format!("access key {}", key.platform_name),
            Action::PutBucketPolicy(policy) => format!("policy {}", policy.name),
            Action::RemoveBucketPolicy(policy) => format!("policy {}", policy.name),
            _ => format!("machine {}", self.external_name()),
        }
    }

    /// The name of the resource at the platform.
    #[must_use]
    pub fn external_name(&self) -> &str {
        match &self.action {
            Action::CreateApp | Action::DeleteApp => &self.app,
            Action::DeleteVolume(volume) => &volume.name,
            Action::SetSecret(secret) => &secret.name,
            Action::RemoveSecret(secret) => &secret.name,
            Action::CreateVolume(volume) => &volume.name,
            Action::ExtendVolume(volume) => &volume.name,
            Action::SnapshotVolume(volume) => &volume.name,
            Action::CreateMachine(machine) => &machine.name,
            Action::UpdateMachine(update) => &update.machine.name,
            Action::StartMachine(machine)
            | Action::StopMachine(machine)
            | Action::SuspendMachine(machine)
            | Action::DeleteMachine(machine) => &machine.name,
            Action::MintToken(token) => &token.platform_name,
            Action::RevokeToken(token) => &token.platform_name,
            Action::CreateBucket(bucket)
            | Action::EmptyBucket(bucket)
            | Action::DeleteBucket(bucket) => &bucket.bucket,
            Action::CreateAccessKey(key) => &key.platform_name,
            Action::RevokeAccessKey(key) => &key.platform_name,
            Action::PutBucketPolicy(policy) => &policy.name,
            Action::RemoveBucketPolicy(policy) => &policy.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{own_marks, wanted};
    use vault_api::tenant::MachineState;

    #[test]
    fn a_machine_says_with_what_size_its_volume_was_when_it_started() {
        let extend = |is_marked| ExtendVolume {
            id: "vol_1".to_owned(),
            name: "v_data".to_owned(),
            from_gb: 1,
            size_gb: 3,
            machine: MachineRef { id: "machine".to_owned(), name: "box".to_owned(), version: None },
            is_marked,
        };
        assert_eq!(extend(false).mark(false), Some(3), "it sees the new size at once");
        assert_eq!(extend(true).mark(false), Some(3));
        assert_eq!(extend(false).mark(true), Some(1), "it is to start anew");
        assert_eq!(extend(true).mark(true), None, "it says so already");
    }

    #[test]
    fn a_config_to_send_carries_the_hash_of_what_is_wanted() {
        let machine = wanted(MachineState::Started);
        let hash = machine.spec_hash;
        let config = MachineConfig::new(Map::new(), own_marks(), hash, None, None);
        assert_eq!(config.spec_hash(), Some(&*machine.spec_hash.to_string()));
    }
}
