//! The audit log: the newest records are kept, the oldest go.

use rusqlite::{Connection, Row, params};
use vault_api::operator::Role;
use vault_plan::time::UnixMillis;

use super::{Kind, StoreError, unreadable};
use crate::audit::{AuditQuery, AuditRecord};

/// How many records are kept: months of people's writes, days of a busy pipeline's, some twenty
/// megabytes at most.
const RECORDS_MAX: i64 = 20_000;

pub(super) fn append(connection: &Connection, record: &AuditRecord) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO audit (at, who, role, source, verb, kind, name, subresource, dry_run, \
             code, message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            record.at.0,
            record.who,
            record.role.word(),
            record.source,
            record.verb,
            record.kind,
            record.name,
            record.subresource,
            record.dry_run,
            record.code,
            record.message,
        ])?;
    connection
        .prepare_cached("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1")?
        .execute([RECORDS_MAX])?;
    Ok(())
}

/// The newest records that are wanted, the newest last.
pub(super) fn list(
    connection: &Connection,
    query: &AuditQuery,
) -> Result<Vec<AuditRecord>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT at, who, role, source, verb, kind, name, subresource, dry_run, code, message
         FROM (SELECT * FROM audit WHERE (?1 IS NULL OR (kind = ?2 AND name = ?1)) AND at >= ?3
               ORDER BY id DESC LIMIT ?4)
         ORDER BY id",
    )?;
    let since = query.since.map_or(i64::MIN, |since| since.0);
    let mut rows = select.query(params![query.tenant, Kind::Tenant.word(), since, query.limit])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(decode(row)?);
    }
    Ok(records)
}

fn decode(row: &Row<'_>) -> Result<AuditRecord, StoreError> {
    let role: String = row.get(2)?;
    Ok(AuditRecord {
        at: UnixMillis(row.get(0)?),
        who: row.get(1)?,
        role: Role::named(&role).ok_or_else(|| unreadable(2, &role))?,
        source: row.get(3)?,
        verb: row.get(4)?,
        kind: row.get(5)?,
        name: row.get(6)?,
        subresource: row.get(7)?,
        dry_run: row.get(8)?,
        code: row.get(9)?,
        message: row.get(10)?,
    })
}
