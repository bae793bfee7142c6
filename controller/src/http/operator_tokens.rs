//! Operator tokens as a resource: made, listed and revoked. There is nothing to change about one:
//! whoever wants another makes another.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE32_NOPAD;
use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use vault_api::names::{check_object_name, did_you_mean};
use vault_api::object::{API_VERSION, ObjectMeta, Status};
use vault_api::operator::{
    KIND, OperatorToken, OperatorTokenSpec, OperatorTokenStatus, PREFIX, RESOURCE, Role,
};
use vault_plan::identity::ControllerId;
use vault_plan::time::UnixMillis;
use zeroize::Zeroizing;

use super::caller::{Caller, OWN_NAME};
use super::error::ApiError;
use super::objects::Shared;
use super::operators::TokenDigest;
use super::request::{DeleteOptions, WriteRequest};
use crate::clock::{Clock, read_rfc3339, rfc3339};
use crate::platform::Platform;
use crate::store::{ApiStore, StoreError, StoredOperator};

/// Bytes of a token that nobody can guess.
const TOKEN_BYTES: usize = 32;
/// Most tokens. Each request is compared with all of them, which takes microseconds.
const TOKENS_MAX: usize = 1_000;
/// Longest life that can be asked for: ten years. Who wants more leaves it open.
const TTL_MS_MAX: i64 = 10 * 366 * 24 * 3_600_000;

/// All tokens, without the tokens themselves.
pub(super) async fn list<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
) -> Result<Json<Value>, ApiError> {
    let (version, now) = (app.store.resource_version().await?, app.clock.now());
    let stored = app.store.operators().await?;
    let items: Vec<OperatorToken> =
        stored.iter().map(|stored| render(&app.controller, stored, now)).collect();
    Ok(Json(json!({
        "apiVersion": API_VERSION,
        "kind": format!("{KIND}List"),
        "metadata": { "resourceVersion": version.to_string() },
        "items": items,
    })))
}

/// One token, without the token itself.
pub(super) async fn read<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
) -> Result<Json<OperatorToken>, ApiError> {
    let stored = existing(&app.store, &name).await?;
    Ok(Json(render(&app.controller, &stored, app.clock.now())))
}

/// Makes a token; this answer alone holds it.
pub(super) async fn create<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    let body = super::body::read(&request.content_type, &request.body)?.value;
    let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    request.trail.about(name);
    let now = app.clock.now();
    let wanted = wanted(body, now).map_err(ApiError::BadRequest)?;
    let _writing = app.writing.lock().await;
    let known = app.store.operators().await?;
    if known.iter().any(|known| known.name == wanted.name) {
        let message = format!("{RESOURCE}.vaultctl.dev {:?} already exists", wanted.name);
        return Err(refused(409, "AlreadyExists", &wanted.name, message));
    }
    if known.len() >= TOKENS_MAX {
        let message = format!("there are {TOKENS_MAX} operator tokens: revoke some first");
        return Err(refused(403, "Forbidden", &wanted.name, message));
    }
    let token = new_token()?;
    let digest = TokenDigest::of(&token).bytes();
    let mut made = StoredOperator { digest, ..wanted };
    if !request.options.dry_run()? {
        let record = request.trail.record(now, 201, "created");
        made = app.store.insert_operator(made, record).await?;
        request.trail.kept();
        app.operators.reload(&app.store).await?;
    }
    let mut shown = render(&app.controller, &made, now);
    if !request.options.dry_run()? {
        let status = shown.status.get_or_insert_default();
        status.token = Some(token.expose_secret().to_owned());
    }
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(shown)).into_response())
}

/// Revokes a token: the next request with it is refused, and watches with it end.
pub(super) async fn delete<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    request: WriteRequest,
) -> Result<Json<Status>, ApiError> {
    let options = DeleteOptions::read(&request)?;
    let _writing = app.writing.lock().await;
    existing(&app.store, &name).await?;
    if !options.dry_run()? {
        let record = request.trail.record(app.clock.now(), 200, "revoked");
        match app.store.remove_operator(&name, record).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return Err(not_found(&name)),
            Err(error) => return Err(error.into()),
        }
        request.trail.kept();
        app.operators.revoke(&name);
    }
    Ok(Json(Status::success(200, "").about(RESOURCE, &name)))
}

