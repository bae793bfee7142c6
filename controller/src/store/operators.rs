//! Operator tokens: their digests and what they may do.

use rusqlite::{Connection, ErrorCode, Row, params};
use vault_api::operator::Role;
use vault_plan::time::UnixMillis;

use super::{StoreError, objects, unreadable};

/// An operator token as it is kept: everything but the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOperator {
    /// Unique.
    pub name: String,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// The tenants that it may see, as a label selector; all if absent.
    pub selector: Option<String>,
    /// The value of the store's one counter when it was made.
    pub resource_version: i64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends; never if absent.
    pub expires_at: Option<UnixMillis>,
    /// When it was used last, to the hour.
    pub used_at: Option<UnixMillis>,
}

pub(super) fn list(connection: &Connection) -> Result<Vec<StoredOperator>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT name, digest, role, selector, resource_version, created_at, expires_at, used_at
         FROM operator ORDER BY name",
    )?;
    let mut rows = select.query([])?;
    let mut operators = Vec::new();
    while let Some(row) = rows.next()? {
        operators.push(decode(row)?);
    }
    Ok(operators)
}

/// Keeps a new token; a conflict if there is one of that name.
pub(super) fn insert(
    connection: &Connection,
    mut operator: StoredOperator,
) -> Result<StoredOperator, StoreError> {
    operator.resource_version = objects::next_version(connection)?;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO operator (name, digest, role, selector, resource_version, created_at, \
             expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            operator.name,
            operator.digest,
            operator.role.word(),
            operator.selector,
            operator.resource_version,
            operator.created_at.0,
            operator.expires_at.map(|at| at.0),
        ]);
    match inserted {
        Ok(_) => Ok(operator),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(StoreError::Conflict)
        }
        Err(error) => Err(error.into()),
    }
}

/// Forgets a token; a conflict if there is none of that name.
pub(super) fn remove(connection: &Connection, name: &str) -> Result<(), StoreError> {
    let removed =
        connection.prepare_cached("DELETE FROM operator WHERE name = ?1")?.execute([name])?;
    if removed == 0 {
        return Err(StoreError::Conflict);
    }
    objects::next_version(connection).map(|_| ())
}

/// Notes that a token was used. One that is gone by now is no matter.
pub(super) fn touch(
    connection: &Connection,
    name: &str,
    now: UnixMillis,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE operator SET used_at = ?2 WHERE name = ?1")?
        .execute(params![name, now.0])?;
    Ok(())
}

fn decode(row: &Row<'_>) -> Result<StoredOperator, StoreError> {
    let role: String = row.get(2)?;
    Ok(StoredOperator {
        name: row.get(0)?,
        digest: row.get(1)?,
        role: Role::named(&role).ok_or_else(|| unreadable(2, &role))?,
        selector: row.get(3)?,
        resource_version: row.get(4)?,
        created_at: UnixMillis(row.get(5)?),
        expires_at: row.get::<_, Option<i64>>(6)?.map(UnixMillis),
        used_at: row.get::<_, Option<i64>>(7)?.map(UnixMillis),
    })
}
