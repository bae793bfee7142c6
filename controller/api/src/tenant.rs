//! Tenants and tenant classes, as people write them.
//!
//! A tenant's fields and its class's fields have one type, [`TenantSpec`]: what the tenant sets
//! wins. Which fields must be there is known only after the two are merged, so here nearly
//! everything is optional and [`crate::resolve`] asks for what is missing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::object::ObjectMeta;
use crate::status::TenantStatus;
use crate::storage::StorageSpec;
use crate::tokens::TokensSpec;

/// Most machine groups, and most volume templates, of one document: a tenant has a handful, and
/// the merge with its class compares each with each.
pub const GROUPS_MAX: usize = 100;
/// Most machines of one group, so that a slip of the finger does not order thousands.
pub const COUNT_MAX: u32 = 100;
/// Most vars of one document: a class is told apart by a handful.
pub const VARS_MAX: usize = 100;
/// The longest value of a var, in bytes. It may stand in many places of a config.
pub const VAR_BYTES_MAX: usize = 4096;
/// Most secrets of one document: the hash of each stands in the metadata of each machine.
pub const SECRETS_MAX: usize = 32;
/// What the environment variables that a manifest may name begin with.
pub const SECRET_ENV_PREFIX: &str = "VAULTCTL_SECRET_";
/// The largest volume of Fly, in gigabytes.
pub const VOLUME_SIZE_GB_MAX: u32 = 500;

/// One customer's machines and volumes, kept true by the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `Tenant`.
    pub kind: String,
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// What should exist.
    #[serde(default)]
    pub spec: TenantSpec,
    /// What exists: written by the controller, ignored when sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<TenantStatus>>,
}

/// What many tenants share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantClass {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `TenantClass`.
    pub kind: String,
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// What each tenant of this class gets unless it says otherwise.
    #[serde(default)]
    pub spec: TenantClassSpec,
}

/// What should exist for a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSpec {
    /// The tenant class to start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The slug of the Fly organization; the controller's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The tenant's Fly app: its name alone, or with `shared: true` for one that other tenants name
    /// too; the class's if absent, or else derived from the tenant's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppSetting>,
    /// Texts for the placeholders `{{vars.NAME}}` of machine configs, merged into the class's by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = VARS_MAX))]
    pub vars: BTreeMap<String, String>,
    /// Whether the controller acts: `Active`, or `Paused` to look and report only; `Active` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<ReconcileMode>,
    /// What is done about changes that somebody else made: `Correct`, or `Report` to leave them; `Correct` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
    /// App secrets whose values the controller reads from its environment or its `--secrets-dir`; if there are any, they
    /// replace the class's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SECRETS_MAX))]
    pub secrets: Vec<SecretEntry>,
    /// Tokens that the controller mints, keeps sealed and replaces before they end, merged into the
    /// class's by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokensSpec>,
    /// Buckets at Tigris, and one access key for all of them, which the tenant's machines find in their
    /// environment; merged into the class's by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StorageSpec")]
    pub storage: Option<StorageSpec>,
    /// How machines with volumes get to another region; refused if absent, for machine groups that do not say it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relocate: Option<Relocate>,
    /// Machine groups, merged into the class's by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = GROUPS_MAX))]
    pub machines: Vec<MachineGroup>,
    /// Volume templates, merged into the class's by name: one volume per machine that mounts it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = GROUPS_MAX))]
    pub volumes: Vec<VolumeTemplate>,
}

/// What a class gives to each of its tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantClassSpec {
    /// The slug of the Fly organization; the controller's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The Fly app that the tenants share: `{ name: NAME, shared: true }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppSetting>,
    /// Texts for the placeholders `{{vars.NAME}}` of machine configs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = VARS_MAX))]
    pub vars: BTreeMap<String, String>,
    /// Whether the controller acts: `Active`, or `Paused` to look and report only, for tenants that do not say it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<ReconcileMode>,
    /// What is done about changes that somebody else made: `Correct`, or `Report` to leave them, for tenants that do not say it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
    /// App secrets whose values the controller reads from its environment or its `--secrets-dir`, for
    /// tenants that name none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SECRETS_MAX))]
    pub secrets: Vec<SecretEntry>,
    /// Tokens that the controller mints for each tenant, keeps sealed and replaces before they end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokensSpec>,
    /// Buckets at Tigris that each tenant gets of its own, and one access key for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StorageSpec")]
    pub storage: Option<StorageSpec>,
    /// How machines with volumes get to another region; refused if absent, for machine groups that do not say it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relocate: Option<Relocate>,
    /// Machine groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = GROUPS_MAX))]
    pub machines: Vec<MachineGroup>,
    /// Volume templates: one volume per machine that mounts it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = GROUPS_MAX))]
    pub volumes: Vec<VolumeTemplate>,
}

