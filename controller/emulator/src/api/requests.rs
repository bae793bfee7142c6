//! The bodies that callers send. Every member may be missing or null, and unknown ones are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::world::SecretValue;
use crate::world::belonging::policy::Policy;
use crate::world::config::Config;

/// `POST /v1/apps`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct CreateApp {
    pub(super) name: Option<String>,
    /// What one page of the platform's documentation calls the name.
    pub(super) app_name: Option<String>,
    pub(super) org_slug: Option<String>,
    pub(super) network: Option<String>,
    pub(super) idempotency_key: Option<String>,
}

/// `POST …/machines` and `POST …/machines/{id}`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WriteMachine {
    pub(super) name: Option<String>,
    pub(super) region: Option<String>,
    pub(super) config: Option<Config>,
    pub(super) skip_launch: Option<bool>,
    pub(super) lease_ttl: Option<i64>,
    pub(super) skip_service_registration: Option<bool>,
    pub(super) current_version: Option<String>,
    pub(super) skip_secrets: Option<bool>,
    pub(super) min_secrets_version: Option<u64>,
}

/// `POST …/stop`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct StopMachine {
    /// A name or a number.
    pub(super) signal: Option<Value>,
    /// A Go duration or nanoseconds.
    pub(super) timeout: Option<Value>,
}

/// `PUT|PATCH …/metadata`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct MergeMetadata {
    pub(super) metadata: Option<BTreeMap<String, Option<String>>>,
    pub(super) machine_version: Option<String>,
}

/// `POST …/metadata/{key}`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SetMetadata {
    pub(super) value: Option<String>,
}

/// `POST …/secrets`; null removes
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ChangeSecrets {
    pub(super) values: Option<BTreeMap<String, Option<SecretValue>>>,
}

/// `POST …/secrets/{name}`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SetSecret {
    pub(super) value: Option<SecretValue>,
}

/// `POST /v1/tokens/oidc`, on a machine's own socket
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct CreateOidcToken {
    pub(super) aud: Option<String>,
    pub(super) aws_principal_tags: Option<bool>,
}

/// `POST …/volumes`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct CreateVolume {
    pub(super) name: Option<String>,
    pub(super) region: Option<String>,
    pub(super) size_gb: Option<u32>,
    pub(super) encrypted: Option<bool>,
    pub(super) fstype: Option<String>,
    pub(super) snapshot_id: Option<String>,
    pub(super) source_volume_id: Option<String>,
    pub(super) snapshot_retention: Option<u32>,
    pub(super) auto_backup_enabled: Option<bool>,
}

/// `PUT …/volumes/{id}`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct UpdateVolume {
    pub(super) snapshot_retention: Option<u32>,
    pub(super) auto_backup_enabled: Option<bool>,
}

/// `POST …/lease`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AcquireLease {
    pub(super) ttl: Option<i64>,
    pub(super) description: Option<String>,
}

/// `POST …/signal`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SignalMachine {
    /// A name or a number.
    pub(super) signal: Option<Value>,
}

/// `PUT …/memory` and `POST …/memory/reclaim`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Memory {
    pub(super) limit_mb: Option<u32>,
    pub(super) amount_mb: Option<u32>,
}

/// `POST …/exec`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Exec {
    pub(super) command: Option<Vec<String>>,
    /// The deprecated form: one line, split as a shell does.
    pub(super) cmd: Option<String>,
    pub(super) stdin: Option<String>,
    /// Seconds.
    pub(super) timeout: Option<u64>,
    pub(super) container: Option<String>,
}

/// `POST …/ip_assignments`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AssignAddress {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) region: Option<String>,
    pub(super) service_name: Option<String>,
    pub(super) network: Option<String>,
}

/// `POST …/certificates/acme` and `…/custom`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AddCertificate {
    pub(super) hostname: Option<String>,
    pub(super) fullchain: Option<String>,
    pub(super) private_key: Option<SecretValue>,
}

/// `POST …/deploy_token`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct CreateDeployToken {
    /// A Go duration.
    pub(super) expiry: Option<String>,
}

/// `POST …/network_policies`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WritePolicy {
    pub(super) id: Option<String>,
    #[serde(flatten)]
    pub(super) policy: Policy,
}

/// `POST /v1/platform/placements`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Placements {
    pub(super) org_slug: Option<String>,
    pub(super) region: Option<String>,
    pub(super) count: Option<u32>,
}

/// `PUT …/volumes/{id}/extend`
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ExtendVolume {
    pub(super) size_gb: Option<u32>,
}
