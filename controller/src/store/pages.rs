//! Lists in pages: only the rows of one page are decoded whole, however many objects there are.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::objects::{COLUMNS, decode, resource_version, rows_max};
use super::{Kind, StoreError, StoredObject, history};
use crate::select::LabelSelector;

/// Which objects of a kind.
#[derive(Clone, Debug, Default)]
pub struct PageQuery {
    /// Only those whose names come after this one.
    pub after: Option<String>,
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only those with such labels.
    pub labels: LabelSelector,
    /// At most so many; at least 1.
    pub limit: usize,
    /// Whether those that follow are to be counted; only without `name` and `labels`.
    pub count: bool,
}

/// Some objects, and the state of the whole when they were read.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The newest version that was given out.
    pub version: i64,
    /// The newest version that an object of this kind has, or had when it was removed or relabelled
    /// within what is remembered.
    pub changed_at: i64,
    /// Changes up to this version may be forgotten.
    pub horizon: i64,
    /// The objects, in the order of their names.
    pub objects: Vec<StoredObject>,
    /// Whether more of them follow.
    pub more: bool,
    /// How many follow, if that was asked for.
    pub remaining: Option<u64>,
}

pub(super) fn read(
    connection: &Connection,
    kind: Kind,
    query: &PageQuery,
) -> Result<Page, StoreError> {
    // All reads have to see the same moment.
    let transaction = connection.unchecked_transaction()?;
    let (objects, more) = rows(&transaction, kind, query)?;
    let remaining = match objects.last() {
        Some(last) if query.count && more => Some(following(&transaction, kind, &last.name)?),
        _ => None,
    };
    Ok(Page {
        version: resource_version(&transaction)?,
        changed_at: changed_at(&transaction, kind)?,
        horizon: history::horizon(&transaction)?,
        objects,
        more,
        remaining,
    })
}

fn rows(
    connection: &Connection,
    kind: Kind,
    query: &PageQuery,
) -> Result<(Vec<StoredObject>, bool), StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM object \
         WHERE kind = ?1 AND name > ?2 AND (?3 IS NULL OR name = ?3) ORDER BY name LIMIT ?4"
    ))?;
    // A selector is applied to rows as they pass; only then is their number not known before.
    let limit = match query.labels.is_everything() {
        true => rows_max(query.limit.saturating_add(1)),
        false => -1,
    };
    let after = query.after.as_deref().unwrap_or_default();
    let mut rows = select.query(params![kind.word(), after, query.name, limit])?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        if !query.labels.is_everything() {
            let metadata: Map<String, Value> =
                serde_json::from_str(row.get_ref("metadata")?.as_str().map_err(unreadable)?)?;
            if !query.labels.matches(metadata.get("labels").and_then(Value::as_object)) {
                continue;
            }
        }
        if objects.len() == query.limit {
            return Ok((objects, true));
        }
        objects.push(decode(kind, row)?);
    }
    Ok((objects, false))
}

fn unreadable(error: rusqlite::types::FromSqlError) -> StoreError {
    StoreError::Sqlite(error.into())
}

/// Counted in the index, whose rows are short.
fn following(connection: &Connection, kind: Kind, name: &str) -> Result<u64, StoreError> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM object INDEXED BY object_version WHERE kind = ?1 AND name > ?2",
        )?
        .query_row([kind.word(), name], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

fn changed_at(connection: &Connection, kind: Kind) -> Result<i64, StoreError> {
    let newest = |table: &str, column: &str| -> Result<i64, StoreError> {
        let sql = format!("SELECT max({column}) FROM {table} WHERE kind = ?1");
        let found: Option<Option<i64>> = connection
            .prepare_cached(&sql)?
            .query_row([kind.word()], |row| row.get(0))
            .optional()?;
        Ok(found.flatten().unwrap_or_default())
    };
    Ok(newest("object", "resource_version")?.max(newest("history", "version")?))
}
