//! Why machines do not come up: the `diagnosis` subresource of a tenant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::API_VERSION;

/// The kind of the document.
pub const KIND: &str = "Diagnosis";

/// How machines of a tenant ended, and what they printed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `Diagnosis`.
    pub kind: String,
    /// Whose machines.
    pub metadata: DiagnosisMetadata,
    /// The machines that exist and are not as wanted, or all that exist if they were asked for; in
    /// the order of their names.
    pub machines: Vec<MachineDiagnosis>,
}

impl Diagnosis {
    /// A diagnosis of these machines of a tenant.
    #[must_use]
    pub fn new(tenant: &str, machines: Vec<MachineDiagnosis>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: DiagnosisMetadata { name: tenant.to_owned() },
            machines,
        }
    }
}

/// Whose machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiagnosisMetadata {
    /// The tenant's name.
    pub name: String,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineDiagnosis {
    /// `TENANT-GROUP-INDEX`.
    pub name: String,
    /// Fly's machine id.
    pub id: String,
    /// Fly's state as last observed: `started`, `stopped`, …
    pub state: String,
    /// How its program ended, oldest first: the last 10 times at most.
    pub exits: Vec<MachineExit>,
    /// What it printed last, oldest first: 20 lines at most, without control characters.
    pub log: Vec<MachineLogLine>,
    /// Why exits or log could not be read; absent if all was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// The end of a machine's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineExit {
    /// When, RFC 3339; null if Fly does not say.
    pub at: Option<String>,
    /// What the program answered; null if Fly does not say.
    pub exit_code: Option<i64>,
    /// The signal that ended it; null if none did.
    pub signal: Option<i64>,
    /// The machine ran out of memory.
    pub oom_killed: bool,
    /// Somebody had asked for it.
    pub requested_stop: bool,
    /// Fly starts it again by the config's restart policy.
    pub restarting: bool,
}

/// One line that a machine printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineLogLine {
    /// When, RFC 3339; null if Fly does not say.
    pub at: Option<String>,
    /// What.
    pub message: String,
}
