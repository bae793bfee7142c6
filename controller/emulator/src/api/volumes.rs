//! `/v1/apps/{app}/volumes`

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Body, Parameters, Path, VolumePath};
use super::lists::ListQuery;
use super::requests::{CreateVolume, ExtendVolume, UpdateVolume};
use super::wire::{self, VolumeBody};
use crate::api::error::ApiError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::{CopyFrom, NewVolume, Volume, VolumeSettings};

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
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let from = match (given(body.snapshot_id), given(body.source_volume_id)) {
        (Some(_), Some(_)) => {
            let text = "snapshot_id and source_volume_id: a volume begins as one of them";
            return Err(ApiError::Malformed(text.to_owned()));
        }
        (Some(snapshot), None) => Some(CopyFrom::Snapshot(snapshot)),
        (None, volume) => volume.map(CopyFrom::Volume),
    };
    let new = NewVolume {
        name: body.name.unwrap_or_default(),
        region: body.region,
        size_gb: body.size_gb,
        encrypted: body.encrypted,
        fstype: body.fstype,
        snapshot_retention: body.snapshot_retention,
        auto_backup_enabled: body.auto_backup_enabled,
        from,
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

pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path(VolumePath { app, volume }): Path<VolumePath>,
    Body(body): Body<UpdateVolume>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::UpdateVolume, &app)?;
    let settings = VolumeSettings {
        snapshot_retention: body.snapshot_retention,
        auto_backup_enabled: body.auto_backup_enabled,
    };
    let updated = api.change_app(&caller, &app, |world, now| {
        world.update_volume(now, (&app, &volume), settings)
    })?;
    Ok(full(&updated))
}

pub(super) async fn snapshots(
    State(api): State<Api>,
    caller: Caller,
    Path(VolumePath { app, volume }): Path<VolumePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ListSnapshots, &app)?;
    api.read_app(&caller, &app, |world, _| {
        let snapshots = world.snapshots(&app, &volume)?;
        Ok(Json(snapshots.into_iter().map(wire::snapshot).collect()))
    })
}

pub(super) async fn take_snapshot(
    State(api): State<Api>,
    caller: Caller,
    Path(VolumePath { app, volume }): Path<VolumePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::CreateSnapshot, &app)?;
    let taken =
        api.change_app(&caller, &app, |world, now| world.create_snapshot(now, &app, &volume))?;
    Ok(Json(wire::snapshot(&taken)))
}

fn full(volume: &Volume) -> Json<Value> {
    Json(json!(VolumeBody::of_app(volume, false)))
}
