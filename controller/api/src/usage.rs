//! Usage facts: what a bill is made from, one row per machine, running or deleted.
//!
//! The names are `snake_case`, as those who read them know them from elsewhere.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One machine of ours, as `GET /usage-facts` shows it. All times are RFC 3339 in UTC, whole
/// seconds. A machine runs from `started_at` to the first of `stopped_at` and `deleted_at` that is
/// not null; if both are null, it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageFact {
    /// Fly's id of the machine: 14 hexadecimal digits.
    pub machine_id: String,
    /// Fly's state of it: `started`, `stopped`, …; `destroyed` once it is deleted.
    pub state: String,
    /// The region code.
    pub region: String,
    /// Fly's `instance_id`: new with each version of the machine's config.
    pub instance_id: Option<String>,
    /// When it last began to run; null if it was never seen running.
    ///
    /// The platform's own time of the change (`updated_at` of its list) where it tells one, else
    /// when we saw the change. The platform moves that time with other changes too, so of a machine
    /// that ran already when it was first seen, this is the latest instant at which it can have
    /// begun.
    pub started_at: Option<String>,
    /// When it last ceased to run; null while it runs. From where it comes is as for `started_at`.
    pub stopped_at: Option<String>,
    /// When it was first missing from a whole list; null while it exists. The platform does not
    /// tell when a machine was destroyed, so this is when we saw it.
    pub deleted_at: Option<String>,
    /// The metadata of its config, with `vault_tenant` among it.
    pub metadata: BTreeMap<String, String>,
    /// The volumes attached to it, in the order of their ids; of a deleted machine the last ones.
    pub volumes: Vec<UsageVolume>,
}

/// A volume of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageVolume {
    /// `vol_…`.
    pub volume_id: String,
    /// Its size in what Fly bills as gigabytes.
    pub size_gib: u32,
}
