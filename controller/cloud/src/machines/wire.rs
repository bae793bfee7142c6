//! The platform's JSON, as it is read and written.
//!
//! Reading is lenient: unknown members are passed over, `null` is the same as absent, and only what
//! tells one thing from another must be there. What a reader must not guess (who, where, in which
//! state) is required, so that a row without it is reported instead of misread.

mod quick;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// An app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct App {
    /// Its name, unique among all customers of the platform.
    pub name: String,
    /// The platform's id; not needed for any call.
    pub id: Option<String>,
    /// The number by which machines' identity tokens name it. A name can be taken again, this not.
    #[serde(default, rename = "internal_numeric_id", deserialize_with = "numeric_id")]
    pub number: Option<u64>,
    /// `pending`, `deployed` or `suspended`; empty if the platform did not say.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// The private network, if it is not the organization's own.
    #[serde(default, deserialize_with = "text")]
    pub network: Option<String>,
    /// How many machines it has.
    pub machine_count: Option<u64>,
    /// How many volumes it has.
    pub volume_count: Option<u64>,
    /// Who owns it.
    pub organization: Option<Organization>,
}

/// The owner of an app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Organization {
    /// The name in paths and queries.
    pub slug: String,
    /// The name for people.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// The number by which machines' identity tokens name it.
    #[serde(default, rename = "internal_numeric_id", deserialize_with = "numeric_id")]
    pub number: Option<u64>,
}

/// The answer to the creation of an app; either member may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CreatedApp {
    /// The platform's id; not needed for any call.
    pub id: Option<String>,
    /// Epoch milliseconds.
    #[serde(default, deserialize_with = "number")]
    pub created_at: Option<i64>,
}

/// One machine of an organization's list. It has less than a [`Machine`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct MachineRow {
    /// The platform's id.
    pub id: String,
    /// The app that it is in.
    pub app_name: String,
    /// Its name, unique within its app.
    pub name: String,
    /// `created`, `started`, `stopped`, …
    pub state: String,
    /// The region that it is in.
    pub region: String,
    /// What a [`Machine`] calls `instance_id`: new with every update.
    #[serde(default, deserialize_with = "text")]
    pub version: Option<String>,
    /// Its address in the private network.
    #[serde(default, deserialize_with = "text")]
    pub private_ip: Option<String>,
    /// When it was made; absent also if it cannot be read.
    #[serde(default, deserialize_with = "timestamp")]
    pub created_at: Option<Timestamp>,
    /// When it last changed; absent also if it cannot be read.
    #[serde(default, deserialize_with = "timestamp")]
    pub updated_at: Option<Timestamp>,
    /// The part of its config that the list carries; absent when its host does not answer.
    pub config: Option<MachineRowConfig>,
}

/// What an organization's list tells of a machine's config.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct MachineRowConfig {
    /// The image as it was asked for.
    #[serde(default, deserialize_with = "text")]
    pub image: Option<String>,
    /// The size.
    #[serde(default, deserialize_with = "or_default")]
    pub guest: Map<String, Value>,
    /// The metadata.
    #[serde(default, deserialize_with = "metadata")]
    pub metadata: BTreeMap<String, String>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Machine {
    /// The platform's id.
    pub id: String,
    /// Its name, unique within its app.
    pub name: String,
    /// `created`, `started`, `stopped`, …
    pub state: String,
    /// The region that it is in.
    pub region: String,
    #[serde(default, deserialize_with = "text")]
    instance_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    version: Option<String>,
    /// Its address in the private network.
    #[serde(default, deserialize_with = "text")]
    pub private_ip: Option<String>,
    /// Its config, with what the platform filled in; absent when its host does not answer.
    pub config: Option<Map<String, Value>>,
    /// What could be put together of its config when its host does not answer.
    pub incomplete_config: Option<Map<String, Value>>,
    /// The image that it really runs.
    pub image_ref: Option<ImageRef>,
    /// `ok`, `unknown` or `unreachable`.
    #[serde(default, deserialize_with = "text")]
    pub host_status: Option<String>,
    /// Whether the platform's proxy sends it no traffic.
    #[serde(default, deserialize_with = "or_default")]
    pub cordoned: bool,
    /// When it was made; absent also if it cannot be read.
    #[serde(default, deserialize_with = "timestamp")]
    pub created_at: Option<Timestamp>,
    /// When it last changed; absent also if it cannot be read.
    #[serde(default, deserialize_with = "timestamp")]
    pub updated_at: Option<Timestamp>,
    /// What happened to it, newest first.
    #[serde(default, deserialize_with = "or_default")]
    pub events: Vec<MachineEvent>,
}

