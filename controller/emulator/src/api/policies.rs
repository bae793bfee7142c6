//! `/v1/apps/{app}/network_policies`

use axum::extract::State;
use axum::routing::{delete, get};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Body, Path};
use super::requests::WritePolicy;
use crate::api::error::ApiError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::belonging::Kind;
use crate::world::{Belonging, Thing};

/// `…/network_policies/{id}`
#[derive(Deserialize)]
struct PolicyPath {
    app: String,
    id: String,
}

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/apps/{app}/network_policies", get(list).post(write))
        .route("/v1/apps/{app}/network_policies/{id}", delete(remove))
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadBelongings, &app)?;
    api.read_app(&caller, &app, |world, _| {
        Ok(Json(world.belongings(&app, Kind::Policy).map(body).collect()))
    })
}

async fn write(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Body(WritePolicy { id, policy }): Body<WritePolicy>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WriteBelongings, &app)?;
    let written =
        api.change_app(&caller, &app, |world, now| world.set_policy(now, &app, id, policy))?;
    Ok(Json(body(&written)))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Path(PolicyPath { app, id }): Path<PolicyPath>,
) -> Result<StatusCode, ApiError> {
    api.admit(Action::WriteBelongings, &app)?;
    api.change_app(&caller, &app, |world, _| world.remove_belonging(&app, Kind::Policy, &id))?;
    Ok(StatusCode::NO_CONTENT)
}

fn body(row: &Belonging) -> Value {
    let Thing::Policy(policy) = &row.thing else { return Value::Null };
    json!({ "id": row.name, "name": policy.name, "selector": policy.selector, "rules": policy.rules })
}
