//! What is ours at the platform and serves no tenant, as `GET /orphans` shows it.

use serde::{Deserialize, Serialize};

/// The kind of the list.
pub const KIND: &str = "OrphanList";

/// Orphans, in the order of organizations, apps and names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrphanList {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `OrphanList`.
    pub kind: String,
    /// How much the list can be trusted to be all.
    pub metadata: OrphanMeta,
    /// The orphans.
    pub items: Vec<Orphan>,
}

/// What a list of orphans says besides them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrphanMeta {
    /// Why there may be more, one sentence for each reason; empty if the platform was read whole.
    #[serde(default)]
    pub unread: Vec<String>,
}

/// Something of ours that serves no tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// `Machine`, `Volume`, `Bucket`, `App` or `Tenant`.
    pub kind: String,
    /// `NoTenant`, `Unused`, `Duplicate` or `Tombstone`.
    pub reason: String,
    /// Its name.
    pub name: String,
    /// Fly's id; absent for apps, buckets and tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tenant that it was of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The Fly organization.
    pub org: String,
    /// The Fly app.
    pub app: String,
    /// The region code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Fly's state of it, or how far its tombstone has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its size in gigabytes, if it is a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_gb: Option<u32>,
    /// The machine that holds it, if it is a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_machine: Option<String>,
    /// Since when it is there, or has its tombstone: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When it goes if nobody wants it: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
    /// The snapshot that has what was last written to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// What it is, as a sentence.
    pub message: String,
    /// What to do next, as a sentence.
    pub next: String,
}