impl Machine {
    /// What names this version of the machine: new with every update. Depending on the call, the
    /// platform says `instance_id`, `version` or both.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.instance_id.as_deref().or(self.version.as_deref())
    }

    /// The metadata in its config, or in what could be put together of it.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<&str, &str> {
        let config = self.config.as_ref().or(self.incomplete_config.as_ref());
        let metadata = config.and_then(|config| config.get("metadata")?.as_object());
        let pairs = metadata.into_iter().flatten();
        pairs.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
    }
}

/// The image that a machine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ImageRef {
    /// Host of the registry.
    #[serde(default, deserialize_with = "text")]
    pub registry: Option<String>,
    /// Path in the registry.
    #[serde(default, deserialize_with = "text")]
    pub repository: Option<String>,
    /// Tag.
    #[serde(default, deserialize_with = "text")]
    pub tag: Option<String>,
    /// `sha256:…`
    #[serde(default, deserialize_with = "text")]
    pub digest: Option<String>,
}

/// Something that happened to a machine.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct MachineEvent {
    /// The platform's id.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// `launch`, `start`, `exit`, …
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// The state that it led to.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// `user` or `flyd`: who acted.
    #[serde(default, deserialize_with = "or_default")]
    pub source: String,
    /// Epoch milliseconds.
    #[serde(default, deserialize_with = "number")]
    pub timestamp: Option<i64>,
    /// Details, such as `exit_event`.
    pub request: Option<Value>,
}

/// One volume of an organization's list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "quick::FlatVolume")]
pub struct VolumeRow {
    /// The app that it is in.
    pub app_name: String,
    /// The volume.
    pub volume: Volume,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Volume {
    /// The platform's id, `vol_…`.
    pub id: String,
    /// Its name; several volumes may share one.
    pub name: String,
    /// `creating`, `created`, `pending_destroy`, …
    pub state: String,
    /// The region that it is in.
    pub region: String,
    /// Its size in gigabytes.
    pub size_gb: u64,
    /// The machine that it belongs to.
    #[serde(default, deserialize_with = "text")]
    pub attached_machine_id: Option<String>,
    /// The host's hardware; volumes in different zones share none.
    #[serde(default, deserialize_with = "text")]
    pub zone: Option<String>,
    /// Whether it is encrypted at rest.
    pub encrypted: Option<bool>,
    /// How many days its snapshots are kept.
    pub snapshot_retention: Option<u32>,
    /// Whether snapshots are made every day.
    pub auto_backup_enabled: Option<bool>,
    /// `ok`, `unknown` or `unreachable`.
    #[serde(default, deserialize_with = "text")]
    pub host_status: Option<String>,
    /// When it was made; absent also if it cannot be read.
    #[serde(default, deserialize_with = "timestamp")]
    pub created_at: Option<Timestamp>,
}

/// The answer to the extension of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ExtendedVolume {
    /// Whether the machine has to start anew before it sees the new size. Assumed if the platform
    /// does not say: a restart too many does less harm than space that nobody sees.
    #[serde(default = "yes")]
    pub needs_restart: bool,
}

/// A snapshot of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct VolumeSnapshot {
    /// The platform's id, `vs_…`.
    pub id: String,
    /// `waiting`, `pending`, `running`, `created`, …
    #[serde(default, deserialize_with = "text")]
    pub status: Option<String>,
    /// When it was begun; absent also if it cannot be read.
    #[serde(default, deserialize_with = "timestamp")]
    pub created_at: Option<Timestamp>,
}

fn yes() -> bool {
    true
}

#[derive(Serialize)]
pub(crate) struct SetMetadata<'a> {
    pub(crate) value: &'a str,
}

#[derive(Serialize)]
pub(crate) struct ExtendVolume {
    pub(crate) size_gb: u64,
}

