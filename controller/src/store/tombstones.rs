//! Tombstones: what is about to be deleted, and what can come back.

use rusqlite::{Connection, OptionalExtension, Row, params};
use vault_api::status::TenantStatus;
use vault_api::tenant::DeletionPolicy;
use vault_plan::identity::TenantUid;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::{Cause, Tombstone, TombstoneKind, TombstoneState};

use super::{Kind, StoreError, StoredObject, objects, unreadable};
use crate::source::Source;

/// How many tombstones are kept that have ended, and how many deleted tenants can come back: the
/// oldest beyond are forgotten. What they named is not deleted for that.
const ENDED_MAX: i64 = 10_000;

const COLUMNS: &str = "kind, id, tenant, uid, organization, app, name, region, size_gb, machine, \
                       template, policy, cause, snapshot, made_at, due_at, sightings, seen_at, \
                       state, ended_at, outcome";

/// What a pass knew when it decided to delete something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// What the tombstone stands over.
    pub kind: TombstoneKind,
    /// Its id.
    pub id: String,
    /// When the tombstone was made: another one of the same id is not the same.
    pub made_at: UnixMillis,
    /// The generations of the tenant and its class, if there was such a tenant, and whether it was
    /// being deleted.
    pub owner: Option<Owner>,
}

/// A tenant as a pass saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The generation of its spec.
    pub generation: i64,
    /// Its deletion had been asked for.
    pub deleting: bool,
    /// The class that its spec names and the generation of that.
    pub class: Option<(String, i64)>,
}

/// What came of bringing a tenant back.
#[derive(Clone, Debug, PartialEq)]
pub enum Undelete {
    /// It is there again, and these tombstones no longer stand.
    Done(Box<StoredObject>, Vec<Tombstone>),
    /// Nothing is known of a deleted tenant of that name.
    Unknown,
    /// An object of that name is there.
    Exists,
    /// It is too late: these are gone, or are going.
    TooLate(Vec<Tombstone>),
}

pub(super) fn list(connection: &Connection) -> Result<Vec<Tombstone>, StoreError> {
    let mut select = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM tombstone ORDER BY tenant, kind, id"))?;
    let mut rows = select.query([])?;
    let mut tombstones = Vec::new();
    while let Some(row) = rows.next()? {
        tombstones.push(decode(row)?);
    }
    Ok(tombstones)
}

/// Writes some and forgets others, which are no longer wanted to stand.
pub(super) fn change(
    connection: &Connection,
    written: &[Tombstone],
    cleared: &[Tombstone],
) -> Result<(), StoreError> {
    for tombstone in written {
        put(connection, tombstone)?;
    }
    for tombstone in cleared {
        connection
            .prepare_cached("DELETE FROM tombstone WHERE kind = ?1 AND id = ?2")?
            .execute(params![tombstone.kind.word(), tombstone.id])?;
    }
    drop_oldest(connection)
}

/// Marks as acting what may be deleted now, and answers which: not what was taken back, or whose
/// tenant was written, since the pass looked.
pub(super) fn act(connection: &Connection, doomed: &[Doomed]) -> Result<Vec<bool>, StoreError> {
    let mut update = connection.prepare_cached(
        "UPDATE tombstone SET state = 'acting' \
         WHERE kind = ?1 AND id = ?2 AND made_at = ?3 AND state = 'standing' RETURNING tenant",
    )?;
    let mut tenant = connection.prepare_cached(
        "SELECT tenant FROM tombstone WHERE kind = ?1 AND id = ?2 AND made_at = ?3",
    )?;
    let mut acting = Vec::with_capacity(doomed.len());
    for doomed in doomed {
        let key = params![doomed.kind.word(), doomed.id, doomed.made_at.0];
        let name: Option<String> = tenant.query_row(key, |row| row.get(0)).optional()?;
        let is_same = match name {
            Some(name) => owner(connection, &name)? == doomed.owner,
            None => false,
        };
        let key = params![doomed.kind.word(), doomed.id, doomed.made_at.0];
        acting.push(is_same && update.exists(key)?);
    }
    Ok(acting)
}

