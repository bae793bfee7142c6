//! The schema, as an append-only list: a step that was released is never edited.
//!
//! `user_version` counts the steps that a file has seen; all missing ones run in one exclusive
//! transaction.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// The schema's steps, oldest first.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_objects_journal_events.sql"),
    include_str!("migrations/0002_secrets.sql"),
    include_str!("migrations/0003_watch.sql"),
    include_str!("migrations/0004_operators.sql"),
    include_str!("migrations/0005_usage.sql"),
    include_str!("migrations/0006_lookup.sql"),
    include_str!("migrations/0007_tombstones.sql"),
    include_str!("migrations/0008_credentials.sql"),
    include_str!("migrations/0009_trace.sql"),
    include_str!("migrations/0010_buckets.sql"),
];

/// Brings a database to the newest schema.
pub(super) fn migrate(connection: &mut Connection, now_ms: i64) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for (step, version) in STEPS.iter().zip(1_i64..) {
        if version > found {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", version)?;
        }
    }
    if found == 0 {
        // Begun at the time of making, the counter of a new database stands above all that an older
        // one gave out, so that resourceVersions never run back.
        transaction.execute("INSERT INTO counter (value) VALUES (?1)", [now_ms << 16])?;
        // What an older database gave out lies beyond what this one knows.
        transaction.execute("UPDATE horizon SET version = ?1", [now_ms << 16])?;
    }
    transaction.commit()?;
    Ok(())
}
