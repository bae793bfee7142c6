//! `/v1/apps/{app}/secrets`
//!
//! Values are in no answer unless `show_secrets` asks for them, and in no error: what does not parse
//! is not quoted.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Body, Parameters, Path};
use super::lists::is_true;
use super::requests::{ChangeSecrets, SetSecret};
use crate::api::error::ApiError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::Secret;

/// `…/secrets/{name}`
#[derive(Deserialize)]
pub(super) struct SecretPath {
    app: String,
    name: String,
}

/// The parameters of the two reads, as text because an empty value counts as none.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ReadSecrets {
    min_version: Option<String>,
    /// What the platform's own client calls `min_version`.
    version: Option<String>,
    show_secrets: Option<String>,
}

/// A secret as it is shown.
#[derive(Serialize)]
struct SecretBody<'a> {
    name: &'a str,
    digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A version, and the member that clients of an older form read.
#[derive(Serialize)]
struct Versioned<T> {
    #[serde(flatten)]
    body: T,
    version: u64,
    #[serde(rename = "Version")]
    deprecated: u64,
}

pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Parameters(query): Parameters<ReadSecrets>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ListSecrets, &app)?;
    let (wanted, show) = (query.version()?, query.shows(&caller));
    api.read_app(&caller, &app, |world, _| {
        world.check_secrets_version(&app, wanted)?;
        let secrets: Vec<_> =
            world.secrets(&app).map(|secret| SecretBody::new(secret, show)).collect();
        Ok(Json(json!({ "secrets": secrets })))
    })
}

pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(SecretPath { app, name }): Path<SecretPath>,
    Parameters(query): Parameters<ReadSecrets>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadSecret, &app)?;
    let (wanted, show) = (query.version()?, query.shows(&caller));
    api.read_app(&caller, &app, |world, _| {
        world.check_secrets_version(&app, wanted)?;
        Ok(Json(json!(SecretBody::new(world.secret(&app, &name)?, show))))
    })
}

pub(super) async fn set(
    State(api): State<Api>,
    caller: Caller,
    Path(SecretPath { app, name }): Path<SecretPath>,
    body: Result<Body<SetSecret>, ApiError>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    api.admit(Action::WriteSecret, &app)?;
    let Body(SetSecret { value }) = body.map_err(unquoted)?;
    let value = value.ok_or_else(|| ApiError::Malformed("value is required".to_owned()))?;
    let answer = api.change_app(&caller, &app, |world, now| {
        let changes = BTreeMap::from([(name.clone(), Some(value))]);
        let version = world.change_secrets(now, &app, changes)?;
        let body = SecretBody::new(world.secret(&app, &name)?, false);
        Ok(versioned(body, version))
    })?;
    Ok((StatusCode::CREATED, answer))
}

pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(SecretPath { app, name }): Path<SecretPath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::DeleteSecret, &app)?;
    api.change_app(&caller, &app, |world, now| {
        let version = world.delete_secret(now, &app, &name)?;
        Ok(versioned(json!({}), version))
    })
}

/// Sets and removes many in one version; answers all secrets that there are then.
pub(super) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    body: Result<Body<ChangeSecrets>, ApiError>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WriteSecret, &app)?;
    let Body(ChangeSecrets { values }) = body.map_err(unquoted)?;
    api.change_app(&caller, &app, |world, now| {
        let version = world.change_secrets(now, &app, values.unwrap_or_default())?;
        let secrets: Vec<_> =
            world.secrets(&app).map(|secret| SecretBody::new(secret, false)).collect();
        Ok(versioned(json!({ "secrets": secrets }), version))
    })
}

impl ReadSecrets {
    fn version(&self) -> Result<Option<u64>, ApiError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let Some(text) = given(&self.min_version).or_else(|| given(&self.version)) else {
            return Ok(None);
        };
        let malformed = |_| ApiError::Malformed(format!("min_version {text:?} is no version"));
        text.parse().map(Some).map_err(malformed)
    }

    fn shows(&self, caller: &Caller) -> bool {
        is_true(self.show_secrets.as_deref()) && caller.reads_secrets
    }
}

impl<'a> SecretBody<'a> {
    fn new(secret: &'a Secret, show: bool) -> Self {
        Self {
            name: &secret.name,
            digest: &secret.digest,
            value: show.then(|| secret.value.expose()),
            created_at: secret.created_at,
            updated_at: secret.updated_at,
        }
    }
}

fn versioned(body: impl Serialize, version: u64) -> Json<Value> {
    Json(json!(Versioned { body, version, deprecated: version }))
}

/// The parser's words quote the text that it cannot read, which may be a value.
fn unquoted(error: ApiError) -> ApiError {
    match error {
        ApiError::Malformed(_) => ApiError::Malformed("invalid request body".to_owned()),
        other => other,
    }
}