/// The tombstone of a tenant whose object goes; `None` for what gets none.
#[must_use]
pub fn tombstone_of(object: &StoredObject) -> Option<Tombstone> {
    if object.kind != Kind::Tenant {
        return None;
    }
    // One whose uid is none was never ours, and has nothing that a tombstone could stand over.
    let uid = object.uid.parse().ok()?;
    // A status that this version cannot read tells no app: then none is deleted. The object has to
    // be able to go all the same.
    let status = object.status.clone().map(serde_json::from_value::<TenantStatus>);
    let status = status.and_then(Result::ok);
    let (organization, app) = status.map(|status| (status.org, status.app)).unwrap_or_default();
    let app = app.unwrap_or_default();
    let made_at = object.deleted_at.unwrap_or(object.created_at);
    Some(Tombstone {
        kind: TombstoneKind::Tenant,
        id: object.name.clone(),
        tenant: object.name.clone(),
        uid: TenantUid(uid),
        organization: organization.unwrap_or_default(),
        name: app.clone(),
        app,
        region: String::new(),
        size_gb: 0,
        machine: String::new(),
        template: String::new(),
        policy: DeletionPolicy::Delete,
        cause: Cause::Deleted,
        snapshot: None,
        made_at,
        due_at: made_at,
        sightings: 0,
        seen_at: None,
        state: TombstoneState::Standing,
        ended_at: None,
        outcome: None,
    })
}

/// Keeps what a tenant was, at the moment in which its object goes.
pub(super) fn bury(connection: &Connection, object: &StoredObject) -> Result<(), StoreError> {
    let Some(tombstone) = tombstone_of(object) else { return Ok(()) };
    put(connection, &tombstone)?;
    connection
        .prepare_cached("UPDATE tombstone SET body = ?3 WHERE kind = ?1 AND id = ?2")?
        .execute(params![tombstone.kind.word(), tombstone.id, serde_json::to_string(object)?])?;
    Ok(())
}

/// Brings a deleted tenant back as it was, and clears its tombstones. With `api_owned` it is the
/// API's from now on, whoever owned it.
pub(super) fn undelete(
    connection: &Connection,
    name: &str,
    api_owned: bool,
) -> Result<Undelete, StoreError> {
    if objects::one(connection, Kind::Tenant, name)?.is_some() {
        return Ok(Undelete::Exists);
    }
    let of_tenant: Vec<Tombstone> =
        list(connection)?.into_iter().filter(|known| known.tenant == name).collect();
    let Some(tenant) = of_tenant.iter().find(|known| known.kind == TombstoneKind::Tenant) else {
        return Ok(Undelete::Unknown);
    };
    let is_lost = |known: &&Tombstone| {
        let is_its = known.kind == TombstoneKind::Tenant
            || known.cause == Cause::Deleted && known.made_at >= tenant.made_at;
        is_its && known.state != TombstoneState::Standing
    };
    let lost: Vec<Tombstone> = of_tenant.iter().filter(is_lost).cloned().collect();
    if !lost.is_empty() {
        return Ok(Undelete::TooLate(lost));
    }
    let body: String = connection
        .prepare_cached("SELECT body FROM tombstone WHERE kind = ?1 AND id = ?2")?
        .query_row(params![tenant.kind.word(), tenant.id], |row| row.get(0))?;
    let mut object: StoredObject = serde_json::from_str(&body)?;
    object.deleted_at = None;
    object.status = None;
    if api_owned {
        object.source = Source::Api;
    }
    let object = objects::put(connection, object, None)?;
    let standing: Vec<Tombstone> =
        of_tenant.into_iter().filter(|known| known.state == TombstoneState::Standing).collect();
    change(connection, &[], &standing)?;
    Ok(Undelete::Done(Box::new(object), standing))
}

