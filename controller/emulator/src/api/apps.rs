//! `/v1/apps`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{AppPath, Body, Parameters, Path};
use super::requests::{CreateApp, CreateDeployToken};
use super::{Api, wire};
use crate::api::error::ApiError;
use crate::emulator::DEFAULT_ORG;
use crate::engine::EngineError;
use crate::rate_limit::Action;
use crate::tokens::{self, Caller};
use crate::world::{NewApp, Refusal};

/// How long a token lives that names no time: twenty years, as the platform's own tool asks for.
pub(super) const DEPLOY_TOKEN_LIFETIME: Duration = Duration::from_secs(175_200 * 60 * 60);

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

/// Deploy tokens open their app alone; they cannot make another one.
pub(super) async fn create_deploy_token(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Body(body): Body<CreateDeployToken>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WriteBelongings, &app)?;
    api.read_app(&caller, &app, |_, _| Ok(()))?;
    if caller.app.is_some() {
        return Err(EngineError::Refused(Refusal::Unauthorized).into());
    }
    let lifetime = match body.expiry.filter(|text| !text.trim().is_empty()) {
        None => DEPLOY_TOKEN_LIFETIME,
        Some(text) => lifetime(&text)
            .ok_or_else(|| ApiError::Malformed(format!("expiry: {text:?} is no duration")))?,
    };
    let (token, digest) = tokens::new_token().map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "no token can be made");
        ApiError::NoRandomness
    })?;
    api.change_app(&caller, &app, |world, now| {
        world.add_deploy_token(now, &app, digest, lifetime)
    })?;
    Ok(Json(json!({ "token": token })))
}

/// A Go duration that is longer than nothing.
pub(super) fn lifetime(text: &str) -> Option<Duration> {
    let parsed: SignedDuration = text.trim().parse().ok()?;
    Duration::try_from(parsed).ok().filter(|lifetime| !lifetime.is_zero())
}

/// The organization that a request names and the caller may use.
pub(super) fn organization(caller: &Caller, slug: Option<String>) -> Result<String, ApiError> {
    let slug = slug.filter(|slug| !slug.is_empty());
    let slug = slug.ok_or_else(|| ApiError::Malformed("org_slug is required".to_owned()))?;
    // Everybody's own organization goes by this name on the platform.
    let slug = if slug == "personal" { DEFAULT_ORG.to_owned() } else { slug };
    if caller.may_use_all_of(&slug) {
        Ok(slug)
    } else {
        Err(EngineError::Refused(Refusal::Unauthorized).into())
    }
}
