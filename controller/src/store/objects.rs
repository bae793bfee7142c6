//! Tenants and classes: the `object` table and the counter of resourceVersions.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};
use vault_plan::time::UnixMillis;

use super::{Kind, StoreError, StoredObject, history, tombstones};

pub(super) const COLUMNS: &str = "name, uid, generation, resource_version, created_at, deleted_at, source, \
                       metadata, spec, status";

pub(super) fn list(connection: &Connection, kind: Kind) -> Result<Vec<StoredObject>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM object WHERE kind = ?1 ORDER BY name"))?;
    let mut rows = statement.query([kind.word()])?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        objects.push(decode(kind, row)?);
    }
    Ok(objects)
}

pub(super) fn one(
    connection: &Connection,
    kind: Kind,
    name: &str,
) -> Result<Option<StoredObject>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM object WHERE kind = ?1 AND name = ?2"))?;
    let mut rows = statement.query([kind.word(), name])?;
    rows.next()?.map(|row| decode(kind, row)).transpose()
}

pub(super) fn put(
    connection: &Connection,
    mut object: StoredObject,
    expected: Option<i64>,
) -> Result<StoredObject, StoreError> {
    let before = before(connection, object.kind, &object.name)?;
    if before.as_ref().map(|before| before.version) != expected {
        return Err(StoreError::Conflict);
    }
    object.resource_version = next_version(connection)?;
    let created_version =
        before.as_ref().map_or(object.resource_version, |before| before.created_version);
    if let Some(before) = before {
        history::relabelled(connection, &object, &before.metadata)?;
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO object (kind, name, uid, generation, resource_version, \
             created_at, deleted_at, source, metadata, spec, status, created_version) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            object.kind.word(),
            object.name,
            object.uid,
            object.generation,
            object.resource_version,
            object.created_at.0,
            object.deleted_at.map(|at| at.0),
            serde_json::to_string(&object.source)?,
            serde_json::to_string(&object.metadata)?,
            serde_json::to_string(&object.spec)?,
            object.status.as_ref().map(Value::to_string),
            created_version,
        ])?;
    Ok(object)
}

pub(super) fn remove(
    connection: &Connection,
    kind: Kind,
    name: &str,
    expected: i64,
) -> Result<(), StoreError> {
    let found = one(connection, kind, name)?.filter(|found| found.resource_version == expected);
    let mut object = found.ok_or(StoreError::Conflict)?;
    tombstones::bury(connection, &object)?;
    let created_version = connection
        .prepare_cached(
            "DELETE FROM object WHERE kind = ?1 AND name = ?2 RETURNING created_version",
        )?
        .query_row(params![kind.word(), name], |row| row.get(0))?;
    object.resource_version = next_version(connection)?;
    history::removed(connection, &object, created_version)
}

pub(super) fn put_statuses(
    connection: &Connection,
    statuses: &[(String, String)],
) -> Result<(), StoreError> {
    let mut update = connection.prepare_cached(
        "UPDATE object SET status = ?3, resource_version = ?4 WHERE kind = ?1 AND name = ?2",
    )?;
    for (name, status) in statuses {
        let version = next_version(connection)?;
        update.execute(params![Kind::Tenant.word(), name, status, version])?;
    }
    Ok(())
}

pub(super) fn resource_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("SELECT value FROM counter", [], |row| row.get(0))?)
}

pub(super) fn next_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection
        .prepare_cached("UPDATE counter SET value = value + 1 RETURNING value")?
        .query_row([], |row| row.get(0))?)
}

/// A number of rows in SQL's words.
pub(super) fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// What a write has to know of the row that it replaces.
struct Before {
    version: i64,
    created_version: i64,
    metadata: Map<String, Value>,
}

fn before(connection: &Connection, kind: Kind, name: &str) -> Result<Option<Before>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT resource_version, created_version, metadata FROM object \
             WHERE kind = ?1 AND name = ?2",
        )?
        .query_row([kind.word(), name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    found
        .map(|(version, created_version, metadata)| {
            Ok(Before { version, created_version, metadata: serde_json::from_str(&metadata)? })
        })
        .transpose()
}

pub(super) fn decode(kind: Kind, row: &Row<'_>) -> Result<StoredObject, StoreError> {
    let status: Option<String> = row.get(9)?;
    Ok(StoredObject {
        kind,
        name: row.get(0)?,
        uid: row.get(1)?,
        generation: row.get(2)?,
        resource_version: row.get(3)?,
        created_at: UnixMillis(row.get(4)?),
        deleted_at: row.get::<_, Option<i64>>(5)?.map(UnixMillis),
        source: serde_json::from_str(&row.get::<_, String>(6)?)?,
        metadata: serde_json::from_str(&row.get::<_, String>(7)?)?,
        spec: serde_json::from_str(&row.get::<_, String>(8)?)?,
        status: status.map(|text| serde_json::from_str(&text)).transpose()?,
    })
}
