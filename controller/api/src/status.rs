//! What a tenant's status says: written by the controller after each pass that changed it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::Condition;
use crate::storage::BucketStatus;
use crate::tenant::DeletionPolicy;
use crate::tokens::TokenStatus;

/// The types of condition that the controller sets; all of them from a tenant's first pass on.
pub mod condition {
    /// Every machine is in its wanted state at the wanted spec.
    pub const READY: &str = "Ready";
    /// The last pass could read the platform, and nothing of this tenant was refused.
    pub const SYNCED: &str = "Synced";
    /// Something is being changed or waited for.
    pub const PROGRESSING: &str = "Progressing";
    /// Something is wrong that will not go away by waiting.
    pub const DEGRADED: &str = "Degraded";
    /// The app's name belongs to someone else.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// The tenant's `reconcile` is `Paused`: nothing is done for it. Set only while that is so.
    pub const PAUSED: &str = "Paused";
    /// A machine and its volume are on their way to another region. Set only while that is so.
    pub const RELOCATING: &str = "Relocating";
    /// Somebody else changed what the manifest says. Set only while that is so.
    pub const DRIFT_DETECTED: &str = "DriftDetected";
    /// The tenant came from a manifest file that is no longer there. Set only while that is so.
    pub const SOURCE_MISSING: &str = "SourceMissing";
}

/// What exists of a tenant, as last observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The `metadata.generation` that this status is about.
    pub observed_generation: i64,
    /// What holds, in sentences; `Ready` sums up.
    pub conditions: Vec<Condition>,
    /// Who owns the spec: `API`, or `folder FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The Fly organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The organization's id in its machines' identity tokens, if Fly has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    /// The Fly app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The app's id in its machines' identity tokens, if Fly has told it. A name can be taken again,
    /// an id cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// The machines, in the order of their names.
    #[serde(default)]
    pub machines: Vec<MachineStatus>,
    /// The volumes, in the order of their machines.
    #[serde(default)]
    pub volumes: Vec<VolumeStatus>,
    /// The deploy tokens, in the order of the manifest; never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenStatus>,
    /// The buckets, in the order of the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketStatus>,
    /// The number of the access key to the buckets: at Tigris it is called `vault/UID/N`. Absent until
    /// there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<u64>,
    /// The generations of spec and class, in one number, at which the tenant was last Ready: kept
    /// where `driftPolicy` is `Report`, because what differs later is somebody else's doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_revision: Option<i64>,
    /// How far the deletion has come. Set only while the tenant is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionStatus>,
}

/// How far a tenant's deletion has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionStatus {
    /// Which step it is at.
    pub stage: DeletionStage,
    /// The same as a sentence, with what is waited for.
    pub message: String,
}

/// The steps of a tenant's deletion, in their order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DeletionStage {
    /// Machines still run: they are stopped, with time for their programs to end.
    StoppingMachines,
    /// Snapshots of volumes whose policy asks for one are made.
    Snapshotting,
    /// Machines are destroyed.
    RemovingMachines,
    /// Nothing is left but what is kept or has a tombstone.
    Tombstoned,
}

impl DeletionStage {
    /// The CamelCase word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::StoppingMachines => "StoppingMachines",
            Self::Snapshotting => "Snapshotting",
            Self::RemovingMachines => "RemovingMachines",
            Self::Tombstoned => "Tombstoned",
        }
    }
}

/// One machine, as last observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineStatus {
    /// `TENANT-GROUP-INDEX`.
    pub name: String,
    /// Fly's machine id; absent until the machine exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Fly's state: `created`, `started`, `stopped`, …; absent until the machine exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The region code.
    pub region: String,
    /// The machine's address inside the organization's private network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_ip: Option<String>,
    /// Fly's `instance_id`: new with each version of the machine's config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// In its wanted state at the wanted spec.
    pub ready: bool,
    /// It was taken down in order to be made anew, and is not ready yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replacing: bool,
    /// What the agent inside said when it was last asked. It is asked while the tenant is not
    /// Ready, so this may be older than the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What an agent said of itself, once it had proved which machine it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// It serves sessions.
    pub ready: bool,
    /// The agent's version; absent while it has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// New with each start of the agent: 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Why it is not ready, or why it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One volume, as last observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// The volume template's name.
    pub template: String,
    /// The derived name at Fly: `v_` and 12 characters.
    pub name: String,
    /// Fly's volume id; absent until the volume exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Fly's state of it: `created`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The name of the machine that it is for.
    pub machine: String,
    /// Size in gigabytes.
    pub size_gb: u32,
    /// What happens to it when its machine goes for good; `Retain` if absent.
    #[serde(default, skip_serializing_if = "is_retain")]
    pub deletion_policy: DeletionPolicy,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_retain(policy: &DeletionPolicy) -> bool {
    *policy == DeletionPolicy::Retain
}