/// A tenant as it is now.
fn owner(connection: &Connection, name: &str) -> Result<Option<Owner>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT generation, deleted_at, json_extract(spec, '$.class') FROM object \
             WHERE kind = 'Tenant' AND name = ?1",
        )?
        .query_row([name], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Option<i64>>(1)?.is_some(),
                row.get::<_, Option<String>>(2)?,
            ))
        })
        .optional()?;
    let Some((generation, deleting, class)) = found else { return Ok(None) };
    let class = match class {
        None => None,
        Some(class) => {
            let generation: Option<i64> = connection
                .prepare_cached(
                    "SELECT generation FROM object WHERE kind = 'TenantClass' AND name = ?1",
                )?
                .query_row([&class], |row| row.get(0))
                .optional()?;
            Some((class, generation.unwrap_or(0)))
        }
    };
    Ok(Some(Owner { generation, deleting, class }))
}

fn put(connection: &Connection, tombstone: &Tombstone) -> Result<(), StoreError> {
    let assignments: Vec<String> = COLUMNS
        .split(',')
        .skip(2)
        .map(|column| format!("{0} = excluded.{0}", column.trim()))
        .collect();
    connection
        .prepare_cached(&format!(
            "INSERT INTO tombstone ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
             ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21) \
             ON CONFLICT (kind, id) DO UPDATE SET {}",
            assignments.join(", ")
        ))?
        .execute(params![
            tombstone.kind.word(),
            tombstone.id,
            tombstone.tenant,
            tombstone.uid.to_string(),
            tombstone.organization,
            tombstone.app,
            tombstone.name,
            tombstone.region,
            tombstone.size_gb,
            tombstone.machine,
            tombstone.template,
            tombstone.policy.word(),
            tombstone.cause.word(),
            tombstone.snapshot,
            tombstone.made_at.0,
            tombstone.due_at.0,
            tombstone.sightings,
            tombstone.seen_at.map(|at| at.0),
            tombstone.state.word(),
            tombstone.ended_at.map(|at| at.0),
            tombstone.outcome,
        ])?;
    Ok(())
}

/// Those of volumes that stand are as many as there are volumes; the others have an end here.
fn drop_oldest(connection: &Connection) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM tombstone WHERE (state = 'ended' OR kind = 'tenant') AND made_at < \
             (SELECT made_at FROM tombstone WHERE state = 'ended' OR kind = 'tenant' \
             ORDER BY made_at DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([ENDED_MAX])?;
    Ok(())
}

fn decode(row: &Row<'_>) -> Result<Tombstone, StoreError> {
    fn read<T: Copy>(
        row: &Row<'_>,
        column: usize,
        all: impl IntoIterator<Item = T>,
        word: impl Fn(T) -> &'static str,
    ) -> Result<T, StoreError> {
        let text: String = row.get(column)?;
        all.into_iter().find(|one| word(*one) == text).ok_or_else(|| unreadable(column, &text))
    }
    let policies = [DeletionPolicy::Retain, DeletionPolicy::Snapshot, DeletionPolicy::Delete];
    let uid: String = row.get(3)?;
    Ok(Tombstone {
        kind: read(row, 0, TombstoneKind::ALL, TombstoneKind::word)?,
        id: row.get(1)?,
        tenant: row.get(2)?,
        uid: TenantUid(uid.parse().map_err(|_| unreadable(3, &uid))?),
        organization: row.get(4)?,
        app: row.get(5)?,
        name: row.get(6)?,
        region: row.get(7)?,
        size_gb: row.get(8)?,
        machine: row.get(9)?,
        template: row.get(10)?,
        policy: read(row, 11, policies, DeletionPolicy::word)?,
        cause: read(row, 12, Cause::ALL, Cause::word)?,
        snapshot: row.get(13)?,
        made_at: UnixMillis(row.get(14)?),
        due_at: UnixMillis(row.get(15)?),
        sightings: row.get(16)?,
        seen_at: row.get::<_, Option<i64>>(17)?.map(UnixMillis),
        state: read(row, 18, TombstoneState::ALL, TombstoneState::word)?,
        ended_at: row.get::<_, Option<i64>>(19)?.map(UnixMillis),
        outcome: row.get(20)?,
    })
}
