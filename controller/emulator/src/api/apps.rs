//! `/v1/apps`

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{AppPath, Body, Parameters};
use super::requests::CreateApp;
use super::{Api, wire};
use crate::api::error::ApiError;
use crate::emulator::DEFAULT_ORG;
use crate::engine::EngineError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::{NewApp, Refusal};

#[derive(Deserialize)]
pub(super) struct ListApps {
    org_slug: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<ListApps>,
) -> Result<Json<Value>, ApiError> {
    let org = organization(&caller, query.org_slug)?;
    let apps = api
        .engine
        .read(|world| Ok(world.apps(&org).map(|app| wire::app(world, app)).collect::<Vec<_>>()))?;
    Ok(Json(json!({ "total_apps": apps.len(), "apps": apps })))
}

pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<CreateApp>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let org = organization(&caller, body.org_slug)?;
    let name = body.name.filter(|name| !name.is_empty()).or(body.app_name);
    api.admit(Action::CreateApp, name.as_deref().unwrap_or_default())?;
    let network = body.network.unwrap_or_default();
    let new = NewApp { name, org, network, idempotency_key: body.idempotency_key };
    let app = api.engine.change(|world, now| world.create_app(now, new))?;
    let body = json!({ "id": app.id, "created_at": app.created_at.as_millisecond() });
    Ok((StatusCode::CREATED, Json(body)))
}

pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadApp, &app)?;
    api.read_app(&caller, &app, |world, app| Ok(Json(wire::app(world, app))))
}

pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
) -> Result<StatusCode, ApiError> {
    api.admit(Action::DeleteApp, &caller.token_id)?;
    api.change_app(&caller, &app, |world, now| world.delete_app(now, &app))?;
    Ok(StatusCode::ACCEPTED)
}

/// The organization that a request names and the caller may use.
fn organization(caller: &Caller, slug: Option<String>) -> Result<String, ApiError> {
    let slug = slug.filter(|slug| !slug.is_empty());
    let slug = slug.ok_or_else(|| ApiError::Malformed("org_slug is required".to_owned()))?;
    // Everybody's own organization goes by this name on the platform.
    let slug = if slug == "personal" { DEFAULT_ORG.to_owned() } else { slug };
    if caller.may_use(&slug) {
        Ok(slug)
    } else {
        Err(EngineError::Refused(Refusal::Unauthorized).into())
    }
}
