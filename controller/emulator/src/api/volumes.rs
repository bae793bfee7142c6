//! `/v1/apps/{app}/volumes`

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Body, Parameters, VolumePath};
use super::lists::ListQuery;
use super::requests::{CreateVolume, ExtendVolume};
use super::wire::VolumeBody;
use crate::api::error::ApiError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::{NewVolume, Volume};

pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ListVolumes, &app)?;
    api.read_app(&caller, &app, |world, _| {
        let volumes = world.volumes(&app);
        let bodies: Vec<_> =
            volumes.map(|volume| VolumeBody::of_app(volume, query.summary())).collect();
        Ok(Json(json!(bodies)))
    })
}

pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Body(body): Body<CreateVolume>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::CreateVolume, &app)?;
    let given = |text: Option<String>| text.is_some_and(|text| !text.is_empty());
    if given(body.snapshot_id) || given(body.source_volume_id) {
        let text = "snapshot_id, source_volume_id: this emulator neither restores nor forks";
        return Err(ApiError::Malformed(text.to_owned()));
    }
    let new = NewVolume {
        name: body.name.unwrap_or_default(),
        region: body.region,
        size_gb: body.size_gb,
        encrypted: body.encrypted,
        fstype: body.fstype,
        snapshot_retention: body.snapshot_retention,
        auto_backup_enabled: body.auto_backup_enabled,
    };
    let volume = api.change_app(&caller, &app, |world, now| world.create_volume(now, &app, new))?;
    Ok(full(&volume))
}

pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(VolumePath { app, volume }): Path<VolumePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadVolume, &app)?;
    api.read_app(&caller, &app, |world, _| Ok(full(world.volume(&app, &volume)?)))
}

pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(VolumePath { app, volume }): Path<VolumePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::DeleteVolume, &app)?;
    let deleted =
        api.change_app(&caller, &app, |world, now| world.delete_volume(now, &app, &volume))?;
    Ok(full(&deleted))
}

pub(super) async fn extend(
    State(api): State<Api>,
    caller: Caller,
    Path(VolumePath { app, volume }): Path<VolumePath>,
    Body(body): Body<ExtendVolume>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ExtendVolume, &app)?;
    let size_gb = body.size_gb.unwrap_or_default();
    let extended = api
        .change_app(&caller, &app, |world, now| world.extend_volume(now, &app, &volume, size_gb))?;
    // A folder of the host has no size, so nothing has to be restarted to see the new one.
    Ok(Json(json!({ "volume": VolumeBody::of_app(&extended, false), "needs_restart": false })))
}

fn full(volume: &Volume) -> Json<Value> {
    Json(json!(VolumeBody::of_app(volume, false)))
}
