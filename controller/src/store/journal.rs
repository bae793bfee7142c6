//! The intent journal.

use rusqlite::{Connection, Params, Row, Statement, params};
use ulid::Ulid;
use vault_plan::action::ActionKind;
use vault_plan::time::UnixMillis;

use super::{Intent, IntentState, Settlement, StoreError, unreadable};

/// How many closed intents are kept to be looked at by people.
const CLOSED_INTENTS_MAX: i64 = 10_000;

/// The columns that [`decode`] reads, in its order.
pub(super) const COLUMNS: &str = "id, tenant, organization, app, kind, external_name, external_id, \
                                  state, planned_at, sent_at, outcome, spec_hash";

pub(super) fn plan(connection: &Connection, intents: &[Intent]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO intent (id, tenant, organization, app, kind, external_name, external_id, \
         state, planned_at, spec_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'planned', ?8, ?9)",
    )?;
    for intent in intents {
        insert.execute(params![
            intent.id.to_string(),
            intent.tenant,
            intent.organization,
            intent.app,
            intent.kind.word(),
            intent.external_name,
            intent.external_id,
            intent.planned_at.0,
            intent.spec_hash,
        ])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM intent WHERE state IN ('verified', 'aborted') AND id <= (SELECT id FROM \
             intent WHERE state IN ('verified', 'aborted') ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([CLOSED_INTENTS_MAX])?;
    Ok(())
}

pub(super) fn send(connection: &Connection, id: Ulid, now: UnixMillis) -> Result<(), StoreError> {
    check_transition(connection, id, IntentState::Sent)?;
    connection
        .prepare_cached(
            "UPDATE intent SET state = 'sent', sent_at = ?2, called_at = ?2 WHERE id = ?1",
        )?
        .execute(params![id.to_string(), now.0])?;
    Ok(())
}

pub(super) fn doubt(
    connection: &Connection,
    id: Ulid,
    now: UnixMillis,
    outcome: &str,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE intent SET sent_at = ?2, outcome = ?3 WHERE id = ?1 AND state = 'sent'",
        )?
        .execute(params![id.to_string(), now.0, outcome])?;
    Ok(())
}

pub(super) fn settle(
    connection: &Connection,
    settlements: &[Settlement],
    now: UnixMillis,
) -> Result<(), StoreError> {
    let mut update = connection.prepare_cached(
        "UPDATE intent SET state = ?2, external_id = coalesce(?3, external_id), \
         outcome = coalesce(?4, outcome), \
         closed_at = CASE WHEN ?2 IN ('verified', 'aborted') THEN ?5 END WHERE id = ?1",
    )?;
    for settlement in settlements {
        check_transition(connection, settlement.id, settlement.state)?;
        update.execute(params![
            settlement.id.to_string(),
            settlement.state.word(),
            settlement.external_id,
            settlement.outcome,
            now.0,
        ])?;
    }
    Ok(())
}

pub(super) fn open(connection: &Connection) -> Result<Vec<Intent>, StoreError> {
    let select = format!(
        "SELECT {COLUMNS} FROM intent WHERE state IN ('planned', 'sent', 'acked') ORDER BY id"
    );
    let mut statement = connection.prepare_cached(&select)?;
    intents(&mut statement, [])
}

pub(super) fn verified_since(
    connection: &Connection,
    since: UnixMillis,
) -> Result<Vec<Intent>, StoreError> {
    let select = format!(
        "SELECT {COLUMNS} FROM intent WHERE state = 'verified' AND closed_at >= ?1 ORDER BY id"
    );
    intents(&mut connection.prepare(&select)?, [since.0])
}

fn intents(statement: &mut Statement<'_>, values: impl Params) -> Result<Vec<Intent>, StoreError> {
    let mut rows = statement.query(values)?;
    let mut intents = Vec::new();
    while let Some(row) = rows.next()? {
        intents.push(decode(row)?);
    }
    Ok(intents)
}

fn check_transition(connection: &Connection, id: Ulid, to: IntentState) -> Result<(), StoreError> {
    let word: String = connection
        .prepare_cached("SELECT state FROM intent WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))?;
    let from = state(0, &word)?;
    match from.may_become(to) {
        true => Ok(()),
        false => Err(StoreError::IllegalTransition { id, from, to }),
    }
}

pub(super) fn decode(row: &Row<'_>) -> Result<Intent, StoreError> {
    let id: String = row.get(0)?;
    let kind: String = row.get(4)?;
    Ok(Intent {
        id: id.parse().map_err(|_| unreadable(0, &id))?,
        tenant: row.get(1)?,
        organization: row.get(2)?,
        app: row.get(3)?,
        kind: ActionKind::read(&kind).ok_or_else(|| unreadable(4, &kind))?,
        external_name: row.get(5)?,
        external_id: row.get(6)?,
        state: state(7, &row.get::<_, String>(7)?)?,
        planned_at: UnixMillis(row.get(8)?),
        sent_at: row.get::<_, Option<i64>>(9)?.map(UnixMillis),
        outcome: row.get(10)?,
        spec_hash: row.get(11)?,
    })
}

fn state(column: usize, word: &str) -> Result<IntentState, StoreError> {
    IntentState::ALL
        .into_iter()
        .find(|state| state.word() == word)
        .ok_or_else(|| unreadable(column, word))
}
