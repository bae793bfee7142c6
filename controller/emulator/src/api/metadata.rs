//! `/v1/apps/{app}/machines/{machine}/metadata`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{Body, MachinePath, Path};
use super::requests::{MergeMetadata, SetMetadata};
use crate::api::error::ApiError;
use crate::rate_limit::Action;
use crate::tokens::Caller;

/// `…/metadata/{key}`
#[derive(Deserialize)]
pub(super) struct KeyPath {
    app: String,
    machine: String,
    key: String,
}

pub(super) async fn all(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadMetadata, &machine)?;
    api.read_app(&caller, &app, |world, _| {
        let metadata: BTreeMap<_, _> = world.machine(&app, &machine)?.metadata().collect();
        Ok(Json(json!(metadata)))
    })
}

/// PUT and PATCH mean the same: the given keys are merged in.
pub(super) async fn merge(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Body(body): Body<MergeMetadata>,
) -> Result<StatusCode, ApiError> {
    api.admit(Action::WriteMetadata, &machine)?;
    let changes = body.metadata.unwrap_or_default();
    let version = body.machine_version;
    api.change_app(&caller, &app, |world, now| {
        world.merge_metadata(now, &app, &machine, changes, version.as_deref())
    })?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(KeyPath { app, machine, key }): Path<KeyPath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadMetadata, &machine)?;
    api.read_app(&caller, &app, |world, _| {
        Ok(Json(json!({ "value": world.metadata_value(&app, &machine, &key)? })))
    })
}

pub(super) async fn set(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<KeyPath>,
    Body(body): Body<SetMetadata>,
) -> Result<StatusCode, ApiError> {
    write(&api, &caller, path, body.value)
}

pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<KeyPath>,
) -> Result<StatusCode, ApiError> {
    write(&api, &caller, path, None)
}

fn write(
    api: &Api,
    caller: &Caller,
    path: KeyPath,
    value: Option<String>,
) -> Result<StatusCode, ApiError> {
    let KeyPath { app, machine, key } = path;
    api.admit(Action::WriteMetadata, &machine)?;
    let changes = BTreeMap::from([(key, value)]);
    api.change_app(caller, &app, |world, now| {
        world.merge_metadata(now, &app, &machine, changes, None)
    })?;
    Ok(StatusCode::NO_CONTENT)
}
