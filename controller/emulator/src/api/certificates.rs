//! `/v1/apps/{app}/certificates`

use axum::extract::State;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Body, Parameters, Path};
use super::requests::AddCertificate;
use crate::api::error::ApiError;
use crate::engine::EngineError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::belonging::Kind;
use crate::world::{Belonging, Refusal, Thing};

/// Rows of a page that names no number, and at most.
const LIMITS: (usize, usize) = (25, 500);

/// `…/certificates/{hostname}`
#[derive(Deserialize)]
struct HostPath {
    app: String,
    hostname: String,
}

#[derive(Deserialize)]
struct PageQuery {
    filter: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

pub(super) fn routes() -> Router<Api> {
    let certificates = |path: &str| format!("/v1/apps/{{app}}/certificates{path}");
    Router::new()
        .route(&certificates(""), get(list))
        .route(&certificates("/acme"), post(request))
        .route(&certificates("/custom"), post(bring))
        .route(&certificates("/{hostname}"), get(show).delete(remove))
        .route(&certificates("/{hostname}/check"), post(check))
        .route(&certificates("/{hostname}/acme"), delete(drop_requested))
        .route(&certificates("/{hostname}/custom"), delete(drop_brought))
}

/// By hostname; the cursor is the last one seen.
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadBelongings, &app)?;
    let (usual, most) = LIMITS;
    let limit = match query.limit.filter(|text| !text.is_empty()) {
        None => usual,
        Some(text) => match text.parse::<usize>() {
            Ok(limit) if limit > 0 => limit.min(most),
            _ => return Err(ApiError::Malformed(format!("limit {text:?} is no positive number"))),
        },
    };
    let filter = query.filter.unwrap_or_default().to_ascii_lowercase();
    let after = query.cursor.unwrap_or_default();
    api.read_app(&caller, &app, |world, _| {
        let all = world.belongings(&app, Kind::Certificate);
        let matching: Vec<_> = all.filter(|row| row.name.contains(&filter)).collect();
        let total = matching.len();
        let mut rows = matching.into_iter().filter(|row| row.name > after);
        let page: Vec<_> = rows.by_ref().take(limit).collect();
        let next = page.last().filter(|_| rows.next().is_some()).map(|row| row.name.as_str());
        let bodies: Vec<_> = page.iter().map(|row| summary(row)).collect();
        Ok(Json(json!({
            "certificates": bodies, "next_cursor": next.unwrap_or_default(), "total_count": total,
        })))
    })
}

async fn request(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Body(body): Body<AddCertificate>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    add(&api, &caller, &app, body.hostname, false)
}

/// The key is looked at for its form and forgotten: no traffic ends here that would need it.
async fn bring(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Body(body): Body<AddCertificate>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let chain = body.fullchain.unwrap_or_default();
    let key = body.private_key.as_ref().map(|key| key.expose()).unwrap_or_default();
    if !chain.contains("-----BEGIN CERTIFICATE-----") || !key.contains("PRIVATE KEY-----") {
        let text = "Fullchain and private key have to be PEM".to_owned();
        return Err(EngineError::Refused(Refusal::Unprocessable(text)).into());
    }
    add(&api, &caller, &app, body.hostname, true)
}

fn add(
    api: &Api,
    caller: &Caller,
    app: &str,
    hostname: Option<String>,
    custom: bool,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    api.admit(Action::WriteBelongings, app)?;
    let hostname = hostname.unwrap_or_default();
    let added = api
        .change_app(caller, app, |world, now| world.add_certificate(now, app, &hostname, custom))?;
    Ok((StatusCode::CREATED, Json(detail(&added))))
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(HostPath { app, hostname }): Path<HostPath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadBelongings, &app)?;
    api.read_app(&caller, &app, |world, _| Ok(Json(detail(world.certificate(&app, &hostname)?))))
}

/// Looks again, and finds the same: no DNS is asked.
async fn check(
    State(api): State<Api>,
    caller: Caller,
    Path(HostPath { app, hostname }): Path<HostPath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WriteBelongings, &app)?;
    api.read_app(&caller, &app, |world, _| {
        let mut body = detail(world.certificate(&app, &hostname)?);
        if let Value::Object(members) = &mut body {
            let none = json!({ "a": [], "aaaa": [], "cname": [], "resolved_addresses": [] });
            members.insert("dns_records".to_owned(), none);
        }
        Ok(Json(body))
    })
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Path(HostPath { app, hostname }): Path<HostPath>,
) -> Result<StatusCode, ApiError> {
    api.admit(Action::WriteBelongings, &app)?;
    api.change_app(&caller, &app, |world, _| world.remove_certificate(&app, &hostname))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn drop_requested(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<HostPath>,
) -> Result<Json<Value>, ApiError> {
    drop_one(&api, &caller, &path, false)
}

async fn drop_brought(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<HostPath>,
) -> Result<Json<Value>, ApiError> {
    drop_one(&api, &caller, &path, true)
}

fn drop_one(
    api: &Api,
    caller: &Caller,
    HostPath { app, hostname }: &HostPath,
    custom: bool,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WriteBelongings, app)?;
    let left = api.change_app(caller, app, |world, now| {
        world.drop_certificate(now, (app, hostname), custom)
    })?;
    Ok(Json(detail(&left)))
}

fn summary(row: &Belonging) -> Value {
    let Thing::Certificate(certificate) = &row.thing else { return Value::Null };
    json!({
        "hostname": row.name,
        "status": status(certificate.custom),
        "configured": false,
        "acme_requested": certificate.acme,
        "acme_alpn_configured": false,
        "acme_dns_configured": false,
        "acme_http_configured": false,
        "ownership_txt_configured": false,
        "has_custom_certificate": certificate.custom,
        "has_fly_certificate": false,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    })
}

fn detail(row: &Belonging) -> Value {
    let Thing::Certificate(certificate) = &row.thing else { return Value::Null };
    let own =
        json!({ "source": "custom", "status": "pending_ownership", "created_at": row.created_at });
    let certificates = if certificate.custom { vec![own] } else { Vec::new() };
    json!({
        "hostname": row.name,
        "status": status(certificate.custom),
        "configured": false,
        "acme_requested": certificate.acme,
        "certificates": certificates,
        "dns_requirements": { "a": [], "aaaa": [], "cname": format!("{}.fly.dev", row.app) },
        "validation": {
            "alpn_configured": false, "dns_configured": false, "http_configured": false,
            "ownership_txt_configured": false,
        },
        "validation_errors": [],
    })
}

fn status(custom: bool) -> &'static str {
    if custom { "pending_ownership" } else { "pending_validation" }
}
