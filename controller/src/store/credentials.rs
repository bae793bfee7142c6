//! Credentials that the platform shows once: durable before they are asked for, sealed with their
//! answer.
//!
//! ```text
//!   begin (with the intent: sent) ─▶ minting ── keep (with the intent: acked) ─▶ live ─┐
//!                                       └───────────── drop (with the intent) ◀────────┘
//! ```

use std::collections::BTreeMap;
use std::future::Future;

use rusqlite::{Connection, OptionalExtension, Row, params};
use ulid::Ulid;
use vault_plan::identity::TenantUid;
use vault_plan::time::UnixMillis;

use super::{IntentAnswer, StoreError, journal, trace, unreadable};

/// The kinds of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialKind {
    /// A deploy token of a tenant's app.
    DeployToken,
    /// An access key for a tenant's buckets.
    AccessKey,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::DeployToken, Self::AccessKey];

    /// The kind's name in the store, and in what a sealed value is bound to.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::DeployToken => "deploy-token",
            Self::AccessKey => "access-key",
        }
    }
}

/// Which credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialKey {
    /// What it is.
    pub kind: CredentialKind,
    /// Whose it is.
    pub tenant_uid: TenantUid,
    /// Its number: at the platform it is called `vault/UID/N`.
    pub n: u64,
}

/// A credential that is about to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCredential {
    /// Which; its number must be above all that were used for its kind and tenant.
    pub key: CredentialKey,
    /// The tenant's name.
    pub tenant: String,
    /// As the manifest calls it.
    pub name: String,
    /// The organization's slug.
    pub organization: String,
    /// The app's name.
    pub app: String,
}

/// A credential as it is stored, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCredential {
    /// What it was asked for as.
    pub of: NewCredential,
    /// How far it is.
    pub state: CredentialState,
    /// When its creation was sent; if the answer was lost, when that was known.
    pub sent_at: UnixMillis,
}

/// How far a credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialState {
    /// Its creation was sent, and no answer came yet.
    Minting,
    /// Its value is stored.
    Live {
        /// The platform's id.
        id: String,
        /// Since when.
        live_at: UnixMillis,
        /// When it ends; `None` for one without an end.
        expires_at: Option<UnixMillis>,
    },
}

/// What the answer to a creation showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCredential {
    /// Which.
    pub key: CredentialKey,
    /// The platform's id.
    pub id: String,
    /// When it was shown.
    pub live_at: UnixMillis,
    /// When it ends.
    pub expires_at: Option<UnixMillis>,
    /// Its value, sealed.
    pub sealed: Vec<u8>,
}

/// All credentials of one kind, without their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// In the order of tenants and numbers.
    pub rows: Vec<StoredCredential>,
    /// The highest number that was ever used, by tenant.
    pub last_n: BTreeMap<TenantUid, u64>,
}

/// The verbs of a store that are about credentials.
pub trait CredentialStore {
    /// All credentials of one kind, without their values.
    fn credentials(
        &self,
        kind: CredentialKind,
    ) -> impl Future<Output = Result<Credentials, StoreError>> + Send;

    /// The credentials of one kind that one tenant has, in the order of their numbers, without their
    /// values.
    fn credentials_of(
        &self,
        kind: CredentialKind,
        tenant_uid: TenantUid,
    ) -> impl Future<Output = Result<Vec<StoredCredential>, StoreError>> + Send;

