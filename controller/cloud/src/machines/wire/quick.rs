//! Reading of what long lists have in every row, without a tree or a copy in between.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Volume, VolumeRow, text, timestamp};

/// A row of a list of volumes as it stands there: the app beside what is the volume's.
#[derive(Deserialize)]
pub(super) struct FlatVolume {
    app_name: String,
    id: String,
    name: String,
    state: String,
    region: String,
    size_gb: u64,
    #[serde(default, deserialize_with = "text")]
    attached_machine_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    zone: Option<String>,
    encrypted: Option<bool>,
    snapshot_retention: Option<u32>,
    auto_backup_enabled: Option<bool>,
    #[serde(default, deserialize_with = "text")]
    host_status: Option<String>,
    #[serde(default, deserialize_with = "timestamp")]
    created_at: Option<Timestamp>,
}

impl From<FlatVolume> for VolumeRow {
    fn from(row: FlatVolume) -> Self {
        let volume = Volume {
            id: row.id,
            name: row.name,
            state: row.state,
            region: row.region,
            size_gb: row.size_gb,
            attached_machine_id: row.attached_machine_id,
            zone: row.zone,
            encrypted: row.encrypted,
            snapshot_retention: row.snapshot_retention,
            auto_backup_enabled: row.auto_backup_enabled,
            host_status: row.host_status,
            created_at: row.created_at,
        };
        Self { app_name: row.app_name, volume }
    }
}

/// A time in text; whatever else stands there is none.
pub(super) struct Time;

impl<'de> Visitor<'de> for Time {
    type Value = Option<Timestamp>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a time, or anything else")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.parse().ok())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Metadata: a key whose value is `null` is not there, and `null` is none at all.
pub(super) struct Metadata;

impl<'de> Visitor<'de> for Metadata {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of texts")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut metadata = BTreeMap::new();
        while let Some((key, value)) = members.next_entry::<String, Option<String>>()? {
            // As everywhere in JSON that names a member twice, the last one counts.
            match value {
                Some(value) => drop(metadata.insert(key, value)),
                None => drop(metadata.remove(&key)),
            }
        }
        Ok(metadata)
    }
}
