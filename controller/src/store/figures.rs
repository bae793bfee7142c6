//! The database in numbers.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{IntentState, StoreError, unreadable};

/// What is in the store, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Intents by state; every state is there. Closed ones are kept up to a cap.
    pub intents: BTreeMap<IntentState, u64>,
    /// Machines with usage facts, deleted ones included.
    pub usage_facts: u64,
    /// The size of the database file, in bytes, without its write-ahead log.
    pub bytes: u64,
}

pub(super) fn figures(connection: &Connection) -> Result<StoreFigures, StoreError> {
    let mut intents: BTreeMap<_, _> = IntentState::ALL.map(|state| (state, 0)).into();
    let mut select =
        connection.prepare_cached("SELECT state, count(*) FROM intent GROUP BY state")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let word: String = row.get(0)?;
        let state = IntentState::ALL.into_iter().find(|state| state.word() == word);
        intents.insert(state.ok_or_else(|| unreadable(0, &word))?, number(row.get(1)?));
    }
    let count = |select: &str| -> Result<u64, StoreError> {
        Ok(number(connection.prepare_cached(select)?.query_row([], |row| row.get(0))?))
    };
    let usage_facts = count("SELECT count(*) FROM usage_fact")?;
    let bytes = count("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?;
    Ok(StoreFigures { intents, usage_facts, bytes })
}

/// Counts are never negative.
fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