    /// The sealed value of a live credential; `None` if there is none.
    fn sealed_credential(
        &self,
        key: CredentialKey,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Uses up a credential's number and marks its intent as being sent, both or neither. The call
    /// may be made when this has returned. [`StoreError::Conflict`] if the number, or a higher one,
    /// was used before.
    fn begin_credential(
        &self,
        new: NewCredential,
        intent: Ulid,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps a credential that was shown, with what came of its intent at `now`: both or neither.
    /// [`StoreError::Conflict`] if it was not being minted.
    fn keep_credential(
        &self,
        shown: ShownCredential,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// As [`super::Store::answer_intent`] with an answer that was lost, for a credential too.
    fn doubt_credential(
        &self,
        key: CredentialKey,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets credentials, with what came of an intent at `now`, if it is by one. Their numbers
    /// stay used.
    fn remove_credentials(
        &self,
        keys: Vec<CredentialKey>,
        answer: Option<IntentAnswer>,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

pub(super) fn list(
    connection: &Connection,
    kind: CredentialKind,
) -> Result<Credentials, StoreError> {
    let mut credentials = Credentials::default();
    let mut numbers = connection
        .prepare_cached("SELECT tenant_uid, last_n FROM credential_number WHERE kind = ?1")?;
    let mut rows = numbers.query([kind.word()])?;
    while let Some(row) = rows.next()? {
        credentials.last_n.insert(uid(row, 0)?, number(row, 1)?);
    }
    if credentials.last_n.is_empty() {
        return Ok(credentials);
    }
    let mut statement = connection.prepare_cached(
        "SELECT tenant_uid, n, tenant, name, organization, app, state, external_id, sent_at, \
         live_at, expires_at FROM credential WHERE kind = ?1 ORDER BY tenant_uid, n",
    )?;
    let mut rows = statement.query([kind.word()])?;
    while let Some(row) = rows.next()? {
        credentials.rows.push(decode(kind, row)?);
    }
    Ok(credentials)
}

/// The credentials of one tenant.
pub(super) fn of_tenant(
    connection: &Connection,
    kind: CredentialKind,
    tenant_uid: TenantUid,
) -> Result<Vec<StoredCredential>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT tenant_uid, n, tenant, name, organization, app, state, external_id, sent_at, \
         live_at, expires_at FROM credential WHERE kind = ?1 AND tenant_uid = ?2 ORDER BY n",
    )?;
    let mut rows = statement.query(params![kind.word(), tenant_uid.to_string()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode(kind, row)?);
    }
    Ok(found)
}

/// The sealed value of a live credential.
pub(super) fn sealed(
    connection: &Connection,
    key: CredentialKey,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sealed FROM credential WHERE kind = ?1 AND tenant_uid = ?2 AND n = ?3 AND \
         state = 'live'",
    )?;
    let found = statement
        .query_row(params![key.kind.word(), key.tenant_uid.to_string(), integer(key.n)?], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(found)
}

/// Uses up a number, and marks the intent as being sent.
pub(super) fn begin(
    connection: &Connection,
    new: &NewCredential,
    intent: Ulid,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let NewCredential { key, tenant, name, organization, app } = new;
    let (kind, uid, n) = (key.kind.word(), key.tenant_uid.to_string(), integer(key.n)?);
    let used = connection
        .prepare_cached(
            "INSERT INTO credential_number (kind, tenant_uid, last_n) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET last_n = excluded.last_n WHERE last_n < excluded.last_n",
        )?
        .execute(params![kind, uid, n])?;
    if used == 0 {
        return Err(StoreError::Conflict);
    }
    connection
        .prepare_cached(
            "INSERT INTO credential (kind, tenant_uid, n, tenant, name, organization, app, state, \
             sent_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'minting', ?8)",
        )?
        .execute(params![kind, uid, n, tenant, name, organization, app, now.0])?;
    journal::send(connection, intent, now)
}

/// Keeps what was shown, and records what came of the intent.
pub(super) fn keep(
    connection: &Connection,
    shown: &ShownCredential,
    answer: &IntentAnswer,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let key = shown.key;
    let kept = connection
        .prepare_cached(
            "UPDATE credential SET state = 'live', external_id = ?4, live_at = ?5, \
             expires_at = ?6, sealed = ?7 WHERE kind = ?1 AND tenant_uid = ?2 AND n = ?3 AND \
             state = 'minting'",
        )?
        .execute(params![
            key.kind.word(),
            key.tenant_uid.to_string(),
            integer(key.n)?,
            shown.id,
            shown.live_at.0,
            shown.expires_at.map(|end| end.0),
            shown.sealed,
        ])?;
    if kept == 0 {
        return Err(StoreError::Conflict);
    }
    trace::answer(connection, answer, now)
}

/// Records that the answer was lost at `now`, in the journal too.
pub(super) fn doubt(
    connection: &Connection,
    key: CredentialKey,
    answer: &IntentAnswer,
    now: UnixMillis,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE credential SET sent_at = ?4 WHERE kind = ?1 AND tenant_uid = ?2 AND n = ?3 \
             AND state = 'minting'",
        )?
        .execute(params![key.kind.word(), key.tenant_uid.to_string(), integer(key.n)?, now.0])?;
    trace::answer(connection, answer, now)
}

/// Forgets credentials with their values, and records what came of the intent.
pub(super) fn remove(
    connection: &Connection,
    keys: &[CredentialKey],
    answer: Option<&IntentAnswer>,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let mut delete = connection
        .prepare_cached("DELETE FROM credential WHERE kind = ?1 AND tenant_uid = ?2 AND n = ?3")?;
    for key in keys {
        let n = integer(key.n)?;
        delete.execute(params![key.kind.word(), key.tenant_uid.to_string(), n])?;
    }
    answer.map_or(Ok(()), |answer| trace::answer(connection, answer, now))
}

fn decode(kind: CredentialKind, row: &Row<'_>) -> Result<StoredCredential, StoreError> {
    let state: String = row.get(6)?;
    let instant = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(UnixMillis));
    let state = match (state.as_str(), row.get(7)?, instant(9)?) {
        ("minting", _, _) => CredentialState::Minting,
        ("live", Some(id), Some(live_at)) => {
            CredentialState::Live { id, live_at, expires_at: instant(10)? }
        }
        (other, _, _) => return Err(unreadable(6, other)),
    };
    let key = CredentialKey { kind, tenant_uid: uid(row, 0)?, n: number(row, 1)? };
    let of = NewCredential {
        key,
        tenant: row.get(2)?,
        name: row.get(3)?,
        organization: row.get(4)?,
        app: row.get(5)?,
    };
    Ok(StoredCredential { of, state, sent_at: UnixMillis(row.get(8)?) })
}

fn uid(row: &Row<'_>, column: usize) -> Result<TenantUid, StoreError> {
    let text: String = row.get(column)?;
    TenantUid::read(&text).ok_or_else(|| unreadable(column, &text))
}

fn number(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| unreadable(column, &number.to_string()))
}

/// SQLite's numbers end at half of ours; nobody gets there by counting.
fn integer(n: u64) -> Result<i64, StoreError> {
    i64::try_from(n).map_err(|_| unreadable(0, &n.to_string()))
}

#[cfg(test)]
mod tests;
