//! The versions of machines that we wrote or looked at.

use rusqlite::{Connection, params};

use super::StoreError;
use crate::edits::MachineVersion;

pub(super) fn list(connection: &Connection) -> Result<Vec<MachineVersion>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT machine_id, version, intent, edited FROM machine_version ORDER BY machine_id",
    )?;
    let mut rows = statement.query([])?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        let edited: Option<String> = row.get(3)?;
        versions.push(MachineVersion {
            machine_id: row.get(0)?,
            version: row.get(1)?,
            intent: row.get(2)?,
            edited: edited
                .map_or_else(|| Ok(Vec::new()), |edited| serde_json::from_str(&edited))?,
        });
    }
    Ok(versions)
}

pub(super) fn put(connection: &Connection, versions: &[MachineVersion]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO machine_version (machine_id, version, intent, edited) \
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    for known in versions {
        let edited = match known.edited.as_slice() {
            [] => None,
            members => Some(serde_json::to_string(members)?),
        };
        insert.execute(params![known.machine_id, known.version, known.intent, edited])?;
    }
    Ok(())
}

pub(super) fn remove(connection: &Connection, machines: &[String]) -> Result<(), StoreError> {
    let mut delete =
        connection.prepare_cached("DELETE FROM machine_version WHERE machine_id = ?1")?;
    for machine in machines {
        delete.execute([machine])?;
    }
    Ok(())
}
