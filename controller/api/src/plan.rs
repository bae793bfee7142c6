//! A plan as people and programs read it: the `plan` subresource of a tenant.
//!
//! It is the rendering of the very plan that the controller executes; the planner's own types stay
//! inside `vault-plan` and are free to change.

use serde::{Deserialize, Serialize};

/// What the controller would do for one tenant, in order, and what it would not do and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantPlan {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `TenantPlan`.
    pub kind: String,
    /// The tenant's name.
    pub tenant: String,
    /// What would be done, in order.
    pub actions: Vec<PlannedAction>,
    /// What would not be done now, and what it waits for.
    pub notes: Vec<PlanNote>,
    /// Until when nothing is done for the tenant, RFC 3339: an attempt failed, or its outcome is
    /// not known yet. Absent if it does not wait for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<String>,
}

/// One call that would be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedAction {
    /// `CreateApp`, `SetSecret`, `RemoveSecret`, `CreateVolume`, `ExtendVolume`, `SnapshotVolume`, `CreateMachine`,
    /// `UpdateMachine`, `StartMachine`, `StopMachine`, `SuspendMachine` or `DeleteMachine`.
    pub action: String,
    /// What it acts on, such as `machine acme-box-0`.
    pub target: String,
    /// Why, in one sentence.
    pub reason: String,
}

/// Something that the plan leaves undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanNote {
    /// One CamelCase word: `Waiting`, `Blocked`, `NotSupported`, …
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}
