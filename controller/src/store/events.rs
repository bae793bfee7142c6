//! Events: the newest are kept, the oldest go.

use rusqlite::{Connection, params};

use vault_plan::time::UnixMillis;

use super::StoreError;
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
}

pub(super) fn append(connection: &Connection, events: &[Event]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO event (at, tenant, warning, reason, message) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for event in events {
        insert.execute(params![
            event.at.0,
            event.tenant,
            event.warning,
            event.reason,
            event.message
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
        "SELECT max(at), tenant, warning, reason, message, min(at), count(*) FROM event
         WHERE ?1 IS NULL OR tenant = ?1
         GROUP BY tenant, warning, reason, message ORDER BY max(id)",
    )?;
    let rows = select.query_map([tenant], |row| {
        let event = Event {
            at: UnixMillis(row.get(0)?),
            tenant: row.get(1)?,
            warning: row.get(2)?,
            reason: row.get(3)?,
            message: row.get(4)?,
        };
        Ok(EventSeries { event, first_at: UnixMillis(row.get(5)?), count: row.get(6)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
