//! Events: the newest are kept, the oldest go.

use rusqlite::{Connection, Row, params};

use vault_plan::time::UnixMillis;

use super::StoreError;
use super::objects::{next_version, resource_version, rows_max};
use crate::events::Event;

/// How many events are kept: some weeks of a quiet fleet, some minutes of a stormy one.
const EVENTS_MAX: i64 = 20_000;

/// Events that say the same of the same tenant, as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSeries {
    /// The newest of them.
    pub event: Event,
    /// When the oldest of them that is still kept happened.
    pub first_at: UnixMillis,
    /// How many of them are kept; at least 1.
    pub count: u32,
    /// The value of the store's counter when the oldest of them that is still kept was written.
    pub first_version: i64,
    /// The same of the newest.
    pub version: i64,
}

/// What happened after a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventChanges {
    /// The newest version that was given out.
    pub newest: i64,
    /// Whether these are all; else there are more after the last one.
    pub complete: bool,
    /// The series that grew, in the order in which they did.
    pub series: Vec<EventSeries>,
}

pub(super) fn append(connection: &Connection, events: &[Event]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO event (at, tenant, warning, reason, message, version) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for event in events {
        insert.execute(params![
            event.at.0,
            event.tenant,
            event.warning,
            event.reason,
            event.message,
            next_version(connection)?
        ])?;
    }
    connection
        .prepare_cached("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1")?
        .execute([EVENTS_MAX])?;
    Ok(())
}

/// With `tenant` those of one tenant, `Some("")` being the controller itself.
pub(super) fn list(
    connection: &Connection,
    tenant: Option<&str>,
) -> Result<Vec<EventSeries>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT max(at), tenant, warning, reason, message, min(at), count(*), min(version), \
         max(version) FROM event
         WHERE ?1 IS NULL OR tenant = ?1
         GROUP BY tenant, warning, reason, message ORDER BY max(id)",
    )?;
    let rows = select.query_map([tenant], decode)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The series that grew after a version, at most `limit` of them, in the order in which they did.
pub(super) fn changes(
    connection: &Connection,
    after: i64,
    limit: usize,
) -> Result<EventChanges, StoreError> {
    // Both reads have to see the same moment.
    let transaction = connection.unchecked_transaction()?;
    let newest = resource_version(&transaction)?;
    let mut select = transaction.prepare_cached(
        "SELECT max(event.at), tenant, warning, reason, message, min(event.at), count(*), \
         min(event.version), max(event.version)
         FROM (SELECT DISTINCT tenant, warning, reason, message FROM event WHERE version > ?1)
         JOIN event USING (tenant, warning, reason, message)
         GROUP BY tenant, warning, reason, message ORDER BY max(event.version) LIMIT ?2",
    )?;
    let rows = select.query_map(params![after, rows_max(limit)], decode)?;
    let series: Vec<EventSeries> = rows.collect::<Result<_, _>>()?;
    Ok(EventChanges { newest, complete: series.len() < limit, series })
}

fn decode(row: &Row<'_>) -> rusqlite::Result<EventSeries> {
    let event = Event {
        at: UnixMillis(row.get(0)?),
        tenant: row.get(1)?,
        warning: row.get(2)?,
        reason: row.get(3)?,
        message: row.get(4)?,
    };
    Ok(EventSeries {
        event,
        first_at: UnixMillis(row.get(5)?),
        count: row.get(6)?,
        first_version: row.get(7)?,
        version: row.get(8)?,
    })
}
