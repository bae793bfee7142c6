//! The whole fleet in one document: `GET /status`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::ConditionStatus;

/// What the controller says of itself and of all that it keeps. Counts are those of the last pass
/// that came to its end, but for `intents`, `usage` and `database`, which are read when somebody
/// asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// The controller's version.
    pub version: String,
    /// The controller's id, which its machines carry as `vault_controller`.
    pub controller: String,
    /// When it was started, RFC 3339.
    pub started_at: String,
    /// How long ago that was, in seconds.
    pub uptime_seconds: u64,
    /// How many tenants there are, and how many of them are Ready.
    pub tenants: TenantCounts,
    /// How many tenants have each condition, by type, status and reason.
    pub conditions: Vec<ConditionCount>,
    /// The tenants that are not Ready.
    pub not_ready: NotReady,
    /// The machines that carry the controller's mark.
    pub machines: MachineCounts,
    /// The tenants' volumes that exist.
    pub volumes: VolumeCounts,
    /// The intents in the journal by state; closed ones are kept for a while.
    pub intents: BTreeMap<String, u64>,
    /// How many passes came to their end since the start.
    pub passes: u64,
    /// The last of them.
    pub last_pass: PassSummary,
    /// The last ten of them, newest first.
    pub recent_passes: Vec<PassSummary>,
    /// Regions that the platform's lists left out, by organization.
    pub error_regions: BTreeMap<String, BTreeSet<String>>,
    /// What cannot be reached or written, as sentences; empty if all is well.
    pub troubles: Vec<String>,
    /// What the watched folder says; null without one, or until it was taken in once.
    pub folder: Option<FolderSummary>,
    /// Machines with the controller's mark and no tenant: left alone.
    pub strays: Vec<StrayMachine>,
    /// The usage facts.
    pub usage: UsageSummary,
    /// The controller's database.
    pub database: DatabaseSummary,
}

/// Tenants, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantCounts {
    /// All.
    pub total: usize,
    /// Those that are Ready at their newest generation.
    pub ready: usize,
}

/// How many tenants have a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionCount {
    /// `Ready`, `Synced`, …
    pub r#type: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why.
    pub reason: String,
    /// How many tenants.
    pub count: usize,
}

/// The tenants that are not Ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotReady {
    /// How many there are.
    pub total: usize,
    /// The first 100 of them by name.
    pub tenants: Vec<NotReadyTenant>,
}

/// A tenant that is not Ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotReadyTenant {
    /// Its name.
    pub name: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in one sentence.
    pub message: String,
}

/// Machines, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineCounts {
    /// All.
    pub total: usize,
    /// By Fly's state.
    pub by_state: BTreeMap<String, usize>,
    /// By region.
    pub by_region: BTreeMap<String, usize>,
}

/// Volumes, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeCounts {
    /// All.
    pub total: usize,
    /// Their sizes together, in gigabytes.
    pub size_gb: u64,
}

/// One pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassSummary {
    /// When it came to its end, RFC 3339; null before the first.
    pub at: Option<String>,
    /// How long it took.
    pub milliseconds: i64,
    /// The calls that it made and that only look, but for the next.
    pub reads: u64,
    /// The looks at the secrets of single apps.
    pub secret_reads: u64,
    /// The looks at single machines that somebody else wrote: one per version, not one per pass.
    #[serde(default)]
    pub edit_looks: u64,
    /// The calls that it made and that may change something.
    pub writes: u64,
    /// The actions of its plan.
    pub actions: usize,
    /// The tenants for which one of them did not work.
    pub failures: usize,
}

/// The watched folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderSummary {
    /// What is wrong with the manifests, each `FILE:LINE:COLUMN: …` where it has a place.
    pub problems: Vec<String>,
    /// Objects whose manifest is gone, as `tenant/NAME`.
    pub missing: Vec<String>,
}

/// A machine with the controller's mark and no tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StrayMachine {
    /// Fly's machine id.
    pub machine: String,
    /// Its name.
    pub name: String,
    /// Its app.
    pub app: String,
    /// Its organization.
    pub org: String,
    /// The tenant that its metadata names.
    pub tenant: String,
}

/// The usage facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageSummary {
    /// How many machines there are facts of, deleted ones included.
    pub facts: u64,
    /// How long deleted machines stay among them, in seconds.
    pub retention_seconds: u64,
}

/// The controller's database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseSummary {
    /// Its size, without the log of what was written last.
    pub bytes: u64,
}
