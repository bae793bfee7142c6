//! The audit log: one record per write request, as `GET /audit-log` shows it.

use serde::{Deserialize, Serialize};

/// The kind of the list.
pub const KIND: &str = "AuditRecordList";

/// Records of writes, the newest last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecordList {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `AuditRecordList`.
    pub kind: String,
    /// What is not told by records.
    pub metadata: AuditMeta,
    /// The records, the newest last.
    pub items: Vec<AuditRecord>,
}

/// What an audit log says besides its records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditMeta {
    /// How many requests since the controller's start came without a known token. They have no
    /// records, so that strangers cannot push out those of others.
    #[serde(default)]
    pub unknown_callers: u64,
}

/// One write request and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When it was answered: RFC 3339, with milliseconds.
    pub at: String,
    /// The name of the operator token; `controller` for the controller's own.
    pub who: String,
    /// The role of that token.
    pub role: String,
    /// The address that the request came from; empty if it is not known.
    #[serde(default)]
    pub source: String,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// `Tenant`, `TenantClass` or `OperatorToken`; empty for a path that there is not.
    pub kind: String,
    /// The object's name; empty if the request named none.
    #[serde(default)]
    pub name: String,
    /// Such as `status`; empty for the object itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// Nothing was to be kept.
    #[serde(default)]
    pub dry_run: bool,
    /// The HTTP status of the answer.
    pub code: u16,
    /// What came of it, for people.
    #[serde(default)]
    pub message: String,
}