/// One secret of an app. Its value is never asked for, and not read if it comes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AppSecret {
    /// The name of the environment variable.
    pub name: String,
    /// Opaque; another value has another digest.
    pub digest: String,
}

/// The answer to the setting of a secret; either member may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecretSet {
    /// What [`AppSecret::digest`] will be from now on.
    #[serde(default, deserialize_with = "text")]
    pub digest: Option<String>,
    /// Grows with every write to the app's secrets. Some answers spell it in upper case as well.
    #[serde(default, deserialize_with = "count")]
    pub version: Option<u64>,
}

/// What the token covers, one entry per macaroon in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct CurrentTokens {
    #[serde(deserialize_with = "or_default")]
    pub(crate) tokens: Vec<TokenInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct TokenInfo {
    #[serde(default, deserialize_with = "text")]
    pub(crate) org_slug: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct WaitAnswer {
    #[serde(default, deserialize_with = "text")]
    pub(crate) state: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) version: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) event_id: Option<String>,
}

/// An app to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CreateApp {
    /// Its name: lower-case letters, digits and dashes, at most 63.
    pub name: String,
    /// The organization that is to own it.
    #[serde(rename = "org_slug")]
    pub org: String,
    /// A private network of its own; it is made if it is not there, and cannot be changed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Repeating the request with the same key answers with the app that the first one made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// A machine to be made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CreateMachine {
    /// Its name, unique within its app.
    pub name: String,
    /// The region that it is to be in.
    pub region: String,
    /// Fly's machine config, as it is.
    pub config: Map<String, Value>,
    /// Whether it is made without being started.
    pub skip_launch: bool,
    /// The version of the app's secrets that its host has to know before the machine starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_secrets_version: Option<u64>,
}

/// A machine's next version. Replaces the whole config; name, region and volume stay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpdateMachine {
    /// Fly's machine config, as it is.
    pub config: Map<String, Value>,
    /// The version that this update was decided on; if the machine has another one by now, the
    /// update is refused with 409.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// Whether it is updated without being started.
    pub skip_launch: bool,
    /// The version of the app's secrets that its host has to know before the machine starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_secrets_version: Option<u64>,
}

/// A secret's new value.
#[derive(Serialize)]
pub(crate) struct SetSecret<'a> {
    pub(crate) value: &'a str,
}

/// A volume to be made. What is absent is left to the platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CreateVolume {
    /// Its name; letters, digits and `_` are safe.
    pub name: String,
    /// The region that it is to be in.
    pub region: String,
    /// Its size in gigabytes, 1 to 500.
    pub size_gb: u64,
    /// The size of the machine that it is for: picks a host with room for that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<Map<String, Value>>,
    /// The image of the machine that it is for, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_image: Option<String>,
    /// Whether it shall share no host with volumes of the same name (the platform's default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_unique_zone: Option<bool>,
    /// A snapshot to begin with, `vs_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// A volume to begin as a copy of, `vol_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_volume_id: Option<String>,
    /// How many days snapshots are kept, 1 to 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_retention: Option<u32>,
    /// Whether snapshots are made every day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_backup_enabled: Option<bool>,
}

/// What to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// `started`, `stopped`, `suspended`, `destroyed`, `failed` or `settled`; or several of them
    /// with commas between, of which any ends the wait.
    pub state: String,
    /// How long; the platform takes whole seconds from 1 to 60, so it is rounded and bounded.
    pub timeout: Duration,
    /// The version that is meant; without it, an old one may end the wait.
    pub version: Option<String>,
}

/// `null`, like an absent member, is the type's default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An empty text is no text: that is how some of the platform's services write "none".
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// A time only informs; one that cannot be read must not hide the rest.
fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    deserializer.deserialize_any(quick::Time)
}

/// Likewise for epoch milliseconds, which some answers write as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Value>::deserialize(deserializer)?.and_then(|value| value.as_i64()))
}

/// Likewise for a number that is never negative.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Value>::deserialize(deserializer)?.and_then(|value| value.as_u64()))
}

/// Likewise for an id: some services write 0 for "none".
fn numeric_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(count(deserializer)?.filter(|id| *id != 0))
}

/// A key whose value is `null` is not there.
fn metadata<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    deserializer.deserialize_option(quick::Metadata)
}

#[cfg(test)]
mod tests;
