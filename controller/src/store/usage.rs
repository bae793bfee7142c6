//! Usage facts: machines that exist, and deleted ones for as long as they are retained.

use rusqlite::{Connection, Row, params};
use vault_plan::time::UnixMillis;

use super::StoreError;
use crate::usage::UsageFact;

/// How many deleted machines are remembered at most, whatever the retention: about 500 bytes each,
/// so half a gigabyte. Ten thousand tenants that are made anew every day reach it in three months.
const DELETED_FACTS_MAX: i64 = 1_000_000;

const COLUMNS: &str = "machine_id, tenant, organization, app, state, region, instance_id, \
                       started_at, stopped_at, deleted_at, absent_since, metadata, volumes";

/// What a pass needs to know of usage.
#[derive(Clone, Debug, Default)]
pub struct LiveUsage {
    /// The facts of machines that are not deleted, in the order of their ids.
    pub facts: Vec<UsageFact>,
    /// When the machine was deleted that is remembered longest; `None` if none is.
    pub oldest_deleted_at: Option<UnixMillis>,
}

/// Which page of facts: at most `limit` of them, with ids after `after`.
#[derive(Clone, Debug)]
pub struct UsagePage {
    /// Only of this tenant.
    pub tenant: Option<String>,
    /// The last id of the page before; empty for the first.
    pub after: String,
    /// How many rows at most.
    pub limit: u32,
    /// Machines that were deleted before this instant are left out.
    pub deleted_since: UnixMillis,
}

pub(super) fn live(connection: &Connection) -> Result<LiveUsage, StoreError> {
    let select =
        format!("SELECT {COLUMNS} FROM usage_fact WHERE deleted_at IS NULL ORDER BY machine_id");
    let mut statement = connection.prepare_cached(&select)?;
    let facts = all(statement.query([])?)?;
    let oldest = connection
        .prepare_cached("SELECT min(deleted_at) FROM usage_fact WHERE deleted_at IS NOT NULL")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(LiveUsage { facts, oldest_deleted_at: oldest.map(UnixMillis) })
}

pub(super) fn of_machines(
    connection: &Connection,
    ids: &[String],
) -> Result<Vec<UsageFact>, StoreError> {
    let select = format!("SELECT {COLUMNS} FROM usage_fact WHERE machine_id = ?1");
    let mut statement = connection.prepare_cached(&select)?;
    let mut facts = Vec::new();
    for id in ids {
        facts.extend(all(statement.query([id])?)?);
    }
    Ok(facts)
}

pub(super) fn page(
    connection: &Connection,
    page: &UsagePage,
) -> Result<Vec<UsageFact>, StoreError> {
    // Two statements, so that each one has an index to walk along.
    let tenant = page.tenant.as_ref().map_or("?4 IS NULL", |_| "tenant = ?4");
    let select = format!(
        "SELECT {COLUMNS} FROM usage_fact WHERE machine_id > ?1 AND {tenant} \
         AND (deleted_at IS NULL OR deleted_at >= ?2) ORDER BY machine_id LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&select)?;
    all(statement.query(params![page.after, page.deleted_since.0, page.limit, page.tenant])?)
}

pub(super) fn put(
    connection: &Connection,
    facts: &[UsageFact],
    deleted_since: UnixMillis,
) -> Result<(), StoreError> {
    let insert = format!(
        "INSERT OR REPLACE INTO usage_fact ({COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    );
    let mut insert = connection.prepare_cached(&insert)?;
    for fact in facts {
        insert.execute(params![
            fact.machine_id,
            fact.tenant,
            fact.organization,
            fact.app,
            fact.state,
            fact.region,
            fact.instance_id,
            fact.started_at.map(|at| at.0),
            fact.stopped_at.map(|at| at.0),
            fact.deleted_at.map(|at| at.0),
            fact.absent_since.map(|at| at.0),
            serde_json::to_string(&fact.metadata)?,
            serde_json::to_string(&fact.volumes)?,
        ])?;
    }
    connection
        .prepare_cached("DELETE FROM usage_fact WHERE deleted_at < ?1")?
        .execute([deleted_since.0])?;
    connection
        .prepare_cached(
            "DELETE FROM usage_fact WHERE deleted_at <= (SELECT deleted_at FROM usage_fact \
             WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([DELETED_FACTS_MAX])?;
    Ok(())
}

fn all(mut rows: rusqlite::Rows<'_>) -> Result<Vec<UsageFact>, StoreError> {
    let mut facts = Vec::new();
    while let Some(row) = rows.next()? {
        facts.push(decode(row)?);
    }
    Ok(facts)
}

fn decode(row: &Row<'_>) -> Result<UsageFact, StoreError> {
    let instant = |column: usize| -> Result<Option<UnixMillis>, StoreError> {
        Ok(row.get::<_, Option<i64>>(column)?.map(UnixMillis))
    };
    Ok(UsageFact {
        machine_id: row.get(0)?,
        tenant: row.get(1)?,
        organization: row.get(2)?,
        app: row.get(3)?,
        state: row.get(4)?,
        region: row.get(5)?,
        instance_id: row.get(6)?,
        started_at: instant(7)?,
        stopped_at: instant(8)?,
        deleted_at: instant(9)?,
        absent_since: instant(10)?,
        metadata: serde_json::from_str(&row.get::<_, String>(11)?)?,
        volumes: serde_json::from_str(&row.get::<_, String>(12)?)?,
    })
}
