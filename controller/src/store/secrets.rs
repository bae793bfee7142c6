//! What is known of app secrets: hashes and digests, no values.

use rusqlite::{Connection, Row, params};
use vault_plan::observed::SecretState;
use vault_plan::time::UnixMillis;

use super::{StoreError, StoredSecret, unreadable};

pub(super) fn list(connection: &Connection) -> Result<Vec<StoredSecret>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT app, name, state, hash, digest, version, read_at FROM secret ORDER BY app, name",
    )?;
    let mut rows = statement.query([])?;
    let mut secrets = Vec::new();
    while let Some(row) = rows.next()? {
        secrets.push(decode(row)?);
    }
    Ok(secrets)
}

pub(super) fn put(connection: &Connection, secrets: &[StoredSecret]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO secret (app, name, state, hash, digest, version, read_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for secret in secrets {
        let (state, hash) = match &secret.state {
            SecretState::Set { hash } => ("set", Some(hash)),
            SecretState::Changed => ("changed", None),
            SecretState::Missing => ("missing", None),
            SecretState::Unsure => ("unsure", None),
        };
        insert.execute(params![
            secret.app,
            secret.name,
            state,
            hash,
            secret.digest,
            // SQLite's numbers end at half of what the platform's could be; one beyond is as good
            // as none, for it only makes a start wait.
            secret.version.and_then(|version| i64::try_from(version).ok()),
            secret.read_at.0,
        ])?;
    }
    Ok(())
}

pub(super) fn remove(connection: &Connection, apps: &[String]) -> Result<(), StoreError> {
    let mut delete = connection.prepare_cached("DELETE FROM secret WHERE app = ?1")?;
    for app in apps {
        delete.execute([app])?;
    }
    Ok(())
}

pub(super) fn remove_one(connection: &Connection, app: &str, name: &str) -> Result<(), StoreError> {
    let mut delete =
        connection.prepare_cached("DELETE FROM secret WHERE app = ?1 AND name = ?2")?;
    delete.execute([app, name])?;
    Ok(())
}

fn decode(row: &Row<'_>) -> Result<StoredSecret, StoreError> {
    let state: String = row.get(2)?;
    let state = match state.as_str() {
        "set" => SecretState::Set { hash: row.get(3)? },
        "changed" => SecretState::Changed,
        "missing" => SecretState::Missing,
        "unsure" => SecretState::Unsure,
        other => return Err(unreadable(2, other)),
    };
    Ok(StoredSecret {
        app: row.get(0)?,
        name: row.get(1)?,
        state,
        digest: row.get(4)?,
        version: row.get::<_, Option<i64>>(5)?.and_then(|version| u64::try_from(version).ok()),
        read_at: UnixMillis(row.get(6)?),
    })
}