/// A tenant's Fly app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AppSetting {
    /// The app's name. No other tenant may name it.
    Name(String),
    /// The app's name, and whether tenants share it.
    Named(NamedApp),
}

/// An app that tenants may share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedApp {
    /// The app's name: at most 63 lower-case letters, digits and dashes.
    pub name: String,
    /// Whether other tenants of the same organization, which say so too, have machines in it; `false` if absent.
    #[serde(default)]
    pub shared: bool,
}

impl AppSetting {
    /// The app's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Named(NamedApp { name, .. }) => name,
        }
    }

    /// Whether other tenants may have machines in it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Named(NamedApp { shared: true, .. }))
    }
}

/// Whether the controller acts on a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReconcileMode {
    /// Look, report and act.
    #[default]
    Active,
    /// Look and report, with what would be done; touch nothing, not even to delete the tenant.
    Paused,
}

/// What is done about what differs from the manifest because somebody else changed it.
///
/// A tenant reached its manifest when it was Ready at the present generation of its spec and of its
/// class. From then on these count as changed by somebody else: members of a machine's config, its
/// state (also when its program ended by itself), a machine or an app that was there and is gone, a
/// machine too many with the tenant's marks, an app secret that was set or removed by hand. A change of the
/// manifest is carried out under either policy, and writes the whole config of the machines that it
/// changes; so are a new value of a secret's source, a larger volume and the tenant's deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// It is brought back to what the manifest says, within the disruption budget.
    #[default]
    Correct,
    /// It is told (condition `DriftDetected`, an event, the plan) and left as it is. A controller
    /// that lost its database corrects once, because it cannot tell that the manifest was reached.
    Report,
}

/// One app secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretEntry {
    /// The environment variable in the machines: letters, digits and underscores.
    pub name: String,
    /// Where its value comes from.
    pub from: SecretFrom,
}

/// Where the value of a secret comes from: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretFrom {
    /// An environment variable of the controller; its name begins with `VAULTCTL_SECRET_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// A file beneath the controller's `--secrets-dir`, by its relative path. One line break at its
    /// end is not part of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Machines that are alike: `count` of them, numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineGroup {
    /// Unique within the tenant: 1 to 20 lower-case letters, digits and dashes, beginning with a
    /// letter and ending with a letter or digit.
    pub name: String,
    /// A Fly region code such as `ord`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How many machines; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = COUNT_MAX))]
    pub count: Option<u32>,
    /// Whether the machines run; `Started` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MachineState>,
    /// How machines with volumes get to another region; refused if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relocate: Option<Relocate>,
    /// Fly's machine config, verbatim (`snake_case`, members that vaultctl does not know are passed
    /// through). `{{tenant}}`, `{{index}}` and `{{vars.NAME}}` in its strings are replaced.
    /// `mounts[].volume` names a volume of this manifest.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

/// The state that a machine should be in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MachineState {
    /// Running; started again when it stops.
    #[default]
    Started,
    /// Created, with its volume, but not running.
    Stopped,
    /// Created, run once, and suspended: its memory is kept, and it starts where it left off. At
    /// most 2 GB of memory, no swap, no GPU and no schedule.
    Suspended,
}

/// How a machine with a volume gets to another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Relocate {
    /// The machine is stopped, a snapshot of its volume is made, and volume and machine are made
    /// from it in the new region. The old volume is kept.
    Snapshot,
}

/// A volume that each machine mounting it gets one of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeTemplate {
    /// Unique within the tenant: 1 to 20 lower-case letters, digits, dashes and underscores,
    /// beginning with a letter.
    pub name: String,
    /// Size in gigabytes; required after the merge with the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = VOLUME_SIZE_GB_MAX))]
    pub size_gb: Option<u32>,
    /// A Fly region code; the machine's region if absent. It must be the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What happens to the volume when its machine goes for good: the tenant is deleted, scaled
    /// down, or its group removed; `Retain` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// What happens to a volume when its machine is no longer wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The volume is kept; a tenant of the same name takes it back.
    #[default]
    Retain,
    /// A snapshot is made once the machine is at rest; then as `Delete`.
    Snapshot,
    /// The volume is deleted after a grace period, in which a tenant of the same name takes it back.
    Delete,
}

impl DeletionPolicy {
    /// The word in manifests.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Snapshot => "Snapshot",
            Self::Delete => "Delete",
        }
    }
}