async fn existing<S: ApiStore>(store: &S, name: &str) -> Result<StoredOperator, ApiError> {
    let found = store.operators().await?.into_iter().find(|stored| stored.name == name);
    found.ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> ApiError {
    refused(404, "NotFound", name, format!("{RESOURCE}.vaultctl.dev {name:?} not found"))
}

fn refused(code: u16, reason: &str, name: &str, message: String) -> ApiError {
    ApiError::Refused(Box::new(Status::failure(code, reason, message).about(RESOURCE, name)))
}

fn new_token() -> Result<SecretString, ApiError> {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    getrandom::fill(&mut *bytes)
        .map_err(|error| ApiError::Unavailable(format!("there is no randomness: {error}")))?;
    let text = Zeroizing::new(BASE32_NOPAD.encode(&*bytes).to_ascii_lowercase());
    Ok(SecretString::from(format!("{PREFIX}{}", *text)))
}

/// What is asked for, checked; the digest is still to come.
fn wanted(body: Value, now: UnixMillis) -> Result<StoredOperator, String> {
    check_words(&body)?;
    let token: OperatorToken =
        serde_json::from_value(body).map_err(|error| format!("the body is no {KIND}: {error}"))?;
    if (token.api_version.as_str(), token.kind.as_str()) != (API_VERSION, KIND) {
        return Err(format!("the body is no {API_VERSION} {KIND}"));
    }
    let name = token.metadata.name;
    check_object_name(&name).map_err(|error| format!("metadata.name: {error}"))?;
    if name == OWN_NAME {
        return Err(format!("metadata.name: {OWN_NAME:?} is the controller's own token"));
    }
    let OperatorTokenSpec { role, selector, ttl, expires_at } = token.spec;
    if selector.as_deref().is_some_and(|selector| selector.trim().is_empty()) {
        return Err("spec.selector: is empty; a token without a limit has none".to_owned());
    }
    Caller::new(&name, role, selector.as_deref())
        .map_err(|error| format!("spec.selector: {error}"))?;
    let expires_at = match (ttl, expires_at) {
        (Some(_), Some(_)) => return Err("spec: ttl and expiresAt do not go together".to_owned()),
        (Some(ttl), None) => Some(end_of(&ttl, now)?),
        (None, Some(text)) => {
            Some(read_rfc3339(&text).filter(|end| *end > now).ok_or_else(|| {
                format!(
                    "spec.expiresAt is {text:?}; it is a time to come, such as 2030-01-01T00:00:00Z"
                )
            })?)
        }
        (None, None) => None,
    };
    Ok(StoredOperator {
        name,
        digest: [0; 32],
        role,
        selector,
        resource_version: 0,
        created_at: now,
        expires_at,
        used_at: None,
    })
}

/// Names the nearest word for a field or a role that there is not.
fn check_words(body: &Value) -> Result<(), String> {
    let fields: [(&str, &[&str]); 2] = [
        ("", &["apiVersion", "kind", "metadata", "spec", "status"]),
        ("/spec", &["role", "selector", "ttl", "expiresAt"]),
    ];
    for (place, known) in fields {
        let members = body.pointer(place).and_then(Value::as_object);
        for name in members.into_iter().flatten().map(|(name, _)| name) {
            if !known.contains(&name.as_str()) {
                let path = format!("{place}.{name}").trim_start_matches(['/', '.']).to_owned();
                let hint = did_you_mean(name, known.iter().copied());
                return Err(format!("strict decoding error: unknown field {path:?}{hint}"));
            }
        }
    }
    match body.pointer("/spec/role").and_then(Value::as_str) {
        Some(role) if Role::named(role).is_none() => {
            let hint = did_you_mean(role, Role::ALL.map(Role::word));
            Err(format!("spec.role is {role:?}; it is read, operate or admin{hint}"))
        }
        _ => Ok(()),
    }
}

fn end_of(ttl: &str, now: UnixMillis) -> Result<UnixMillis, String> {
    let milliseconds = ttl
        .parse::<SignedDuration>()
        .ok()
        .and_then(|span| i64::try_from(span.as_millis()).ok())
        .filter(|milliseconds| (1..=TTL_MS_MAX).contains(milliseconds));
    match milliseconds {
        Some(milliseconds) => Ok(now.plus_ms(milliseconds)),
        None => Err(format!("spec.ttl is {ttl:?}; it is a span such as 720h, ten years at most")),
    }
}

fn render(controller: &ControllerId, stored: &StoredOperator, now: UnixMillis) -> OperatorToken {
    // A token that is made anew under an old name is another one.
    let identity = format!("{}\n{}", stored.name, stored.created_at.0);
    OperatorToken {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: ObjectMeta {
            name: stored.name.clone(),
            uid: Some(controller.object_uid(KIND, &identity).to_string()),
            resource_version: (stored.resource_version > 0)
                .then(|| stored.resource_version.to_string()),
            creation_timestamp: Some(rfc3339(stored.created_at)),
            ..ObjectMeta::default()
        },
        spec: OperatorTokenSpec {
            role: stored.role,
            selector: stored.selector.clone(),
            ttl: None,
            expires_at: stored.expires_at.map(rfc3339),
        },
        status: Some(OperatorTokenStatus {
            token: None,
            last_used_at: stored.used_at.map(rfc3339),
            expired: stored.expires_at.is_some_and(|end| end <= now),
        }),
    }
}
