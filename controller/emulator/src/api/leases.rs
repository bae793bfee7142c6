//! `/v1/apps/{app}/machines/{machine}/lease`

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{Body, MachinePath, Nonce, Parameters, Path};
use super::requests::AcquireLease;
use crate::api::error::ApiError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::Lease;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/apps/{app}/machines/{machine}/lease", get(show).post(acquire).delete(release))
}

/// The platform's own client names the time here, and others in the body.
#[derive(Deserialize)]
struct LeaseQuery {
    ttl: Option<String>,
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadLease, &machine)?;
    let now = api.engine.now();
    api.read_app(&caller, &app, |world, _| Ok(envelope(world.lease(now, &app, &machine)?)))
}

async fn acquire(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    nonce: Nonce,
    Parameters(query): Parameters<LeaseQuery>,
    Body(body): Body<AcquireLease>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    api.admit(Action::AcquireLease, &machine)?;
    let asked = query.ttl.filter(|text| !text.is_empty()).map(|text| {
        text.parse::<i64>().map_err(|_| ApiError::Malformed(format!("ttl: {text:?} is no number")))
    });
    let wish = (asked.transpose()?.or(body.ttl), body.description);
    let owner = caller.token_id.clone();
    let lease = api.change_app(&caller, &app, |world, now| {
        world.acquire_lease(now, (&app, &machine), nonce.0.as_deref(), wish, &owner)
    })?;
    Ok((StatusCode::CREATED, envelope(&lease)))
}

async fn release(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    nonce: Nonce,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReleaseLease, &machine)?;
    api.change_app(&caller, &app, |world, now| {
        world.release_lease(now, &app, &machine, nonce.0.as_deref())
    })?;
    Ok(Json(json!({ "status": "success", "data": { "ok": true } })))
}

/// As the platform's own client reads it; the OpenAPI document shows the inner part alone.
fn envelope(lease: &Lease) -> Json<Value> {
    Json(json!({
        "status": "success",
        "data": {
            "nonce": lease.nonce,
            "expires_at": lease.expires_at.as_second(),
            "owner": lease.owner,
            "description": lease.description,
            "version": lease.version,
        },
    }))
}
