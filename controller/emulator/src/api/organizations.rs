//! `/v1/orgs/{org}/machines` and `/v1/orgs/{org}/volumes`: the lists that a controller lives on.
//! They have no rate limit.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::extract::{Parameters, Path};
use super::lists::{ListQuery, cursor};
use super::wire::{OrgMachine, VolumeBody};
use crate::api::error::ApiError;
use crate::engine::EngineError;
use crate::tokens::Caller;
use crate::world::Refusal;
use crate::world::query::Position;

#[derive(Deserialize)]
pub(super) struct OrgPath {
    org: String,
}

/// The members that say where a list goes on; left out where there is nothing to say.
#[derive(Serialize, Default)]
struct Continuation {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated_at: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_machine_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_volume_id: Option<String>,
}

pub(super) async fn machines(
    State(api): State<Api>,
    caller: Caller,
    Path(OrgPath { org }): Path<OrgPath>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let org = visible(&caller, org)?;
    let (filter, summary) = (query.filter(), query.summary());
    let (after, limit) = (query.position()?, query.limit()?);
    let body = api.engine.read(|world| {
        let page = world.org_machines(&org, &filter, after.as_ref(), limit);
        let last = page.rows.last();
        let continuation = Continuation {
            last_machine_id: last.map(|machine| machine.id.clone()),
            ..continuation(page.next.as_ref(), last.map(|machine| machine.updated_at))
        };
        let rows: Vec<_> =
            page.rows.iter().map(|machine| OrgMachine::new(machine, summary)).collect();
        Ok(with(json!({ "machines": rows, "error_regions": [] }), &continuation))
    })?;
    Ok(Json(body))
}

pub(super) async fn volumes(
    State(api): State<Api>,
    caller: Caller,
    Path(OrgPath { org }): Path<OrgPath>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let org = visible(&caller, org)?;
    let (filter, summary) = (query.filter(), query.summary());
    let (after, limit) = (query.position()?, query.limit()?);
    let body = api.engine.read(|world| {
        let page = world.org_volumes(&org, &filter, after.as_ref(), limit);
        let last = page.rows.last();
        let continuation = Continuation {
            last_volume_id: last.map(|volume| volume.id.clone()),
            ..continuation(page.next.as_ref(), last.map(|volume| volume.updated_at))
        };
        let rows: Vec<_> =
            page.rows.iter().map(|volume| VolumeBody::of_org(volume, summary)).collect();
        Ok(with(json!({ "volumes": rows }), &continuation))
    })?;
    Ok(Json(body))
}

fn visible(caller: &Caller, org: String) -> Result<String, ApiError> {
    if caller.may_use_all_of(&org) {
        Ok(org)
    } else {
        Err(EngineError::Refused(Refusal::Unauthorized).into())
    }
}

fn continuation(next: Option<&Position>, last: Option<jiff::Timestamp>) -> Continuation {
    Continuation { next_cursor: next.map(cursor), last_updated_at: last, ..Continuation::default() }
}

fn with(mut body: Value, continuation: &Continuation) -> Value {
    if let (Value::Object(body), Value::Object(more)) = (&mut body, json!(continuation)) {
        body.extend(more);
    }
    body
}
