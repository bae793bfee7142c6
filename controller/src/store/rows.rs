//! Tenants as they are stored, not decoded.

use rusqlite::{Connection, params};
use serde_json::{Map, Value};
use vault_api::status::TenantStatus;
use vault_plan::time::UnixMillis;

use super::objects::rows_max;
use super::{Kind, StoreError};
use crate::source::Source;

/// A stored tenant whose documents are still text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// Unique.
    pub name: String,
    /// Grows by one with each change of the spec.
    pub generation: i64,
    /// When its deletion was asked for.
    pub deleted_at: Option<UnixMillis>,
    /// Who owns the spec, as JSON.
    pub source: String,
    /// Labels, annotations and finalizers, as JSON.
    pub metadata: String,
    /// As written, as JSON.
    pub spec: String,
    /// As last folded, as JSON.
    pub status: Option<String>,
}

impl TenantRow {
    /// Who owns the spec.
    ///
    /// # Errors
    /// If this version cannot read it.
    pub fn source(&self) -> Result<Source, StoreError> {
        Ok(serde_json::from_str(&self.source)?)
    }

    /// Labels, annotations and finalizers.
    ///
    /// # Errors
    /// If this version cannot read them.
    pub fn metadata(&self) -> Result<Map<String, Value>, StoreError> {
        Ok(serde_json::from_str(&self.metadata)?)
    }

    /// The spec.
    ///
    /// # Errors
    /// If this version cannot read it.
    pub fn spec(&self) -> Result<vault_api::tenant::TenantSpec, StoreError> {
        Ok(serde_json::from_str(&self.spec)?)
    }

    /// The status, if there is one.
    ///
    /// # Errors
    /// If this version cannot read it.
    pub fn status(&self) -> Result<Option<TenantStatus>, StoreError> {
        decoded(self.status.as_deref())
    }
}

/// What is stored of a tenant's status alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRow {
    /// The tenant's name.
    pub name: String,
    /// As last folded, as JSON.
    pub status: Option<String>,
}

impl StatusRow {
    /// The status, if there is one.
    ///
    /// # Errors
    /// If this version cannot read it.
    pub fn status(&self) -> Result<Option<TenantStatus>, StoreError> {
        decoded(self.status.as_deref())
    }
}

fn decoded(status: Option<&str>) -> Result<Option<TenantStatus>, StoreError> {
    Ok(status.map(serde_json::from_str).transpose()?)
}

pub(super) fn page(
    connection: &Connection,
    after: &str,
    limit: usize,
) -> Result<Vec<TenantRow>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT name, generation, deleted_at, source, metadata, spec, status FROM object \
         WHERE kind = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
    )?;
    let rows = select.query_map(params![Kind::Tenant.word(), after, rows_max(limit)], |row| {
        Ok(TenantRow {
            name: row.get(0)?,
            generation: row.get(1)?,
            deleted_at: row.get::<_, Option<i64>>(2)?.map(UnixMillis),
            source: row.get(3)?,
            metadata: row.get(4)?,
            spec: row.get(5)?,
            status: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn statuses(
    connection: &Connection,
    after: &str,
    limit: usize,
) -> Result<Vec<StatusRow>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT name, status FROM object WHERE kind = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
    )?;
    let rows = select.query_map(params![Kind::Tenant.word(), after, rows_max(limit)], |row| {
        Ok(StatusRow { name: row.get(0)?, status: row.get(1)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A stored word that this version does not know.
pub(super) fn unreadable(column: usize, value: &str) -> StoreError {
    StoreError::Sqlite(rusqlite::Error::FromSqlConversionFailure(
        column,
        rusqlite::types::Type::Text,
        format!("unknown value {value:?}").into(),
    ))
}
