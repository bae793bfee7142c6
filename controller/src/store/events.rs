//! Events: the newest are kept, the oldest go.

use rusqlite::{Connection, params};

use super::StoreError;
use crate::events::Event;

/// How many events are kept: some weeks of a quiet fleet, some minutes of a stormy one.
const EVENTS_MAX: i64 = 20_000;

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
