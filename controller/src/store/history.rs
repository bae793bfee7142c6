//! What changed after a version: the source of every watch.
//!
//! ```text
//!   object rows written later ─┐
//!   removed objects ───────────┼─▶ changes(since), in the order of versions
//!   labels as they were ───────┘   (what a watcher had seen decides what it is told)
//! ```
//!
//! An object that was written several times is one change, with its newest state. What was removed
//! and the labels that were replaced stand in a bounded history; below the *horizon* it may have
//! gaps, and whoever asks from there has to list anew.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::objects::{COLUMNS, decode, resource_version, rows_max};
use super::{Kind, StoreError, StoredObject};
use crate::select::Labels;

/// How many removed objects and replaced labels are kept: a watcher that was away while so many
/// tenants went lists anew.
const HISTORY_MAX: i64 = 4_096;

/// What happened to one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The value of the store's counter when it happened; also the object's resourceVersion.
    pub version: i64,
    /// The counter's value when the object was made.
    pub created_version: i64,
    /// Whether the object is gone.
    pub removed: bool,
    /// Its newest state, or its last.
    pub object: StoredObject,
    /// When its labels were changed after the version that was asked from, the oldest first, and
    /// what they were before.
    pub relabelled: Vec<(i64, Labels)>,
}

/// What happened after a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// Whoever asks from below this version may have missed something.
    pub horizon: i64,
    /// The newest version that was given out.
    pub newest: i64,
    /// Whether these are all; else there are more after the last one.
    pub complete: bool,
    /// The changes, the oldest first.
    pub changes: Vec<Change>,
}

pub(super) fn changes(
    connection: &Connection,
    kind: Kind,
    since: i64,
    after: i64,
    limit: usize,
) -> Result<Changes, StoreError> {
    // All reads have to see the same moment.
    let transaction = connection.unchecked_transaction()?;
    let horizon = horizon(&transaction)?;
    let newest = resource_version(&transaction)?;
    let mut changes = written(&transaction, kind, after, limit)?;
    changes.extend(gone(&transaction, kind, after, limit)?);
    changes.sort_by_key(|change| change.version);
    let complete = changes.len() < limit;
    changes.truncate(limit);
    let mut relabelled = replaced_labels(&transaction, kind, since)?;
    for change in &mut changes {
        let Some(entries) = relabelled.get_mut(&change.object.name) else { continue };
        // A name that was removed and made again has two changes, and each has its own past.
        let later = entries.partition_point(|(version, _)| *version <= change.version);
        change.relabelled = entries.drain(..later).collect();
    }
    Ok(Changes { horizon, newest, complete, changes })
}

/// The version below which the past may have gaps.
pub(super) fn horizon(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached("SELECT version FROM horizon")?.query_row([], |row| row.get(0))?)
}

/// Keeps what an object was when it was removed.
pub(super) fn removed(
    connection: &Connection,
    object: &StoredObject,
    created_version: i64,
) -> Result<(), StoreError> {
    keep(connection, object, Some(created_version), &serde_json::to_string(object)?)
}

/// Keeps an object's labels as they were before this write, if it changes them.
pub(super) fn relabelled(
    connection: &Connection,
    object: &StoredObject,
    before: &Map<String, Value>,
) -> Result<(), StoreError> {
    let labels = |metadata: &Map<String, Value>| metadata.get("labels").cloned();
    let before = labels(before);
    if before == labels(&object.metadata) {
        return Ok(());
    }
    let before = before.unwrap_or_else(|| Value::Object(Map::new()));
    keep(connection, object, None, &before.to_string())
}

fn keep(
    connection: &Connection,
    object: &StoredObject,
    created_version: Option<i64>,
    body: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO history (version, kind, name, created_version, body) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            object.resource_version,
            object.kind.word(),
            object.name,
            created_version,
            body
        ])?;
    let oldest_to_go: Option<i64> = connection
        .prepare_cached("SELECT version FROM history ORDER BY version DESC LIMIT 1 OFFSET ?1")?
        .query_row([HISTORY_MAX], |row| row.get(0))
        .optional()?;
    if let Some(version) = oldest_to_go {
        connection.prepare_cached("DELETE FROM history WHERE version <= ?1")?.execute([version])?;
        connection
            .prepare_cached("UPDATE horizon SET version = max(version, ?1)")?
            .execute([version])?;
    }
    Ok(())
}

fn written(
    connection: &Connection,
    kind: Kind,
    after: i64,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, created_version FROM object WHERE kind = ?1 AND resource_version > ?2 \
         ORDER BY resource_version LIMIT ?3"
    ))?;
    let mut rows = select.query(params![kind.word(), after, rows_max(limit)])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let object = decode(kind, row)?;
        changes.push(Change {
            version: object.resource_version,
            created_version: row.get("created_version")?,
            removed: false,
            object,
            relabelled: Vec::new(),
        });
    }
    Ok(changes)
}

fn gone(
    connection: &Connection,
    kind: Kind,
    after: i64,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT version, created_version, body FROM history \
         WHERE kind = ?1 AND version > ?2 AND created_version IS NOT NULL \
         ORDER BY version LIMIT ?3",
    )?;
    let mut rows = select.query(params![kind.word(), after, rows_max(limit)])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        changes.push(Change {
            version: row.get(0)?,
            created_version: row.get(1)?,
            removed: true,
            object: serde_json::from_str(&row.get::<_, String>(2)?)?,
            relabelled: Vec::new(),
        });
    }
    Ok(changes)
}

/// The labels that were replaced after a version, by the names of their objects.
fn replaced_labels(
    connection: &Connection,
    kind: Kind,
    since: i64,
) -> Result<HashMap<String, Vec<(i64, Labels)>>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT version, name, body FROM history \
         WHERE kind = ?1 AND version > ?2 AND created_version IS NULL ORDER BY version",
    )?;
    let mut rows = select.query(params![kind.word(), since])?;
    let mut labels: HashMap<String, Vec<(i64, Labels)>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let before = serde_json::from_str(&row.get::<_, String>(2)?)?;
        labels.entry(row.get(1)?).or_default().push((row.get(0)?, before));
    }
    Ok(labels)
}
