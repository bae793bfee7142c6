//! The journal as people read it: an intent with its calls, their answers, and when what was known.

use rusqlite::{Connection, Row, params};
use vault_plan::time::UnixMillis;

use super::{Intent, Settlement, StoreError, journal, versions};
use crate::edits::MachineVersion;
use crate::record::CallRecord;

/// What came of a sent intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentAnswer {
    /// How far it came, or that nobody knows.
    pub verdict: Verdict,
    /// The calls that were made for it, in their order.
    pub calls: Vec<CallRecord>,
    /// The version that the machine has by it, if the platform said.
    pub written: Option<MachineVersion>,
}

/// Whether it is known what became of a sent intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Settled(Settlement),
    /// It is not: the answer was lost.
    Doubted {
        /// Which intent.
        id: ulid::Ulid,
        /// What is known, for people.
        outcome: String,
    },
}

/// One intent, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentTrace {
    /// The intent.
    pub intent: Intent,
    /// When its call was begun.
    pub called_at: Option<UnixMillis>,
    /// When it was known what the platform said, or that it said nothing.
    pub answered_at: Option<UnixMillis>,
    /// When its effect was seen, or it was given up.
    pub closed_at: Option<UnixMillis>,
    /// The attempts, in their order; none are known while the call is under way, and never if the
    /// controller ended meanwhile.
    pub calls: Vec<CallRecord>,
}

pub(super) fn answer(
    connection: &Connection,
    answer: &IntentAnswer,
    now: UnixMillis,
) -> Result<(), StoreError> {
    versions::put(connection, answer.written.as_slice())?;
    let id = match &answer.verdict {
        Verdict::Settled(settlement) => {
            journal::settle(connection, std::slice::from_ref(settlement), now)?;
            settlement.id
        }
        Verdict::Doubted { id, outcome } => {
            journal::doubt(connection, *id, now, outcome)?;
            *id
        }
    };
    connection
        .prepare_cached("UPDATE intent SET answered_at = ?2, calls = ?3 WHERE id = ?1")?
        .execute(params![id.to_string(), now.0, serde_json::to_string(&answer.calls)?])?;
    Ok(())
}

pub(super) fn list(
    connection: &Connection,
    tenant: &str,
    limit: u32,
) -> Result<Vec<IntentTrace>, StoreError> {
    let select = format!(
        "SELECT {}, called_at, answered_at, closed_at, calls FROM intent WHERE tenant = ?1 \
         ORDER BY id DESC LIMIT ?2",
        journal::COLUMNS
    );
    let mut statement = connection.prepare_cached(&select)?;
    let mut rows = statement.query(params![tenant, limit])?;
    let mut traces = Vec::new();
    while let Some(row) = rows.next()? {
        traces.push(decode(row)?);
    }
    traces.reverse();
    Ok(traces)
}

fn decode(row: &Row<'_>) -> Result<IntentTrace, StoreError> {
    let at = |column: &str| row.get::<_, Option<i64>>(column).map(|at| at.map(UnixMillis));
    let calls: Option<String> = row.get("calls")?;
    Ok(IntentTrace {
        intent: journal::decode(row)?,
        called_at: at("called_at")?,
        answered_at: at("answered_at")?,
        closed_at: at("closed_at")?,
        calls: calls.map_or_else(|| Ok(Vec::new()), |calls| serde_json::from_str(&calls))?,
    })
}
